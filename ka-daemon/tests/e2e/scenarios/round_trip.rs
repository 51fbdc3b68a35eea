//! Answers that give no round trip, since something else may have made it.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Scenario, on_any};
use crate::case::{Case, Expect};
use crate::daemon::Daemon;
use crate::net::{Family, Side};
use crate::tcp::Keepalive;

pub(super) const SCENARIOS: &[Scenario] = &[
    on_any("round_trip_program_reads", |c| program_reads(c, false)),
    on_any("round_trip_program_reads_close_wait", |c| program_reads(c, true)),
    on_any("round_trip_late_answer", late_answer),
];

/// The program reads what came before the probe, well after the probe was answered: that refreshes the time
/// that an undisturbed socket keeps of its last segment. In `CLOSE_WAIT` with `--rtt exact` too, which sees no
/// arrivals there.
fn program_reads(case: &Case<'_>, goodbye: bool) -> Result<Expect> {
    let exact = goodbye
        .then(|| Daemon::start(&case.env.program, &case.env.hooks, &["--rtt", "exact"]))
        .transpose()?;
    let pair = case.connect(Family::V4)?;
    pair.b.write(&[7; 16])?;
    if goodbye {
        pair.b.raw().shutdown(std::net::Shutdown::Write)?;
    }
    pair.a.keepalive(Keepalive { idle: 3, interval: 3, count: 3 })?;
    case.wait(Side::A, "a probe", |v| v.sent() >= 1)?;
    std::thread::sleep(Duration::from_millis(1500));
    pair.a.read_exact(8)?;
    for daemon in exact.iter().chain([&case.env.daemon]) {
        let view = case.wait_in(daemon, Side::A, "an answer", |v| v.answered() >= 1)?;
        let trips = view.round_trips();
        ensure!(trips.iter().all(|t| t.0 < 1e6), "the reading was taken for the answer: {trips:?} µs");
        // Newer kernels leave that time alone when a program reads: the round trip then is the true one.
        let told = view.round_trips_skipped() + trips.len() as u64;
        ensure!(told == view.answered(), "expected each round trip told or skipped, came {trips:?} µs");
    }
    if let Some(exact) = exact {
        exact.stop()?;
    }
    Ok(Expect::nothing())
}

/// A probe is lost, the next one answered: which of them it is to nobody can tell. The one after that is clear.
fn late_answer(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    case.net.cut()?;
    pair.a.keepalive(Keepalive { idle: 1, interval: 4, count: 3 })?;
    case.wait(Side::A, "a probe", |v| v.sent() >= 1)?;
    case.net.heal(Side::A)?;
    case.net.heal(Side::B)?;
    let view = case.wait(Side::A, "an answer", |v| v.answered() >= 1)?;
    let (unanswered, skipped) = (view.unanswered(), view.round_trips_skipped());
    ensure!(
        (unanswered, skipped, view.round_trips().len()) == (1, 1, 0),
        "expected one lost probe and an answer without a round trip, came {unanswered} and {skipped}"
    );
    case.wait(Side::A, "a round trip", |v| v.round_trips().len() == 1)?;
    Ok(Expect::nothing())
}
