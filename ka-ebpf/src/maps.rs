//! Maps and globals: everything that outlives a program run.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use ka_common::{Config, Counters, KernelLayout, Switches};

use crate::{run::Run, tracked::Tracked, twice::Marks, view::View};

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

/// The timer run in progress on each CPU, by its number; the daemon sets the size. A plain array:
/// looking into it takes no call, and every timer of the machine does. Timers run in softirq, and the
/// deferred write timer with softirqs off, so that two runs never interleave on one CPU.
#[map(name = "KA_RUN")]
pub(crate) static RUN: Array<Run> = Array::with_max_entries(1, 0);

/// As many levels as can interrupt each other, and to spare.
pub(crate) const VIEW_SLOTS: u32 = 4;

/// Readings of sockets outside timer runs, one for each level of nesting.
#[map(name = "KA_VIEWS")]
pub(crate) static VIEWS: PerCpuArray<View> = PerCpuArray::with_max_entries(VIEW_SLOTS, 0);

/// The level of nesting.
#[map(name = "KA_NESTING")]
pub(crate) static NESTING: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// What the first of two programs on a tracepoint took, per CPU.
#[map(name = "KA_MARKS")]
pub(crate) static MARKS: PerCpuArray<Marks> = PerCpuArray::with_max_entries(1, 0);

/// What was emitted and lost, per CPU.
#[map(name = "KA_COUNTERS")]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// What the daemon switches while it attaches.
#[map(name = "KA_SWITCHES")]
pub(crate) static SWITCHES: Array<Switches> = Array::with_max_entries(1, 0);
