//! One scenario while it runs: its namespaces, its sockets, and what it may assert.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::daemon::Daemon;
use crate::net::{Family, Net, Nstat, Side};
use crate::records::View;
use crate::tcp::Tcp;

/// What every scenario of a run shares.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) daemon: Daemon,
    pub(crate) program: PathBuf,
    pub(crate) hooks: String,
    /// Plan in force for write-timer runs and window probes.
    pub(crate) write_plan: String,
    pub(crate) kernel: (u32, u32),
    pub(crate) tools: Option<PathBuf>,
}

/// What a scenario expects of the records of its namespaces, over its whole life. Everything that
/// is not named here is expected not to happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expect {
    /// `cause/timer` of each drop.
    pub(crate) drops: Vec<String>,
    /// Counted ends that are no drops.
    pub(crate) ended: Vec<String>,
    /// Phases of received resets; none: not looked at.
    pub(crate) resets: Option<Vec<String>>,
    /// How window probes relate to `TcpExtTCPWinProbe`.
    pub(crate) window_probes: WindowProbes,
}

/// How the daemon's count of window probes relates to the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum WindowProbes {
    #[default]
    Equal,
    /// The kernel counts each probe in urgent mode twice.
    Urgent,
    /// Deferred runs escape the tracepoint plan; it may infer some, and never counts too many.
    AtMost,
}

impl Expect {
    pub(crate) fn nothing() -> Self {
        Self { resets: Some(Vec::new()), ..Self::default() }
    }

    pub(crate) fn drops(drops: &[&str]) -> Self {
        Self { drops: drops.iter().map(|&d| d.to_owned()).collect(), ..Self::nothing() }
    }

    pub(crate) fn ended(ended: &[&str]) -> Self {
        Self { ended: ended.iter().map(|&d| d.to_owned()).collect(), ..Self::nothing() }
    }

    pub(crate) fn resets(mut self, phases: &[&str]) -> Self {
        self.resets = Some(phases.iter().map(|&d| d.to_owned()).collect());
        self
    }

    pub(crate) fn any_resets(mut self) -> Self {
        self.resets = None;
        self
    }

    pub(crate) fn window_probes(mut self, rule: WindowProbes) -> Self {
        self.window_probes = rule;
        self
    }
}

/// A running scenario.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) env: &'a Env,
    pub(crate) net: Arc<Net>,
    inodes: [u64; 2],
    sockets: Mutex<Vec<Tcp>>,
}

/// Long enough for two emulated CPUs under load; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_mins(2);

impl<'a> Case<'a> {
    pub(crate) fn new(env: &'a Env, net: Arc<Net>) -> Result<Self> {
        let inodes = [net.inode(Side::A)?, net.inode(Side::B)?];
        Ok(Self { env, net, inodes, sockets: Mutex::new(Vec::new()) })
    }

    /// Records of one side so far.
    pub(crate) fn view(&self, side: Side) -> Result<View> {
        self.env.daemon.view(&[self.inode(side)])
    }

    /// Checks that no probe of a side stayed without an answer, where both ends probe. They may cross:
    /// an answer that one with a newer timestamp overtakes is old, and the kernel discards and counts it.
    pub(crate) fn all_answered(&self, side: Side, view: &View) -> Result<()> {
        let (unanswered, discarded) = (view.unanswered(), self.net.nstat(side)?.paws_old_ack);
        ensure!(
            unanswered <= discarded,
            "expected every probe answered, came {unanswered} unanswered, where the kernel discarded {discarded} answers"
        );
        Ok(())
    }

    pub(crate) fn inode(&self, side: Side) -> u64 {
        match side {
            Side::A => self.inodes[0],
            Side::B => self.inodes[1],
        }
    }

    /// Waits until a side's records satisfy `done`.
    pub(crate) fn wait(&self, side: Side, what: &str, done: impl Fn(&View) -> bool) -> Result<View> {
        self.wait_in(&self.env.daemon, side, what, done)
    }

    /// The same with another daemon's records.
    pub(crate) fn wait_in(
        &self,
        daemon: &Daemon,
        side: Side,
        what: &str,
        done: impl Fn(&View) -> bool,
    ) -> Result<View> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let view = daemon.view(&[self.inode(side)])?;
            if done(&view) {
                return Ok(view);
            }
            ensure!(
                Instant::now() < deadline,
                "expected {what} on side {side:?}, did not come within {PATIENCE:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Keeps a socket until the case ends, which closes it when the path is cut, unseen.
    pub(crate) fn keep(&self, socket: &Tcp) {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket.clone());
    }

    /// A socket of a side that the case keeps.
    pub(crate) fn socket(&self, side: Side, family: Family) -> Result<Tcp> {
        let socket = self.net.within(side, || Tcp::new(Net::address(side, family), libc::IPPROTO_TCP))?;
        self.keep(&socket);
        Ok(socket)
    }

    /// A listener of a side, and its address.
    pub(crate) fn listen(&self, side: Side, family: Family) -> Result<(Tcp, SocketAddr)> {
        let socket = self.socket(side, family)?;
        let address = SocketAddr::new(Net::address(side, family), 0);
        socket.raw().bind(&address.into()).context("bind")?;
        socket.raw().listen(64).context("listen")?;
        let local = socket.local()?;
        Ok((socket, local))
    }

    /// Accepts a connection that the case keeps.
    pub(crate) fn accept(&self, listener: &Tcp) -> Result<Tcp> {
        let (socket, _) = listener.raw().accept().context("accept")?;
        let socket = Tcp::of(socket);
        self.keep(&socket);
        Ok(socket)
    }

    /// A connection from a to b.
    pub(crate) fn connect(&self, family: Family) -> Result<Pair> {
        let (listener, address) = self.listen(Side::B, family)?;
        let pair = self.connect_to(&listener, address, family)?;
        self.close(listener)?;
        Ok(pair)
    }

    /// A connection from a to a listener of b.
    pub(crate) fn connect_to(&self, listener: &Tcp, address: SocketAddr, family: Family) -> Result<Pair> {
        let a = self.socket(Side::A, family)?;
        a.raw().connect(&address.into()).context("connect")?;
        let b = self.accept(listener)?;
        Ok(Pair { a_address: a.local()?, b_address: address, a, b })
    }

    /// Closes a socket as a program does.
    pub(crate) fn close(&self, socket: Tcp) -> Result<()> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).retain(|s| !s.same(&socket));
        ensure!(socket.is_last(), "a scenario closes a socket that it still holds");
        drop(socket);
        Ok(())
    }

    /// Closes a socket with a reset.
    pub(crate) fn abort(&self, socket: Tcp) -> Result<()> {
        socket.linger_none()?;
        self.close(socket)
    }

    /// Waits until `take_error` of a socket gives this error.
    pub(crate) fn wait_error(socket: &Tcp, errno: i32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match socket.take_error()? {
                0 => {}
                error if error == errno => return Ok(()),
                error => bail!("expected error {errno} on the socket, came {error}"),
            }
            ensure!(Instant::now() < deadline, "expected error {errno} on the socket, none came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Cuts the path, closes what is left, and checks everything that must hold for any scenario.
    pub(crate) fn finish(&self, expect: &Expect) -> Result<()> {
        self.net.cut()?;
        for socket in self.sockets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            socket.linger_none()?;
        }
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            match self.check(expect) {
                Err(e) if Instant::now() > deadline => return Err(e),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn check(&self, expect: &Expect) -> Result<()> {
        let both = self.env.daemon.view(&self.inodes)?;
        for side in Side::BOTH {
            let view = self.view(side)?;
            let kernel = self.net.nstat(side)?;
            conservation(&view).with_context(|| format!("side {side:?}"))?;
            against_kernel(&view, kernel, expect.window_probes).with_context(|| format!("side {side:?}"))?;
        }
        same("drops", &expect.drops, both.drops())?;
        same("ends", &expect.ended, both.ended())?;
        if let Some(resets) = &expect.resets {
            same("reset phases", resets, both.resets())?;
        }
        Ok(())
    }

    /// Everything known about the namespaces, for the report of a failure.
    pub(crate) fn details(&self) -> String {
        let mut lines = Vec::new();
        for side in Side::BOTH {
            lines.push(format!("    side {side:?} kernel: {:?}", self.net.nstat(side)));
            match self.view(side) {
                Ok(view) => {
                    lines.extend(view.text().map(|line| format!("      {line}")));
                }
                Err(e) => lines.push(format!("      no records: {e:#}")),
            }
        }
        lines.join("\n")
    }
}

/// A connection from a to b.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) a: Tcp,
    pub(crate) b: Tcp,
    pub(crate) a_address: SocketAddr,
    pub(crate) b_address: SocketAddr,
}

/// sent = answered + unanswered + settling resets + pending, each by identity, and all settled once
/// every socket is closed.
fn conservation(view: &View) -> Result<()> {
    let pending = view.pending()?;
    let (sent, answered, unanswered, reset) =
        (view.sent(), view.answered(), view.unanswered(), view.reset_settled());
    ensure!(
        pending == 0 && sent == answered + unanswered + reset,
        "expected sent = answered + unanswered + settling resets, came {sent} = {answered} + {unanswered} + {reset}, pending {pending}"
    );
    Ok(())
}

fn against_kernel(view: &View, kernel: Nstat, rule: WindowProbes) -> Result<()> {
    let attempts = view.sent() + view.suppressed("local_congestion");
    ensure!(
        attempts == kernel.keepalive,
        "expected sent + local_congestion = TCPKeepAlive {}, came {} + {}",
        kernel.keepalive,
        view.sent(),
        view.suppressed("local_congestion")
    );
    let seen = view.window_probes();
    let right = match rule {
        WindowProbes::Equal => seen == kernel.win_probe,
        // Those before the urgent data count once; the other side has none at all.
        WindowProbes::Urgent => {
            (seen < kernel.win_probe && kernel.win_probe <= seen * 2) || seen + kernel.win_probe == 0
        }
        WindowProbes::AtMost => seen <= kernel.win_probe,
    };
    ensure!(right, "expected window probes {rule:?} TCPWinProbe {}, came {seen}", kernel.win_probe);
    let ends = view.timer_ends();
    ensure!(
        ends == kernel.abort_on_timeout,
        "expected ends by timers = TCPAbortOnTimeout {}, came {ends}",
        kernel.abort_on_timeout
    );
    Ok(())
}

fn same(what: &str, expected: &[String], came: Vec<String>) -> Result<()> {
    let (mut expected, mut came) = (expected.to_vec(), came);
    expected.sort();
    came.sort();
    ensure!(expected == came, "expected {what} {expected:?}, came {came:?}");
    Ok(())
}
