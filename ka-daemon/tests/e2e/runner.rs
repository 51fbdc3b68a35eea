//! Runs the scenarios side by side, reports each, and then checks the daemon as a whole.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::args::Args;
use crate::audit::audit;
use crate::case::{Case, Env};
use crate::daemon::Daemon;
use crate::net::{Net, nstat_here};
use crate::say;
use crate::scenarios::{self, Scenario};
use crate::trace::Kept;

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
    /// Of attempts that were repeated: the kernel's counts there are known to be more than was seen.
    spoilt: Vec<Arc<Net>>,
    /// Timer runs kept from the daemon that have excused an attempt.
    excused: u64,
    totals: Totals,
}

/// Attempts at a scenario while the kernel keeps timer runs from BPF programs.
const ATTEMPTS: usize = 3;

/// Runs what was asked for; whether all of it passed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let wanted: VecDeque<Scenario> = scenarios::all().into_iter().filter(|s| args.wants(s.name)).collect();
    ensure!(!wanted.is_empty(), "no scenario matches {:?}; --list names them", args.filters);
    let host_before = nstat_here()?;
    // Sweeps look at the namespaces of all scenarios, and cost much in a guest.
    let options =
        ["--idle-floor", "2s", "--bpf-stats", "--inventory-interval", "2s", "--inventory-max-cpu", "5"];
    let env = environment(args, &options)?;
    let kept = Kept::watch(&env.daemon)?;
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
                    let verdict = one(&env, &kept, &scenario, &shared);
                    report(&scenario, &verdict, begin.elapsed(), &mut lock(&shared).totals);
                }
            });
        }
    });
    let mut shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    let begin = Instant::now();
    // Where a scenario failed the sums hardly ever agree.
    let patience = if shared.totals.failed == 0 { Duration::from_mins(3) } else { Duration::from_secs(30) };
    let audit = audit(&env, &shared.nets, host_before, !shared.spoilt.is_empty(), patience)
        .and_then(|()| env.daemon.stop())
        .and_then(|()| shared.nets.iter().chain(&shared.spoilt).try_for_each(|net| net.clear()));
    let verdict = audit.map_or_else(|e| Verdict::Fail(format!("{e:#}")), |()| Verdict::Pass);
    let whole = Scenario { name: "whole_run_and_stop", min_kernel: (5, 10), run: |_| bail!("not run") };
    report(&whole, &verdict, begin.elapsed(), &mut shared.totals);
    if !shared.spoilt.is_empty() {
        say(&format!("{} attempts were repeated: this kernel kept timer runs from BPF", shared.spoilt.len()));
    }
    let Totals { passed, failed, skipped } = shared.totals;
    if failed > 0 {
        say(&format!("daemon's own output:\n{}", env.daemon.stderr()));
    }
    say(&format!("{passed} passed, {failed} failed, {skipped} skipped"));
    Ok(failed == 0)
}

/// The daemon under test, started with these options, and what is known of the machine.
pub(crate) fn environment(args: &Args, options: &[&str]) -> Result<Env> {
    let program = args.daemon.clone().context("say which daemon to test: --daemon PATH or $KA_DAEMON")?;
    let daemon = Daemon::start(&program, &args.hooks, options)?;
    Ok(Env {
        write_plan: daemon.plan("write_run")?,
        kernel: kernel_version()?,
        tools: std::env::var_os("KA_E2E_TOOLS").map(Into::into),
        hooks: args.hooks.clone(),
        program,
        daemon,
    })
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
///
/// A failure is repeated only where the kernel's own trace shows that it kept timer runs from the
/// daemon, each of which excuses one attempt.
fn one(env: &Env, kept: &Kept, scenario: &Scenario, shared: &Mutex<Shared>) -> Verdict {
    let (need, have) = (scenario.min_kernel, env.kernel);
    if have < need {
        return Verdict::Skip(format!(
            "needs kernel ≥ {}.{} (this is {}.{})",
            need.0, need.1, have.0, have.1
        ));
    }
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        let net = match Net::new() {
            Ok(net) => Arc::new(net),
            Err(e) => return Verdict::Fail(format!("no namespaces: {e:#}")),
        };
        let Err(failure) = attempt(env, &net, scenario) else {
            lock(shared).nets.push(net);
            return Verdict::Pass;
        };
        let unseen = match kept.so_far() {
            Ok(unseen) => unseen,
            Err(e) => return Verdict::Fail(format!("{failure}\n    no trace of timers: {e:#}")),
        };
        let mut shared = lock(shared);
        if unseen <= shared.excused || left == 0 {
            shared.nets.push(net);
            return Verdict::Fail(failure);
        }
        shared.excused += 1;
        shared.spoilt.push(net);
        let first = failure.lines().next().unwrap_or_default();
        say(&format!("REPEAT {}: {first} (the kernel kept {unseen} timer runs from BPF)", scenario.name));
    }
}

fn attempt(env: &Env, net: &Arc<Net>, scenario: &Scenario) -> Result<(), String> {
    let case = Case::new(env, Arc::clone(net)).map_err(|e| format!("no case: {e:#}"))?;
    let run = std::panic::catch_unwind(AssertUnwindSafe(|| (scenario.run)(&case)));
    let result = run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(anyhow!("panic: {}", text.or_else(|| panic.downcast_ref().copied()).unwrap_or("?")))
    });
    result.and_then(|expect| case.finish(&expect)).map_err(|e| format!("{e:#}\n{}", case.details()))
}

fn kernel_version() -> Result<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("cannot read a version from {release}"),
    }
}
