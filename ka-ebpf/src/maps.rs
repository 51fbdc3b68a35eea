//! Maps and globals: everything that outlives a program run.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use ka_common::{Config, Counters, KernelLayout, Switches};

use crate::{run::Run, tracked::Tracked};

/// Where this kernel keeps things; written by the daemon before loading.
#[unsafe(no_mangle)]
pub(crate) static KA_LAYOUT: KernelLayout = {
    // SAFETY: all fields are integers.
    unsafe { core::mem::zeroed() }
};

/// What the user chose; written by the daemon before loading.
#[unsafe(no_mangle)]
pub(crate) static KA_CONFIG: Config = Config { idle_floor: 0, wakeup_bytes: 0 };

/// Records for the daemon, which sets the size.
#[map(name = "KA_RECORDS")]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(1 << 24, 0);

/// Sockets seen in a keepalive or persist run and not yet closed; the daemon sets the size.
/// Preallocated, so that an entry never needs memory in a timer. Never LRU: an evicted pending
/// probe would be an error without a trace.
#[map(name = "KA_TRACKED")]
pub(crate) static TRACKED: HashMap<u64, Tracked> = HashMap::with_max_entries(1 << 18, 0);

/// The timer run in progress on each CPU. Timers run in softirq, and the deferred write timer with
/// softirqs off, so that two runs never interleave on one CPU.
#[map(name = "KA_RUN")]
pub(crate) static RUN: PerCpuArray<Run> = PerCpuArray::with_max_entries(1, 0);

/// What was emitted and lost, per CPU.
#[map(name = "KA_COUNTERS")]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// What the daemon switches while it attaches.
#[map(name = "KA_SWITCHES")]
pub(crate) static SWITCHES: Array<Switches> = Array::with_max_entries(1, 0);
