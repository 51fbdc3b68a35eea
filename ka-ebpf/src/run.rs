//! What a run of the keepalive or the write timer means: facts when it begins, facts when it
//! ends. Every hook plan calls these; the plans differ in what reports a probe (`Switches`).
//!
//! Begin and end lie outside the socket lock. Another CPU may process the answer, or close the
//! socket, before the end is seen; the entry in the table of tracked sockets tells.

use ka_common::{Kind, Record, Switches, Timer};

use crate::{
    emit::{Event, emit, lost_end, lost_untracked},
    kernel::{
        self, Activity, CLOSE, FIN_WAIT2, LISTEN, PENDING_PROBE0, Queue, SYN_SENT, flag, layout, member,
        sized,
    },
    maps::{RUN, SWITCHES},
    probe::{self, Sent},
    tracked::{self, Tracked},
};

/// The run in progress on a CPU.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// Address of the timer, or of the socket where the hook is given that; names the run.
    pub(crate) key: u64,
    pub(crate) sk: u64,
    pub(crate) begin_ns: u64,
    /// Identity of the tracked socket; 0: not tracked.
    pub(crate) first_seen_ns: u64,
    pub(crate) segs_in: u32,
    pub(crate) segs_out: u32,
    pub(crate) rcv_tstamp: u32,
    pub(crate) snd_nxt: u32,
    /// A [`Timer`] as number; 0: no run.
    pub(crate) timer: u8,
    pub(crate) depth: u8,
    pub(crate) probes_out: u8,
    pub(crate) pending: u8,
    /// The socket was locked by its user when the run began.
    pub(crate) owned: u8,
    /// The socket closed in this run: nothing of it may be read any more.
    pub(crate) closed: u8,
    /// A hook told the probe or its suppression.
    pub(crate) told: u8,
    /// In `tcp_write_wakeup` for a keepalive probe (kprobe plan).
    pub(crate) in_wakeup: u8,
    /// In `tcp_send_probe0` (kprobe plan).
    pub(crate) in_probe0: u8,
    pub(crate) reserved: [u8; 7],
}

/// This CPU's run.
#[inline(always)]
pub(crate) fn current() -> Option<&'static mut Run> {
    // SAFETY: per CPU; timer runs do not interleave on one CPU.
    RUN.get_ptr_mut(0).map(|run| unsafe { &mut *run })
}

/// This CPU's run, when it is a run on this socket.
#[inline(always)]
pub(crate) fn current_on(sk: u64) -> Option<&'static mut Run> {
    current().filter(|run| run.timer != 0 && run.sk == sk)
}

/// The switches, once everything is attached.
#[inline(always)]
pub(crate) fn enabled() -> Option<&'static Switches> {
    // SAFETY: written by the daemon only, field by field.
    SWITCHES.get_ptr(0).map(|switches| unsafe { &*switches }).filter(|switches| switches.enabled != 0)
}

/// Starts a run; none when it is the inner one of two nested functions.
#[inline(always)]
fn open(key: u64, sk: u64, timer: Timer) -> Option<&'static mut Run> {
    let run = current()?;
    if run.timer != 0 && run.sk == sk && timer != Timer::Keepalive {
        // `tcp_write_timer` calls `tcp_write_timer_handler`: one observation.
        run.depth += 1;
        return None;
    }
    if run.timer != 0 {
        // Its end was never seen.
        lost_end();
    }
    run.key = key;
    run.sk = sk;
    run.begin_ns = kernel::now();
    run.first_seen_ns = 0;
    run.timer = timer as u8;
    run.depth = 0;
    run.owned = 0;
    run.closed = 0;
    run.told = 0;
    run.pending = 0;
    run.in_wakeup = 0;
    run.in_probe0 = 0;
    Some(run)
}

/// Ends a run; none when it is not this CPU's, still nested, or its socket closed in it.
#[inline(always)]
fn shut(key: u64) -> Option<(&'static mut Run, u8)> {
    let run = current()?;
    if run.timer == 0 {
        return None;
    }
    if run.depth > 0 {
        run.depth -= 1;
        return None;
    }
    let timer = run.timer;
    run.timer = 0;
    if run.key != key {
        lost_end();
        return None;
    }
    if run.closed != 0 { None } else { Some((run, timer)) }
}

/// `tcp_keepalive_timer` begins.
#[inline(always)]
pub(crate) fn keepalive_begin(switches: &Switches, key: u64, sk: u64) {
    let Some(run) = open(key, sk, Timer::Keepalive) else { return };
    let sk_flags = sized(sk, layout!(flags));
    let state: u8 = member(sk, layout!(state.offset));
    // The same timer serves FIN_WAIT2 orphans, and runs where keepalive is off or the handshake
    // is not done: never a probe, nothing to track.
    let probes = flag(sk_flags, layout!(sock_keepopen))
        && !matches!(state, SYN_SENT | CLOSE | LISTEN)
        && !(state == FIN_WAIT2 && flag(sk_flags, layout!(sock_dead)));
    let found = match tracked::find(sk) {
        Some(found) => Some(found),
        None if probes => tracked::enter(sk, false),
        None => None,
    };
    let activity = Activity::read(sk);
    run.segs_in = activity.segs_in;
    run.segs_out = activity.segs_out;
    run.rcv_tstamp = activity.rcv_tstamp;
    run.snd_nxt = activity.snd_nxt;
    run.probes_out = activity.probes_out;
    run.owned = u8::from(sized(sk, layout!(owned)) != 0);
    if !probes {
        // Nothing to find out at the end.
        run.told = 1;
    }
    let Some(tracked) = found else { return };
    run.first_seen_ns = tracked.who.first_seen_ns;
    probe::settle(sk, tracked, &activity, Timer::Keepalive);
    tracked.arrival_ns = 0;
    if probes && switches.probe_hook == 0 {
        tracked.run_ns = run.begin_ns;
        tracked.run_segs_in = activity.segs_in;
        tracked.run_segs_out = activity.segs_out;
        tracked.run_rcv_tstamp = activity.rcv_tstamp;
        tracked.run_probes_out = activity.probes_out;
        tracked.run_open = 1;
    }
}

/// `tcp_keepalive_timer` ended.
#[inline(always)]
pub(crate) fn keepalive_end(switches: &Switches, run: &Run) {
    if run.told != 0 {
        return;
    }
    let sk = run.sk;
    let Some(tracked) = same(sk, run) else {
        if run.first_seen_ns == 0 && switches.probe_hook == 0 {
            untracked_end(sk, run);
        }
        return;
    };
    if switches.probe_hook == 0 {
        if tracked.run_open == 0 {
            // Another CPU met the socket first and told.
            return;
        }
        if finish(sk, tracked) {
            return;
        }
    }
    probe::suppressed(sk, tracked, run);
}

/// The tracked socket of a run, unless it closed meanwhile or its address was reused.
#[inline(always)]
fn same(sk: u64, run: &Run) -> Option<&'static mut Tracked> {
    tracked::find(sk).filter(|tracked| tracked.who.first_seen_ns == run.first_seen_ns)
}

/// Finds out from counters whether a keepalive run sent a probe (tracepoint plan): at its end, or
/// before, when an RST or a close on another CPU comes first. True when it tells something.
#[inline(always)]
pub(crate) fn finish(sk: u64, tracked: &mut Tracked) -> bool {
    tracked.run_open = 0;
    let begin = Sent {
        run_ns: tracked.run_ns,
        probe_us: 0,
        rcv_tstamp: tracked.run_rcv_tstamp,
        segs_in: tracked.run_segs_in,
        segs_out: tracked.run_segs_out,
        probes_out: tracked.run_probes_out,
    };
    match outcome(sk, begin) {
        Outcome::Sent(probe) => {
            probe::sent(sk, Some(tracked), &probe);
            true
        }
        Outcome::Congested => {
            probe::congested(sk, Some(tracked), begin.run_ns);
            true
        }
        Outcome::Nothing => false,
    }
}

/// The same for a socket that could not be tracked.
#[inline(always)]
fn untracked_end(sk: u64, run: &Run) {
    let begin = Sent {
        run_ns: run.begin_ns,
        probe_us: 0,
        rcv_tstamp: run.rcv_tstamp,
        segs_in: run.segs_in,
        segs_out: run.segs_out,
        probes_out: run.probes_out,
    };
    match outcome(sk, begin) {
        Outcome::Sent(probe) => probe::sent(sk, None, &probe),
        Outcome::Congested => probe::congested(sk, None, begin.run_ns),
        Outcome::Nothing => {}
    }
}

enum Outcome {
    Sent(Sent),
    Congested,
    Nothing,
}

#[inline(always)]
fn outcome(sk: u64, begin: Sent) -> Outcome {
    let now = Activity::read(sk);
    if now.segs_out == begin.segs_out {
        return Outcome::Nothing;
    }
    let answered = now.rcv_tstamp != begin.rcv_tstamp;
    let sent = Sent {
        // When the answer is already here, `tcp_mstamp` is its arrival; the run's begin lies a few
        // µs before the sending, on the same clock.
        probe_us: if now.segs_in == begin.segs_in { now.mstamp } else { begin.run_ns / 1_000 },
        segs_out: begin.segs_out.wrapping_add(1),
        probes_out: begin.probes_out.wrapping_add(1),
        ..begin
    };
    if now.probes_out == sent.probes_out && !answered {
        return Outcome::Sent(sent);
    }
    // The segment may be something else (an ACK of the peer's own probe, data) unless a probe was
    // due when the run began.
    let jiffies = kernel::jiffies();
    let acked = jiffies.wrapping_sub(begin.rcv_tstamp);
    let received = jiffies.wrapping_sub(member(sk, layout!(lrcvtime.offset)));
    let due = acked >= kernel::keepidle(sk) && (answered || received >= kernel::keepidle(sk));
    if !due || sized(sk, layout!(owned)) != 0 {
        Outcome::Nothing
    } else if answered {
        Outcome::Sent(sent)
    } else if Queue::read(sk).is_empty() {
        Outcome::Congested
    } else {
        Outcome::Nothing
    }
}

/// `tcp_write_wakeup` returned to a keepalive run, under the socket lock.
#[inline(always)]
pub(crate) fn keepalive_probe(run: &mut Run, result: i32) {
    let sk = run.sk;
    let now = Activity::read(sk);
    run.told = 1;
    // Without memory for the segment nothing was counted and nothing sent.
    if now.segs_out == run.segs_out {
        return;
    }
    let found = same(sk, run);
    if result > 0 {
        probe::congested(sk, found, run.begin_ns);
        return;
    }
    let probe = Sent {
        run_ns: run.begin_ns,
        probe_us: now.mstamp,
        rcv_tstamp: now.rcv_tstamp,
        segs_in: now.segs_in,
        segs_out: now.segs_out,
        probes_out: now.probes_out.wrapping_add(1),
    };
    probe::sent(sk, found, &probe);
}

/// `tcp_write_timer`, or its handler deferred to the release of the socket lock, begins.
#[inline(always)]
pub(crate) fn write_begin(switches: &Switches, key: u64, sk: u64) {
    let Some(run) = open(key, sk, Timer::Retransmit) else { return };
    // Cleared before the work.
    run.pending = member(sk, layout!(pending.offset));
    if run.pending != PENDING_PROBE0 {
        return;
    }
    run.timer = Timer::ZeroWindow as u8;
    let activity = Activity::read(sk);
    run.segs_out = activity.segs_out;
    run.rcv_tstamp = activity.rcv_tstamp;
    run.snd_nxt = activity.snd_nxt;
    run.probes_out = activity.probes_out;
    let Some(tracked) = tracked::find(sk).or_else(|| tracked::enter(sk, false)) else { return };
    run.first_seen_ns = tracked.who.first_seen_ns;
    if switches.deferred_seen == 0 {
        infer(sk, tracked, &activity);
    }
}

/// Window probes that no run was seen for: `icsk_probes_out` grew between two runs.
#[inline(always)]
pub(crate) fn infer(sk: u64, tracked: &mut Tracked, now: &Activity) {
    if tracked.zero_window_known == 0 {
        return;
    }
    // An accepted acknowledgement set the counter to 0 in between.
    let before =
        if now.rcv_tstamp == tracked.zero_window_rcv_tstamp { tracked.zero_window_probes } else { 0 };
    tracked.zero_window_probes = now.probes_out;
    tracked.zero_window_rcv_tstamp = now.rcv_tstamp;
    if now.probes_out > before {
        let mut event = Event::new(Kind::ZeroWindowProbe, Timer::ZeroWindow);
        event.state = member(sk, layout!(state.offset));
        event.probes_out = now.probes_out;
        event.flags = Record::INFERRED;
        event.count = u32::from(now.probes_out - before);
        emit(sk, Some(tracked), &event);
    }
}

/// The write timer's run ended: find out from counters whether it probed (tracepoint plan).
#[inline(always)]
pub(crate) fn write_end(switches: &Switches, run: &Run, timer: u8) {
    if timer != Timer::ZeroWindow as u8 || switches.probe0_hook != 0 {
        return;
    }
    let sk = run.sk;
    let found = same(sk, run);
    if found.is_none() && run.first_seen_ns != 0 {
        return;
    }
    let now = Activity::read(sk);
    let answered = now.rcv_tstamp != run.rcv_tstamp;
    // New data moves `snd_nxt`; data that could not be sent needs an open window.
    let probed = now.segs_out != run.segs_out
        && now.snd_nxt == run.snd_nxt
        && (answered || (now.probes_out != run.probes_out && !Queue::read(sk).window_open()));
    let mut found = found;
    if probed {
        window_probe(sk, found.as_deref_mut(), run, run.probes_out.wrapping_add(1));
    }
    if let Some(tracked) = found {
        tracked.zero_window_known = 1;
        tracked.zero_window_probes = now.probes_out;
        tracked.zero_window_rcv_tstamp = now.rcv_tstamp;
    }
}

/// `tcp_send_probe0` returned, under the socket lock.
#[inline(always)]
pub(crate) fn probe0(run: &Run) {
    let sk = run.sk;
    let queue = Queue::read(sk);
    // The window opened meanwhile: data was sent, or could not be.
    if queue.packets_out != 0 || queue.window_open() {
        return;
    }
    window_probe(sk, same(sk, run), run, member(sk, layout!(probes_out.offset)));
}

#[inline(always)]
fn window_probe(sk: u64, tracked: Option<&mut Tracked>, run: &Run, probes_out: u8) {
    let mut event = Event::new(Kind::ZeroWindowProbe, Timer::ZeroWindow);
    event.state = member(sk, layout!(state.offset));
    event.probes_out = probes_out;
    event.pending = run.pending;
    event.run_ns = run.begin_ns;
    event.count = 1;
    if tracked.is_none() {
        lost_untracked(Kind::Closed);
    }
    emit(sk, tracked, &event);
}

/// The end of any run, where only the timer's address is known.
#[inline(always)]
pub(crate) fn end(switches: &Switches, key: u64) {
    if let Some((run, timer)) = shut(key) {
        if timer == Timer::Keepalive as u8 {
            keepalive_end(switches, run);
        } else {
            write_end(switches, run, timer);
        }
    }
}
