//! Programs whose connections live and die in every way that is quick to make. Each is a process of its own, of
//! the name under which it is to be seen, in two network namespaces of its own that end with it.

use std::io::Read as _;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::net::{Family, Net, Side};
use crate::tcp::{FAST, Keepalive, Tcp};

/// A program and what it does until it is ended.
type Program = (&'static str, fn(&Site) -> Result<()>);

const PROGRAMS: &[Program] = &[
    ("gateway", healthy),
    ("checkout", peer_gone),
    ("postgres", forgotten),
    ("reports", after_idle),
    ("search", while_idle),
    ("mailer", user_timeout),
    ("backup", zero_window),
    ("cache", resets),
    ("batch", data_lost),
    ("operator", aborted),
    ("crawler", no_drops),
    ("feeds", behind_a_limit),
];

/// A peer that has forgotten every connection, and one that is gone.
const FORGET: &str = "reject with tcp reset";
const SWALLOW: &str = "drop";

/// All programs, running.
pub(crate) struct Traffic {
    children: Vec<(&'static str, Child)>,
    folder: PathBuf,
}

impl Traffic {
    pub(crate) fn start() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("ka-e2e-programs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let own = std::env::current_exe().context("own path")?;
        let mut traffic = Self { children: Vec::new(), folder };
        for (name, _) in PROGRAMS {
            // A process is called by the name of the file it was started from.
            let program = traffic.folder.join(name);
            std::os::unix::fs::symlink(&own, &program).with_context(|| program.display().to_string())?;
            let mut command = Command::new(&program);
            command.args(["--boards-program", name]).stdin(Stdio::piped());
            traffic.children.push((name, command.spawn().with_context(|| format!("cannot start {name}"))?));
        }
        Ok(traffic)
    }

    /// Ends them all; each must have run until now.
    pub(crate) fn stop(mut self) -> Result<()> {
        for (name, child) in &mut self.children {
            let early = child.try_wait().context("try_wait")?;
            ensure!(early.is_none(), "{name} ended early: {early:?}");
            drop(child.stdin.take());
            let status = child.wait().context("wait")?;
            ensure!(status.success(), "{name} ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            // Both fail where it ended as asked, which is the ordinary case.
            drop(child.kill());
            drop(child.wait());
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The process of a program: ends well when its input ends, and badly when what it does fails.
pub(crate) fn worker(name: &str) -> Result<()> {
    let (_, program) = PROGRAMS.iter().find(|(known, _)| *known == name).context("no such program")?;
    std::thread::spawn(|| {
        // However it ends: whoever started this is gone, or wants it gone.
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        std::process::exit(0);
    });
    program(&Site { net: Net::new()? }).with_context(|| name.to_owned())
}

/// Where a program lives: it is both ends of its connections.
struct Site {
    net: Net,
}

/// A connection from a to b, and the port of b.
struct Pair {
    a: Tcp,
    b: Tcp,
    port: u16,
}

impl Site {
    fn connect(&self) -> Result<Pair> {
        self.connect_to(Net::address(Side::B, Family::V4), |_| Ok(()))
    }

    /// A connection to a listener at an address of b that is made ready before.
    fn connect_to(&self, b: IpAddr, ready: impl FnOnce(&Tcp) -> Result<()> + Send) -> Result<Pair> {
        let make = |side: Side| self.net.within(side, || Tcp::new(b, libc::IPPROTO_TCP));
        let listener = make(Side::B)?;
        ready(&listener)?;
        let any = SocketAddr::new(b, 0);
        listener.raw().bind(&any.into()).context("bind")?;
        listener.raw().listen(4).context("listen")?;
        let address = listener.local()?;
        let a = make(Side::A)?;
        a.raw().connect(&address.into()).context("connect")?;
        let b = Tcp::of(listener.raw().accept().context("accept")?.0);
        Ok(Pair { a, b, port: address.port() })
    }

    /// From now on what comes for a port of b is treated so.
    fn treat(&self, port: u16, verdict: &str) -> Result<()> {
        self.net.filter(Side::B, &[&format!("tcp dport {port} {verdict}")])
    }
}

impl Pair {
    /// Closes both ends, once `a` has died.
    fn bury(self) -> Result<()> {
        self.a.wait_error_pending()?;
        // The other end would retransmit its goodbye to nobody for minutes.
        self.b.linger_none()
    }
}

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// Connections with settings of many kinds, all of whose probes are answered.
fn healthy(site: &Site) -> Result<()> {
    let settings = [
        (12, Some(Keepalive { idle: 1, interval: 1, count: 5 })),
        (8, Some(Keepalive { idle: 15, interval: 15, count: 9 })),
        (4, Some(Keepalive { idle: 60, interval: 10, count: 6 })),
        (3, Some(Keepalive { idle: 400, interval: 30, count: 3 })),
        (6, None),
    ];
    let mut kept = Vec::new();
    for (count, settings) in settings {
        for place in 0..count {
            let pair = site.connect()?;
            match settings {
                Some(settings) => pair.a.keepalive(settings)?,
                None => pair.a.keepalive_switch(true)?,
            }
            if place % 4 == 3 {
                pair.b.keepalive(FAST)?;
            }
            kept.push(pair);
        }
    }
    // And some that never probe.
    for _ in 0..9 {
        kept.push(site.connect()?);
    }
    loop {
        // A path that loses a probe now and then.
        pause(4000);
        site.treat(kept[0].port, SWALLOW)?;
        pause(1500);
        site.net.heal(Side::B)?;
    }
}

/// The peer is gone: `keepalive_timeout`.
fn peer_gone(site: &Site) -> Result<()> {
    loop {
        let pairs = (0..3).map(|_| site.connect()).collect::<Result<Vec<_>>>()?;
        for pair in &pairs {
            pair.a.keepalive(FAST)?;
        }
        pause(2500);
        site.net.filter(Side::B, &["meta l4proto tcp drop"])?;
        pairs.into_iter().try_for_each(Pair::bury)?;
        site.net.heal(Side::B)?;
        pause(2000);
    }
}

/// A middlebox forgot the connection: `reset_by_probe`.
fn forgotten(site: &Site) -> Result<()> {
    for round in 0_u64.. {
        let pair = site.connect()?;
        site.treat(pair.port, FORGET)?;
        pair.a.keepalive(Keepalive { idle: 1 + round % 4, ..FAST })?;
        pair.bury()?;
        site.net.heal(Side::B)?;
    }
    Ok(())
}

/// The first data after a silence is refused, `reset_after_idle`, or swallowed, `timeout_after_idle`.
fn after_idle(site: &Site) -> Result<()> {
    site.net.sysctl(Side::A, "ipv4/tcp_retries2", "3")?;
    for round in 0_u64.. {
        let pair = site.connect()?;
        pause(3000 + round % 3 * 1000);
        site.treat(pair.port, if round % 3 == 2 { SWALLOW } else { FORGET })?;
        pair.a.write(b"report")?;
        pair.bury()?;
        site.net.heal(Side::B)?;
    }
    Ok(())
}

/// A reset out of a silence: `reset_while_idle`.
fn while_idle(site: &Site) -> Result<()> {
    loop {
        let Pair { a, b, .. } = site.connect()?;
        a.write(b"x")?;
        b.read_exact(1)?;
        pause(3500);
        b.linger_none()?;
        drop(b);
        a.wait_error_pending()?;
    }
}

/// One lost probe is fatal: `user_timeout`.
fn user_timeout(site: &Site) -> Result<()> {
    loop {
        let pair = site.connect()?;
        pair.a.user_timeout(Duration::from_millis(2500))?;
        pair.a.keepalive(Keepalive { count: 10, ..FAST })?;
        pause(3000);
        site.treat(pair.port, SWALLOW)?;
        pair.bury()?;
        site.net.heal(Side::B)?;
    }
}

/// A reader that stops reading, with keepalive due meanwhile, and in the end is gone: `zero_window_timeout`.
fn zero_window(site: &Site) -> Result<()> {
    site.net.sysctl(Side::A, "ipv4/tcp_retries2", "2")?;
    loop {
        let pair = site.connect_to(Net::address(Side::B, Family::V4), |listener| {
            listener.raw().set_recv_buffer_size(64 * 1024).context("SO_RCVBUF")?;
            listener.window_clamp(8 * 1024)
        })?;
        pair.a.raw().set_send_buffer_size(16 * 1024).context("SO_SNDBUF")?;
        pair.a.keepalive(FAST)?;
        pair.a.fill()?;
        pause(4000);
        site.treat(pair.port, SWALLOW)?;
        pair.bury()?;
        site.net.heal(Side::B)?;
    }
}

/// Resets of connections in use, and after the peer's goodbye: `reset`, `reset_after_close`.
fn resets(site: &Site) -> Result<()> {
    loop {
        for goodbye in [false, true] {
            let Pair { a, b, .. } = site.connect()?;
            a.keepalive(FAST)?;
            pause(2500);
            if goodbye {
                b.raw().shutdown(Shutdown::Write).context("shutdown")?;
                pause(1500);
            } else {
                a.write(b"x")?;
                b.read_exact(1)?;
                b.write(b"x")?;
                a.read_exact(1)?;
            }
            b.linger_none()?;
            drop(b);
            a.wait_error_pending()?;
        }
    }
}

/// Data that is never acknowledged, of a connection in use: `retransmit_timeout`.
fn data_lost(site: &Site) -> Result<()> {
    site.net.sysctl(Side::A, "ipv4/tcp_retries2", "3")?;
    loop {
        let pair = site.connect()?;
        pair.a.keepalive(FAST)?;
        pause(1500);
        pair.a.write(b"x")?;
        pair.b.read_exact(1)?;
        site.treat(pair.port, SWALLOW)?;
        pair.a.write(b"lost")?;
        pair.bury()?;
        site.net.heal(Side::B)?;
    }
}

/// Somebody ends it with `ss -K`: `aborted`.
fn aborted(site: &Site) -> Result<()> {
    loop {
        let pair = site.connect()?;
        pair.a.keepalive(FAST)?;
        pause(5000);
        let filter = format!("dport = :{}", pair.port);
        site.net.command(Side::A, "ss", &["-K", "-t", "-n", &filter])?;
        pair.bury()?;
    }
}

/// Ends that are no drops: never established, and of nobody.
fn no_drops(site: &Site) -> Result<()> {
    site.net.sysctl(Side::A, "ipv4/tcp_syn_retries", "1")?;
    site.net.sysctl(Side::A, "ipv4/tcp_orphan_retries", "2")?;
    loop {
        let pair = site.connect()?;
        site.net.filter(Side::B, &["meta l4proto tcp drop"])?;
        pair.a.write(b"x")?;
        drop(pair.a);
        let alone =
            site.net.within(Side::A, || Tcp::new(Net::address(Side::A, Family::V4), libc::IPPROTO_TCP))?;
        let nobody = SocketAddr::new(Net::address(Side::B, Family::V4), 9);
        ensure!(alone.raw().connect(&nobody.into()).is_err(), "connected to nobody");
        pair.b.linger_none()?;
        drop(pair.b);
        site.net.heal(Side::B)?;
    }
}

/// Something on the way forgets connections that are idle for longer than 8 s: those that probe after 6 s live,
/// those that probe after 10 s die, again and again.
fn behind_a_limit(site: &Site) -> Result<()> {
    for (side, address) in [(Side::A, "10.78.1.1/24"), (Side::B, "10.78.1.2/24")] {
        site.net.ip(side, &format!("addr add {address} dev {}", side.device()))?;
    }
    let connect = |idle| -> Result<Pair> {
        let pair = site.connect_to(IpAddr::from([10, 78, 1, 2]), |_| Ok(()))?;
        pair.a.keepalive(Keepalive { idle, interval: idle, count: 3 })?;
        Ok(pair)
    };
    let _live = (0..16).map(|_| connect(6)).collect::<Result<Vec<_>>>()?;
    loop {
        let die = (0..8).map(|_| connect(10)).collect::<Result<Vec<_>>>()?;
        pause(8000);
        let ports: Vec<_> = die.iter().map(|pair| pair.port.to_string()).collect();
        site.net.filter(Side::B, &[&format!("tcp dport {{ {} }} {FORGET}", ports.join(", "))])?;
        die.into_iter().try_for_each(Pair::bury)?;
        site.net.heal(Side::B)?;
    }
}
