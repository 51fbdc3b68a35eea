//! The daemon under test, as a process: start, metrics, record log, and what it leaves behind.
//! Needs `unsafe` for `prctl`, which no crate here wraps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::bpf;
use crate::records::{Log, View};

/// A running `ka-daemon`.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Mutex<Child>,
    pid: u32,
    address: SocketAddr,
    folder: PathBuf,
    log: Log,
}

/// Metric page: series name with labels as written, and value.
pub(crate) type Page = BTreeMap<String, f64>;

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Daemon {
    /// Starts it with a record log and waits until it is ready.
    pub(crate) fn start(program: &Path, hooks: &str, more: &[&str]) -> Result<Self> {
        Self::launch(program, hooks, more, true)
    }

    /// The same without a record log, for millions of records, and with the kernel's count of the
    /// programs' runs.
    pub(crate) fn start_without_log(program: &Path, hooks: &str) -> Result<Self> {
        Self::launch(program, hooks, &["--bpf-stats"], false)
    }

    fn launch(program: &Path, hooks: &str, more: &[&str], log: bool) -> Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ka-e2e-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let port = TcpListener::bind("127.0.0.1:0").context("no free port (is lo up?)")?.local_addr()?.port();
        let stderr = fs::File::create(folder.join("stderr")).context("stderr of the daemon")?;
        let mut command = Command::new(program);
        command
            .args(["run", "--web.listen-address", &format!("127.0.0.1:{port}"), "--hooks", hooks])
            .args(more)
            .stdin(Stdio::null())
            .stdout(stderr.try_clone().context("stdout of the daemon")?)
            .stderr(stderr)
            .env_clear()
            .env("RUST_BACKTRACE", "1");
        if log {
            command.arg("--record-log").arg(folder.join("records"));
        }
        ends_with_us(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let pid = child.id();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let daemon = Self { child: Mutex::new(child), pid, address, folder, log: Log::default() };
        daemon.wait_ready()?;
        Ok(daemon)
    }

    fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_mins(3);
        while !matches!(self.get("/-/ready"), Ok((200, _))) {
            if let Some(status) = self.exited()? {
                bail!("the daemon ended before it was ready: {status}\n{}", self.stderr());
            }
            ensure!(Instant::now() < deadline, "the daemon is not ready after 180 s\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn exited(&self) -> Result<Option<ExitStatus>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().context("wait for the daemon")
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote to standard output and error.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap_or_else(|e| format!("(no output: {e})"))
    }

    /// GET over HTTP/1.0: status and body.
    fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).with_context(|| format!("GET {path}"))?;
        let (head, body) = text.split_once("\r\n\r\n").context("no end of the HTTP header")?;
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no HTTP status")?;
        ensure!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{path} came in chunks");
        Ok((status, body.to_owned()))
    }

    /// The metrics page.
    pub(crate) fn metrics(&self) -> Result<Page> {
        let (status, body) = self.get("/metrics")?;
        ensure!(status == 200, "/metrics answers {status}: {body}");
        let lines = body.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
        lines
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').with_context(|| format!("metric line {line}"))?;
                Ok((name.to_owned(), value.parse().with_context(|| format!("metric line {line}"))?))
            })
            .collect()
    }

    /// `/api/v1/status`.
    pub(crate) fn status(&self) -> Result<serde_json::Value> {
        let (status, body) = self.get("/api/v1/status")?;
        ensure!(status == 200, "/api/v1/status answers {status}: {body}");
        serde_json::from_str(&body).context("/api/v1/status")
    }

    /// The plan in force for an intent; empty: none.
    pub(crate) fn plan(&self, intent: &str) -> Result<String> {
        let status = self.status()?;
        let mut found = Vec::new();
        find_intent(&status, intent, &mut found);
        Ok(found.pop().unwrap_or_default())
    }

    /// The records of these namespaces so far.
    pub(crate) fn view(&self, namespaces: &[u64]) -> Result<View> {
        self.log.follow(&self.folder.join("records"))?;
        Ok(self.log.view(namespaces))
    }

    /// Every record so far.
    pub(crate) fn all(&self) -> Result<View> {
        self.log.follow(&self.folder.join("records"))?;
        Ok(self.log.all())
    }

    /// What a command of the same program prints, asked for this daemon's sockets or drops.
    pub(crate) fn command(&self, program: &Path, args: &[&str]) -> Result<Vec<serde_json::Value>> {
        let daemon = format!("http://{}", self.address);
        let mut all = vec![args[0], "--json", "--daemon", &daemon];
        all.extend(&args[1..]);
        run_json(program, &all)
    }

    /// Waits until every record that left the kernel was received: a daemon that looks at all open files serves its
    /// last snapshot meanwhile.
    pub(crate) fn wait_all_received(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let page = self.metrics()?;
            let [emitted, received] =
                ["emitted", "received"].map(|what| sum(&page, &format!("ka_records_{what}_total"), &[]));
            if emitted == received {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "expected emitted = received, came {emitted} and {received}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// CPU time used so far and resident memory in MiB.
    pub(crate) fn usage(&self) -> Result<(Duration, u64)> {
        let page = self.metrics()?;
        let get = |name: &str| page.get(name).copied().with_context(|| format!("no {name}"));
        let rss = get("process_resident_memory_bytes")? / f64::from(1 << 20);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size in MiB")]
        Ok((Duration::from_secs_f64(get("process_cpu_seconds_total")?), rss as u64))
    }

    /// Resident KiB of each of its mappings of this name and size.
    pub(crate) fn mapping_rss_kib(&self, name: &str, size_kib: u64) -> Result<Vec<u64>> {
        let text = fs::read_to_string(format!("/proc/{}/smaps", self.pid)).context("smaps")?;
        let kib = |line: &str, what| -> Option<u64> {
            line.strip_prefix(what)?.trim().strip_suffix(" kB")?.trim().parse().ok()
        };
        let (mut named, mut sized, mut found) = (false, false, Vec::new());
        for line in text.lines() {
            if let Some(size) = kib(line, "Size:") {
                sized = size == size_kib;
            } else if let Some(rss) = kib(line, "Rss:") {
                found.extend((named && sized).then_some(rss));
            } else if line.split(' ').next().is_some_and(|range| range.contains('-')) {
                named = line.ends_with(name);
            }
        }
        Ok(found)
    }

    /// Stops it in its tracks, or lets it go on.
    pub(crate) fn pause(&self, paused: bool) -> Result<()> {
        self.signal(if paused { Signal::SIGSTOP } else { Signal::SIGCONT })
    }

    /// Has it read its configuration again.
    pub(crate) fn hang_up(&self) -> Result<()> {
        self.signal(Signal::SIGHUP)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid).context("pid")?);
        nix::sys::signal::kill(pid, signal).with_context(|| signal.to_string())
    }

    /// One of the status's oddities.
    pub(crate) fn oddity(&self, name: &str) -> Result<u64> {
        let status = self.status()?;
        status["oddities"][name].as_u64().with_context(|| format!("no oddity {name}"))
    }

    /// Ids of the BPF programs it holds, from its descriptors.
    pub(crate) fn programs(&self) -> Result<BTreeSet<u32>> {
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", self.pid)).context("fdinfo")? {
            // A descriptor may close between the listing and the reading.
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            let id = text.lines().find_map(|l| l.strip_prefix("prog_id:"));
            ids.extend(id.and_then(|id| id.trim().parse::<u32>().ok()));
        }
        Ok(ids)
    }

    /// SIGTERM: it must end with 0 within 5 s and leave no BPF program.
    pub(crate) fn stop(&self) -> Result<()> {
        let programs = self.programs()?;
        ensure!(!programs.is_empty(), "the daemon holds no BPF program");
        let begin = Instant::now();
        let mut slow = None;
        self.signal(Signal::SIGTERM)?;
        let status = loop {
            if let Some(status) = self.exited()? {
                break status;
            }
            if begin.elapsed() > SLOW_STOP && slow.is_none() {
                slow = Some(self.threads());
            }
            ensure!(
                begin.elapsed() < Duration::from_secs(30),
                "still there 30 s after SIGTERM\n{}{}",
                self.stderr(),
                slow.unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        let took = begin.elapsed();
        let slow = slow.unwrap_or_default();
        ensure!(status.success(), "{status} after SIGTERM, expected exit code 0\n{}{slow}", self.stderr());
        // An emulated machine may take seconds for each program that it detaches.
        if std::env::var_os("KA_E2E_EMULATED").is_none() {
            ensure!(took < Duration::from_secs(5), "ended {took:?} after SIGTERM, expected less than 5 s");
        }
        // The kernel frees programs after a grace period.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left: Vec<_> = programs.intersection(&bpf::loaded()?).copied().collect();
            if left.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "BPF programs left behind: {left:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The process ends with this program, also when that is killed.
pub(crate) fn ends_with_us(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and takes no pointers here.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
}

/// Runs a command that prints JSON: an array, or an object a line.
pub(crate) fn run_json(program: &Path, args: &[&str]) -> Result<Vec<serde_json::Value>> {
    let output = Command::new(program).args(args).env_clear().stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{args:?} ended with {}: {said}", output.status);
    let values = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
    let mut all = Vec::new();
    for value in values {
        let value = value.with_context(|| format!("output of {args:?}"))?;
        if let serde_json::Value::Array(items) = value {
            all.extend(items);
        } else {
            all.push(value);
        }
    }
    Ok(all)
}

/// A daemon that takes longer to stop is looked into.
const SLOW_STOP: Duration = Duration::from_millis(2500);

impl Daemon {
    /// What each of its threads waits for in the kernel, for the report of a failure.
    fn threads(&self) -> String {
        let mut told = String::new();
        let folder = format!("/proc/{}/task", self.pid);
        for thread in fs::read_dir(folder).into_iter().flatten().flatten() {
            let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            told.extend(["thread ", &read("comm"), " syscall ", &read("syscall"), &read("stack")]);
        }
        told
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Both fail where the daemon ended as asked, which is the ordinary case.
        drop(child.kill());
        drop(child.wait());
        if std::env::var_os("KA_E2E_KEEP").is_none() {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

/// Sum of a metric's series whose labels contain all of `labels`.
pub(crate) fn sum(page: &Page, metric: &str, labels: &[&str]) -> u64 {
    let value: f64 = page
        .iter()
        .filter(|(name, _)| name.split('{').next() == Some(metric))
        .filter(|(name, _)| labels.iter().all(|l| name.contains(l)))
        .map(|(_, value)| value)
        .sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
    let count = value as u64;
    count
}

fn find_intent(value: &serde_json::Value, intent: &str, found: &mut Vec<String>) {
    if value.get("intent").and_then(|i| i.as_str()) == Some(intent)
        && let Some(plan) = value.get("plan").and_then(|p| p.as_str())
        && value.get("program").is_none()
    {
        found.push(plan.to_owned());
    }
    if let Some(members) = value.as_object() {
        for member in members.values() {
            find_intent(member, intent, found);
        }
    }
    if let Some(items) = value.as_array() {
        for item in items {
            find_intent(item, intent, found);
        }
    }
}
