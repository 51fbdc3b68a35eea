//! Reading 100,000 sockets with owners and settings, beside `ss`, in turns within one run.

use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ka_daemon::bpf::{KernelHooks, Options};
use ka_daemon::inventory::describe;
use ka_daemon::inventory::directory::Directory;
use ka_daemon::inventory::read::Reader;
use ka_daemon::inventory::source::Iterators;
use ka_daemon::inventory::totals::{Sweep, Totals};
use ka_daemon::kernel::Kernel;
use ka_daemon::owner::Sources;
use ka_daemon::preset::Presets;
use ka_daemon::table::Clock;

use crate::report::{Budget, Row, figure};
use crate::sockets::Connections;

const CONNECTIONS: u32 = 50_000;
const SECONDS: u64 = 15;
const ROUNDS: usize = 5;

pub(super) fn measure() -> anyhow::Result<Vec<Row>> {
    let kernel = Kernel::inspect(None)?;
    let options = Options {
        hooks: None,
        ring_bytes: 1 << 16,
        max_sockets: 1,
        idle_floor: Duration::from_secs(10),
        rtt_exact: false,
        bpf_stats: false,
        iterators: true,
    };
    let iterators: Arc<dyn Iterators> = Arc::new(KernelHooks::iterators(&kernel, &options)?);
    let directory = Arc::new(Mutex::new(Directory::new(Arc::clone(&iterators), Sources::default())));
    let reader = Reader::new(iterators, directory, kernel.hz);
    let clock = Clock::new(kernel.hz);
    let before = resident_kib()?;
    let sockets = Connections::open(CONNECTIONS, SECONDS, true)?;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut found = Sweep::default();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        found = sweep(&reader, clock)?;
        let our = start.elapsed().as_secs_f64();
        let start = Instant::now();
        ss(sockets.pid()?)?;
        let their = start.elapsed().as_secs_f64();
        ours.push(our * 1e3);
        theirs.push(their * 1e3);
        ratios.push(their / our);
    }
    let counted = found.owners.iter().map(|(_, sockets)| sockets.on).sum::<u64>();
    ensure!(counted >= 100_000, "only {counted} sockets with keepalive on were counted by owner");
    let grown = resident_kib()?.saturating_sub(before);
    let note = format!(
        "{} sockets, {} owners, {} namespaces",
        found.sockets,
        found.owners.len(),
        found.namespaces.len()
    );
    Ok(vec![
        Row::new(
            "ss -tnoepi beside a sweep of 100,000 sockets",
            median(&mut ratios),
            "times as long",
            Budget::Least(10.0),
        )
        .note(format!("median of {ROUNDS} pairs, {:.1} to {:.1}", ratios[0], ratios[ROUNDS - 1])),
        Row::new("a sweep, with owners and settings", median(&mut ours), "ms", Budget::None).note(note),
        Row::new("ss -tnoepi", median(&mut theirs), "ms", Budget::None)
            .note("in the namespace of the sockets"),
        Row::new("memory that sweeps took", figure(grown) / 1024.0, "MiB", Budget::None)
            .note("resident, above what it was before the sockets"),
    ])
}

/// As the daemon sweeps, without the table.
fn sweep(reader: &Reader, clock: Clock) -> anyhow::Result<Sweep> {
    let presets = Presets::builtin();
    let mut totals = Totals::default();
    let report = reader.read(&mut |netns, row| {
        let settings = describe::settings(row, netns.sysctls.as_ref(), clock);
        let owner = reader.directory().owner(row.into());
        totals.add(row, settings.as_ref(), &owner, || {
            ka_daemon::inventory::presets::Raw::from(row)
                .preset(&presets, clock, &owner.comm)
                .unwrap_or_default()
        });
        ControlFlow::Continue(())
    })?;
    Ok(Sweep { namespaces: report.namespaces, ..totals.finish() })
}

fn ss(pid: u32) -> anyhow::Result<()> {
    let status = Command::new("nsenter")
        .args(["-t", &pid.to_string(), "-n", "ss", "-tnoepi"])
        .stdout(Stdio::null())
        .status()
        .context("cannot start nsenter and ss")?;
    ensure!(status.success(), "ss ended with {status}");
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn resident_kib() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().context("VmRSS is empty")?.parse()?)
}
