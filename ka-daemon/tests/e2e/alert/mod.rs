//! The way of an alert: something happens to connections, the daemon counts, Prometheus evaluates the rules, and
//! Alertmanager has the alert, under the owner's name.
//!
//! The rule files are those of the repository but for one thing: every time that a rule waits (`interval`,
//! `for`, `keep_firing_for`) is a thirtieth, so that 30 s become 1 s. [`balancer`] shortens ranges as well.
//! Alertmanager's configuration is that of the repository.

mod balancer;
mod cut;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use crate::args::Args;
use crate::daemon::Daemon;
use crate::say;
use crate::servers::{Folder, Server, free_address};

/// For anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(90);
/// Rules wait a thirtieth of their times.
const FASTER: u64 = 30;
const DROPPED: &str = "ka_connections_dropped_total";

/// One way: its name, and what it does with the folder dashboards/prometheus.
type Test = (&'static str, fn(&Args, &Path) -> Result<()>);
const TESTS: [Test; 2] = [("a_link_is_cut", cut::run), ("a_balancer_forgets", balancer::run)];

/// Runs each; `rules` is the folder dashboards/prometheus. Whether all passed.
pub(crate) fn run(args: &Args, rules: &Path) -> bool {
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS.iter().filter(|(name, _)| args.wants(name)) {
        let begin = Instant::now();
        match test(args, rules) {
            Ok(()) => {
                passed += 1;
                say(&format!("PASS {name} ({:.1} s)", begin.elapsed().as_secs_f64()));
            }
            Err(e) => {
                failed += 1;
                say(&format!("FAIL {name}: {e:#}"));
            }
        }
    }
    say(&format!("{passed} passed, {failed} failed, 0 skipped"));
    failed == 0
}

/// Prometheus and Alertmanager, and where the daemon is. The daemon sees the whole machine: alerts are looked at
/// by the name of the process that they are about.
struct Way {
    prometheus: Server,
    alertmanager: Server,
    daemon: SocketAddr,
}

impl Way {
    /// `change` is made to the rules.
    fn start(
        daemon: &Daemon,
        rules: &Path,
        folder: &Folder,
        change: impl Fn(&str) -> String,
    ) -> Result<Self> {
        let read = |name: &str| {
            let file = rules.join(name);
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        for name in ["recording.yaml", "alerts.yaml"] {
            folder.write(name, &change(&faster(&read(name)?)?))?;
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
        Ok(Self { prometheus, alertmanager, daemon: daemon.address() })
    }

    /// What the servers said, with an error.
    fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        anyhow!("{error:#}\n{}\n{}", self.prometheus.said(), self.alertmanager.said())
    }

    /// The value of a query that gives one number; 0 where it gives none.
    fn value(&self, query: &str) -> Result<f64> {
        let answer = self.prometheus.json(&format!("/api/v1/query?query={query}"))?;
        let value = answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0");
        value.parse().with_context(|| format!("{query}: {answer}"))
    }

    /// Alerts about a process.
    fn alerts(&self, comm: &str) -> Result<Vec<Alert>> {
        let answer = self.alertmanager.json("/api/v2/alerts")?;
        let all = answer.as_array().context("/api/v2/alerts")?.iter().map(Alert::read);
        let about = |alert: &Result<Alert>| {
            alert.as_ref().map_or(true, |alert| alert.labels.get("comm").is_some_and(|name| name == comm))
        };
        all.filter(about).collect()
    }

    /// The one of this name.
    fn alert(&self, comm: &str, name: &str) -> Result<Option<Alert>> {
        let mut found = self.alerts(comm)?;
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

fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "expected {what}, did not come within {PATIENCE:?}");
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
