//! Every socket of the node, beside `ss` and `getsockopt`.
//! Needs `unsafe` to hand a descriptor to a program that is executed.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Scenario, on_any};
use crate::case::{Case, Expect};
use crate::daemon::{Daemon, run_json, sum};
use crate::net::{Family, Net, Side};
use crate::ss::{self, Ends, Line};
use crate::tcp::{FAST, Keepalive, Tcp};

pub(super) const SCENARIOS: &[Scenario] = &[
    on_any("inventory_beside_ss", beside_ss),
    on_any("inventory_sock_diag", sock_diag),
    on_any("inventory_owner_of_a_shared_socket", shared),
    on_any("inventory_after_loss", after_loss),
    on_any("inventory_namespaces_come_and_go", come_and_go),
];

/// Timers may be off by this much; `ss` and the daemon are asked one after the other.
const TIMER: f64 = 0.1;
/// Attempts at a comparison: between two looks a timer may fire and begin anew.
const ATTEMPTS: usize = 30;

/// Sockets of many kinds in three namespaces: the same sockets, the same timers, and the settings that
/// `ss` cannot show as the sockets themselves tell them.
fn beside_ss(case: &Case<'_>) -> Result<Expect> {
    case.net.sysctl(Side::A, "ipv4/tcp_keepalive_time", "8")?;
    case.net.sysctl(Side::A, "ipv4/tcp_keepalive_intvl", "4")?;
    case.net.sysctl(Side::A, "ipv4/tcp_keepalive_probes", "3")?;
    let third = Net::new()?;
    let mut told = BTreeMap::new();
    for place in 0..60 {
        let family = [Family::V4, Family::V6, Family::Mapped][place % 3];
        let pair = case.connect(family)?;
        settings(&pair.a, place)?;
        // Connections to different listeners may share their own port.
        let (a, b) = (pair.a_address.to_string(), pair.b_address.to_string());
        let both = [(a.clone(), b.clone()), (b, a)];
        told.extend(both.iter().cloned().zip([pair.a.clone(), pair.b.clone()]));
        if place % 8 == 7 {
            // Closed by one side: CLOSE_WAIT here, FIN_WAIT2 there.
            pair.a.raw().shutdown(std::net::Shutdown::Write).context("shutdown")?;
        }
        if place % 8 == 5 {
            // Both goodbyes: TIME_WAIT, without a process.
            told.retain(|ends, _| !both.contains(ends));
            case.close(pair.a)?;
            case.close(pair.b)?;
        }
    }
    let shut = super::window::narrow(case, Family::V4)?;
    shut.a.fill()?;
    let unanswered = case.connect(Family::V4)?;
    let connecting =
        third.within(Side::A, || Tcp::new(Net::address(Side::A, Family::V4), libc::IPPROTO_TCP))?;
    third.cut()?;
    connecting.raw().set_nonblocking(true).context("O_NONBLOCK")?;
    let nobody = std::net::SocketAddr::new(Net::address(Side::B, Family::V4), 9);
    ensure!(connecting.raw().connect(&nobody.into()).is_err(), "expected the connect to go on");
    let places = [(&*case.net, Side::A), (&*case.net, Side::B), (&third, Side::A)];
    let mut last = None;
    for _ in 0..ATTEMPTS {
        last = compare(case, &places, &told).err();
        if last.is_none() {
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    if let Some(error) = last {
        return Err(error);
    }
    drop((shut, unanswered));
    Ok(Expect::nothing().any_resets().window_probes(crate::case::WindowProbes::Equal))
}

fn settings(socket: &Tcp, place: usize) -> Result<()> {
    let idle = 3 + place as u64 % 6;
    match place % 6 {
        0 => Ok(()),
        1 => socket.keepalive_switch(true),
        2 => socket.keepalive(Keepalive { idle, interval: 5, count: 7 }),
        3 => {
            socket.keepalive(Keepalive { idle, interval: 2, count: 4 })?;
            socket.keepalive_switch(false)
        }
        4 => {
            socket.keepalive_switch(true)?;
            socket
                .raw()
                .set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(Duration::from_secs(idle)))?;
            Ok(())
        }
        _ => socket.user_timeout(Duration::from_secs(idle)),
    }
}

fn compare(case: &Case<'_>, places: &[(&Net, Side)], told: &BTreeMap<Ends, Tcp>) -> Result<()> {
    let mut kinds = std::collections::BTreeSet::new();
    let mut count = 0;
    for (net, side) in places {
        let netns = net.inode(*side)?.to_string();
        for args in
            [&["sockets", "--standalone", "--json", "--netns", &netns][..], &["sockets", "--netns", &netns]]
        {
            let before = ss::sockets(net, *side)?;
            let shown = if args.contains(&"--standalone") {
                run_json(&case.env.program, args)?
            } else {
                case.env.daemon.command(&case.env.program, args)?
            };
            let after = ss::sockets(net, *side)?;
            let shown: BTreeMap<Ends, &Value> = shown.iter().map(|socket| (ends(socket), socket)).collect();
            let (here, there): (Vec<_>, Vec<_>) = (shown.keys().collect(), before.keys().collect());
            ensure!(
                here == there,
                "expected the sockets that ss shows in {net:?} {side:?}:\n{there:?}\ncame\n{here:?}"
            );
            count += shown.len();
            for (ends, socket) in &shown {
                let (Some(before), Some(after)) = (before.get(ends), after.get(ends)) else { continue };
                one(socket, before, after).with_context(|| format!("{args:?}: {socket}"))?;
                kinds.insert(socket["timer"]["kind"].as_str().unwrap_or("none").to_owned());
                if let Some(tcp) = told.get(ends).filter(|_| socket["state"] != "LISTEN") {
                    options(socket, tcp).with_context(|| socket.to_string())?;
                }
            }
        }
    }
    ensure!(count >= 200, "expected at least 200 sockets, came {count}");
    let wanted = ["keepalive", "none", "retransmit", "time_wait", "zero_window"];
    ensure!(kinds.iter().eq(wanted), "expected every kind of timer, came {kinds:?}");
    Ok(())
}

fn ends(socket: &Value) -> Ends {
    let text = |key: &str| socket[key].as_str().unwrap_or_default().to_owned();
    (text("local"), text("remote"))
}

/// State, inode and timer, the latter between what `ss` said before and after.
fn one(socket: &Value, before: &Line, after: &Line) -> Result<()> {
    ensure!(socket["state"] == before.state.as_str(), "expected state {}", before.state);
    ensure!(socket["inode"] == before.inode, "expected inode {}", before.inode);
    let kind = socket["timer"]["kind"].as_str();
    let (Some((expected, most, precision)), Some((_, least, _))) = (&before.timer, &after.timer) else {
        ensure!(kind.is_none() || before.timer.is_some() || after.timer.is_some(), "expected no timer");
        return Ok(());
    };
    ensure!(kind == Some(expected), "expected a timer {expected}");
    let left = socket["timer"]["expires_seconds"].as_f64().context("expires_seconds")?;
    // One that fired in between began anew: it is as before that, or as after it.
    let (from, to) = (left >= least - TIMER, left <= most + precision + TIMER);
    ensure!(
        if least > most { from || to } else { from && to },
        "expected it to fire in {least} to {most} s (printed to {precision} s)"
    );
    Ok(())
}

/// Settings as the socket itself tells them.
fn options(socket: &Value, tcp: &Tcp) -> Result<()> {
    let raw = tcp.raw();
    let seconds = |time: Duration| u64::from(time.subsec_nanos() > 0) + time.as_secs();
    ensure!(socket["keepalive"] == raw.keepalive()?, "SO_KEEPALIVE is {}", raw.keepalive()?);
    let (idle, interval) = (seconds(raw.tcp_keepalive_time()?), seconds(raw.tcp_keepalive_interval()?));
    ensure!(socket["keepidle_seconds"] == idle, "TCP_KEEPIDLE is {idle}");
    ensure!(socket["keepintvl_seconds"] == interval, "TCP_KEEPINTVL is {interval}");
    ensure!(
        socket["keepcnt"] == raw.tcp_keepalive_retries()?,
        "TCP_KEEPCNT is {}",
        raw.tcp_keepalive_retries()?
    );
    let timeout = u64::try_from(raw.tcp_user_timeout()?.unwrap_or_default().as_millis())?;
    ensure!(socket["user_timeout_ms"] == timeout, "TCP_USER_TIMEOUT is {timeout}");
    Ok(())
}

/// Where the kernel has no iterators: the same sockets and timers, settings unknown and not zero.
fn sock_diag(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V6)?;
    pair.a.keepalive(Keepalive { idle: 7, interval: 5, count: 7 })?;
    let daemon = Daemon::start(&case.env.program, &case.env.hooks, &["--inventory", "sock-diag"])?;
    let netns = case.net.inode(Side::A)?.to_string();
    let before = ss::sockets(&case.net, Side::A)?;
    let shown =
        daemon.command(&case.env.program, &["sockets", "--netns", &netns, "--state", "ESTABLISHED"])?;
    let [socket] = &shown[..] else { anyhow::bail!("expected one connection, came {shown:?}") };
    let line = before.get(&ends(socket)).context("ss does not show it")?;
    ensure!(socket["inode"] == line.inode && socket["timer"]["kind"] == "keepalive", "came {socket}");
    ensure!(socket["keepalive"] == true, "an armed keepalive timer tells that it is on: {socket}");
    for unknown in ["keepidle_seconds", "keepintvl_seconds", "keepcnt", "user_timeout_ms", "preset"] {
        ensure!(socket[unknown].is_null(), "expected {unknown} to be unknown: {socket}");
    }
    let own = std::process::id();
    ensure!(socket["owner"]["pid"] == own, "expected owner {own}: {socket}");
    daemon.stop()?;
    Ok(Expect::nothing())
}

/// A socket that several processes hold belongs to the one that has held it longest, and to the other once
/// that let go.
fn shared(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    let owner = || -> Result<Value> {
        let netns = case.net.inode(Side::A)?.to_string();
        let shown = case.env.daemon.command(
            &case.env.program,
            &[
                "sockets",
                "--netns",
                &netns,
                "--local",
                &pair.a_address.ip().to_string(),
                "--state",
                "ESTABLISHED",
            ],
        )?;
        Ok(shown.first().context("expected the connection")?["owner"].clone())
    };
    let own = std::process::id();
    ensure!(owner()?["pid"] == own, "expected owner {own}, came {}", owner()?);
    let fd = pair.a.fd();
    let mut command = Command::new("sleep");
    command.arg("60").stdin(Stdio::null());
    // SAFETY: dup is async-signal-safe; the copy survives exec, as the original does not.
    unsafe {
        command
            .pre_exec(move || if libc::dup(fd) < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) });
    }
    let mut child = command.spawn().context("sleep")?;
    ensure!(owner()?["pid"] == own, "expected owner {own} still, came {}", owner()?);
    case.close(pair.a)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let result = loop {
        let now = owner();
        match &now {
            Ok(owner) if owner["pid"] == child.id() && owner["comm"] == "sleep" => break Ok(()),
            _ if Instant::now() > deadline => {
                break now
                    .map(|owner| owner.to_string())
                    .map(|now| anyhow::bail!("expected the owner to be sleep, came {now}"))?;
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    child.kill().context("sleep")?;
    child.wait().context("sleep")?;
    result.map(|()| Expect::nothing().any_resets())
}

/// Records are lost in a tiny ring buffer while the daemon stands still: what sweeps find puts the table
/// right, and every probe is accounted for.
fn after_loss(case: &Case<'_>) -> Result<Expect> {
    const SOCKETS: usize = 30;
    let more = ["--ring-buffer-size", "4096", "--inventory-interval", "1s", "--inventory-max-cpu", "20"];
    let daemon = Daemon::start(&case.env.program, &case.env.hooks, &more)?;
    let mut pairs = Vec::new();
    for _ in 0..SOCKETS {
        let pair = case.connect(Family::V4)?;
        pair.a.keepalive(FAST)?;
        pairs.push(pair);
    }
    let tracked = |at: Side| -> Result<u64> {
        let netns = case.net.inode(at)?.to_string();
        Ok(daemon.command(&case.env.program, &["sockets", "--netns", &netns, "--keepalive", "on"])?.len()
            as u64)
    };
    wait("every socket probed", || Ok(sum(&daemon.metrics()?, "ka_tracked_sockets", &[]) >= SOCKETS as u64))?;
    ensure!(tracked(Side::A)? == SOCKETS as u64, "expected {SOCKETS} sockets with keepalive on");
    daemon.pause(true)?;
    std::thread::sleep(Duration::from_secs(3));
    for pair in pairs.drain(..SOCKETS / 2) {
        case.abort(pair.a)?;
    }
    daemon.pause(false)?;
    for pair in &pairs {
        pair.a.keepalive_switch(false)?;
    }
    let lost = sum(&daemon.metrics()?, "ka_records_lost_total", &["reason=\"ring_full\""]);
    ensure!(lost > 0, "expected records to be lost");
    // Other scenarios' sockets are in this daemon's table too, and may be found or not as well.
    wait("the closed sockets to leave the table", || Ok(daemon.oddity("not_found")? > 0))?;
    wait("every probe accounted for, and every record received", || {
        let page = daemon.metrics()?;
        let total = |name: &str| sum(&page, &format!("ka_keepalive_probes_{name}_total"), &[]);
        let settled = total("answered") + total("unanswered") + total("unsettled");
        let by_reset = sum(&page, "ka_resets_received_total", &["phase=\"keepalive\""]);
        ensure!(settled <= total("sent"), "more settled than sent");
        let open = total("sent") - settled;
        let records = |name: &str| sum(&page, &format!("ka_records_{name}_total"), &[]);
        Ok(open <= sum(&page, "ka_tracked_sockets", &[]) + by_reset
            && records("emitted") == records("received"))
    })?;
    daemon.stop()?;
    // The other ends had been idle for longer than the floor.
    Ok(Expect::drops(&["reset_while_idle/none"; SOCKETS / 2]).any_resets())
}

/// A namespace that only a descriptor keeps is found, and its series go when it goes. Its number comes again
/// at once, so that it is told by a setting that no other has.
fn come_and_go(case: &Case<'_>) -> Result<Expect> {
    const ODD: &str = "4321";
    let net = Net::new()?;
    net.sysctl(Side::A, "ipv4/tcp_keepalive_time", ODD)?;
    let seen = || -> Result<bool> {
        let page = case.env.daemon.metrics()?;
        let odd = |(name, value): (&String, &f64)| {
            name.starts_with("ka_sysctl_tcp_keepalive_time_seconds") && value.to_string() == ODD
        };
        Ok(page.iter().any(odd))
    };
    wait("the namespace to be found", seen)?;
    drop(net);
    wait("its series to go", || Ok(!seen()?))?;
    Ok(Expect::nothing())
}

/// A guest's sweeps over the namespaces of all scenarios take a second.
const PATIENCE: Duration = Duration::from_mins(2);

fn wait(what: &str, done: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if done()? {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "expected {what}, it did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
