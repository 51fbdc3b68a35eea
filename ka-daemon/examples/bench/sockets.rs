//! Connections in processes of their own, in a network namespace of their own: one process may
//! not have as many files as are needed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

const BACKLOG: &str = "/proc/sys/net/core/netdev_max_backlog";
/// Far more than the probes of one tick.
const ROOM: &str = "200000";
/// Keeps clear of the limit of open files of most machines.
const CONNECTIONS_A_PROCESS: u32 = 8_400;

/// One process that holds connections.
#[derive(clap::Args)]
pub(super) struct Worker {
    /// Connections, from this process to itself
    #[arg(long)]
    connections: u32,
    /// Idle time and interval of keepalive
    #[arg(long)]
    seconds: u64,
    /// Keepalive on the accepted end too
    #[arg(long)]
    both: bool,
    /// Tells the processes' addresses apart
    #[arg(long)]
    number: u8,
}

impl Worker {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let address = SockAddr::from(SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, self.number), 9_000));
        listener.bind(&address)?;
        listener.listen(128)?;
        let time = Duration::from_secs(self.seconds);
        let keepalive = TcpKeepalive::new().with_time(time).with_interval(time);
        let mut held = Vec::new();
        for i in 0..self.connections {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            client.connect(&address).with_context(|| format!("connection {i}"))?;
            client.set_tcp_keepalive(&keepalive)?;
            let (server, _) = listener.accept()?;
            if self.both {
                SockRef::from(&server).set_tcp_keepalive(&keepalive)?;
            }
            held.push((client, server));
        }
        writeln!(std::io::stdout(), "ready")?;
        // Until the benchmark ends, however it ends.
        let mut nothing = Vec::new();
        std::io::stdin().read_to_end(&mut nothing)?;
        drop(held);
        Ok(())
    }
}

/// Processes with connections; they end when this is dropped.
pub(super) struct Connections {
    workers: Vec<Child>,
    _room: Room,
}

impl Connections {
    /// Makes them and waits until all are there.
    pub(super) fn open(connections: u32, seconds: u64, both: bool) -> anyhow::Result<Self> {
        let room = Room::make()?;
        // The thread's namespace is what its children inherit; it goes with them.
        let workers = std::thread::spawn(move || spawn(connections, seconds, both))
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that starts workers panicked"))??;
        let mut all = Self { workers, _room: room };
        for worker in &mut all.workers {
            let out = worker.stdout.take().context("it was piped")?;
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line)?;
            ensure!(line == "ready\n", "a process could not open its connections (see above)");
        }
        Ok(all)
    }
}

impl Connections {
    /// A process in their network namespace.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.workers.first().context("there is no worker")?.id())
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            drop(worker.stdin.take());
        }
        for worker in &mut self.workers {
            drop(worker.wait());
        }
    }
}

fn spawn(connections: u32, seconds: u64, both: bool) -> anyhow::Result<Vec<Child>> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace; run as root")?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("cannot start `ip`")?;
    ensure!(up.success(), "`ip link set lo up` failed");
    let processes = connections.div_ceil(CONNECTIONS_A_PROCESS);
    let mut workers = Vec::new();
    for number in 0..processes {
        let share = connections / processes + u32::from(number < connections % processes);
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("worker").args(["--connections", &share.to_string()]);
        command.args(["--seconds", &seconds.to_string()]).args(["--number", &(number + 1).to_string()]);
        if both {
            command.arg("--both");
        }
        let worker = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        workers.push(worker);
    }
    Ok(workers)
}

/// A queue that holds all probes of one tick: the usual one drops some, which then look lost.
struct Room(String);

impl Room {
    fn make() -> anyhow::Result<Self> {
        let before = std::fs::read_to_string(BACKLOG).with_context(|| format!("cannot read {BACKLOG}"))?;
        std::fs::write(BACKLOG, ROOM).with_context(|| format!("cannot write {BACKLOG}; run as root"))?;
        Ok(Self(before))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(BACKLOG, self.0.trim()) {
            drop(crate::report::progress(&format!(
                "cannot put {BACKLOG} back to {}: {error}",
                self.0.trim()
            )));
        }
    }
}
