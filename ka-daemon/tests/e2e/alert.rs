//! The way of an alert: a link is cut, the daemon counts, Prometheus evaluates the rules, and Alertmanager
//! has the alert, under the owner's name.
//!
//! The rule files are those of the repository but for one thing: every time that a rule waits (`interval`,
//! `for`, `keep_firing_for`) is a thirtieth, so that 30 s become 1 s. Ranges, offsets and thresholds within
//! the expressions stay. Alertmanager's configuration is that of the repository.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::args::Args;
use crate::case::Case;
use crate::daemon::{Daemon, Page, sum};
use crate::net::{Family, Net};
use crate::runner;
use crate::say;
use crate::servers::{Folder, Server, free_address};
use crate::tcp::Keepalive;

/// Two more than make a burst: a kernel that keeps timer runs from BPF programs hides the cause of a drop.
const CONNECTIONS: u64 = 12;
const BURST: u64 = 10;
/// Dropped 21 s after the last sign of life: time enough to be warned of it.
const SETTINGS: Keepalive = Keepalive { idle: 1, interval: 1, count: 20 };
/// The whole of it.
const LIMIT: Duration = Duration::from_secs(90);
/// Rules wait a thirtieth of their times.
const FASTER: u64 = 30;
const DROPPED: &str = "ka_connections_dropped_total";

/// Runs it; `rules` is the folder dashboards/prometheus.
pub(crate) fn run(args: &Args, rules: &Path) -> Result<()> {
    let begin = Instant::now();
    let env = runner::environment(args, &["--inventory-interval", "1s"])?;
    let net = Arc::new(Net::new()?);
    let case = Case::new(&env, Arc::clone(&net))?;
    let folder = Folder::new("alert")?;
    let way = Way::start(&env.daemon, rules, &folder)?;
    way.follow(&case, begin)
        .map_err(|error| anyhow!("{error:#}\n{}\n{}", way.prometheus.said(), way.alertmanager.said()))?;
    net.clear()?;
    env.daemon.stop()?;
    ensure!(begin.elapsed() < LIMIT, "it took {:?}, expected less than {LIMIT:?}", begin.elapsed());
    say(&format!("PASS alert ({:.1} s)", begin.elapsed().as_secs_f64()));
    Ok(())
}

/// Prometheus and Alertmanager, where the daemon is, and whose connections are cut. The daemon sees the whole
/// machine: what other programs lose meanwhile is not looked at.
struct Way {
    prometheus: Server,
    alertmanager: Server,
    daemon: SocketAddr,
    comm: String,
}

impl Way {
    fn start(daemon: &Daemon, rules: &Path, folder: &Folder) -> Result<Self> {
        let read = |name: &str| {
            let file = rules.join(name);
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        for name in ["recording.yaml", "alerts.yaml"] {
            folder.write(name, &faster(&read(name)?)?)?;
        }
        folder.write("alertmanager.yaml", &read("alertmanager.yaml")?)?;
        let (ours, theirs) = (free_address()?, free_address()?);
        folder.write("prometheus.yaml", &configuration(daemon.address(), theirs))?;
        let alertmanager = Server::start(
            &["prometheus-alertmanager", "alertmanager"],
            &[
                "--config.file=alertmanager.yaml".to_owned(),
                "--storage.path=alertmanager".to_owned(),
                // No cluster: nothing is listened on but the API.
                "--cluster.listen-address=".to_owned(),
                format!("--web.listen-address={theirs}"),
            ],
            theirs,
            folder,
        )?;
        let prometheus = Server::start(
            &["prometheus"],
            &[
                "--config.file=prometheus.yaml".to_owned(),
                "--storage.tsdb.path=prometheus".to_owned(),
                format!("--web.listen-address={ours}"),
            ],
            ours,
            folder,
        )?;
        let comm = fs::read_to_string("/proc/self/comm").context("/proc/self/comm")?.trim_end().to_owned();
        Ok(Self { prometheus, alertmanager, daemon: daemon.address(), comm })
    }

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
            let scrapes = self.value("max(count_over_time(ka_keepalive_probes_answered_total[1m]))")?;
            Ok((answered >= 3 * CONNECTIONS && scrapes >= 3.0).then_some(()))
        })?;
        let early = self.alerts()?;
        ensure!(early.is_empty(), "expected no alert while all is well, came {early:?}");

        case.net.cut()?;
        let warning = until("KaProbesUnanswered", || self.alert("KaProbesUnanswered"))?;
        let dropped = sum(&daemon.metrics()?, DROPPED, &[&ours]);
        ensure!(dropped == 0, "expected the warning before the drops, {dropped} came first");
        let burst = until("KaConnectionsDroppedBurst", || self.alert("KaConnectionsDroppedBurst"))?;
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
            let warning = self.alert("KaProbesUnanswered")?;
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
        let ours = [("job", "ka".to_owned()), ("instance", self.daemon.to_string())];
        let ours = ours.into_iter().map(|(name, value)| (name.to_owned(), value));
        Ok(labels
            .filter(|(name, value)| !value.is_empty() && !["cause", "timer"].contains(&name.as_str()))
            .chain(ours)
            .collect())
    }

    /// The value of a query that gives one number; 0 where it gives none.
    fn value(&self, query: &str) -> Result<f64> {
        let answer = self.prometheus.json(&format!("/api/v1/query?query={query}"))?;
        let value = answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0");
        value.parse().with_context(|| format!("{query}: {answer}"))
    }

    /// Alerts about the connections that are cut.
    fn alerts(&self) -> Result<Vec<Alert>> {
        let answer = self.alertmanager.json("/api/v2/alerts")?;
        let all = answer.as_array().context("/api/v2/alerts")?.iter().map(Alert::read);
        let ours = |alert: &Result<Alert>| {
            alert.as_ref().map_or(true, |alert| alert.labels.get("comm") == Some(&self.comm))
        };
        all.filter(ours).collect()
    }

    fn alert(&self, name: &str) -> Result<Option<Alert>> {
        let mut found = self.alerts()?;
        found.retain(|alert| alert.labels["alertname"] == name);
        ensure!(found.len() <= 1, "expected one {name}, came {found:?}");
        Ok(found.pop())
    }
}

/// An alert as Alertmanager has it.
#[derive(Debug)]
struct Alert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    receivers: Vec<String>,
    inhibited: bool,
}

impl Alert {
    fn read(value: &Value) -> Result<Self> {
        let map =
            |name: &str| serde_json::from_value(value[name].clone()).with_context(|| format!("{value}"));
        let names = value["receivers"].as_array().into_iter().flatten();
        Ok(Self {
            labels: map("labels")?,
            annotations: map("annotations")?,
            receivers: names.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect(),
            inhibited: value["status"]["inhibitedBy"].as_array().is_some_and(|by| !by.is_empty()),
        })
    }

    fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map_or("", String::as_str)
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

fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + LIMIT / 2;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "expected {what}, did not come within {:?}", LIMIT / 2);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The job has labels of its own, as in Kubernetes: the owner's must win, also where they are empty.
fn configuration(daemon: SocketAddr, alertmanager: SocketAddr) -> String {
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [recording.yaml, alerts.yaml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{alertmanager}\"]}}]}}]}}
scrape_configs:
  - job_name: ka
    honor_labels: true
    static_configs:
      - targets: [\"{daemon}\"]
        labels: {{namespace: monitoring, pod: ka-abcde, container: ka, service: ka}}
"
    )
}

/// Rules that wait a thirtieth of their times, and a second at least.
fn faster(rules: &str) -> Result<String> {
    let mut lines = Vec::new();
    for line in rules.lines() {
        let waits = |key: &&str| line.trim_start().starts_with(key);
        if ["interval: ", "for: ", "keep_firing_for: "].iter().any(waits) {
            let (key, time) = line.split_once(": ").context("a key and a value")?;
            let time = humantime::parse_duration(time.trim()).with_context(|| line.to_owned())?;
            lines.push(format!("{key}: {}s", (time.as_secs() / FASTER).max(1)));
        } else {
            lines.push(line.to_owned());
        }
    }
    let text = lines.join("\n") + "\n";
    ensure!(text != rules, "no rule waits");
    Ok(text)
}
