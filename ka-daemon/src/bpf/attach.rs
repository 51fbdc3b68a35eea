//! Attaching: for each intent the best plan that this kernel takes, all or nothing.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aya::{
    Btf, Ebpf,
    maps::{MapData, PerCpuArray},
    programs::{BtfTracePoint, FEntry, FExit, Iter, KProbe, Program, ProgramError, ProgramFd},
};
use ka_common::{Config, Counters, Switches};

use super::{
    BpfError, error,
    object::{self, Plain},
    plan::{HookKind, INTENTS, TABLE, TIMER_ENTRY, candidates, programs, required, verdict},
    stats,
};
use crate::{
    events::ring::RingReader,
    kernel::Kernel,
    status::{Intent, IntentStatus, KernelSide, Plan, ProgramStatus},
};

/// What the user chose for the kernel side.
#[derive(Clone, Debug)]
pub struct Options {
    /// The only plan to try; none: the best for each intent.
    pub hooks: Option<Plan>,
    /// Size of the ring buffer in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// How many sockets the kernel side tracks at most.
    pub max_sockets: u32,
    /// Idle time from which untracked resets and drops are told.
    pub idle_floor: Duration,
    /// Take the arrival of answers as they arrive.
    pub rtt_exact: bool,
    /// Ask the kernel to count and time BPF programs.
    pub bpf_stats: bool,
    /// Read sockets by iterators, where the kernel has them.
    pub iterators: bool,
}

/// The kernel side, attached. Dropping it detaches everything.
pub struct KernelHooks {
    // Dropped first: detaches.
    ebpf: Mutex<Ebpf>,
    counters: PerCpuArray<MapData, Plain<Counters>>,
    attached: BTreeMap<usize, ProgramFd>,
    errors: BTreeMap<usize, String>,
    intents: Vec<IntentStatus>,
    release: String,
    btf: String,
    hz: u32,
    rtt: &'static str,
    _stats: Option<OwnedFd>,
}

impl KernelHooks {
    /// Loads and attaches, then lets all programs work at once.
    ///
    /// # Errors
    /// When something that the daemon needs cannot be observed by any plan; nothing stays
    /// attached then.
    pub fn attach(kernel: &Kernel, options: &Options) -> Result<Self, BpfError> {
        let btf = object::read_btf(&kernel.btf_path)?;
        let mut hooks = Self::prepare(kernel, &btf, options)?;
        for &intent in INTENTS {
            if intent == Intent::ExactRtt && !options.rtt_exact {
                continue;
            }
            if matches!(intent, Intent::Sockets | Intent::Holders) && !options.iterators {
                let reason = "sock_diag and /proc, by --inventory".to_owned();
                hooks.intents.push(IntentStatus { intent, plan: None, reason });
                continue;
            }
            let status = hooks.try_intent(intent, options.hooks, &btf, kernel);
            if status.plan.is_none() && (required(intent) || intent == Intent::ExactRtt) {
                let btf = kernel.btf_asked.then(|| kernel.btf_path.clone());
                return Err(BpfError::Intent { intent, reasons: status.reason.clone(), btf });
            }
        }
        let switches = hooks.switches();
        object::switch(&mut hooks.lock(), switches)?;
        drop(btf);
        object::give_memory_back();
        Ok(hooks)
    }

    /// Tries an intent and keeps what came of it.
    pub(super) fn try_intent(
        &mut self,
        intent: Intent,
        forced: Option<Plan>,
        btf: &Btf,
        kernel: &Kernel,
    ) -> &IntentStatus {
        let status = self.choose(intent, forced, btf, kernel);
        self.intents.push(status);
        self.intents.last().expect("just pushed")
    }

    /// What was tried so far.
    pub(super) fn intents(&self) -> &[IntentStatus] {
        &self.intents
    }

    /// Maps made, nothing attached.
    pub(super) fn prepare(kernel: &Kernel, btf: &Btf, options: &Options) -> Result<Self, BpfError> {
        let config = Config {
            idle_floor: jiffies(options.idle_floor, kernel.hz),
            // A quarter full: far from loss, and rare enough for a wake-up that costs 6 µs.
            wakeup_bytes: options.ring_bytes / 4,
        };
        let stats = if options.bpf_stats { Some(stats::enable()?) } else { None };
        let mut ebpf = object::load(btf, &kernel.layout, config, options)?;
        let counters = object::counters(&mut ebpf)?;
        Ok(Self {
            ebpf: Mutex::new(ebpf),
            counters,
            attached: BTreeMap::new(),
            errors: BTreeMap::new(),
            intents: Vec::new(),
            release: kernel.release.clone(),
            btf: kernel.btf_source.clone(),
            hz: kernel.hz,
            rtt: if options.rtt_exact { "exact" } else { "simple" },
            _stats: stats,
        })
    }

    /// The reader of the records; once.
    ///
    /// # Errors
    /// When it was taken before, or the ring buffer cannot be mapped.
    pub fn source(&self) -> Result<RingReader, BpfError> {
        let mut ebpf = self.lock();
        let ring = object::ring(&mut ebpf)?;
        let logger = object::logger(&mut ebpf)?;
        RingReader::new(ring, logger)
            .map_err(|error| BpfError::Map { map: "KA_RECORDS", reason: error.to_string() })
    }

    /// What is attached and how it fares, now.
    #[must_use]
    pub fn status(&self) -> KernelSide {
        KernelSide {
            release: self.release.clone(),
            btf: self.btf.clone(),
            hz: self.hz,
            rtt: self.rtt,
            intents: self.intents.clone(),
            programs: self.programs(),
            counters: self.counters(),
        }
    }

    fn programs(&self) -> Vec<ProgramStatus> {
        let shown = |i: &usize| self.attached.contains_key(i) || self.errors.contains_key(i);
        (0..TABLE.len()).filter(shown).map(|i| self.program(i)).collect()
    }

    fn program(&self, i: usize) -> ProgramStatus {
        let spec = &TABLE[i];
        let fd = self.attached.get(&i);
        let info = fd.and_then(stats::program);
        ProgramStatus {
            program: spec.program,
            hook: spec.hook(),
            plan: spec.plan,
            intent: spec.intents[0],
            attached: fd.is_some(),
            error: self.errors.get(&i).cloned(),
            runs: info.and_then(|info| info.runs),
            run_ns: info.and_then(|info| info.run_ns),
            missed: info.map(|info| info.missed),
        }
    }

    /// The kernel side's counters, summed over the CPUs.
    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        let Ok(per_cpu) = self.counters.get(&0, 0) else { return sum };
        for Plain(one) in per_cpu.iter() {
            for kind in 0..sum.emitted.len() {
                sum.emitted[kind] += one.emitted[kind];
                sum.ring_full[kind] += one.ring_full[kind];
                sum.tracked_full[kind] += one.tracked_full[kind];
            }
            sum.untracked += one.untracked;
            sum.mismatched_ends += one.mismatched_ends;
            sum.wakeups += one.wakeups;
            sum.last_wakeup_ns = sum.last_wakeup_ns.max(one.last_wakeup_ns);
        }
        sum
    }

    /// Tries the plans of an intent, best first, until one is attached whole.
    fn choose(&mut self, intent: Intent, forced: Option<Plan>, btf: &Btf, kernel: &Kernel) -> IntentStatus {
        let mut failures = Vec::new();
        for plan in candidates(intent, forced) {
            match self.try_plan(intent, plan, btf, kernel) {
                Ok(()) => {
                    let reason = verdict(plan, forced, &failures);
                    return IntentStatus { intent, plan: Some(plan), reason };
                }
                Err(error) => failures.push((plan, error)),
            }
        }
        let reason = verdict(Plan::Tracepoint, forced, &failures);
        IntentStatus { intent, plan: None, reason }
    }

    fn try_plan(&mut self, intent: Intent, plan: Plan, btf: &Btf, kernel: &Kernel) -> Result<(), String> {
        let by_timer = programs(intent, plan).any(|i| TABLE[i].program == TIMER_ENTRY);
        if by_timer && let Some(missing) = kernel.timer_symbols_missing() {
            return Err(missing);
        }
        if plan == Plan::Iterator
            && let Some(missing) = kernel.iterators_missing()
        {
            return Err(missing);
        }
        let mut fresh = Vec::new();
        for i in programs(intent, plan) {
            if self.attached.contains_key(&i) {
                continue;
            }
            match self.attach_program(i, btf) {
                Ok(fd) => {
                    self.attached.insert(i, fd);
                    fresh.push(i);
                }
                Err(error) => {
                    // It may be loaded and only not attached.
                    fresh.push(i);
                    self.detach(&fresh);
                    self.errors.insert(i, error.clone());
                    return Err(format!("{}: {error}", TABLE[i].hook()));
                }
            }
        }
        Ok(())
    }

    fn attach_program(&self, i: usize, btf: &Btf) -> Result<ProgramFd, String> {
        let spec = &TABLE[i];
        let mut ebpf = self.lock();
        let program = ebpf
            .program_mut(spec.program)
            .ok_or_else(|| "not in the object file; rebuild with `cargo xtask build`".to_owned())?;
        let done = hang(program, spec.kind, spec.target, btf);
        let fd = done.and_then(|()| program.fd()?.try_clone().map_err(ProgramError::IOError));
        fd.map_err(|error| {
            let text = error::program(&error);
            tracing::debug!(program = spec.program, "{error:?}");
            text
        })
    }

    fn detach(&mut self, fresh: &[usize]) {
        for i in fresh {
            self.attached.remove(i);
            if let Some(program) = self.lock().program_mut(TABLE[*i].program) {
                unload(program, TABLE[*i].kind);
            }
        }
    }

    /// Detaches everything; what was emitted can still be read.
    pub fn detach_all(&self) {
        for i in self.attached.keys() {
            if let Some(program) = self.lock().program_mut(TABLE[*i].program) {
                unload(program, TABLE[*i].kind);
            }
        }
    }

    fn switches(&self) -> Switches {
        let plan = |intent: Intent| {
            self.intents.iter().find(|status| status.intent == intent).and_then(|status| status.plan)
        };
        let by_timer = |intent| u32::from(plan(intent) == Some(Plan::Tracepoint));
        Switches {
            enabled: 1,
            probe_hook: 1 - by_timer(Intent::KeepaliveProbe),
            probe0_hook: 1 - by_timer(Intent::ZeroWindowProbe),
            keepalive_by_timer: by_timer(Intent::KeepaliveRun),
            write_by_timer: by_timer(Intent::WriteRun),
            deferred_seen: 1 - by_timer(Intent::WriteRun),
        }
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Ebpf> {
        self.ebpf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hang(program: &mut Program, kind: HookKind, target: &str, btf: &Btf) -> Result<(), ProgramError> {
    match kind {
        HookKind::Fentry => {
            let program: &mut FEntry = program.try_into()?;
            program.load(target, btf)?;
            program.attach()?;
        }
        HookKind::Fexit => {
            let program: &mut FExit = program.try_into()?;
            program.load(target, btf)?;
            program.attach()?;
        }
        HookKind::Kprobe | HookKind::Kretprobe => {
            let program: &mut KProbe = program.try_into()?;
            program.load()?;
            program.attach(target, 0)?;
        }
        HookKind::TpBtf => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(target, btf)?;
            program.attach()?;
        }
        // Hangs on nothing: each reading attaches it anew.
        HookKind::Iter => {
            let program: &mut Iter = program.try_into()?;
            program.load(target, btf)?;
        }
    }
    Ok(())
}

/// Takes a program out again.
fn unload(program: &mut Program, kind: HookKind) {
    fn of<'a, P: 'a>(
        program: &'a mut Program,
        unload: impl FnOnce(&'a mut P) -> Result<(), ProgramError>,
    ) -> Result<(), ProgramError>
    where
        &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        unload(program.try_into()?)
    }
    let result = match kind {
        HookKind::Fentry => of(program, FEntry::unload),
        HookKind::Fexit => of(program, FExit::unload),
        HookKind::Kprobe | HookKind::Kretprobe => of(program, KProbe::unload),
        HookKind::TpBtf => of(program, BtfTracePoint::unload),
        HookKind::Iter => of(program, Iter::unload),
    };
    if let Err(error) = result {
        tracing::debug!("unload: {error}");
    }
}

fn jiffies(duration: Duration, hz: u32) -> u32 {
    let jiffies = duration.as_millis() * u128::from(hz) / 1_000;
    u32::try_from(jiffies).unwrap_or(u32::MAX)
}

/// What one plan came to, tried alone.
pub type Tried = (Plan, Vec<IntentStatus>, Vec<ProgramStatus>);

/// Tries every plan for every intent and takes everything out again: what `check` reports.
///
/// # Errors
/// When not even the maps can be created.
pub fn probe(kernel: &Kernel, options: &Options) -> Result<Vec<Tried>, BpfError> {
    let btf = object::read_btf(&kernel.btf_path)?;
    let mut all = Vec::new();
    for plan in Plan::ALL {
        let mut hooks = KernelHooks::prepare(kernel, &btf, options)?;
        let rows = INTENTS.iter().map(|&intent| hooks.choose(intent, Some(plan), &btf, kernel)).collect();
        all.push((plan, rows, hooks.programs()));
    }
    Ok(all)
}
