//! Settings that change, states without probes, tuples that come again, other protocols.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Scenario, on_any};
use crate::case::{Case, Expect};
use crate::net::{Family, Net, Side};
use crate::records::Rec;
use crate::tcp::{FAST, Keepalive, MPTCP, Tcp};

pub(super) const SCENARIOS: &[Scenario] = &[
    on_any("settings_change_mid_life", settings_change),
    on_any("settings_from_sysctl", from_sysctl),
    on_any("settings_from_listener", from_listener),
    on_any("fin_wait2_orphan", fin_wait2),
    on_any("tuple_reuse", tuple_reuse),
    // Subflows take SO_KEEPALIVE from the MPTCP socket since 5.14.
    Scenario { name: "mptcp", min_kernel: (5, 14), run: mptcp },
    on_any("signal_during_the_start", signal_during_start),
];

fn settings(rec: &Rec) -> (Option<f64>, Option<f64>, Option<u64>) {
    (rec.keepidle_seconds, rec.keepintvl_seconds, rec.keepcnt)
}

/// On, off, on again with other settings: probes follow, and records name what is in force.
fn settings_change(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(FAST)?;
    case.wait(Side::A, "two answered probes", |v| v.answered() >= 2)?;
    pair.a.keepalive_switch(false)?;
    std::thread::sleep(Duration::from_millis(500));
    let off = case.view(Side::A)?.sent();
    std::thread::sleep(Duration::from_secs(3));
    let still = case.view(Side::A)?.sent();
    ensure!(still == off, "expected no probe with keepalive off, came {}", still - off);
    pair.a.keepalive(Keepalive { idle: 2, interval: 5, count: 7 })?;
    let view = case.wait(Side::A, "two more probes", |v| v.sent() >= off + 2)?;
    ensure!(view.unanswered() == 0, "expected no unanswered probe, came {}", view.unanswered());
    let last = view.records().filter(|r| r.kind == "probe_sent").last().map(settings);
    ensure!(last == Some((Some(2.0), Some(5.0), Some(7))), "expected settings 2/5/7, came {last:?}");
    Ok(Expect::nothing())
}

/// Nothing set on the socket: the namespace's values hold and are told.
fn from_sysctl(case: &Case<'_>) -> Result<Expect> {
    for (name, value) in [("time", "1"), ("intvl", "2"), ("probes", "5")] {
        case.net.sysctl(Side::A, &format!("ipv4/tcp_keepalive_{name}"), value)?;
    }
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive_switch(true)?;
    let view = case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    let first = view.records().next().map(settings);
    ensure!(first == Some((Some(1.0), Some(2.0), Some(5))), "expected settings 1/2/5, came {first:?}");
    Ok(Expect::nothing())
}

/// An accepted socket probes as its listener was told to.
fn from_listener(case: &Case<'_>) -> Result<Expect> {
    let (listener, address) = case.listen(Side::B, Family::V4)?;
    listener.keepalive(Keepalive { idle: 1, interval: 4, count: 6 })?;
    let _pair = case.connect_to(&listener, address, Family::V4)?;
    let view = case.wait(Side::B, "two answered probes", |v| v.answered() >= 2)?;
    let first = view.records().next().map(settings);
    ensure!(first == Some((Some(1.0), Some(4.0), Some(6))), "expected settings 1/4/6, came {first:?}");
    let sent = case.view(Side::A)?.sent();
    ensure!(sent == 0, "expected no probe of the connecting side, came {sent}");
    Ok(Expect::nothing())
}

/// The same timer ends an orphan in `FIN_WAIT2`; that is no keepalive.
fn fin_wait2(case: &Case<'_>) -> Result<Expect> {
    // Above 60 s the orphan waits the rest on the keepalive timer, here 3 s.
    case.net.sysctl(Side::A, "ipv4/tcp_fin_timeout", "63")?;
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(FAST)?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    case.close(pair.a)?;
    // Whatever probe was under way at the close has been counted.
    std::thread::sleep(Duration::from_millis(500));
    let before = case.net.nstat(Side::A)?.keepalive;
    std::thread::sleep(Duration::from_secs(6));
    let view = case.view(Side::A)?;
    ensure!(view.sent() == before, "expected no probe in FIN_WAIT2, came {} after {before}", view.sent());
    Ok(Expect::nothing())
}

/// The same pair of ports, again and again: each life is a socket of its own.
fn tuple_reuse(case: &Case<'_>) -> Result<Expect> {
    const LIVES: u64 = 5;
    let (listener, address) = case.listen(Side::B, Family::V4)?;
    for life in 1..=LIVES {
        let a = case.socket(Side::A, Family::V4)?;
        let own = SocketAddr::new(Net::address(Side::A, Family::V4), 40_000);
        a.raw().bind(&own.into()).context("bind")?;
        connect_again(&a, address)?;
        let b = case.accept(&listener)?;
        a.keepalive(FAST)?;
        case.wait(Side::A, "a probe in each life", |v| lives(v.records()) == life)?;
        // Heard of just now, so that the reset of b is an everyday one.
        a.write(b"x")?;
        b.read_exact(1)?;
        case.abort(a)?;
        case.close(b)?;
    }
    let view = case.wait(Side::A, "every outcome", |v| v.answered() + v.unanswered() >= v.sent())?;
    ensure!(view.unanswered() == 0, "expected every probe answered, came {} unanswered", view.unanswered());
    Ok(Expect::nothing())
}

/// A program that another scenario starts holds a copy of every descriptor until it is executed; so
/// long the tuple's last life is not over.
fn connect_again(socket: &Tcp, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match socket.raw().connect(&address.into()) {
            Err(e) if e.raw_os_error() == Some(libc::EADDRNOTAVAIL) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result.context("connect"),
        }
    }
}

/// Different sockets among probes: address and first-seen time are the identity.
fn lives<'a>(records: impl Iterator<Item = &'a Rec>) -> u64 {
    let sent = records.filter(|r| r.kind == "probe_sent");
    let ids: std::collections::BTreeSet<_> = sent.map(|r| (r.sock.to_string(), r.first_seen_ns)).collect();
    ids.len() as u64
}

/// MPTCP: its subflows are TCP sockets that probe; the MPTCP socket itself is none.
fn mptcp(case: &Case<'_>) -> Result<Expect> {
    for side in Side::BOTH {
        for name in ["time", "intvl"] {
            case.net.sysctl(side, &format!("ipv4/tcp_keepalive_{name}"), "1")?;
        }
    }
    let make = |side| case.net.within(side, || Tcp::new(Net::address(side, Family::V4), MPTCP));
    let (listener, a) = (make(Side::B)?, make(Side::A)?);
    let any = SocketAddr::new(Net::address(Side::B, Family::V4), 0);
    listener.raw().bind(&any.into()).context("bind")?;
    listener.raw().listen(8).context("listen")?;
    a.raw().connect(&listener.local()?.into()).context("connect")?;
    let b = case.accept(&listener)?;
    a.write(b"x")?;
    b.read_exact(1)?;
    a.keepalive_switch(true)?;
    let view = case.wait(Side::A, "two answered probes", |v| v.answered() >= 2)?;
    ensure!(view.unanswered() == 0, "expected every probe answered, came {} unanswered", view.unanswered());
    a.keepalive_switch(false)?;
    drop((listener, a));
    // MPTCP closes by a handshake of its own, which needs the path.
    case.close(b)?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(Expect::nothing().any_resets())
}

/// A daemon that is told to stop before it has attached stops, with success. That nothing stays attached is
/// looked at when all scenarios are done.
fn signal_during_start(case: &Case<'_>) -> Result<Expect> {
    let mut daemon = Command::new(&case.env.program)
        .args(["run", "--web.listen-address", "127.0.0.1:0", "--hooks", &case.env.hooks])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start a daemon")?;
    let mut stderr = BufReader::new(daemon.stderr.take().context("no stderr")?);
    let mut said = String::new();
    // Told once signals are received and before anything is attached.
    stderr.read_line(&mut said)?;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).context("pid")?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).context("SIGTERM")?;
    stderr.read_to_string(&mut said)?;
    let status = daemon.wait()?;
    ensure!(
        status.success() && said.contains("stopped before everything was attached"),
        "expected an early end and exit code 0, came {status} and\n{said}"
    );
    Ok(Expect::nothing())
}
