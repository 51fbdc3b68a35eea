//! Runs the scenarios side by side, reports each, and then checks the daemon as a whole.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::args::Args;
use crate::case::{Case, Env};
use crate::daemon::{Daemon, sum};
use crate::net::{Net, Nstat, Side, nstat_here};
use crate::records::View;
use crate::say;
use crate::scenarios::{self, Scenario};

/// How a scenario ended.
#[derive(Debug)]
enum Verdict {
    Pass,
    Fail(String),
    Skip(String),
}

#[derive(Debug, Default)]
struct Totals {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Everything that outlives a scenario: its namespaces stay until the end of the run.
#[derive(Debug, Default)]
struct Shared {
    nets: Vec<Arc<Net>>,
    totals: Totals,
}

/// Runs what was asked for; whether all of it passed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let wanted: VecDeque<Scenario> = scenarios::all().into_iter().filter(|s| args.wants(s.name)).collect();
    ensure!(!wanted.is_empty(), "no scenario matches {:?}; --list names them", args.filters);
    let program = args.daemon.clone().context("say which daemon to test: --daemon PATH or $KA_DAEMON")?;
    let host_before = nstat_here()?;
    let daemon = Daemon::start(&program, &args.hooks, &["--idle-floor", "2s"])?;
    let env = Env {
        write_plan: daemon.plan("write_run")?,
        kernel: kernel_version()?,
        tools: std::env::var_os("KA_E2E_TOOLS").map(Into::into),
        hooks: args.hooks.clone(),
        program,
        daemon,
    };
    say(&format!(
        "{} scenarios, kernel {}.{}, write timer by {}",
        wanted.len(),
        env.kernel.0,
        env.kernel.1,
        env.write_plan
    ));
    let jobs = args.jobs.min(wanted.len());
    let shared = Mutex::new(Shared::default());
    let queue = Mutex::new(wanted);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(scenario) = next(&queue) {
                    let begin = Instant::now();
                    let verdict = one(&env, &scenario, &shared);
                    report(&scenario, &verdict, begin.elapsed(), &mut lock(&shared).totals);
                }
            });
        }
    });
    let mut shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    let begin = Instant::now();
    let audit = audit(&env, &shared.nets, host_before).and_then(|()| env.daemon.stop());
    let verdict = audit.map_or_else(|e| Verdict::Fail(format!("{e:#}")), |()| Verdict::Pass);
    let whole = Scenario { name: "whole_run_and_stop", min_kernel: (5, 10), run: |_| bail!("not run") };
    report(&whole, &verdict, begin.elapsed(), &mut shared.totals);
    let Totals { passed, failed, skipped } = shared.totals;
    if failed > 0 {
        say(&format!("daemon's own output:\n{}", env.daemon.stderr()));
    }
    say(&format!("{passed} passed, {failed} failed, {skipped} skipped"));
    Ok(failed == 0)
}

/// The next scenario; on its own, so that the queue is not locked while the scenario runs.
fn next(queue: &Mutex<VecDeque<Scenario>>) -> Option<Scenario> {
    lock(queue).pop_front()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report(scenario: &Scenario, verdict: &Verdict, took: Duration, totals: &mut Totals) {
    let name = scenario.name;
    match verdict {
        Verdict::Pass => {
            totals.passed += 1;
            say(&format!("PASS {name} ({:.1} s)", took.as_secs_f64()));
        }
        Verdict::Fail(why) => {
            totals.failed += 1;
            say(&format!("FAIL {name}: {why}"));
        }
        Verdict::Skip(why) => {
            totals.skipped += 1;
            say(&format!("SKIP {name}: {why}"));
        }
    }
}

/// A kernel below what a scenario needs skips it; at or above, it can only pass or fail.
fn one(env: &Env, scenario: &Scenario, shared: &Mutex<Shared>) -> Verdict {
    let (need, have) = (scenario.min_kernel, env.kernel);
    if have < need {
        return Verdict::Skip(format!(
            "needs kernel ≥ {}.{} (this is {}.{})",
            need.0, need.1, have.0, have.1
        ));
    }
    let case = Net::new().and_then(|net| {
        let net = Arc::new(net);
        lock(shared).nets.push(Arc::clone(&net));
        Case::new(env, net)
    });
    let case = match case {
        Ok(case) => case,
        Err(e) => return Verdict::Fail(format!("no namespaces: {e:#}")),
    };
    let run = std::panic::catch_unwind(AssertUnwindSafe(|| (scenario.run)(&case)));
    let result = run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(anyhow!("panic: {}", text.or_else(|| panic.downcast_ref().copied()).unwrap_or("?")))
    });
    match result.and_then(|expect| case.finish(&expect)) {
        Ok(()) => Verdict::Pass,
        Err(e) => Verdict::Fail(format!("{e:#}\n{}", case.details())),
    }
}

/// The daemon's page against its record log, and against the kernel over all namespaces.
fn audit(env: &Env, nets: &[Arc<Net>], host_before: Nstat) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        // Records keep coming while sockets end: try until everything stands still.
        match audit_once(env, nets, host_before) {
            Err(e) if Instant::now() > deadline => return Err(e),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
            Ok(()) => return Ok(()),
        }
    }
}

fn audit_once(env: &Env, nets: &[Arc<Net>], host_before: Nstat) -> Result<()> {
    let page = env.daemon.metrics()?;
    let all = env.daemon.all()?;
    let total = |metric: &str, labels: &[&str]| sum(&page, metric, labels);
    let (emitted, received) =
        (total("ka_records_emitted_total", &[]), total("ka_records_received_total", &[]));
    let lost = total("ka_records_lost_total", &[]);
    ensure!(lost == 0, "expected no lost records, came {lost}");
    ensure!(
        emitted == received && emitted > 0,
        "expected emitted = received > 0, came {emitted} and {received}"
    );
    equal("records received", received, all.records().count() as u64)?;
    equal("probes sent", total("ka_keepalive_probes_sent_total", &[]), all.sent())?;
    equal("probes answered", total("ka_keepalive_probes_answered_total", &[]), all.answered())?;
    equal("probes unanswered", total("ka_keepalive_probes_unanswered_total", &[]), all.unanswered())?;
    equal("probes unsettled", total("ka_keepalive_probes_unsettled_total", &[]), 0)?;
    equal("window probes", total("ka_zero_window_probes_sent_total", &[]), all.window_probes())?;
    for reason in ["data_in_flight", "socket_locked", "local_congestion"] {
        let label = format!("reason=\"{reason}\"");
        let counted = total("ka_keepalive_probes_suppressed_total", &[&label]);
        equal(reason, counted, all.suppressed(reason))?;
    }
    equal("resets", total("ka_resets_received_total", &[]), all.resets().len() as u64)?;
    drops(&page, &all)?;
    equal("ends", total("ka_connections_ended_total", &[]), all.ended().len() as u64)?;
    let samples = total("ka_keepalive_probe_rtt_seconds_count", &[]);
    let skipped = total("ka_keepalive_probe_rtt_skipped_total", &[]);
    equal("round trips", samples, all.round_trips().len() as u64)?;
    equal("round trips and skipped", samples + skipped, all.answered())?;
    kernel_sums(env, &page, nets, host_before)
}

fn drops(page: &crate::daemon::Page, all: &View) -> Result<()> {
    let mut kinds = all.drops();
    equal("drops", sum(page, "ka_connections_dropped_total", &[]), kinds.len() as u64)?;
    kinds.sort();
    for group in kinds.chunk_by(|a, b| a == b) {
        let (cause, timer) = group[0].split_once('/').context("cause/timer")?;
        let labels = [format!("cause=\"{cause}\""), format!("timer=\"{timer}\"")];
        let counted = sum(page, "ka_connections_dropped_total", &[&labels[0], &labels[1]]);
        equal(&group[0], counted, group.len() as u64)?;
    }
    Ok(())
}

/// Per namespace and in sum; other people's namespaces on this machine are left out.
fn kernel_sums(env: &Env, page: &crate::daemon::Page, nets: &[Arc<Net>], before: Nstat) -> Result<()> {
    let mut expected = nstat_here()?.keepalive - before.keepalive;
    let host = std::fs::metadata("/proc/self/ns/net").context("own namespace")?;
    let mut inodes = vec![std::os::unix::fs::MetadataExt::ino(&host)];
    for net in nets {
        for side in Side::BOTH {
            let (kernel, inode) = (net.nstat(side)?.keepalive, net.inode(side)?);
            let label = format!("netns=\"{inode}\"");
            let view = env.daemon.view(&[inode])?;
            equal(
                "probes sent and the kernel's count",
                view.sent() + view.suppressed("local_congestion"),
                kernel,
            )?;
            equal("observed probes", sum(page, "ka_observed_keepalive_probes_total", &[&label]), kernel)?;
            expected += kernel;
            inodes.push(inode);
        }
    }
    let view = env.daemon.view(&inodes)?;
    equal("kernel's probes over all namespaces", view.sent() + view.suppressed("local_congestion"), expected)
}

fn equal(what: &str, left: u64, right: u64) -> Result<()> {
    ensure!(left == right, "{what}: expected {right}, came {left}");
    Ok(())
}

fn kernel_version() -> Result<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("cannot read a version from {release}"),
    }
}
