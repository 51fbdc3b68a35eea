//! Kernel time by the kernel's own BPF statistics: real programs and empty ones on the same hooks,
//! in turns over the same sockets, so that neither warms the caches for the other.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use ka_common::Kind;
use ka_daemon::bpf::{KernelHooks, Options};
use ka_daemon::kernel::Kernel;
use ka_daemon::status::{Intent, Plan, ProgramStatus};

use crate::empty::{Attached, Cost};
use crate::reading::Reading;
use crate::report::{Budget, Row, figure, progress};
use crate::sockets::Connections;

const SOCKETS: u32 = 5_000;
const ROUNDS: u32 = 3;
/// Until every socket had its first runs.
const SETTLE: Duration = Duration::from_millis(2_500);
const EMPTY_TIME: Duration = Duration::from_secs(3);
const REAL_TIME: Duration = Duration::from_secs(4);
/// Sleepers, each with a kernel timer a few ms ahead.
const SLEEPERS: usize = 64;

/// Measurements before giving up on a machine that is not quiet.
const TRIES: u32 = 6;
/// Probes of other sockets that change no figure.
const FEW: u64 = 20;

type Costs = BTreeMap<String, Cost>;

/// What programs cost while something went on.
#[derive(Default)]
struct Measured {
    real: Costs,
    empty: Costs,
    direct: Cost,
    probes: u64,
    settled: u64,
}

impl Measured {
    fn empty(&self, hook: &str) -> f64 {
        self.empty.get(hook).map_or(0.0, |cost| cost.each())
    }
}

pub(super) fn measure(object: &Path) -> anyhow::Result<Vec<Row>> {
    let kernel = Kernel::inspect(None)?;
    // Statistics stay on for all phases as long as one descriptor of them lives.
    let plan = KernelHooks::attach(&kernel, &options())?;
    let status = plan.status();
    let watched = status.programs.iter().filter(|program| watched(program));
    let hooks: Vec<String> = watched.map(|program| program.hook.clone()).collect();
    let name = status.intents.iter().find(|intent| intent.intent == Intent::KeepaliveRun);
    let name = name.and_then(|intent| intent.plan).map_or("none", Plan::label);
    drop(plan);

    let unrelated = quiet(0, || {
        let _timers = Timers::start()?;
        rounds(object, &kernel, &hooks, 1)
    })?;
    let probing = quiet(u64::from(SOCKETS) * u64::from(ROUNDS) * (REAL_TIME.as_secs() + 1), || {
        let _sockets = Connections::open(SOCKETS, 1, false)?;
        sleep(SETTLE);
        rounds(object, &kernel, &hooks, ROUNDS)
    })?;
    ensure!(probing.probes >= u64::from(SOCKETS) * 3, "only {} probes were seen", probing.probes);

    let mut rows = Vec::new();
    let mut total = 0.0;
    for hook in &hooks {
        let Some(&cost) = probing.real.get(hook) else { continue };
        // What the hook costs above an empty program on other timers than those that probe.
        let idle = above(&unrelated, hook).max(0.0);
        let others = figure(cost.runs.saturating_sub(probing.probes));
        let empty = probing.empty(hook);
        let extra = figure(cost.ns) - figure(cost.runs) * empty - others * idle;
        let extra = extra / figure(probing.probes);
        total += extra;
        let row = Row::new(format!("a run that sends a probe, {hook}"), extra, "ns", Budget::None);
        let note = format!("{} runs, {:.0} ns each; empty program {empty:.0} ns", cost.runs, cost.each());
        rows.push(row.note(note));
    }
    let what = format!("kernel time of a keepalive run that sends a probe, {name} plan");
    let note = format!(
        "{} probes of {SOCKETS} sockets at 1 s, {:.2} records each, above empty programs",
        probing.probes,
        figure(probing.probes + probing.settled) / figure(probing.probes)
    );
    rows.insert(0, Row::new(what, total, "ns", Budget::Most(300.0)).note(note));
    if hooks.iter().any(|hook| hook.contains("timer_expire")) {
        rows.extend(unrelated_rows(&unrelated));
    }
    Ok(rows)
}

/// Measures until no other program's sockets probed meanwhile: at most `probes` were seen, and a
/// few of idle services.
fn quiet(probes: u64, mut measure: impl FnMut() -> anyhow::Result<Measured>) -> anyhow::Result<Measured> {
    for _ in 0..TRIES {
        let measured = measure()?;
        if measured.probes <= probes + FEW {
            return Ok(measured);
        }
        let others = measured.probes - probes;
        progress(&format!("kernel: {others} probes of other programs' sockets; measuring again"))?;
    }
    anyhow::bail!("sockets of other programs keep probing; run it on a quiet machine")
}

/// Real above empty, in ns a run.
fn above(measured: &Measured, hook: &str) -> f64 {
    measured.real.get(hook).map_or(0.0, |cost| cost.each() - measured.empty(hook))
}

fn unrelated_rows(measured: &Measured) -> Vec<Row> {
    let [entry, exit] = ["tp_btf/timer_expire_entry", "tp_btf/timer_expire_exit"];
    let sum = above(measured, entry) + above(measured, exit);
    let runs = measured.real.get(entry).map_or(0, |cost| cost.runs);
    let part = |hook: &str| {
        let row = Row::new(format!("an unrelated timer, {hook}"), above(measured, hook), "ns", Budget::None);
        let real = measured.real.get(hook).map_or(0.0, |cost| cost.each());
        row.note(format!("{real:.0} ns a run; empty program {:.0} ns", measured.empty(hook)))
    };
    let direct = measured.direct.each() - measured.empty(entry);
    vec![
        Row::new("tracepoint plan, an unrelated timer", sum, "ns", Budget::Most(25.0))
            .note(format!("{runs} timers of sockets that wait with a timeout, begin and end")),
        part(entry),
        part(exit),
        Row::new("for comparison: the begin's test by a direct load", direct, "ns", Budget::None)
            .note("what a typed load in place of bpf_probe_read_kernel would leave of it"),
    ]
}

/// The programs that a keepalive run passes.
fn watched(program: &ProgramStatus) -> bool {
    program.attached && matches!(program.intent, Intent::KeepaliveRun | Intent::KeepaliveProbe)
}

fn options() -> Options {
    Options {
        hooks: None,
        ring_bytes: 32 << 20,
        max_sockets: 1 << 18,
        idle_floor: Duration::from_secs(10),
        rtt_exact: false,
        bpf_stats: true,
        iterators: false,
    }
}

/// Empty and real programs in turns.
fn rounds(object: &Path, kernel: &Kernel, hooks: &[String], rounds: u32) -> anyhow::Result<Measured> {
    let _statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime)?;
    let mut measured = Measured::default();
    for _ in 0..rounds {
        let empty = Attached::empty(object, kernel, hooks)?;
        let before = empty.costs()?;
        sleep(EMPTY_TIME);
        add(&mut measured.empty, &before, &empty.costs()?);
        drop(empty);

        if hooks.iter().any(|hook| hook == "tp_btf/timer_expire_entry") {
            let direct = [("direct_timer_entry", "tp_btf/timer_expire_entry")];
            let direct = Attached::attach(object, kernel, &direct)?;
            sleep(EMPTY_TIME);
            direct.costs()?.values().for_each(|&cost| measured.direct.add(cost));
        }
        real(kernel, &mut measured)?;
    }
    Ok(measured)
}

/// The programs of the daemon, their records read as the daemon does.
fn real(kernel: &Kernel, measured: &mut Measured) -> anyhow::Result<()> {
    let hooks = KernelHooks::attach(kernel, &options())?;
    let reading = Reading::start(kernel.hz, || Ok(hooks.source()?))?;
    sleep(SETTLE);
    let before = hooks.status();
    sleep(REAL_TIME);
    let after = hooks.status();
    add(&mut measured.real, &costs(&before.programs), &costs(&after.programs));
    let emitted = |kind: Kind| after.counters.emitted[kind as usize] - before.counters.emitted[kind as usize];
    measured.probes += emitted(Kind::ProbeSent);
    measured.settled += emitted(Kind::ProbeSettled);
    ensure!(after.counters.ring_full.iter().sum::<u64>() == 0, "records were lost");
    drop(hooks);
    reading.finish()?;
    Ok(())
}

fn costs(programs: &[ProgramStatus]) -> Costs {
    let cost =
        |program: &ProgramStatus| Cost { runs: program.runs.unwrap_or(0), ns: program.run_ns.unwrap_or(0) };
    programs.iter().map(|program| (program.hook.clone(), cost(program))).collect()
}

fn add(sum: &mut Costs, before: &Costs, after: &Costs) {
    for (hook, &cost) in after {
        let before = before.get(hook).copied().unwrap_or_default();
        sum.entry(hook.clone()).or_default().add(cost.since(before));
    }
}

/// Sockets that wait with a timeout and never receive: each wait is one kernel timer that expires
/// (`SO_RCVTIMEO` waits by `schedule_timeout`; sleeps and polls have timers of another kind).
struct Timers {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Timers {
    fn start() -> anyhow::Result<Self> {
        let mut all = Self { stop: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for _ in 0..SLEEPERS {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(Duration::from_millis(1)))?;
            let stop = Arc::clone(&all.stop);
            all.threads.push(std::thread::spawn(move || {
                let mut byte = [0];
                while !stop.load(Ordering::Relaxed) && socket.recv(&mut byte).is_err() {}
            }));
        }
        Ok(all)
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}
