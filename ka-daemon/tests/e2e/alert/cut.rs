//! A link is cut: a warning before the drops, then the page.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::{DROPPED, Way, until};
use crate::args::Args;
use crate::case::Case;
use crate::daemon::{Page, sum};
use crate::net::{Family, Net};
use crate::runner;
use crate::servers::Folder;
use crate::tcp::Keepalive;
use crate::{own_comm, say};

/// Two more than make a burst: a kernel that keeps timer runs from BPF programs hides the cause of a drop.
const CONNECTIONS: u64 = 12;
const BURST: u64 = 10;
/// Dropped 21 s after the last sign of life: time enough to be warned of it.
const SETTINGS: Keepalive = Keepalive { idle: 1, interval: 1, count: 20 };

pub(super) fn run(args: &Args, rules: &Path) -> Result<()> {
    let begin = Instant::now();
    let env = runner::environment(args, &["--inventory-interval", "1s"])?;
    let net = Arc::new(Net::new()?);
    let case = Case::new(&env, Arc::clone(&net))?;
    let folder = Folder::new("alert")?;
    let way = Way::start(&env.daemon, rules, &folder, str::to_owned)?;
    let comm = own_comm()?;
    Cut { way: &way, comm }.follow(&case, begin).map_err(|error| way.explain(&error))?;
    net.clear()?;
    env.daemon.stop()
}

struct Cut<'a> {
    way: &'a Way,
    /// Whose connections are cut: this program's.
    comm: String,
}

impl Cut<'_> {
    /// Connections, a cut, a warning before the drop, and the alert.
    fn follow(&self, case: &Case<'_>, begin: Instant) -> Result<()> {
        let daemon = &case.env.daemon;
        let ours = format!("comm=\"{}\"", self.comm);
        let mut pairs = Vec::new();
        for _ in 0..CONNECTIONS {
            let pair = case.connect(Family::V4)?;
            pair.a.keepalive(SETTINGS)?;
            pairs.push(pair);
        }
        until("three scrapes of answered probes", || {
            let answered = sum(&daemon.metrics()?, "ka_keepalive_probes_answered_total", &[&ours]);
            let scrapes = self.way.value("max(count_over_time(ka_keepalive_probes_answered_total[1m]))")?;
            Ok((answered >= 3 * CONNECTIONS && scrapes >= 3.0).then_some(()))
        })?;
        let early = self.way.alerts(&self.comm)?;
        ensure!(early.is_empty(), "expected no alert while all is well, came {early:?}");

        case.net.cut()?;
        let warning = until("KaProbesUnanswered", || self.way.alert(&self.comm, "KaProbesUnanswered"))?;
        let dropped = sum(&daemon.metrics()?, DROPPED, &[&ours]);
        ensure!(dropped == 0, "expected the warning before the drops, {dropped} came first");
        let burst =
            until("KaConnectionsDroppedBurst", || self.way.alert(&self.comm, "KaConnectionsDroppedBurst"))?;
        say(&format!(
            "warned, and told of the drops, {:.1} s after the start",
            begin.elapsed().as_secs_f64()
        ));

        let mut expected = self.owner(&daemon.metrics()?)?;
        equal("labels of the warning", &warning.labels, &with(&expected, "KaProbesUnanswered", "warning"))?;
        expected.insert("cause".to_owned(), "keepalive_timeout".to_owned());
        equal("labels", &burst.labels, &with(&expected, "KaConnectionsDroppedBurst", "critical"))?;
        let lost = burst.annotation("summary").strip_prefix(&format!("{} lost ", self.comm));
        let lost = lost.and_then(|rest| rest.strip_suffix(" connections at once: keepalive_timeout"));
        ensure!(
            lost.and_then(|lost| lost.parse().ok()).is_some_and(|lost| (BURST..=CONNECTIONS).contains(&lost)),
            "expected a summary of {BURST} to {CONNECTIONS} connections, came {burst:?}"
        );
        let runbook =
            concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/runbooks/KaConnectionsDroppedBurst.md");
        ensure!(burst.annotation("runbook_url") == runbook, "expected {runbook}, came {burst:?}");
        // The route of the repository: the page alone, not what led to it.
        ensure!(burst.receivers == ["page"], "expected the receiver page, came {burst:?}");
        until("the warning to be inhibited", || {
            let warning = self.way.alert(&self.comm, "KaProbesUnanswered")?;
            Ok(warning.is_some_and(|warning| warning.inhibited).then_some(()))
        })
    }

    /// Whose the dropped connections are, by the daemon's own page: job, instance and what is not empty.
    fn owner(&self, page: &Page) -> Result<BTreeMap<String, String>> {
        let labels = [format!("comm=\"{}\"", self.comm), "cause=\"keepalive_timeout\"".to_owned()];
        let ours = |name: &str| name.starts_with(DROPPED) && labels.iter().all(|label| name.contains(label));
        let mut series = page.iter().filter(|(name, value)| ours(name) && **value > 0.0);
        let ((name, _), None) = (series.next().context("no drop on the page")?, series.next()) else {
            bail!("expected the drops of one owner, came those of more");
        };
        let inside = name.trim_start_matches(DROPPED).trim_matches(['{', '}']);
        let labels = inside.split(',').filter_map(|label| label.split_once('='));
        let labels = labels.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()));
        let ours = [("job", "ka".to_owned()), ("instance", self.way.daemon.to_string())];
        let ours = ours.into_iter().map(|(name, value)| (name.to_owned(), value));
        Ok(labels
            .filter(|(name, value)| !value.is_empty() && !["cause", "timer"].contains(&name.as_str()))
            .chain(ours)
            .collect())
    }
}

fn with(labels: &BTreeMap<String, String>, name: &str, severity: &str) -> BTreeMap<String, String> {
    let own = [("alertname", name), ("severity", severity)];
    labels.clone().into_iter().chain(own.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

fn equal(what: &str, came: &BTreeMap<String, String>, expected: &BTreeMap<String, String>) -> Result<()> {
    ensure!(came == expected, "{what}: expected {expected:?}, came {came:?}");
    Ok(())
}
