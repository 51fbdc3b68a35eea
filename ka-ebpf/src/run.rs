//! What a run of the keepalive timer means: facts when it begins, facts when it ends. Every hook plan
//! calls these; the plans differ in what reports a probe (`Switches`). The write timer's runs begin
//! and end here too; what they mean stands in [`persist`].
//!
//! Begin and end lie outside the socket lock. Another CPU may process the answer, or close the
//! socket, before the end is seen; the entry in the table of tracked sockets tells.

use ka_common::{Switches, Timer};

use aya_ebpf::helpers::generated;

use crate::{
    close,
    emit::lost_end,
    kernel::{self, CLOSE, FIN_WAIT2, LISTEN, SYN_SENT, flag, layout},
    maps::{RUN, SWITCHES},
    persist,
    probe::{self, Sent},
    tracked::{self, Tracked},
    view::{Begin, View},
};

/// The run in progress on a CPU.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// Address of the timer, or of the socket where the hook is given that; names the run.
    pub(crate) key: u64,
    pub(crate) sk: u64,
    /// Identity of the tracked socket; 0: not tracked.
    pub(crate) first_seen_ns: u64,
    pub(crate) begin: Begin,
    /// A [`Timer`] as number; 0: no run.
    pub(crate) timer: u8,
    pub(crate) depth: u8,
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
    /// A settlement was made when the run began, and is not told as far as this CPU knows.
    pub(crate) settled: u8,
    pub(crate) reserved: [u8; 7],
    /// The socket as the run found it; what moves is read again before the end looks at it.
    pub(crate) view: View,
}

/// This CPU's run.
#[inline(always)]
pub(crate) fn current() -> Option<&'static mut Run> {
    // SAFETY: no arguments, cannot fail.
    let cpu = unsafe { generated::bpf_get_smp_processor_id() };
    // SAFETY: this CPU's alone; timer runs do not interleave on one CPU.
    RUN.get_ptr_mut(cpu).map(|run| unsafe { &mut *run })
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
pub(crate) fn open(key: u64, sk: u64, timer: Timer) -> Option<&'static mut Run> {
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
    run.begin.ns = kernel::now();
    run.first_seen_ns = 0;
    run.timer = timer as u8;
    run.depth = 0;
    run.owned = 0;
    run.closed = 0;
    run.told = 0;
    run.pending = 0;
    run.in_wakeup = 0;
    run.in_probe0 = 0;
    run.settled = 0;
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
    run.view.read(sk);
    let (flags, state) = (run.view.flags(), run.view.state());
    // The same timer serves FIN_WAIT2 orphans, and runs where keepalive is off or the handshake
    // is not done: never a probe, nothing to track.
    let probes = flag(flags, layout!(sock_keepopen))
        && !matches!(state, SYN_SENT | CLOSE | LISTEN)
        && !(state == FIN_WAIT2 && flag(flags, layout!(sock_dead)));
    let found = match tracked::of(&run.view) {
        Some(found) => Some(found),
        None if probes => tracked::enter(&run.view, false),
        None => None,
    };
    run.begin = run.view.begin(run.begin.ns);
    run.owned = u8::from(run.view.owned());
    if !probes {
        // Nothing to find out at the end.
        run.told = 1;
    }
    let Some(tracked) = found else { return };
    if state == CLOSE {
        close::unseen(&mut run.view, tracked, Timer::None, CLOSE);
        return;
    }
    run.first_seen_ns = tracked.who.first_seen_ns;
    // Left by a run whose end was never seen.
    probe::tell_alone(&mut run.view, tracked, run.begin.ns);
    tracked.run = run.begin;
    probe::settle_along(&run.view, tracked);
    run.settled = tracked.settled_waiting;
    tracked.arrival_ns = 0;
    if probes && switches.probe_hook == 0 {
        tracked.run_open = 1;
    }
}

/// `tcp_keepalive_timer` ended.
#[inline(always)]
fn keepalive_end(switches: &Switches, run: &mut Run) {
    if run.told != 0 && run.settled == 0 {
        return;
    }
    let Some(tracked) = same(run) else {
        if run.first_seen_ns == 0 && switches.probe_hook == 0 {
            untracked_end(run);
        }
        return;
    };
    if run.told == 0 && !find_out(switches, run, tracked) {
        return;
    }
    probe::tell_alone(&mut run.view, tracked, run.begin.ns);
}

/// Finds out what a run of a tracked socket did that no hook told. False: the socket closed, and its entry is
/// gone.
#[inline(always)]
fn find_out(switches: &Switches, run: &mut Run, tracked: &mut Tracked) -> bool {
    run.view.refresh();
    // A run that sent a probe closes nothing; of any other the reset that it sends may look like one.
    if run.view.probes_out() != run.begin.probes_out.wrapping_add(1) && run.view.closed_now() {
        let old = run.view.state();
        close::unseen(&mut run.view, tracked, Timer::Keepalive, old);
        return false;
    }
    // Where it is shut another CPU met the socket first and told.
    let told = switches.probe_hook == 0 && (tracked.run_open == 0 || finish(&mut run.view, tracked));
    if !told {
        probe::suppressed(&mut run.view, tracked, run.begin.ns, run.owned != 0);
    }
    true
}

/// The tracked socket of a run, unless it closed meanwhile or its address was reused.
#[inline(always)]
pub(crate) fn same(run: &Run) -> Option<&'static mut Tracked> {
    tracked::find(run.sk).filter(|tracked| tracked.who.first_seen_ns == run.first_seen_ns)
}

/// Finds out from counters whether a keepalive run sent a probe (tracepoint plan): at its end, or
/// before, when an RST or a close on another CPU comes first. True when it tells something.
#[inline(always)]
pub(crate) fn finish(view: &mut View, tracked: &mut Tracked) -> bool {
    tracked.run_open = 0;
    let begin = tracked.run;
    match outcome(view, begin) {
        Outcome::Sent(probe) => {
            probe::sent(view, Some(tracked), &probe);
            true
        }
        Outcome::Congested => {
            probe::congested(view, Some(tracked), begin.ns);
            true
        }
        Outcome::Nothing => false,
    }
}

/// The same for a socket that could not be tracked.
#[inline(always)]
fn untracked_end(run: &mut Run) {
    let begin = run.begin;
    run.view.refresh();
    if run.view.closed_now() {
        return;
    }
    match outcome(&mut run.view, begin) {
        Outcome::Sent(probe) => probe::sent(&mut run.view, None, &probe),
        Outcome::Congested => probe::congested(&mut run.view, None, begin.ns),
        Outcome::Nothing => {}
    }
}

enum Outcome {
    Sent(Sent),
    Congested,
    Nothing,
}

#[inline(always)]
fn outcome(view: &mut View, begin: Begin) -> Outcome {
    let now = view.activity();
    // With data in flight or waiting keepalive sends nothing, and only an acknowledgement could have
    // emptied the queue since, after which nothing is due. What was sent is another CPU's: a write
    // timer's window probe looks like a keepalive probe in every counter.
    if now.segs_out == begin.segs_out || begin.queued != 0 {
        return Outcome::Nothing;
    }
    let answered = now.rcv_tstamp != begin.rcv_tstamp;
    let sent = Sent {
        run_ns: begin.ns,
        // When the answer is already here, `tcp_mstamp` is its arrival; the run's begin lies a few
        // µs before the sending, on the same clock.
        probe_us: if now.segs_in == begin.segs_in { now.mstamp } else { begin.ns / 1_000 },
        rcv_tstamp: begin.rcv_tstamp,
        lrcvtime: begin.lrcvtime,
        segs_in: begin.segs_in,
        segs_out: begin.segs_out.wrapping_add(1),
        probes_out: begin.probes_out.wrapping_add(1),
    };
    if now.probes_out == sent.probes_out && !answered {
        return Outcome::Sent(sent);
    }
    // The segment may be something else (an ACK of the peer's own probe, data) unless a probe was
    // due when the run began.
    let jiffies = kernel::jiffies();
    let acked = jiffies.wrapping_sub(begin.rcv_tstamp);
    let received = jiffies.wrapping_sub(view.lrcvtime());
    let limit = view.idle_limit();
    let due = acked >= limit && (answered || received >= limit);
    // One segment that moved `snd_nxt` is data that another CPU sent, and had acknowledged.
    let data = now.snd_nxt != begin.snd_nxt && now.segs_out == sent.segs_out;
    if !due || data || view.owned() {
        Outcome::Nothing
    } else if answered {
        Outcome::Sent(sent)
    } else if view.queue().is_empty() {
        Outcome::Congested
    } else {
        Outcome::Nothing
    }
}

/// `tcp_write_wakeup` returned to a keepalive run, under the socket lock.
#[inline(always)]
pub(crate) fn keepalive_probe(run: &mut Run, result: i32) {
    run.view.refresh();
    let now = run.view.activity();
    run.told = 1;
    // Without memory for the segment nothing was counted and nothing sent.
    if now.segs_out == run.begin.segs_out {
        return;
    }
    let found = same(run);
    // What is told now takes it along.
    run.settled = 0;
    if result > 0 {
        probe::congested(&mut run.view, found, run.begin.ns);
        return;
    }
    let probe = Sent {
        run_ns: run.begin.ns,
        probe_us: now.mstamp,
        rcv_tstamp: now.rcv_tstamp,
        lrcvtime: run.view.lrcvtime(),
        segs_in: now.segs_in,
        segs_out: now.segs_out,
        probes_out: now.probes_out.wrapping_add(1),
    };
    probe::sent(&mut run.view, found, &probe);
}

/// The end of any run, where only the timer's address is known.
#[inline(always)]
pub(crate) fn end(switches: &Switches, key: u64) {
    if let Some((run, timer)) = shut(key) {
        if timer == Timer::Keepalive as u8 {
            keepalive_end(switches, run);
        } else {
            persist::write_end(switches, run, timer);
        }
    }
}
