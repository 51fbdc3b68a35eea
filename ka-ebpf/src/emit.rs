//! How a record leaves: reserved in the ring buffer, filled in place, counted whatever happens.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::warn;
use ka_common::{Counters, Kind, Record, Report, Settlement, Timer, kind::KIND_SLOTS};

use crate::{
    kernel::{self, flag, layout, member, sized},
    maps::{COUNTERS, KA_CONFIG, RECORDS},
    tracked::{self, Identity, Tracked},
    view::View,
};

const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
const AVAILABLE_DATA: u64 = 0;
/// A reader that lags is woken at most once in this time per CPU: a forced wake-up costs 6 µs.
const WAKEUP_INTERVAL_NS: u64 = 1_000_000;

/// This CPU's counters.
#[inline(always)]
pub(crate) fn counters() -> Option<&'static mut Counters> {
    // SAFETY: per CPU. In process context a softirq may interrupt an increment; BPF on the kernels
    // supported increments in one instruction on x86-64, and the loss elsewhere is one count.
    COUNTERS.get_ptr_mut(0).map(|counters| unsafe { &mut *counters })
}

/// Counts a record of this kind that could not be made because the socket is not tracked.
#[inline(always)]
pub(crate) fn lost_untracked(kind: Kind) {
    if let Some(counters) = counters() {
        counters.tracked_full[index(kind)] += 1;
        counters.untracked += 1;
        // The first time, and ever more rarely.
        if counters.untracked.is_power_of_two() {
            counters.trouble |= Counters::TABLE_FULL;
        }
    }
}

/// Counts a run whose end was never seen.
#[inline(always)]
pub(crate) fn lost_end() {
    if let Some(counters) = counters() {
        counters.mismatched_ends += 1;
        if counters.mismatched_ends.is_power_of_two() {
            counters.trouble |= Counters::LOST_END;
        }
    }
}

/// Writes what went wrong to the daemon's log, from a program that has the context for it.
#[inline(always)]
pub(crate) fn tell_trouble<C: EbpfContext>(context: &C) {
    let Some(counters) = counters() else { return };
    let trouble = counters.trouble;
    if trouble == 0 {
        return;
    }
    counters.trouble = 0;
    if trouble & Counters::TABLE_FULL != 0 {
        warn!(
            context,
            "the table of tracked sockets is full, outcomes of probes are lost: raise --max-sockets"
        );
    }
    if trouble & Counters::LOST_END != 0 {
        warn!(context, "the end of a timer run was not seen");
    }
}

/// The facts of an event that the caller adds to what every record carries.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) timer: Timer,
    pub(crate) state: u8,
    pub(crate) reason: u8,
    pub(crate) probes_out: u8,
    pub(crate) pending: u8,
    pub(crate) flags: u16,
    pub(crate) count: u32,
    pub(crate) time_ns: u64,
    pub(crate) run_ns: u64,
    pub(crate) probe_us: u64,
    pub(crate) answer_us: u64,
    pub(crate) segs_in: u32,
    pub(crate) segs_out: u32,
    /// With [`Record::RESET`]: segments in flight when the RST came.
    pub(crate) packets_out: u32,
}

impl Event {
    #[inline(always)]
    pub(crate) const fn new(kind: Kind, timer: Timer, time_ns: u64) -> Self {
        Self {
            kind,
            timer,
            state: 0,
            reason: 0,
            probes_out: 0,
            pending: 0,
            flags: 0,
            count: 0,
            time_ns,
            run_ns: 0,
            probe_us: 0,
            answer_us: 0,
            segs_in: 0,
            segs_out: 0,
            packets_out: 0,
        }
    }
}

/// A kind as index of the counters. Through `black_box`: the compiler knows that the mask changes
/// nothing and would drop it, the verifier does not.
#[inline(always)]
fn index(kind: Kind) -> usize {
    core::hint::black_box(kind as usize) & (KIND_SLOTS - 1)
}

/// Emits a record about a socket, tracked or not. One function, so that the stack of 5.10 (512
/// bytes over all calls) holds a program, this, and nothing in between. A settlement that waits in the
/// socket's entry rides along.
#[inline(never)]
pub(crate) fn emit(view: &mut View, tracked: Option<&mut Tracked>, event: &Event) {
    let kind = index(event.kind);
    let Some(counters) = counters() else { return };
    let Some(mut entry) = RECORDS.reserve::<Report>(0) else {
        counters.ring_full[kind] += 1;
        if let Some(tracked) = tracked {
            if tracked.settled_waiting != 0 {
                tracked.settled_waiting = 0;
                counters.ring_full[index(Kind::ProbeSettled)] += 1;
            }
            if matches!(event.kind, Kind::ProbeSent) {
                tracked.sends(event);
            }
        }
        return;
    };
    // SAFETY: `along` or `nothing_along`, and `fill` write every field of what was just reserved.
    let Report { record, settled } = unsafe { &mut *entry.as_mut_ptr() };
    match tracked {
        Some(tracked) => {
            if tracked.settled_waiting != 0 {
                tracked.settled_waiting = 0;
                along(settled, tracked, event.time_ns);
                counters.emitted[index(Kind::ProbeSettled)] += 1;
            } else {
                nothing_along(settled);
            }
            if matches!(event.kind, Kind::ProbeSent) {
                tracked.sends(event);
            }
            view.complete();
            tracked::refresh_inode(view.sk, &mut tracked.who);
            fill(record, view, &tracked.who, event);
        }
        None => {
            nothing_along(settled);
            view.complete();
            // SAFETY: all fields are integers.
            let mut who: Identity = unsafe { core::mem::zeroed() };
            tracked::identify(view, &mut who);
            fill(record, view, &who, event);
        }
    }
    let flags = wakeup(event.kind, event.time_ns, counters);
    entry.submit(flags);
    counters.emitted[kind] += 1;
}

/// Ordinary records wait for a batch or for the reader's next look; drops and resets wake it as
/// soon as it has caught up.
#[inline(always)]
fn wakeup(kind: Kind, now: u64, counters: &mut Counters) -> u64 {
    if matches!(kind, Kind::Dropped | Kind::ResetReceived) {
        return 0;
    }
    let waiting = RECORDS.query(AVAILABLE_DATA);
    // SAFETY: a read of a static.
    let threshold = unsafe { core::ptr::read_volatile(&raw const KA_CONFIG.wakeup_bytes) };
    if waiting < u64::from(threshold) || now.wrapping_sub(counters.last_wakeup_ns) < WAKEUP_INTERVAL_NS {
        return NO_WAKEUP;
    }
    counters.last_wakeup_ns = now;
    counters.wakeups += 1;
    FORCE_WAKEUP
}

/// No settlement rides along. Word by word: of anything else the compiler makes a call, and on the way from an RST
/// the stack of 5.10 has no room for one more frame.
#[inline(always)]
fn nothing_along(settled: &mut Settlement) {
    const WORDS: usize = size_of::<Settlement>() / size_of::<u64>();
    let words: *mut u64 = (&raw mut *settled).cast();
    let mut i = 0;
    while i < WORDS {
        // SAFETY: within the settlement, which is aligned as its first member and holds integers alone.
        unsafe { words.add(i).write_volatile(0) };
        i += 1;
    }
}

/// A settlement made at the begin of the socket's last keepalive run, beside a record of this time.
#[inline(always)]
fn along(settled: &mut Settlement, tracked: &Tracked, time_ns: u64) {
    let begin = &tracked.run;
    settled.run_ns = tracked.probe_run_ns;
    settled.probe_us = tracked.probe_us;
    settled.trip_us = tracked.settled_trip_us;
    // Another CPU may have looked at the clock before the run began.
    let ago_ns = if time_ns > begin.ns { time_ns - begin.ns } else { 0 };
    settled.ago_ns = if ago_ns < u64::from(u32::MAX) { ago_ns as u32 } else { u32::MAX };
    settled.acked_age = tracked.settled_jiffies.wrapping_sub(begin.rcv_tstamp);
    settled.received_age = tracked.settled_jiffies.wrapping_sub(begin.lrcvtime);
    settled.segs_in = few(begin.segs_in.wrapping_sub(tracked.probe_segs_in));
    settled.segs_out = few(begin.segs_out.wrapping_sub(tracked.probe_segs_out));
    settled.flags = u16::from(tracked.settled_flags);
    settled.state = tracked.settled_state;
    settled.probes_out = begin.probes_out;
}

/// A count that matters while it is small.
#[inline(always)]
fn few(count: u32) -> u16 {
    if count < u32::from(u16::MAX) { count as u16 } else { u16::MAX }
}

#[inline(always)]
fn fill(record: &mut Record, view: &View, who: &Identity, event: &Event) {
    let jiffies = kernel::jiffies();
    let sk_flags = view.flags();
    let queue = view.queue();
    let mut flags = event.flags;
    if flag(sk_flags, layout!(sock_keepopen)) {
        flags |= Record::KEEPALIVE;
    }
    if flag(sk_flags, layout!(sock_dead)) {
        flags |= Record::ORPHAN;
    }
    if who.kernel != 0 {
        flags |= Record::KERNEL;
    }
    record.time_ns = event.time_ns;
    record.sock = view.sk;
    record.first_seen_ns = who.first_seen_ns;
    record.run_ns = event.run_ns;
    record.probe_us = event.probe_us;
    record.answer_us = event.answer_us;
    record.inode = who.inode;
    record.cgroup_id = who.cgroup_id;
    record.local = address(who.local);
    record.remote = address(who.remote);
    record.netns = who.netns;
    record.keepidle = view.keepidle();
    record.keepintvl = view.keepintvl();
    record.keepcnt = view.keepcnt();
    record.sysctl_keepidle = view.sysctl(layout!(net_keepidle));
    record.sysctl_keepintvl = view.sysctl(layout!(net_keepintvl));
    record.sysctl_keepcnt = view.sysctl(layout!(net_keepcnt));
    record.user_timeout_ms = view.user_timeout();
    record.acked_age = jiffies.wrapping_sub(view.rcv_tstamp());
    record.received_age = jiffies.wrapping_sub(view.lrcvtime());
    record.sent_age = jiffies.wrapping_sub(view.lsndtime());
    record.packets_out = queue.packets_out;
    record.unacked = queue.unacked;
    record.unsent = queue.unsent;
    record.snd_wnd = queue.snd_wnd;
    record.segs_in = event.segs_in;
    record.segs_out = event.segs_out;
    record.count = event.count;
    record.local_port = who.local_port;
    record.remote_port = who.remote_port;
    record.family = who.family;
    record.flags = flags;
    record.kind = event.kind as u8;
    record.state = event.state;
    record.timer = event.timer as u8;
    record.reason = event.reason;
    record.probes_out = event.probes_out;
    record.retransmits = view.retransmits();
    let retries2 = view.sysctl(layout!(net_retries2));
    record.retries2 = if retries2 > 255 { 255 } else { retries2 as u8 };
    record.pending = event.pending;
    // What an RST found, before the kernel purged the queue.
    if event.flags & Record::RESET != 0 {
        record.packets_out = event.packets_out;
    }
    let ends = matches!(event.kind, Kind::ResetReceived | Kind::Dropped | Kind::Closed);
    record.sk_err = if ends { sized(view.sk, layout!(err)) as i32 } else { 0 };
    record.sk_err_soft = if ends { sized(view.sk, layout!(err_soft)) as i32 } else { 0 };
    record.flight_age_ms = if ends { flight_age_ms(view.sk, event.time_ns) } else { 0 };
    record.reserved = 0;
}

/// ms since what was last in flight began to be sent; a retransmission does not move it.
#[inline(always)]
fn flight_age_ms(sk: u64, now_ns: u64) -> u32 {
    let first_tx: u64 = member(sk, layout!(first_tx.offset));
    let age_us = (now_ns / 1_000).wrapping_sub(first_tx) as i64;
    // A paced segment may be stamped with a moment to come.
    if age_us > 0 { (age_us / 1_000) as u32 } else { 0 }
}

#[inline(always)]
fn address(words: [u64; 2]) -> [u8; 16] {
    // SAFETY: the same size, and bytes have no invalid pattern.
    unsafe { core::mem::transmute(words) }
}
