//! Timers that interrupt a process while a program of the daemon runs for it.
//! Needs `unsafe` for `nice`, which no crate here wraps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::{Scenario, on_any};
use crate::case::{Case, Expect};
use crate::net::{Family, Net, Side};
use crate::tcp::{Keepalive, Tcp};

pub(super) const SCENARIOS: &[Scenario] = &[on_any("timeouts_that_interrupt_state_changes", timeouts)];

const CONNECTIONS: usize = 120;
/// Time for all of them; on an emulated machine some go in peace.
const BUSY: Duration = Duration::from_secs(6);

/// On each CPU a process changes the state of a socket, as fast as it can, while connections time out. The kernel
/// does not enter a program that it has interrupted: without a second one, the closes of whole softirqs
/// would go unseen.
fn timeouts(case: &Case<'_>) -> Result<Expect> {
    let (listener, address) = case.listen(Side::B, Family::V4)?;
    let mut pairs = Vec::new();
    for _ in 0..CONNECTIONS {
        pairs.push(case.connect_to(&listener, address, Family::V4)?);
    }
    case.net.cut()?;
    let done = AtomicBool::new(false);
    let view = std::thread::scope(|scope| {
        let busy: Vec<_> = (0..cpus()?)
            .map(|cpu| {
                let done = &done;
                scope.spawn(move || change_states(case, cpu, done))
            })
            .collect();
        let view = (|| {
            for pair in &pairs {
                // Idle for more than a second, it may be probed as soon as that is set: the interval first.
                pair.a.keepalive(Keepalive { idle: 600, interval: 1, count: 1 })?;
                pair.a.keepalive(Keepalive { idle: 1, interval: 1, count: 1 })?;
                // Timers of one moment fire in one softirq.
                std::thread::sleep(Duration::from_millis(20));
            }
            case.wait(Side::A, "every drop", |v| v.drops().len() >= CONNECTIONS)
        })();
        done.store(true, Ordering::Relaxed);
        for thread in busy {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        view
    })?;
    let congested = view.suppressed("local_congestion");
    ensure!(congested == 0, "expected no local congestion, came {congested}");
    let mut lives = BTreeMap::new();
    for r in view.records() {
        let life = lives.entry((r.sock.to_string(), r.first_seen_ns)).or_insert(&r.local);
        ensure!(*life == &r.local, "one identity was {life} and {}", r.local);
    }
    Ok(Expect::drops(&["keepalive_timeout/keepalive"; CONNECTIONS]))
}

fn cpus() -> Result<usize> {
    Ok(std::thread::available_parallelism().context("number of CPUs")?.get())
}

/// Listens and stops, on one CPU, until it is told to end, or long enough.
fn change_states(case: &Case<'_>, cpu: usize, done: &AtomicBool) -> Result<()> {
    case.net.within(Side::A, || {
        let mut here = CpuSet::new();
        here.set(cpu).context("a CPU's number")?;
        sched_setaffinity(Pid::from_raw(0), &here).context("sched_setaffinity")?;
        // Whatever else runs here comes first. On Linux this is of the thread.
        // SAFETY: takes no pointers.
        unsafe {
            libc::nice(19);
        }
        let socket = Tcp::new(Net::address(Side::A, Family::V4), libc::IPPROTO_TCP)?;
        let end = Instant::now() + BUSY;
        while Instant::now() < end && !done.load(Ordering::Relaxed) {
            socket.raw().listen(1).context("listen")?;
            socket.disconnect()?;
        }
        Ok(())
    })
}
