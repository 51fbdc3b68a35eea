//! The load test: tens of thousands of connections whose both ends probe every second, held by
//! worker processes (the limit of open files is one process's), in a namespace of their own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::args::Args;
use crate::daemon::{Daemon, sum};
use crate::net::{Net, Side};
use crate::tcp::{Keepalive, Tcp};
use crate::trace::Kept;
use crate::{own_comm, say};

/// Sockets in all, two for each connection.
const SOCKETS: usize = 54_000;
const SECONDS: u64 = 20;
const EVERY_SECOND: Keepalive = Keepalive { idle: 1, interval: 1, count: 9 };
/// Below the limit of open files, for what else a process has open.
const SPARE_FILES: u64 = 200;

/// Runs the whole test against a daemon of its own.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = args.daemon.clone().context("say which daemon to test: --daemon PATH or $KA_DAEMON")?;
    // The machine's own backlog would drop probes and make healthy connections look dead.
    let _backlog = Backlog::raise(1_000_000)?;
    let dropped_before = softnet_drops()?;
    let net = Net::new()?;
    let daemon = Daemon::start_without_log(&program, &args.hooks)?;
    let kept = Kept::watch(&daemon)?;
    let (cpu_before, _) = daemon.usage()?;
    let limit = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?.1;
    let each = usize::try_from((limit - SPARE_FILES) / 2).context("limit of open files")?;
    let mut workers = Vec::new();
    let mut left = SOCKETS / 2;
    while left > 0 {
        let connections = left.min(each);
        workers.push(Worker::start(&net, connections)?);
        left -= connections;
    }
    for worker in &mut workers {
        worker.expect_line("ready")?;
    }
    let (begin, sent_before) = (Instant::now(), sent(&daemon)?);
    std::thread::sleep(Duration::from_secs(SECONDS));
    let (cpu, rss) = daemon.usage()?;
    let (took, rate) = (begin.elapsed(), sent(&daemon)? - sent_before);
    for worker in workers {
        worker.stop()?;
    }
    std::thread::sleep(Duration::from_secs(2));
    daemon.wait_all_received(Duration::from_secs(30))?;
    check(&daemon, &net, kept.so_far()?).with_context(|| {
        format!("the daemon said:\n{}and counted:\n{}", daemon.stderr(), counted(&daemon))
    })?;
    let dropped = softnet_drops()? - dropped_before;
    ensure!(dropped == 0, "the machine's own backlog dropped {dropped} packets");
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let per_second = rate as f64 / took.as_secs_f64();
    let share = cpu.saturating_sub(cpu_before).as_secs_f64() / took.as_secs_f64() * 100.0;
    say(&format!(
        "load: {SOCKETS} sockets, {per_second:.0} probes/s, daemon {share:.1} % of a core (set-up included), {rss} MiB"
    ));
    daemon.stop()?;
    say("PASS load");
    Ok(())
}

fn sent(daemon: &Daemon) -> Result<u64> {
    Ok(sum(&daemon.metrics()?, "ka_keepalive_probes_sent_total", &[]))
}

/// `kept`: timer runs that the kernel's own trace saw and that it ran no BPF program for.
fn check(daemon: &Daemon, net: &Net, kept: u64) -> Result<()> {
    let page = daemon.metrics()?;
    let lost: Vec<_> =
        page.iter().filter(|(n, v)| n.starts_with("ka_records_lost_total") && **v > 0.0).collect();
    ensure!(lost.is_empty(), "expected no lost records, came {lost:?}");
    let inode = format!("netns=\"{}\"", net.inode(Side::A)?);
    let observed = sum(&page, "ka_observed_keepalive_probes_total", &[&inode]);
    let kernel = net.nstat(Side::A)?.keepalive;
    shows_the_kernels_count(daemon, &inode, kernel)?;
    if kept > 0 && observed < kernel {
        say(&format!(
            "load: this kernel kept {kept} timer runs from BPF programs (its own trace has them); \
             {} of {kernel} probes were in those",
            kernel - observed
        ));
    }
    ensure!(
        observed == kernel || (observed < kernel && kernel - observed <= kept),
        "expected {kernel} probes as the kernel counts, came {observed} ({kept} timer runs kept from BPF)"
    );
    let least = SOCKETS as u64 * (SECONDS - 4);
    ensure!(kernel >= least, "expected at least {least} probes in {SECONDS} s, came {kernel}");
    // Whose they are is known from the first record on: each worker is this very program.
    let workers = format!("comm=\"{}\"", own_comm()?);
    let total = |metric| sum(&page, metric, &[&workers]);
    let (sent, answered) =
        (total("ka_keepalive_probes_sent_total"), total("ka_keepalive_probes_answered_total"));
    let congested =
        sum(&page, "ka_keepalive_probes_suppressed_total", &[&workers, "reason=\"local_congestion\""]);
    ensure!(
        sent + congested == observed,
        "expected all {observed} probes counted for the workers, came {sent} + {congested}"
    );
    // Where softirqs are kept from BPF, so are resets and closes: a probe is then settled by a sweep, or waits.
    let near = |a: u64, b: u64| a.abs_diff(b) <= kept;
    let unsettled = total("ka_keepalive_probes_unsettled_total");
    ensure!(near(unsettled, 0), "expected every outcome known, came {unsettled} unsettled");
    let unanswered = total("ka_keepalive_probes_unanswered_total");
    // A worker that closes meets a probe that was just sent: its RST settles it.
    let by_reset = sum(&page, "ka_resets_received_total", &[&workers, "phase=\"keepalive\""]);
    ensure!(
        near(sent, answered + unanswered + by_reset + unsettled),
        "expected every probe settled with every socket closed, came {sent} = {answered} + {unanswered} + {by_reset} \
         + {unsettled}"
    );
    // Where both ends probe at once, an answer that another CPU overtakes with a newer timestamp is
    // an old one, and the kernel discards and counts it.
    let overtaken = net.nstat(Side::A)?.paws_old_ack;
    ensure!(
        unanswered <= overtaken && near(unanswered, overtaken),
        "expected as many unanswered probes as answers that the kernel discarded, {overtaken}, came {unanswered}"
    );
    // The workers close with RST after 20 s without data: that drops the other end, and nothing else does.
    let drops = |cause: &str| sum(&page, "ka_connections_dropped_total", &[&workers, cause]);
    let (dropped, while_idle) = (drops(""), drops("cause=\"reset_while_idle\""));
    let by_probe = drops("cause=\"reset_by_probe\"");
    ensure!(
        near(dropped, while_idle + by_probe) && near(by_probe, by_reset),
        "expected only the resets of the workers, came {dropped} drops, {while_idle} of them by RST while idle \
         and {by_probe} with a probe out, where {by_reset} settled one"
    );
    Ok(())
}

/// What is not 0 on the page, for the report of a failure.
fn counted(daemon: &Daemon) -> String {
    let page = daemon.metrics().unwrap_or_default();
    let told = page.iter().filter(|(name, value)| **value != 0.0 && !name.contains("_bucket"));
    told.map(|(name, value)| ["    ", name, " ", &value.to_string(), "\n"].concat()).collect()
}

/// The kernel's own count is on the page; while a sweep is under way it is the last sweep's.
fn shows_the_kernels_count(daemon: &Daemon, netns: &str, kernel: u64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let shown = sum(&daemon.metrics()?, "ka_kernel_keepalive_probes_total", &[netns]);
        if shown == kernel {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "expected the page to show the kernel's {kernel} probes, came {shown}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A process that holds connections.
struct Worker {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Worker {
    fn start(net: &Net, connections: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("own path")?);
        command.arg("--load-worker").arg(connections.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = net.spawn(Side::A, &mut command)?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, output })
    }

    fn expect_line(&mut self, expected: &str) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("worker")?;
        ensure!(line.trim_end() == expected, "expected a worker to say {expected}, came {line:?}");
        Ok(())
    }

    fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.expect_line("quiet")?;
        let status = self.child.wait().context("worker")?;
        ensure!(status.success(), "a worker ended with {status}");
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Already ended where all went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A worker process: connects to itself over loopback, says so, and holds on until its input ends.
pub(crate) fn worker(connections: usize) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("setrlimit")?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = Tcp::new(any.ip(), libc::IPPROTO_TCP)?;
    listener.raw().bind(&any.into()).context("bind")?;
    listener.raw().listen(1024).context("listen")?;
    listener.keepalive(EVERY_SECOND)?;
    let address = listener.local()?;
    let mut sockets = Vec::with_capacity(connections * 2);
    for _ in 0..connections {
        let client = Tcp::new(any.ip(), libc::IPPROTO_TCP)?;
        client.keepalive(EVERY_SECOND)?;
        client.raw().connect(&address.into()).context("connect")?;
        sockets.push(Tcp::of(listener.raw().accept().context("accept")?.0));
        sockets.push(client);
    }
    say("ready");
    std::io::stdout().flush().context("stdout")?;
    std::io::stdin().read_to_end(&mut Vec::new()).context("stdin")?;
    for socket in &sockets {
        socket.keepalive_switch(false)?;
    }
    // The last answers arrive before the sockets close.
    std::thread::sleep(Duration::from_secs(1));
    for socket in &sockets {
        socket.linger_none()?;
    }
    say("quiet");
    Ok(())
}

/// `net.core.netdev_max_backlog`, put back at the end.
struct Backlog {
    before: String,
}

const BACKLOG: &str = "/proc/sys/net/core/netdev_max_backlog";

impl Backlog {
    fn raise(to: u32) -> Result<Self> {
        let before = fs::read_to_string(BACKLOG).context(BACKLOG)?;
        fs::write(BACKLOG, to.to_string()).context(BACKLOG)?;
        Ok(Self { before })
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        if let Err(e) = fs::write(BACKLOG, self.before.trim()) {
            say(&format!("cannot put {BACKLOG} back to {}: {e}", self.before.trim()));
        }
    }
}

/// Packets that the backlog queues dropped, over all CPUs: the second column.
fn softnet_drops() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/softnet_stat").context("softnet_stat")?;
    let mut sum = 0;
    for line in text.lines() {
        let Some(column) = line.split_whitespace().nth(1) else { bail!("softnet_stat: {line}") };
        sum += u64::from_str_radix(column, 16).context("softnet_stat")?;
    }
    Ok(sum)
}
