//! The kernel's own trace of timers, as a witness for runs that it keeps from BPF programs.
//!
//! Some kernels run no BPF program while a softirq interrupts certain tasks, and count nothing. Their
//! own tracing of the same tracepoint still sees those timers, so that the difference is evidence,
//! not an excuse: where nothing is kept back, the daemon's counts must equal the kernel's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bpf::Program;
use crate::daemon::Daemon;

const TRACEFS: &str = "/sys/kernel/tracing";
const EVENT: &str = "events/timer/timer_expire_entry/enable";
const FILTER: &str = "events/timer/timer_expire_entry/filter";

/// Programs that begin a timer run, and the one function whose timers start them; none: every timer does. The
/// kernel runs no BPF program of a kprobe while it has interrupted another one, or a reading of a BPF map. The
/// fentry plan misses nothing.
const BEGINS: [(&str, Option<&str>); 3] = [
    ("ka_timer_entry", None),
    ("ka_kprobe_keepalive", Some("tcp_keepalive_timer")),
    ("ka_kprobe_write", Some("tcp_write_timer")),
];

/// Timer runs that a daemon was kept from seeing.
#[derive(Debug)]
pub(crate) struct Kept(Vec<Witness>);

#[derive(Debug)]
struct Witness {
    trace: TimerTrace,
    /// Its id: whoever held it would keep it loaded.
    program: u32,
    /// What the program had seen before the trace began.
    before: u64,
}

/// Looks at both counts: a timer between the two makes the difference one too small.
const LOOKS: usize = 100;

impl Kept {
    /// Begins to compare. The daemon runs with `--bpf-stats`. Nothing is compared where the plan in force
    /// has none of these programs, or the kernel has no event tracing.
    pub(crate) fn watch(daemon: &Daemon) -> Result<Self> {
        let mut witnesses = Vec::new();
        for id in daemon.programs()? {
            let program = Program::open(id)?;
            for (name, function) in BEGINS {
                if program.is_named(name)? {
                    let before = program.runs()?;
                    let trace = TimerTrace::start(function)?;
                    if let Some(trace) = trace {
                        witnesses.push(Witness { trace, program: id, before });
                    }
                }
            }
        }
        Ok(Self(witnesses))
    }

    /// How many so far, at least: what the trace has more is never too much, since the program's
    /// count is read before the trace began and after it was looked at.
    pub(crate) fn so_far(&self) -> Result<u64> {
        self.0.iter().map(Witness::so_far).sum()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // The first one may have mounted what the others need to end.
        while self.0.pop().is_some() {}
    }
}

impl Witness {
    fn so_far(&self) -> Result<u64> {
        let Self { trace, program, before } = self;
        let program = Program::open(*program)?;
        let mut most = 0;
        for _ in 0..LOOKS {
            let traced = trace.count()?;
            // A run is counted at its end.
            std::thread::sleep(Duration::from_micros(200));
            most = most.max(traced.saturating_sub(program.runs()? - before));
        }
        Ok(most)
    }
}

/// Counts the timers of the machine, or those of one function, from its start to its end.
#[derive(Debug)]
struct TimerTrace {
    instance: PathBuf,
    mounted: bool,
}

impl TimerTrace {
    /// None where the kernel has no event tracing.
    fn start(function: Option<&str>) -> Result<Option<Self>> {
        let root = Path::new(TRACEFS);
        let mut mounted = false;
        if !root.join("events").exists() {
            let status = Command::new("mount").args(["-t", "tracefs", "tracefs", TRACEFS]).status();
            mounted = status.context("mount")?.success();
        }
        if !root.join(EVENT).exists() {
            return Ok(None);
        }
        let instance = root.join("instances").join(format!(
            "ka-e2e-{}-{}",
            function.unwrap_or("all"),
            std::process::id()
        ));
        fs::create_dir(&instance).with_context(|| format!("cannot make {}", instance.display()))?;
        let trace = Self { instance, mounted };
        if let Some(function) = function {
            let filter = format!("function == 0x{}", address(function)?);
            fs::write(trace.instance.join(FILTER), &filter).with_context(|| format!("filter {filter}"))?;
        }
        fs::write(trace.instance.join(EVENT), "1").context("enable the timer event")?;
        Ok(Some(trace))
    }

    /// How many timers there were.
    fn count(&self) -> Result<u64> {
        let mut timers = 0;
        let folder = self.instance.join("per_cpu");
        for cpu in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let stats = fs::read_to_string(cpu?.path().join("stats")).context("stats of the trace")?;
            let fields: Vec<_> = stats.lines().filter_map(|line| line.split_once(": ")).collect();
            for name in ["entries", "overrun", "dropped events"] {
                let value = fields.iter().find(|(field, _)| *field == name);
                let value = value.with_context(|| format!("no {name} in the trace's stats"))?.1;
                timers += value.trim().parse::<u64>().context(name)?;
            }
        }
        Ok(timers)
    }
}

/// Where the kernel has a function.
fn address(function: &str) -> Result<String> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("/proc/kallsyms")?;
    let mut lines = symbols.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2) == Some(&function));
    Ok(line.with_context(|| format!("no {function} in /proc/kallsyms"))?[0].to_owned())
}

impl Drop for TimerTrace {
    fn drop(&mut self) {
        drop(fs::write(self.instance.join(EVENT), "0"));
        drop(fs::remove_dir(&self.instance));
        if self.mounted {
            drop(Command::new("umount").arg(TRACEFS).status());
        }
    }
}
