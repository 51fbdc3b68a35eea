//! The kernel's own trace of timers, as a witness for runs that it keeps from BPF programs.
//!
//! Some kernels run no BPF program while a softirq interrupts certain tasks, and count nothing. Its
//! own tracing of the same tracepoint still sees those timers, so that the difference is evidence,
//! not an excuse: where nothing is kept back the counts must be equal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

const TRACEFS: &str = "/sys/kernel/tracing";
const EVENT: &str = "events/timer/timer_expire_entry/enable";

/// Counts every timer of the machine from its start to its end.
pub(crate) struct TimerTrace {
    instance: PathBuf,
    mounted: bool,
}

impl TimerTrace {
    /// None where the kernel has no event tracing.
    pub(crate) fn start() -> Result<Option<Self>> {
        let root = Path::new(TRACEFS);
        let mut mounted = false;
        if !root.join("events").exists() {
            let status = Command::new("mount").args(["-t", "tracefs", "tracefs", TRACEFS]).status();
            mounted = status.context("mount")?.success();
        }
        if !root.join(EVENT).exists() {
            return Ok(None);
        }
        let instance = root.join("instances").join(format!("ka-e2e-{}", std::process::id()));
        fs::create_dir(&instance).with_context(|| format!("cannot make {}", instance.display()))?;
        let trace = Self { instance, mounted };
        fs::write(trace.instance.join(EVENT), "1").context("enable the timer event")?;
        Ok(Some(trace))
    }

    /// Stops, and tells how many timers there were.
    pub(crate) fn stop(&self) -> Result<u64> {
        fs::write(self.instance.join(EVENT), "0").context("disable the timer event")?;
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
        ensure!(timers > 0, "the kernel's trace saw no timer at all");
        Ok(timers)
    }
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
