//! The dashboards' queries against a real Prometheus that scraped a real daemon while connections lived and
//! died: every panel has data, and what is counted as drops adds up to what the daemon counted.

mod prometheus;
mod queries;
mod traffic;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ka_daemon::table::Cause;

use crate::args::Args;
use crate::daemon::{Daemon, Page, sum};
use crate::say;
use crate::servers::Folder;
use prometheus::{Prometheus, Span};
use queries::{Board, Query};
pub(crate) use traffic::worker;

/// What `$__interval` and `$__rate_interval` are; the latter is the 15 s of a scrape interval of one second.
const STEP: Duration = Duration::from_secs(5);
/// Scrapes before anything happens, so that all that happens is seen to begin.
const QUIET: Duration = Duration::from_secs(8);

/// For what comes late on a slow machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// One limit that none of the programs' connections reaches, and one that they get half way to.
const POLICIES: &str = "policies:
- {name: load-balancer, idle_limit: 350s, severity: critical, remote: [10.77.0.0/24]}
- {name: firewall, idle_limit: 10s, remote: [10.77.0.2], comm: [gateway]}
";

/// Causes that no program here makes.
const NOT_MADE: [&str; 1] = ["other"];

/// Runs it all; whether everything passed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let folder = args.boards.as_deref().context("--boards names no folder")?;
    let program = args.daemon.clone().context("say which daemon to test: --daemon PATH or $KA_DAEMON")?;
    let boards = queries::read(folder)?;
    let files = Folder::new("boards")?;
    files.write("ka.yaml", POLICIES)?;
    let config = files.path().join("ka.yaml");
    let config = config.to_str().context("the path of the configuration")?;
    let options = ["--idle-floor", "2s", "--bpf-stats", "--inventory-interval", "1s", "--config", config];
    let daemon = Daemon::start(&program, &args.hooks, &options)?;
    let prometheus = Prometheus::start(daemon.address(), &files)?;
    let begin = Instant::now();
    std::thread::sleep(QUIET);
    let traffic = traffic::Traffic::start()?;
    std::thread::sleep(args.seconds);
    wait_until_seen(&daemon)?;
    // Tables show what is now: asked while there is something.
    let busy = prometheus::now()?;
    traffic.stop()?;
    // What ends with the programs is seen, and the last step lies behind it.
    std::thread::sleep(STEP + Duration::from_secs(3));
    let page = daemon.metrics()?;
    let span = Span::last(begin.elapsed(), STEP)?;

    let (mut passed, mut failed) = (0, 0);
    let mut judge = |name: &str, outcome: Result<String>| match outcome {
        Ok(told) => {
            passed += 1;
            say(&format!("PASS {name}: {told}"));
        }
        Err(e) => {
            failed += 1;
            say(&format!("FAIL {name}: {e:#}"));
        }
    };
    for board in &boards {
        judge(&format!("dashboard {}", board.uid), every_query(&prometheus, board, &span, busy));
    }
    judge("variables", variables(&prometheus, &boards, busy));
    judge("causes", causes(&page));
    for (board, panel) in [("ka-overview", "Dropped"), ("ka-drops", "Drops by cause")] {
        judge(&format!("{board}: {panel}"), adds_up(&prometheus, &boards, board, panel, &span));
    }
    if let Some(keep) = &args.keep {
        queries::keep(keep, &boards, |query| ask(&prometheus, query, &query.with_all(&span), &span, busy))?;
    }
    daemon.stop()?;
    say(&format!("{passed} passed, {failed} failed, 0 skipped"));
    Ok(failed == 0)
}

/// Waits for what comes late: sweeps are seldom where they take long, and a limit is suspected only once
/// connections have died of it again. In the end the queries tell what is missing.
fn wait_until_seen(daemon: &Daemon) -> Result<()> {
    let late = [
        ("ka_sockets_at_risk_idle", &["policy=\"firewall\""][..]),
        ("ka_suspected_idle_timeout_min_seconds", &[]),
        ("ka_suspected_idle_timeout_max_seconds", &[]),
    ];
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let page = daemon.metrics()?;
        if late.iter().all(|(metric, labels)| sum(&page, metric, labels) > 0) {
            // It is scraped.
            std::thread::sleep(Duration::from_secs(3));
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn ask(
    prometheus: &Prometheus,
    query: &Query,
    expr: &str,
    span: &Span,
    busy: f64,
) -> Result<Vec<prometheus::Series>> {
    let answer = if query.instant { prometheus.at(expr, busy) } else { prometheus.over(expr, span) };
    answer.with_context(|| format!("{query}: {expr}"))
}

fn every_query(prometheus: &Prometheus, board: &Board, span: &Span, busy: f64) -> Result<String> {
    let mut without = Vec::new();
    for query in &board.queries {
        // What stands in where there is nothing is no data.
        let expr = query.with_all(span).replace(" or vector(0)", "");
        let series = ask(prometheus, query, &expr, span, busy)?;
        if !series.iter().any(|one| one.values.iter().any(|(_, value)| value.is_finite())) {
            without.push(format!("    no data: {query}: {expr}"));
        }
    }
    ensure!(
        without.is_empty(),
        "{} of {} queries have no data\n{}",
        without.len(),
        board.queries.len(),
        without.join("\n")
    );
    Ok(format!("all of {} queries have data", board.queries.len()))
}

/// Each variable of labels that every daemon has offers something.
fn variables(prometheus: &Prometheus, boards: &[Board], busy: f64) -> Result<String> {
    let mut told = Vec::new();
    for (name, selector) in boards.iter().flat_map(|board| &board.variables) {
        // The others are of Kubernetes and systemd.
        if ["job", "instance", "comm"].contains(&name.as_str()) {
            let found = prometheus.at(&format!("count by ({name}) ({selector})"), busy)?;
            let named = found.iter().filter(|series| !series.label(name).is_empty()).count();
            ensure!(named > 0, "the variable {name} offers nothing: {selector}");
            told.push(format!("{name} {named}"));
        }
    }
    told.sort();
    told.dedup();
    Ok(told.join(", "))
}

/// The programs did what they are for: a graph of causes shows all of them.
fn causes(page: &Page) -> Result<String> {
    let made = |cause: &str| sum(page, "ka_connections_dropped_total", &[&format!("cause=\"{cause}\"")]);
    let causes: Vec<_> = Cause::ALL.iter().map(|cause| cause.label()).collect();
    let missing: Vec<_> =
        causes.iter().filter(|cause| made(cause) == 0 && !NOT_MADE.contains(cause)).collect();
    ensure!(missing.is_empty(), "no connection died of {missing:?}");
    Ok(causes.iter().map(|cause| format!("{cause} {}", made(cause))).collect::<Vec<_>>().join(", "))
}

/// The bars of a graph, or the numbers behind a sum, add up to what the daemon counted since the first scrape.
fn adds_up(
    prometheus: &Prometheus,
    boards: &[Board],
    board: &str,
    panel: &str,
    span: &Span,
) -> Result<String> {
    let mut all = boards.iter().filter(|one| one.uid == board).flat_map(|one| &one.queries);
    let query = all.find(|query| query.panel == panel).context("there is no such panel")?;
    let series = prometheus.over(&query.with_all(span), span)?;
    let shown: f64 = series.iter().flat_map(|one| &one.values).map(|(_, value)| value).sum();
    let total = |time| -> Result<f64> {
        let found = prometheus.at("sum(last_over_time(ka_connections_dropped_total[1h]))", time)?;
        Ok(found.iter().flat_map(|one| &one.values).map(|(_, value)| value).sum())
    };
    // What was there at the first step that Prometheus knows had been counted before.
    let first = prometheus.at("min_over_time(timestamp(ka_build_info)[1h:1s])", span.end)?;
    let first = first.first().and_then(|one| one.values.first()).context("no scrape")?.1;
    let counted = total(span.end)? - total(span.base(first))?;
    let equal = (shown - counted).abs() < 1e-6;
    ensure!(equal && counted > 0.0, "expected the {counted} drops that the daemon counted, came {shown}");
    Ok(format!("{counted} drops"))
}
