//! Two network namespaces, `a` and `b`, joined by a veth pair.
//!
//! They have no name and live as long as this process holds them open, so nothing stays behind,
//! however it ends. They are held to the end of the run: their inode numbers name them in the
//! record log, and a number that came again would mix two scenarios.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};

/// An end of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Name of its veth device.
    pub(crate) fn device(self) -> &'static str {
        match self {
            Self::A => "ka-a",
            Self::B => "ka-b",
        }
    }
}

/// How addresses are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
    /// An IPv6 socket with IPv4 addresses.
    Mapped,
}

/// An nftables script that leaves nothing of the tests' rules, whether there were any or not.
const NO_RULES: &str = "add table inet ka; delete table inet ka";

/// Counters of a namespace, from `/proc/net/netstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nstat {
    pub(crate) keepalive: u64,
    pub(crate) win_probe: u64,
    pub(crate) abort_on_timeout: u64,
    pub(crate) abort_on_memory: u64,
    /// Acknowledgements that came after a newer segment and were discarded; 0 on kernels that take them.
    pub(crate) paws_old_ack: u64,
}

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace(File);

impl Namespace {
    /// A new one.
    pub(crate) fn new() -> Result<Self> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
                    File::open("/proc/thread-self/ns/net").context("/proc/thread-self/ns/net").map(Self)
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A path by which other programs find it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Its inode number, its name in records and metrics.
    fn inode(&self) -> Result<u64> {
        Ok(self.0.metadata().context("stat of a namespace")?.ino())
    }

    /// Runs `work` in a thread that is in it: what it opens and starts belongs there.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).context("setns")?;
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command in it to its end and returns what it printed.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Result<String> {
        self.within(|| {
            let output = Command::new(program)
                .args(args)
                .stdin(Stdio::null())
                .output()
                .with_context(|| format!("cannot run {program}"))?;
            if !output.status.success() {
                bail!(
                    "{program} {}: {}: {}",
                    args.join(" "),
                    output.status,
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        })
    }
}

/// The pair.
#[derive(Debug)]
pub(crate) struct Net {
    a: Namespace,
    b: Namespace,
}

impl Net {
    /// Makes both namespaces, their devices and addresses.
    pub(crate) fn new() -> Result<Self> {
        let net = Self { a: Namespace::new()?, b: Namespace::new()? };
        let peer = net.b.path();
        let (a, b) = (Side::A.device(), Side::B.device());
        net.ip(Side::A, &format!("link add {a} type veth peer name {b} netns {peer}"))?;
        for (side, host) in [(Side::A, 1), (Side::B, 2)] {
            let device = side.device();
            net.ip(side, "link set lo up")?;
            net.ip(side, &format!("addr add 10.77.0.{host}/24 dev {device}"))?;
            net.ip(side, &format!("addr add fd77::{host}/64 dev {device} nodad"))?;
            net.ip(side, &format!("link set {device} up"))?;
        }
        Ok(net)
    }

    /// Address of a side.
    pub(crate) fn address(side: Side, family: Family) -> IpAddr {
        let text = match (side, family) {
            (Side::A, Family::V4) => "10.77.0.1",
            (Side::B, Family::V4) => "10.77.0.2",
            (Side::A, Family::V6) => "fd77::1",
            (Side::B, Family::V6) => "fd77::2",
            (Side::A, Family::Mapped) => "::ffff:10.77.0.1",
            (Side::B, Family::Mapped) => "::ffff:10.77.0.2",
        };
        text.parse().expect("a literal address parses")
    }

    fn of(&self, side: Side) -> &Namespace {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// The namespace's inode number, its name in records and metrics.
    pub(crate) fn inode(&self, side: Side) -> Result<u64> {
        self.of(side).inode()
    }

    /// Runs `work` in a thread that is in the namespace: what it opens and starts belongs there.
    pub(crate) fn within<T: Send>(&self, side: Side, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.of(side).within(work)
    }

    /// Runs a command in the namespace to its end and returns what it printed.
    pub(crate) fn command(&self, side: Side, program: &str, args: &[&str]) -> Result<String> {
        self.of(side).command(program, args)
    }

    /// Starts a command in the namespace.
    pub(crate) fn spawn(&self, side: Side, command: &mut Command) -> Result<Child> {
        self.within(side, || {
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))
        })
    }

    /// `ip ARGS`, split at blanks.
    pub(crate) fn ip(&self, side: Side, args: &str) -> Result<()> {
        self.command(side, "ip", &args.split(' ').collect::<Vec<_>>()).map(drop)
    }

    /// `tc ARGS`, split at blanks.
    pub(crate) fn tc(&self, side: Side, args: &str) -> Result<()> {
        self.command(side, "tc", &args.split(' ').collect::<Vec<_>>()).map(drop)
    }

    /// Writes a file below `/proc/sys/net`, such as `ipv4/tcp_retries2`.
    pub(crate) fn sysctl(&self, side: Side, name: &str, value: &str) -> Result<()> {
        self.within(side, || {
            fs::write(format!("/proc/sys/net/{name}"), value).with_context(|| format!("sysctl {name}"))
        })
    }

    /// Puts nftables rules on the input hook of a side in place of those that were there, at once: no
    /// segment slips through in between. [`Self::heal`] removes them.
    pub(crate) fn filter(&self, side: Side, rules: &[&str]) -> Result<()> {
        let mut script = format!(
            "{NO_RULES}\ntable inet ka {{\n chain input {{\n  type filter hook input priority 0; policy accept;\n",
        );
        for rule in rules {
            script.push_str("  ");
            script.push_str(rule);
            script.push('\n');
        }
        script.push_str(" }\n}\n");
        self.nft(side, &script)
    }

    fn nft(&self, side: Side, script: &str) -> Result<()> {
        self.command(side, "nft", &[script]).map(drop)
    }

    /// Lets no TCP segment into either side any more. Both still send: a capture sees the segments
    /// on the wire, and neighbour discovery works.
    pub(crate) fn cut(&self) -> Result<()> {
        for side in Side::BOTH {
            self.filter(side, &["meta l4proto tcp drop"])?;
        }
        Ok(())
    }

    /// Removes the rules of [`Self::filter`] and [`Self::cut`] from a side.
    pub(crate) fn heal(&self, side: Side) -> Result<()> {
        self.nft(side, NO_RULES)
    }

    /// Ends what programs left behind: an orphan would retransmit into the cut path for minutes, and
    /// show up in another run's namespace that got the same inode.
    pub(crate) fn clear(&self) -> Result<()> {
        for side in Side::BOTH {
            self.command(side, "ss", &["-K", "-t", "-a"])?;
        }
        Ok(())
    }

    /// The namespace's counters. It is new, so they count from 0.
    pub(crate) fn nstat(&self, side: Side) -> Result<Nstat> {
        self.within(side, nstat_here)
    }
}

/// The counters of the calling thread's namespace.
pub(crate) fn nstat_here() -> Result<Nstat> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").context("netstat")?;
    let counters = parse_netstat(&text)?;
    let get =
        |name: &str| counters.get(name).copied().with_context(|| format!("no TcpExt {name} in netstat"));
    Ok(Nstat {
        keepalive: get("TCPKeepAlive")?,
        win_probe: get("TCPWinProbe")?,
        abort_on_timeout: get("TCPAbortOnTimeout")?,
        abort_on_memory: get("TCPAbortOnMemory")?,
        paws_old_ack: counters.get("PAWSOldAck").copied().unwrap_or(0),
    })
}

fn parse_netstat(text: &str) -> Result<BTreeMap<&str, u64>> {
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (Some(names), Some(values)) = (rows.next(), rows.next()) else {
        bail!("no TcpExt rows in netstat");
    };
    let counters: BTreeMap<_, _> = names
        .split(' ')
        .zip(values.split(' ').map(str::parse))
        .map(|(name, value)| value.map(|v| (name, v)))
        .collect::<Result<_, _>>()
        .context("a TcpExt value in netstat")?;
    ensure!(counters.len() > 10, "netstat has only {} TcpExt counters", counters.len());
    Ok(counters)
}
