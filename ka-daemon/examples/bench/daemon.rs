//! The daemon as a process: its start, and what it costs while 100,000 sockets probe.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::report::{Budget, Row, figure};
use crate::sockets::Connections;

const CONNECTIONS: u32 = 50_000;
/// Go's default.
const IDLE_S: u64 = 15;
const STARTS: usize = 7;
const PAGES: usize = 51;
const CPU_TIME: Duration = Duration::from_secs(30);

struct Daemon {
    child: Child,
    address: SocketAddr,
    /// From the start of the process to its first "ready".
    ready: Duration,
}

impl Daemon {
    fn start(program: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let start = Instant::now();
        let child = Command::new(program)
            .args(["--web.listen-address", &address.to_string(), "--hooks", "auto"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut daemon = Self { child, address, ready: Duration::ZERO };
        while daemon.get("/-/ready").is_err() {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("{} ended with {status} before it was ready", program.display());
            }
            ensure!(start.elapsed() < Duration::from_secs(30), "the daemon is not ready after 30 s");
            sleep(Duration::from_millis(1));
        }
        daemon.ready = start.elapsed();
        Ok(daemon)
    }

    /// The body of a page; another status than 200 is an error.
    fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: ka\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        ensure!(text.starts_with("HTTP/1.1 200"), "{path}: {}", text.lines().next().unwrap_or("nothing"));
        Ok(text)
    }

    /// Time on a CPU so far: of the thread that sweeps, and of all others.
    fn cpu(&self) -> anyhow::Result<[Duration; 2]> {
        let mut times = [Duration::ZERO; 2];
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?.path();
            let text = std::fs::read_to_string(task.join("schedstat"))?;
            let ns = text.split(' ').next().context("schedstat is empty")?.parse()?;
            let sweeps = std::fs::read_to_string(task.join("comm"))?.trim() == "inventory";
            times[usize::from(!sweeps)] += Duration::from_nanos(ns);
        }
        Ok(times)
    }

    /// A line of `/proc/PID/status`, in KiB.
    fn memory_kib(&self, name: &str) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.split_whitespace().next());
        Ok(value.with_context(|| format!("no {name} in /proc/PID/status"))?.parse()?)
    }

    /// Samples of a metric, summed.
    fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let page = self.get("/metrics")?;
        let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values = page.lines().filter(of).filter_map(|line| line.rsplit(' ').next());
        Ok(values.map(str::parse::<f64>).sum::<Result<f64, _>>()?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A daemon that ended by itself needs no signal.
        let asked =
            i32::try_from(self.child.id()).is_ok_and(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok());
        if asked {
            drop(self.child.wait());
        }
    }
}

pub(super) fn start(program: &Path) -> anyhow::Result<Vec<Row>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(Daemon::start(program)?.ready.as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let note = format!("median of {STARTS}, {:.0} to {:.0} ms", times[0], times[STARTS - 1]);
    Ok(vec![Row::new("start to ready", times[STARTS / 2], "ms", Budget::Most(300.0)).note(note)])
}

pub(super) fn load(program: &Path) -> anyhow::Result<Vec<Row>> {
    let daemon = Daemon::start(program)?;
    let idle_kib = daemon.memory_kib("VmRSS:")?;
    let _sockets = Connections::open(CONNECTIONS, IDLE_S, true)?;
    // Until every socket has probed and was asked for its outcome.
    sleep(Duration::from_secs(2 * IDLE_S + 2));
    let tracked = daemon.metric("ka_tracked_sockets")?;
    ensure!(tracked >= 99_000.0, "only {tracked} sockets are tracked");

    let sent = daemon.metric("ka_keepalive_probes_sent_total")?;
    let before = daemon.cpu()?;
    let start = Instant::now();
    sleep(CPU_TIME);
    let now = daemon.cpu()?;
    let [sweeps, busy] = [0, 1].map(|of| now[of].saturating_sub(before[of]));
    let wall = start.elapsed();
    let sent = daemon.metric("ka_keepalive_probes_sent_total")? - sent;
    let lost = daemon.metric("ka_records_lost_total")?;
    let resident = daemon.memory_kib("VmRSS:")?;
    let anonymous = daemon.memory_kib("RssAnon:")?;
    let share = |busy: Duration| 100.0 * busy.as_secs_f64() / wall.as_secs_f64();

    let mut times = Vec::new();
    let mut length = 0;
    for _ in 0..PAGES {
        let start = Instant::now();
        length = daemon.get("/metrics")?.len();
        times.push(start.elapsed().as_secs_f64() * 1e3);
        sleep(Duration::from_millis(50));
    }
    times.sort_by(f64::total_cmp);
    let rate = sent / wall.as_secs_f64();
    Ok(vec![
        Row::new("CPU with 100,000 sockets at 15 s", share(busy), "% of one core", Budget::Most(0.5))
            .note(format!("{tracked:.0} tracked, {rate:.0} probes/s, {lost:.0} records lost, over 30 s")),
        Row::new("CPU of sweeps meanwhile", share(sweeps), "% of one core", Budget::None)
            .note("who holds what is looked at too"),
        Row::new("memory meanwhile", figure(resident) / 1024.0, "MiB resident", Budget::Most(64.0)).note(
            format!(
                "{:.1} MiB of it anonymous; {:.1} MiB resident before the sockets",
                figure(anonymous) / 1024.0,
                figure(idle_kib) / 1024.0
            ),
        ),
        Row::new("/metrics meanwhile", times[PAGES / 2], "ms", Budget::Most(5.0)).note(format!(
            "median of {PAGES}, slowest {:.1} ms, {} KiB, one owner",
            times[PAGES - 1],
            length / 1024
        )),
    ])
}
