//! What both sides write outside the ring buffer: the kernel's counters and the daemon's switches.

use crate::kind::KIND_SLOTS;

/// Counted by the kernel side, one of these per CPU, indexed by the number of a
/// [`Kind`](crate::Kind).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records put into the ring buffer.
    pub emitted: [u64; KIND_SLOTS],
    /// Records that found the ring buffer full.
    pub ring_full: [u64; KIND_SLOTS],
    /// Records that could not be made because the table of tracked sockets was full.
    pub tracked_full: [u64; KIND_SLOTS],
    /// Ends of a timer run whose begin on the same CPU belonged to another timer.
    pub mismatched_ends: u64,
    /// Sockets that found the table of tracked sockets full, each time they did.
    pub untracked: u64,
    /// What the next program that can write a log line has to tell: [`Counters::TABLE_FULL`],
    /// [`Counters::LOST_END`].
    pub trouble: u64,
    /// When the reader was last woken for a backlog (`CLOCK_MONOTONIC`).
    pub last_wakeup_ns: u64,
    /// Forced wake-ups of a reader that lagged.
    pub wakeups: u64,
}

impl Counters {
    /// The table of tracked sockets is full.
    pub const TABLE_FULL: u64 = 1;
    /// The end of a timer run was never seen.
    pub const LOST_END: u64 = 2;
}

/// Written by the daemon while it attaches. All programs leave at once until `enabled` is set, so
/// that nothing is seen by one hook and missed by its partner.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// Not 0 once everything is attached.
    pub enabled: u32,
    /// Not 0 when a hook on `tcp_write_wakeup` reports keepalive probes; else the end of the run
    /// compares counters.
    pub probe_hook: u32,
    /// Not 0 when a hook on `tcp_send_probe0` reports window probes; else the end of the run
    /// compares counters.
    pub probe0_hook: u32,
    /// Not 0 when the timer tracepoints report keepalive runs.
    pub keepalive_by_timer: u32,
    /// Not 0 when the timer tracepoints report write-timer runs.
    pub write_by_timer: u32,
    /// Not 0 when deferred write-timer runs are seen too (`tcp_write_timer_handler` is hooked).
    pub deferred_seen: u32,
}
