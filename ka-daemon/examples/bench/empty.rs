//! The object with the empty programs: loads it, hangs its programs, reads their time.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use aya::programs::{BtfTracePoint, FEntry, FExit, KProbe, Program};
use aya::{Btf, Ebpf, EbpfLoader};
use ka_daemon::kernel::Kernel;

/// Runs and time of a program.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    pub(super) runs: u64,
    pub(super) ns: u64,
}

impl Cost {
    pub(super) fn since(self, before: Self) -> Self {
        Self { runs: self.runs - before.runs, ns: self.ns - before.ns }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.runs += more.runs;
        self.ns += more.ns;
    }

    /// ns a run.
    pub(super) fn each(self) -> f64 {
        crate::report::figure(self.ns) / crate::report::figure(self.runs.max(1))
    }
}

/// Program and hook of each empty program.
const EMPTY: &[(&str, &str)] = &[
    ("empty_timer_entry", "tp_btf/timer_expire_entry"),
    ("empty_timer_exit", "tp_btf/timer_expire_exit"),
    ("empty_fentry_keepalive", "fentry/tcp_keepalive_timer"),
    ("empty_fexit_keepalive", "fexit/tcp_keepalive_timer"),
    ("empty_fexit_wakeup", "fexit/tcp_write_wakeup"),
    ("empty_kprobe_keepalive", "kprobe/tcp_keepalive_timer"),
    ("empty_kret_keepalive", "kretprobe/tcp_keepalive_timer"),
    ("empty_kprobe_wakeup", "kprobe/tcp_write_wakeup"),
    ("empty_kret_wakeup", "kretprobe/tcp_write_wakeup"),
];

/// Programs of the benchmark, attached until this is dropped.
pub(super) struct Attached {
    ebpf: Ebpf,
    programs: Vec<(&'static str, String)>,
}

impl Attached {
    /// The empty programs of these hooks.
    pub(super) fn empty(object: &Path, kernel: &Kernel, hooks: &[String]) -> anyhow::Result<Self> {
        let wanted = EMPTY.iter().filter(|(_, hook)| hooks.iter().any(|other| other == hook));
        Self::attach(object, kernel, &wanted.copied().collect::<Vec<_>>())
    }

    pub(super) fn attach(
        object: &Path,
        kernel: &Kernel,
        programs: &[(&'static str, &str)],
    ) -> anyhow::Result<Self> {
        let btf = Btf::from_sys_fs()?;
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global("BENCH_FUNCTION_OFFSET", &kernel.layout.timer_function.offset, true)
            .load_file(object)
            .with_context(|| format!("cannot load {}", object.display()))?;
        let mut attached = Vec::new();
        for &(name, hook) in programs {
            let program = ebpf.program_mut(name).with_context(|| format!("no program {name}"))?;
            hang(program, hook, &btf).with_context(|| format!("cannot attach {name} to {hook}"))?;
            attached.push((name, hook.to_owned()));
        }
        Ok(Self { ebpf, programs: attached })
    }

    /// What each cost so far, by hook.
    pub(super) fn costs(&self) -> anyhow::Result<BTreeMap<String, Cost>> {
        let mut costs = BTreeMap::new();
        for (name, hook) in &self.programs {
            let info = self.ebpf.program(name).context("it was attached")?.info()?;
            let ns = u64::try_from(info.run_time().as_nanos())?;
            costs.insert(hook.clone(), Cost { runs: info.run_count(), ns });
        }
        Ok(costs)
    }
}

pub(super) fn hang(program: &mut Program, hook: &str, btf: &Btf) -> anyhow::Result<()> {
    let (kind, target) = hook.split_once('/').context("a hook has a kind and a target")?;
    match kind {
        "tp_btf" => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(target, btf)?;
            program.attach()?;
        }
        "fentry" => {
            let program: &mut FEntry = program.try_into()?;
            program.load(target, btf)?;
            program.attach()?;
        }
        "fexit" => {
            let program: &mut FExit = program.try_into()?;
            program.load(target, btf)?;
            program.attach()?;
        }
        "kprobe" | "kretprobe" => {
            let program: &mut KProbe = program.try_into()?;
            program.load()?;
            program.attach(target, 0)?;
        }
        other => bail!("no hook of kind {other}"),
    }
    Ok(())
}
