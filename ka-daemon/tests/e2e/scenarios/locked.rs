//! Timers and resets that find the socket locked by its user, and a full local queue.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::window::narrow;
use super::{Scenario, on_any};
use crate::case::{Case, Expect, WindowProbes};
use crate::net::{Family, Side};
use crate::tcp::{FAST, Keepalive};
use crate::uffd::HeldLock;

pub(super) const SCENARIOS: &[Scenario] = &[
    on_any("socket_locked", socket_locked),
    on_any("reset_from_the_backlog", reset_from_backlog),
    on_any("zero_window_probe_deferred", deferred_window_probe),
    on_any("local_congestion", local_congestion),
    on_any("data_in_flight", data_in_flight),
];

/// The timer tries every 50 ms while the lock is held: one suppression, then a probe.
fn socket_locked(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(FAST)?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    pair.b.write(b"x")?;
    let lock = HeldLock::take(&pair.a)?;
    let before = case.view(Side::A)?.sent();
    lock.hold_for(Duration::from_secs(3))?;
    let view = case.wait(Side::A, "a probe after the lock", |v| v.sent() > before)?;
    let locked = view.suppressed("socket_locked");
    ensure!(locked == 1, "expected one suppression for socket_locked, came {locked}");
    ensure!(view.unanswered() == 0, "expected no unanswered probe, came {}", view.unanswered());
    Ok(Expect::nothing())
}

/// The RST waits in the backlog and is processed by the process that lets go of the lock.
fn reset_from_backlog(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(Keepalive { idle: 2, interval: 30, count: 3 })?;
    case.wait(Side::A, "a probe", |v| v.sent() >= 1)?;
    pair.b.write(b"x")?;
    let lock = HeldLock::take(&pair.a)?;
    case.abort(pair.b)?;
    lock.hold_for(Duration::from_millis(200))?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Case::wait_error(&pair.a, libc::ECONNRESET)?;
    Ok(Expect::drops(&["reset/none"]).resets(&["idle"]))
}

/// The persist timer found the lock held: its probe goes out as the lock is released, outside any
/// timer run. The tracepoint plan cannot see that, and may not count too many for it.
fn deferred_window_probe(case: &Case<'_>) -> Result<Expect> {
    let pair = narrow(case, Family::V4)?;
    pair.a.fill()?;
    case.wait(Side::A, "a window probe", |v| v.window_probes() >= 1)?;
    pair.b.write(b"x")?;
    let lock = HeldLock::take(&pair.a)?;
    let held = case.net.nstat(Side::A)?.win_probe;
    std::thread::sleep(Duration::from_secs(4));
    let still = case.net.nstat(Side::A)?.win_probe;
    ensure!(still == held, "expected no window probe under the lock, came {}", still - held);
    lock.release()?;
    let after = case.net.nstat(Side::A)?.win_probe;
    ensure!(after > held, "expected a window probe at the release of the lock, came none");
    let rule = if case.env.write_plan == "tracepoint" { WindowProbes::AtMost } else { WindowProbes::Equal };
    Ok(Expect::nothing().window_probes(rule))
}

/// A queue discipline that takes nothing: each attempt counts, none is a probe, and once there is
/// room the connection is as healthy as before.
fn local_congestion(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    let device = Side::A.device();
    // Neighbour discovery would be refused as well, and packets would wait for it unseen.
    case.net.ip(Side::A, &format!("neigh change 10.77.0.2 dev {device} nud permanent"))?;
    case.net.tc(Side::A, &format!("qdisc add dev {device} root bfifo limit 1"))?;
    pair.a.keepalive(FAST)?;
    let view = case.wait(Side::A, "four refused probes", |v| v.suppressed("local_congestion") >= 4)?;
    ensure!(view.sent() == 0, "expected no probe sent, came {}", view.sent());
    ensure!(view.drops().is_empty(), "expected no drop, came {:?}", view.drops());
    case.net.tc(Side::A, &format!("qdisc del dev {device} root"))?;
    let view = case.wait(Side::A, "two answered probes", |v| v.answered() >= 2)?;
    // What the queue takes while it is being removed goes with it.
    ensure!(view.unanswered() <= 1, "expected one lost probe at most, came {}", view.unanswered());
    Ok(Expect::nothing())
}

/// Unacknowledged data: keepalive is due and stays silent; it speaks again when the path heals.
fn data_in_flight(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    case.net.cut()?;
    pair.a.write(b"x")?;
    pair.a.keepalive(FAST)?;
    let view = case.wait(Side::A, "a suppressed probe", |v| v.suppressed("data_in_flight") >= 1)?;
    ensure!(view.sent() == 0, "expected no probe, came {}", view.sent());
    for side in Side::BOTH {
        case.net.heal(side)?;
    }
    pair.b.read_exact(1)?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    Ok(Expect::nothing())
}
