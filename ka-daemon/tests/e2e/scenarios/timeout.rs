//! Connections that a timer gives up.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::window::narrow;
use super::{Scenario, on_any};
use crate::capture::Capture;
use crate::case::{Case, Expect};
use crate::net::{Family, Side};
use crate::tcp::{FAST, Keepalive};

pub(super) const SCENARIOS: &[Scenario] = &[
    on_any("keepalive_timeout_v4", |c| keepalive(c, Family::V4)),
    on_any("keepalive_timeout_v6", |c| keepalive(c, Family::V6)),
    on_any("keepalive_timeout_mapped", |c| keepalive(c, Family::Mapped)),
    on_any("keepalive_timeout_blackhole", blackhole),
    on_any("user_timeout_with_keepalive", user_timeout_keepalive),
    on_any("user_timeout_of_one_probe", user_timeout_one_probe),
    on_any("user_timeout_with_data", user_timeout_data),
    on_any("user_timeout_zero_window", user_timeout_window),
    on_any("retransmit_timeout", retransmit),
    on_any("retransmit_timeout_patient", patient),
    on_any("timeout_after_idle", after_idle),
    on_any("zero_window_timeout", window),
    on_any("connect_timeout", connect),
    on_any("orphan_timeout", orphan),
    on_any("keepalive_timeout_fast_open", fast_open),
];

/// A cut path: three probes on the wire, none answered, one drop.
fn keepalive(case: &Case<'_>, family: Family) -> Result<Expect> {
    let capture = Capture::start(&case.net, Side::A)?;
    let pair = case.connect(family)?;
    case.net.cut()?;
    pair.a.keepalive(FAST)?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    ensure!(
        (view.sent(), view.unanswered()) == (3, 3),
        "expected 3 sent, 3 unanswered, came {} and {}",
        view.sent(),
        view.unanswered()
    );
    let wire = capture.probes_at_least(pair.a_address, pair.b_address, 3);
    ensure!(wire == 3, "expected 3 probes on the wire, came {wire}");
    Case::wait_error(&pair.a, libc::ETIMEDOUT)?;
    let idle = view.idle_at_drop();
    ensure!(idle.len() == 1 && idle[0] >= 3.0, "expected an idle age of more than 3 s, came {idle:?}");
    Ok(Expect::drops(&["keepalive_timeout/keepalive"]))
}

/// Without a route the kernel counts attempts all the same.
fn blackhole(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    case.net.ip(Side::A, "route add blackhole 10.77.0.2/32")?;
    pair.a.keepalive(FAST)?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    ensure!(view.unanswered() == 3, "expected 3 unanswered probes, came {}", view.unanswered());
    Ok(Expect::drops(&["keepalive_timeout/keepalive"]))
}

/// The user timeout takes the place of the count (10 here).
fn user_timeout_keepalive(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    case.net.cut()?;
    pair.a.user_timeout(Duration::from_millis(2500))?;
    pair.a.keepalive(Keepalive { count: 10, ..FAST })?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Ok(Expect::drops(&["user_timeout/keepalive"]))
}

/// gRPC's case: where it is over before the run after the first probe, one lost probe is fatal, and the drop says so.
fn user_timeout_one_probe(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.user_timeout(Duration::from_secs(2))?;
    pair.a.keepalive(Keepalive { idle: 2, interval: 1, count: 9 })?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    case.net.cut()?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    ensure!(view.unanswered() == 1, "expected one lost probe, came {}", view.unanswered());
    let drops = case.env.daemon.command(&case.env.program, &["drops", "--cause", "user_timeout"])?;
    let dropped = drops.iter().find(|dropped| dropped["netns"] == case.inode(Side::A));
    let dropped = dropped.with_context(|| format!("the drop is not told: {drops:?}"))?;
    let summary = "TCP_USER_TIMEOUT (2 s) ended it with 1 of 9 keepalive probes unanswered";
    let advice =
        "With TCP_USER_TIMEOUT (2 s) not above keepidle + keepintvl (3 s), a single lost probe is fatal.";
    for (member, text) in [("summary", summary), ("advice", advice)] {
        let told = dropped[member].as_str().unwrap_or_default();
        ensure!(told.contains(text), "expected {text:?} in the {member} {told:?}");
    }
    Ok(Expect::drops(&["user_timeout/keepalive"]))
}

/// And it ends data that nobody acknowledges, with keepalive off.
fn user_timeout_data(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    case.net.cut()?;
    pair.a.user_timeout(Duration::from_secs(2))?;
    pair.a.write(b"data")?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Ok(Expect::drops(&["user_timeout/retransmit"]))
}

/// And a sender whose peer answers and does not read.
fn user_timeout_window(case: &Case<'_>) -> Result<Expect> {
    let pair = narrow(case, Family::V4)?;
    pair.a.user_timeout(Duration::from_secs(4))?;
    pair.a.fill()?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Ok(Expect::drops(&["user_timeout/zero_window"]))
}

fn retransmit(case: &Case<'_>) -> Result<Expect> {
    case.net.sysctl(Side::A, "ipv4/tcp_retries2", "3")?;
    let pair = case.connect(Family::V4)?;
    // Small segments pass, so that the connection is not idle when the large one is lost.
    case.net.filter(Side::B, &["meta l4proto tcp meta length > 500 drop"])?;
    pair.a.write(b"x")?;
    pair.b.read_exact(1)?;
    pair.a.write(&[b'x'; 1000])?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Ok(Expect::drops(&["retransmit_timeout/retransmit"]))
}

/// The kernel waits longer than the floor before it sends again, twice where it begins with a tail loss
/// probe: time in flight is no silence.
fn patient(case: &Case<'_>) -> Result<Expect> {
    case.net.ip(Side::A, "route replace 10.77.0.0/24 dev ka-a rto_min 2500ms")?;
    retransmit(case)
}

/// The first data after a silence of more than the floor (2 s in these tests).
fn after_idle(case: &Case<'_>) -> Result<Expect> {
    case.net.sysctl(Side::A, "ipv4/tcp_retries2", "3")?;
    let pair = case.connect(Family::V4)?;
    case.net.cut()?;
    std::thread::sleep(Duration::from_secs(4));
    pair.a.write(b"data")?;
    let view = case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    let idle = view.idle_at_drop();
    ensure!(idle.len() == 1 && idle[0] >= 3.0, "expected an idle age of more than 3 s, came {idle:?}");
    Ok(Expect::drops(&["timeout_after_idle/retransmit"]))
}

/// The window is shut, then the path is cut.
fn window(case: &Case<'_>) -> Result<Expect> {
    case.net.sysctl(Side::A, "ipv4/tcp_retries2", "4")?;
    let pair = narrow(case, Family::V4)?;
    pair.a.fill()?;
    case.wait(Side::A, "a window probe", |v| v.window_probes() >= 1)?;
    case.net.cut()?;
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    Ok(Expect::drops(&["zero_window_timeout/zero_window"]))
}

/// A connect into a cut path, with keepalive on: never probed, no drop.
fn connect(case: &Case<'_>) -> Result<Expect> {
    case.net.sysctl(Side::A, "ipv4/tcp_syn_retries", "1")?;
    case.net.cut()?;
    let socket = case.socket(Side::A, Family::V4)?;
    socket.keepalive(FAST)?;
    let address = std::net::SocketAddr::new(crate::net::Net::address(Side::B, Family::V4), 9);
    let error = socket.raw().connect(&address.into()).err().and_then(|e| e.raw_os_error());
    ensure!(error == Some(libc::ETIMEDOUT), "expected ETIMEDOUT of connect, came {error:?}");
    let view = case.wait(Side::A, "the end", |v| !v.ended().is_empty())?;
    ensure!(view.sent() == 0, "expected no probe in SYN_SENT, came {}", view.sent());
    Ok(Expect::ended(&["connect_timeout"]))
}

/// Closed with data under way: nobody owns it when its retransmissions end.
fn orphan(case: &Case<'_>) -> Result<Expect> {
    case.net.sysctl(Side::A, "ipv4/tcp_orphan_retries", "2")?;
    let pair = case.connect(Family::V4)?;
    case.net.cut()?;
    pair.a.write(b"data")?;
    case.close(pair.a)?;
    case.wait(Side::A, "the end", |v| !v.ended().is_empty())?;
    Ok(Expect::ended(&["orphan_timeout"]))
}

/// A program has the connection and its first data, and the handshake never ends (TCP Fast Open): what keepalive
/// ends there is a drop.
fn fast_open(case: &Case<'_>) -> Result<Expect> {
    // Client, and data without a cookie; server, and the same.
    case.net.sysctl(Side::A, "ipv4/tcp_fastopen", "5")?;
    case.net.sysctl(Side::B, "ipv4/tcp_fastopen", "1539")?;
    let (listener, address) = case.listen(Side::B, Family::V4)?;
    listener.fast_open(5)?;
    listener.keepalive(FAST)?;
    case.net.filter(Side::B, &["tcp flags & syn == 0 drop"])?;
    let a = case.socket(Side::A, Family::V4)?;
    a.connect_with(address, b"hello")?;
    let b = case.accept(&listener)?;
    b.read_exact(5)?;
    case.net.filter(Side::A, &["meta l4proto tcp drop"])?;
    let view = case.wait(Side::B, "the drop", |v| !v.drops().is_empty())?;
    let states: Vec<_> = view.records().filter(|r| r.cause.is_some()).map(|r| r.state.as_str()).collect();
    ensure!(states == ["SYN_RECV"], "expected a drop in SYN_RECV, came {states:?}");
    Case::wait_error(&b, libc::ETIMEDOUT)?;
    Ok(Expect::drops(&["keepalive_timeout/keepalive"]))
}
