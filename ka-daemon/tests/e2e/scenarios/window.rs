//! Shut receive windows and the persist timer's probes.

use anyhow::{Context as _, Result, ensure};

use super::{Scenario, on_any};
use crate::capture::Capture;
use crate::case::{Case, Expect, Pair, WindowProbes};
use crate::net::{Family, Side};
use crate::tcp::{FAST, Keepalive};

pub(super) const SCENARIOS: &[Scenario] = &[
    on_any("zero_window_never_read_v4", |c| never_read(c, Family::V4)),
    on_any("zero_window_never_read_v6", |c| never_read(c, Family::V6)),
    on_any("zero_window_opens_again", opens_again),
    on_any("zero_window_after_answered_probe", after_answered),
    on_any("zero_window_urgent", urgent),
    on_any("zero_window_reset_by_probe", reset_by_probe),
    on_any("zero_window_reset", reset),
];

/// A connection whose receiver fills gently: its window is small beside its buffer, so that no segment
/// is dropped. The persist timer would inherit the backoff of a retransmission.
pub(super) fn narrow(case: &Case<'_>, family: Family) -> Result<Pair> {
    let (listener, address) = case.listen(Side::B, family)?;
    listener.raw().set_recv_buffer_size(64 * 1024).context("SO_RCVBUF")?;
    listener.window_clamp(8 * 1024)?;
    let pair = case.connect_to(&listener, address, family)?;
    // Less than the 64 KiB that urgent data may lie ahead.
    pair.a.raw().set_send_buffer_size(16 * 1024).context("SO_SNDBUF")?;
    Ok(pair)
}

/// A peer that answers and never reads: probed for ever, counted as the kernel counts.
fn never_read(case: &Case<'_>, family: Family) -> Result<Expect> {
    let capture = Capture::start(&case.net, Side::A)?;
    let pair = narrow(case, family)?;
    pair.a.fill()?;
    let view = case.wait(Side::A, "four window probes", |v| v.window_probes() >= 4)?;
    let wire = capture.probes_at_least(pair.a_address, pair.b_address, 4);
    ensure!(wire >= 4, "expected at least 4 window probes on the wire, came {wire}");
    ensure!(
        view.inferred_window_probes() == 0,
        "expected no inferred window probes: {}",
        view.inferred_window_probes()
    );
    Ok(Expect::nothing())
}

/// The reader wakes up; what remains is a healthy connection.
fn opens_again(case: &Case<'_>) -> Result<Expect> {
    let pair = narrow(case, Family::V4)?;
    let written = pair.a.fill()?;
    case.wait(Side::A, "two window probes", |v| v.window_probes() >= 2)?;
    pair.b.read_exact(written)?;
    let probes = case.view(Side::A)?.window_probes();
    pair.a.keepalive(FAST)?;
    let view = case.wait(Side::A, "two answered probes", |v| v.answered() >= 2)?;
    ensure!(view.unanswered() == 0, "expected every probe answered, came {} unanswered", view.unanswered());
    let after = view.window_probes();
    ensure!(after <= probes + 1, "expected no more window probes than {probes}, came {after}");
    Ok(Expect::nothing())
}

/// The keepalive probe was answered before the window shut, though `probes_out` counts again.
fn after_answered(case: &Case<'_>) -> Result<Expect> {
    let pair = narrow(case, Family::V4)?;
    pair.a.keepalive(Keepalive { idle: 2, ..FAST })?;
    case.wait(Side::A, "a probe", |v| v.sent() >= 1)?;
    pair.a.fill()?;
    let view = case.wait(Side::A, "its outcome, window probes and a suppressed probe", |v| {
        v.answered() + v.unanswered() >= 1 && v.window_probes() >= 3 && v.suppressed("data_in_flight") >= 1
    })?;
    ensure!(view.unanswered() == 0, "expected the probe answered, came {} unanswered", view.unanswered());
    Ok(Expect::nothing())
}

/// Urgent data behind a shut window: the kernel sends and counts two segments for each attempt.
fn urgent(case: &Case<'_>) -> Result<Expect> {
    let pair = narrow(case, Family::V4)?;
    pair.a.fill()?;
    pair.a.raw().set_send_buffer_size(64 * 1024).context("SO_SNDBUF")?;
    pair.a.raw().send_out_of_band(b"!").context("MSG_OOB")?;
    case.wait(Side::A, "four window probes", |v| v.window_probes() >= 4)?;
    Ok(Expect::nothing().window_probes(WindowProbes::Urgent))
}

/// The peer has forgotten the connection: its RST answers the window probe.
fn reset_by_probe(case: &Case<'_>) -> Result<Expect> {
    let pair = narrow(case, Family::V4)?;
    pair.a.fill()?;
    case.wait(Side::A, "three window probes", |v| v.window_probes() >= 3)?;
    case.net.filter(Side::B, &["meta l4proto tcp reject with tcp reset"])?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Case::wait_error(&pair.a, libc::ECONNRESET)?;
    Ok(Expect::drops(&["reset_by_probe/none"]).resets(&["zero_window"]))
}

/// An RST that answers nothing, while the window is shut.
fn reset(case: &Case<'_>) -> Result<Expect> {
    let pair = narrow(case, Family::V4)?;
    pair.a.fill()?;
    // The fourth comes 1.6 s after the third: it is answered, and the next is 3.2 s away.
    case.wait(Side::A, "four window probes", |v| v.window_probes() >= 4)?;
    case.abort(pair.b)?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Ok(Expect::drops(&["reset/none"]).resets(&["zero_window"]))
}
