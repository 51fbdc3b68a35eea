//! The case that this project began with: streams of a Go program that are idle most of the time, and a load
//! balancer on their way that forgets what is idle for too long. Before, they are listed at risk; afterwards,
//! their drop is explained; and the alerts fire. Streams that probe in time are neither.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{DROPPED, Way, until};
use crate::args::Args;
use crate::case::Case;
use crate::daemon::{Page, sum};
use crate::middle::Middle;
use crate::net::{Net, Side};
use crate::runner;
use crate::running::Running;
use crate::servers::Folder;

const LIMIT: Duration = Duration::from_secs(6);
/// Streams of each program.
const STREAMS: usize = 4;

/// A program, and what is to become of its streams.
struct Streams {
    comm: &'static str,
    /// `net.Dialer.KeepAlive`.
    keepalive: &'static str,
    /// How often a stream sends a message: later than it probes.
    every: &'static str,
    risk: &'static str,
    /// Of the advice for it.
    says: &'static str,
    cause: &'static str,
    summary: &'static str,
    advice: &'static str,
}

const CUT: [Streams; 2] = [
    Streams {
        comm: "streams-off",
        keepalive: "-1s",
        every: "8s",
        risk: "keepalive_off",
        says: "turn keepalive on (SO_KEEPALIVE) with TCP_KEEPIDLE of at most 3 s",
        cause: "reset_after_idle",
        summary: "and the first data after that was answered by a reset",
        advice: "By the configuration, balancer forgets what is idle for 6 s. Keepalive was off: turn it on",
    },
    Streams {
        comm: "streams-above",
        keepalive: "8s",
        every: "1m",
        risk: "idle_too_long",
        says: "let the application set TCP_KEEPIDLE to at most 3 s",
        cause: "reset_by_probe",
        summary: "a keepalive probe was answered by a reset",
        advice: "By the configuration, balancer forgets what is idle for 6 s. If it was not the peer that restarted, \
                 set TCP_KEEPIDLE below that limit: it was 8 s, set by the application",
    },
];
const KEPT: &str = "streams-below";

pub(super) fn run(args: &Args, rules: &Path) -> Result<()> {
    let net = Arc::new(Net::new()?);
    let middle = Middle::new(&net, LIMIT, 1)?;
    let folder = Folder::new("balancer")?;
    let server = middle.server(1);
    let policy = format!("{{name: balancer, idle_limit: {LIMIT:?}, severity: critical, remote: [{server}]}}");
    folder.write("ka.yaml", &format!("policies:\n- {policy}\n"))?;
    let config = folder.path().join("ka.yaml");
    let config = config.to_str().context("the path of the configuration")?;
    let options = ["--config", config, "--idle-floor", "2s", "--inventory-interval", "1s"];
    let env = runner::environment(args, &options)?;
    let case = Case::new(&env, Arc::clone(&net))?;
    let way = Way::start(&env.daemon, rules, &folder, shorter)?;
    follow(&way, &case, &folder, SocketAddr::new(server.into(), 9000))
        .map_err(|error| way.explain(&error))?;
    net.clear()?;
    env.daemon.stop()
}

fn follow(way: &Way, case: &Case<'_>, folder: &Folder, server: SocketAddr) -> Result<()> {
    let server = server.to_string();
    let _server = start(case, folder, Side::B, "streams-server", &["serve", &server])?;
    let streams = STREAMS.to_string();
    let dial = |comm, keepalive, every| {
        start(case, folder, Side::A, comm, &["dial", &server, &streams, keepalive, every])
    };
    let _kept = dial(KEPT, "3s", "8s")?;
    let cut = CUT.iter().map(|streams| dial(streams.comm, streams.keepalive, streams.every));
    let _cut = cut.collect::<Result<Vec<_>>>()?;

    at_risk(case)?;
    for streams in &CUT {
        explained(case, streams)?;
    }
    for streams in &CUT {
        let risk = until("KaSocketsAtRisk", || way.alert(streams.comm, "KaSocketsAtRisk"))?;
        let expected = [("policy", "balancer"), ("reason", streams.risk), ("severity", "critical")];
        has(&risk.labels, &expected)?;
        let cut = until("KaIdleConnectionsCut", || {
            let found = way.alerts(streams.comm)?;
            Ok(found.into_iter().find(|alert| {
                alert.labels["alertname"] == "KaIdleConnectionsCut" && alert.labels["cause"] == streams.cause
            }))
        })?;
        has(&cut.labels, &[("severity", "warning"), ("job", "ka")])?;
        let summary = format!("Idle connections of {} are cut: {}", streams.comm, streams.cause);
        ensure!(cut.annotation("summary") == summary, "expected {summary:?}, came {cut:?}");
    }
    kept(way, case)
}

/// Before anything is dropped.
fn at_risk(case: &Case<'_>) -> Result<()> {
    let netns = case.inode(Side::A).to_string();
    let args = ["sockets", "--at-risk", "--netns", &netns];
    let listed = case.env.daemon.command(&case.env.program, &args)?;
    let page = case.env.daemon.metrics()?;
    let expected = CUT.len() * STREAMS;
    ensure!(listed.len() == expected, "expected {expected} streams at risk, came {listed:?}");
    ensure!(dropped(&page, "streams-") == 0, "expected that nothing is dropped yet");
    for streams in &CUT {
        let own: Vec<_> = listed.iter().filter(|socket| socket["owner"]["comm"] == streams.comm).collect();
        ensure!(own.len() == STREAMS, "expected {STREAMS} of {}, came {listed:?}", streams.comm);
        for socket in own {
            let advice = socket["advice"].as_str().unwrap_or_default();
            ensure!(socket["risks"][0]["policy"] == "balancer", "came {socket}");
            ensure!(socket["risks"][0]["reason"] == streams.risk, "came {socket}");
            ensure!(advice.contains(streams.says), "expected {:?} in {advice:?}", streams.says);
        }
    }
    Ok(())
}

fn explained(case: &Case<'_>, streams: &Streams) -> Result<()> {
    let dropped = until(streams.cause, || {
        let drops = case.env.daemon.command(&case.env.program, &["drops", "--process", streams.comm])?;
        Ok(drops.into_iter().find(|dropped| dropped["cause"] == streams.cause))
    })?;
    ensure!(dropped["passed"]["policy"] == "balancer", "came {dropped}");
    for (member, text) in [("summary", streams.summary), ("advice", streams.advice)] {
        let told = dropped[member].as_str().unwrap_or_default();
        ensure!(told.contains(text), "expected {text:?} in the {member} {told:?}");
    }
    Ok(())
}

/// Whoever probes in time lives, and nobody is told of it.
fn kept(way: &Way, case: &Case<'_>) -> Result<()> {
    let page = case.env.daemon.metrics()?;
    ensure!(dropped(&page, KEPT) == 0, "expected no drop of {KEPT}, came {page:?}");
    let answered = sum(&page, "ka_keepalive_probes_answered_total", &[&format!("comm=\"{KEPT}\"")]);
    ensure!(answered >= 4 * STREAMS as u64, "expected answered probes of {KEPT}, came {answered}");
    let alerts = way.alerts(KEPT)?;
    ensure!(alerts.is_empty(), "expected no alert about {KEPT}, came {alerts:?}");
    let [emitted, received, lost] =
        ["emitted", "received", "lost"].map(|what| sum(&page, &format!("ka_records_{what}_total"), &[]));
    ensure!(
        lost == 0 && emitted == received,
        "expected {emitted} records received, came {received}, {lost} lost"
    );
    Ok(())
}

/// Drops of processes whose name begins so.
fn dropped(page: &Page, comm: &str) -> u64 {
    sum(page, DROPPED, &[&format!("comm=\"{comm}")])
}

fn has(labels: &BTreeMap<String, String>, expected: &[(&str, &str)]) -> Result<()> {
    for (name, value) in expected {
        ensure!(
            labels.get(*name).is_some_and(|label| label == value),
            "expected {name}={value} in {labels:?}"
        );
    }
    Ok(())
}

/// Ranges of a thirtieth, as a connection is cut every few seconds here and every few minutes there.
fn shorter(rules: &str) -> String {
    let ranges =
        [("[2h:5m]", "[240s:10s]"), ("[15m]", "[30s]"), ("[10m]", "[20s]"), ("offset 5m", "offset 10s")];
    ranges.iter().fold(rules.to_owned(), |rules, (long, short)| rules.replace(long, short))
}

/// Starts the Go program under another name, by which its sockets are told apart.
fn start(case: &Case<'_>, folder: &Folder, side: Side, comm: &str, args: &[&str]) -> Result<Running> {
    let tools = case.env.tools.as_ref().context("say where the test programs are: KA_E2E_TOOLS")?;
    let path = folder.path().join(comm);
    symlink(tools.join("go-streams"), &path).with_context(|| path.display().to_string())?;
    let line = if side == Side::A { "connected" } else { "listening" };
    Running::start_ready(&case.net, side, Command::new(&path).args(args), line)
}
