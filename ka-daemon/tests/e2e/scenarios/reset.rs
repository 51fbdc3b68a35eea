//! Received resets, and ends by an administrator.

use std::net::Shutdown;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Scenario, on_any};
use crate::capture::Tcpdump;
use crate::case::{Case, Expect};
use crate::net::{Family, Side};
use crate::tcp::{FAST, Keepalive};

pub(super) const SCENARIOS: &[Scenario] = &[
    on_any("reset_by_probe_v4", |c| by_probe(c, Family::V4)),
    on_any("reset_by_probe_v6", |c| by_probe(c, Family::V6)),
    on_any("reset_by_probe_mapped", |c| by_probe(c, Family::Mapped)),
    on_any("reset_by_probe_tcpdump", by_probe_tcpdump),
    on_any("write_after_probe_then_reset", write_after_probe),
    on_any("reset_after_idle", after_idle),
    on_any("reset_while_idle", while_idle),
    on_any("reset_plain", plain),
    on_any("reset_after_close", after_close),
    on_any("aborted_by_ss", aborted),
    on_any("aborted_with_an_error_unread", with_an_error),
    on_any("orphan_reset", orphan),
    on_any("reset_by_probe_half_closed", half_closed),
    on_any("reset_after_data_since_probe", data_since_probe),
    on_any("data_after_shutdown", data_after_shutdown),
    on_any("data_after_close", data_after_close),
];

/// More probes than a scenario lives through.
const PATIENT: Keepalive = Keepalive { idle: 1, interval: 1, count: 100 };

/// A peer that has forgotten every connection.
const FORGET: &[&str] = &["meta l4proto tcp reject with tcp reset"];

fn by_probe(case: &Case<'_>, family: Family) -> Result<Expect> {
    let pair = case.connect(family)?;
    case.net.filter(Side::B, FORGET)?;
    pair.a.keepalive(FAST)?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    let settled = (view.sent(), view.reset_settled(), view.answered(), view.unanswered());
    ensure!(
        settled == (1, 1, 0, 0),
        "expected one probe, settled by the reset, came (sent, reset, answered, unanswered) = {settled:?}"
    );
    Case::wait_error(&pair.a, libc::ECONNRESET)?;
    Ok(Expect::drops(&["reset_by_probe/none"]).resets(&["keepalive"]))
}

/// tcpdump shows one probe out and nothing after it.
fn by_probe_tcpdump(case: &Case<'_>) -> Result<Expect> {
    let dump = Tcpdump::start(&case.net, Side::A)?;
    let pair = case.connect(Family::V4)?;
    case.net.filter(Side::B, FORGET)?;
    pair.a.keepalive(FAST)?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    std::thread::sleep(Duration::from_secs(1));
    let lines = dump.stop()?;
    let acks = lines.iter().filter(|l| l.contains("Flags [.]") && l.ends_with("length 0")).count();
    ensure!(
        acks == 2,
        "expected the handshake's ACK and one probe in tcpdump, came {acks}:\n{}",
        lines.join("\n")
    );
    Ok(Expect::drops(&["reset_by_probe/none"]).resets(&["keepalive"]))
}

/// A probe is out, then the application writes: the RST answers the data, and the probe has no
/// answer.
fn write_after_probe(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    case.net.cut()?;
    pair.a.keepalive(Keepalive { idle: 1, interval: 600, count: 3 })?;
    case.wait(Side::A, "a probe", |v| v.sent() == 1)?;
    std::thread::sleep(Duration::from_secs(4));
    case.net.filter(Side::B, FORGET)?;
    case.net.heal(Side::A)?;
    pair.a.write(b"x")?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    let view = if view.unanswered() == 1 {
        view
    } else {
        case.wait(Side::A, "the probe's outcome", |v| v.unanswered() == 1)?
    };
    ensure!(view.reset_settled() == 0, "the reset answered data, and was taken for the probe's answer");
    Ok(Expect::drops(&["reset_after_idle/none"]).resets(&["data"]))
}

/// The first data after a silence meets a reset.
fn after_idle(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    std::thread::sleep(Duration::from_secs(4));
    case.net.filter(Side::B, FORGET)?;
    pair.a.write(b"x")?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    let idle = view.idle_at_drop();
    ensure!(idle.len() == 1 && idle[0] >= 3.5, "expected an idle age of 4 s, came {idle:?}");
    Ok(Expect::drops(&["reset_after_idle/none"]).resets(&["data"]))
}

/// Nothing was sent, and a reset comes all the same.
fn while_idle(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.write(b"x")?;
    pair.b.read_exact(1)?;
    std::thread::sleep(Duration::from_secs(4));
    case.abort(pair.b)?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    let idle = view.idle_at_drop();
    ensure!(idle.len() == 1 && idle[0] >= 3.5, "expected an idle age of 4 s, came {idle:?}");
    Ok(Expect::drops(&["reset_while_idle/none"]).resets(&["idle"]))
}

/// A reset of a busy connection that keepalive watches.
fn plain(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(FAST)?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    pair.a.write(b"x")?;
    pair.b.read_exact(1)?;
    pair.b.write(b"x")?;
    pair.a.read_exact(1)?;
    case.abort(pair.b)?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Ok(Expect::drops(&["reset/none"]).resets(&["idle"]))
}

/// The peer said goodbye first: `EPIPE`.
fn after_close(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(FAST)?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    pair.b.raw().shutdown(Shutdown::Write).context("shutdown")?;
    case.wait(Side::A, "a probe in CLOSE_WAIT", |v| {
        v.records().any(|r| r.kind == "probe_sent" && r.state.eq_ignore_ascii_case("CLOSE_WAIT"))
    })?;
    case.abort(pair.b)?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Case::wait_error(&pair.a, libc::EPIPE)?;
    Ok(Expect::drops(&["reset_after_close/none"]).resets(&["idle"]))
}

/// `ss -K` ends a connection here. The peer does not hear of it: the path is cut before.
fn aborted(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(PATIENT)?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    case.net.cut()?;
    case.net.command(Side::A, "ss", &["-K", "-t", "dst", "10.77.0.2"])?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Case::wait_error(&pair.a, libc::ECONNABORTED)?;
    Ok(Expect::drops(&["aborted/none"]))
}

/// ICMP's error on a socket that asked for such errors; its program closes with a reset, and never looks.
fn with_an_error(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.receive_errors()?;
    pair.a.keepalive(PATIENT)?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    case.net.filter(Side::B, &["meta l4proto tcp reject with icmp type host-unreachable"])?;
    // ICMP about a probe is out of the window and ignored; about data it counts.
    pair.a.write(b"x")?;
    pair.a.wait_error_pending()?;
    case.abort(pair.a)?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    let error = format!("\"sk_err\":{},", libc::EHOSTUNREACH);
    let told = view.text().filter(|line| line.contains("\"kind\":\"dropped\"")).all(|l| l.contains(&error));
    ensure!(told, "expected {error} in the record of the drop");
    Ok(Expect::drops(&["other/none"]))
}

/// Closed by its program with data under way, then reset.
fn orphan(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    case.net.cut()?;
    pair.a.keepalive(PATIENT)?;
    case.wait(Side::A, "a probe", |v| v.sent() >= 1)?;
    pair.a.write(b"x")?;
    case.close(pair.a)?;
    case.net.filter(Side::B, FORGET)?;
    case.net.heal(Side::A)?;
    case.wait(Side::A, "the end", |v| !v.ended().is_empty())?;
    Ok(Expect::ended(&["orphan_reset"]).resets(&["other"]))
}

/// Our side said goodbye, the peer did not: the kernel goes on probing, and an RST answers a probe there too.
fn half_closed(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(PATIENT)?;
    pair.a.raw().shutdown(Shutdown::Write).context("shutdown")?;
    case.wait(Side::A, "a probe in FIN_WAIT2", |v| {
        v.records().any(|r| r.kind == "probe_sent" && r.state.eq_ignore_ascii_case("FIN_WAIT2"))
    })?;
    case.net.filter(Side::B, FORGET)?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    ensure!(view.reset_settled() == 1, "expected the reset to settle the probe");
    Ok(Expect::drops(&["reset_by_probe/none"]).resets(&["keepalive"]))
}

/// A probe is lost, then the peer speaks: its reset answers no probe. Where data brings no new
/// acknowledgement, the kernel goes on counting the probe as out.
fn data_since_probe(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.b.write(b"x")?;
    pair.a.wait_unread(1)?;
    case.net.filter(Side::B, &["meta l4proto tcp drop"])?;
    pair.a.keepalive(Keepalive { idle: 1, interval: 600, count: 3 })?;
    case.wait(Side::A, "a probe", |v| v.sent() == 1)?;
    case.net.heal(Side::B)?;
    pair.b.write(b"y")?;
    pair.a.wait_unread(2)?;
    case.abort(pair.b)?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    ensure!(view.reset_settled() == 0, "a reset after data was taken for the probe's answer");
    Ok(Expect::drops(&["reset/none"]).resets(&["idle"]))
}

/// Data for a program that shut its socket down in both directions: the kernel resets the connection by
/// itself. No RST was received.
fn data_after_shutdown(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(PATIENT)?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    pair.a.raw().shutdown(Shutdown::Both).context("shutdown")?;
    std::thread::sleep(Duration::from_millis(300));
    pair.b.write(b"data")?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Case::wait_error(&pair.a, libc::ECONNRESET)?;
    Ok(Expect::drops(&["other/none"]))
}

/// The same without a program: no orphan that was reset.
fn data_after_close(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(PATIENT)?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    // The peer never hears the goodbye.
    case.net.filter(Side::B, &["meta l4proto tcp drop"])?;
    case.close(pair.a)?;
    pair.b.write(b"data")?;
    case.wait(Side::A, "the close", |v| v.records().any(|r| r.kind == "closed"))?;
    Ok(Expect::nothing())
}
