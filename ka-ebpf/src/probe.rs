//! A keepalive probe's life: sent, suppressed, settled.

use ka_common::{Kind, Record, Settlement, Suppression, Timer};

use crate::{
    emit::{Event, emit, lost_untracked},
    kernel,
    tracked::Tracked,
    view::{Activity, View},
};

/// A probe that was just sent, as the hook that saw it knows it.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) run_ns: u64,
    pub(crate) probe_us: u64,
    /// Before the probe could be answered.
    pub(crate) rcv_tstamp: u32,
    /// The same of data.
    pub(crate) lrcvtime: u32,
    pub(crate) segs_in: u32,
    /// The probe included.
    pub(crate) segs_out: u32,
    /// This probe included.
    pub(crate) probes_out: u8,
}

/// Tells a probe that was sent; as it is told it is remembered until it is settled ([`Tracked::sends`]).
#[inline(always)]
pub(crate) fn sent(view: &mut View, tracked: Option<&mut Tracked>, probe: &Sent) {
    let mut event = Event::new(Kind::ProbeSent, Timer::Keepalive, kernel::now());
    event.state = view.state();
    event.probes_out = probe.probes_out;
    event.run_ns = probe.run_ns;
    event.probe_us = probe.probe_us;
    event.segs_in = probe.segs_in;
    event.segs_out = probe.segs_out;
    let Some(tracked) = tracked else {
        // Its outcome will not be seen.
        lost_untracked(Kind::ProbeSettled);
        emit(view, None, &event);
        return;
    };
    tracked.probe_rcv_tstamp = probe.rcv_tstamp;
    tracked.goes_out(probe.lrcvtime);
    // A keepalive probe moves the counter that persist runs compare.
    tracked.zero_window_known = 0;
    emit(view, Some(tracked), &event);
}

/// Settles a pending probe: answered when an acknowledgement was accepted since it was sent.
/// `tcp_ack` alone writes `rcv_tstamp`, so the peer's own probes and its data do not count.
#[inline(always)]
pub(crate) fn settle(view: &mut View, tracked: &mut Tracked, timer: Timer, now_ns: u64) {
    if tracked.probe_pending == 0 {
        return;
    }
    tracked.probe_pending = 0;
    let now = view.activity();
    let mut event = Event::new(Kind::ProbeSettled, timer, now_ns);
    event.state = view.state();
    event.probes_out = now.probes_out;
    (event.flags, event.answer_us) = answer(tracked, &now);
    settlement(&mut event, tracked, &now);
    emit(view, Some(tracked), &event);
}

/// Whether a probe was answered, as flags of a record, and when.
#[inline(always)]
fn answer(tracked: &Tracked, now: &Activity) -> (u16, u64) {
    if now.rcv_tstamp == tracked.probe_rcv_tstamp {
        (0, 0)
    } else if tracked.arrival_ns == 0 {
        (Record::ANSWERED, now.mstamp)
    } else {
        (Record::ANSWERED | Record::EXACT, tracked.arrival_ns / 1_000)
    }
}

/// The same as a keepalive run begins that most likely sends the next probe: the settlement waits in the
/// socket's entry and rides along with whatever is told of the socket next, at the latest with the run's end.
#[inline(always)]
pub(crate) fn settle_along(view: &View, tracked: &mut Tracked) {
    if tracked.probe_pending == 0 {
        return;
    }
    tracked.probe_pending = 0;
    let (flags, answer_us) = answer(tracked, &view.activity());
    let trip_us = answer_us.wrapping_sub(tracked.probe_us);
    tracked.settled_trip_us =
        if trip_us < u64::from(Settlement::NO_TRIP) { trip_us as u32 } else { Settlement::NO_TRIP };
    tracked.settled_jiffies = kernel::jiffies();
    tracked.settled_flags = flags as u8;
    tracked.settled_state = view.state();
    tracked.settled_waiting = 1;
}

/// Tells a settlement that waits as a record of its own: there was nothing to ride along with. `run_ns` is the begin
/// of the run in which that is found out.
#[inline(always)]
pub(crate) fn tell_alone(view: &mut View, tracked: &mut Tracked, run_ns: u64) {
    if tracked.settled_waiting == 0 {
        return;
    }
    tracked.settled_waiting = 0;
    let mut event = Event::new(Kind::ProbeSettled, Timer::Keepalive, run_ns);
    event.state = tracked.settled_state;
    event.probes_out = tracked.run.probes_out;
    event.flags = u16::from(tracked.settled_flags);
    if event.flags & Record::ANSWERED != 0 && tracked.settled_trip_us != Settlement::NO_TRIP {
        event.answer_us = tracked.probe_us + u64::from(tracked.settled_trip_us);
    }
    event.run_ns = tracked.probe_run_ns;
    event.probe_us = tracked.probe_us;
    event.segs_in = tracked.run.segs_in.wrapping_sub(tracked.probe_segs_in);
    event.segs_out = tracked.run.segs_out.wrapping_sub(tracked.probe_segs_out);
    emit(view, Some(tracked), &event);
}

// A flag of a settlement fits a byte of the socket's entry.
const _: () = assert!((Record::ANSWERED | Record::EXACT) <= 0xff);

/// Names the probe that a settlement is about, and what went over the wire since.
#[inline(always)]
pub(crate) fn settlement(event: &mut Event, tracked: &Tracked, now: &Activity) {
    event.run_ns = tracked.probe_run_ns;
    event.probe_us = tracked.probe_us;
    event.segs_in = now.segs_in.wrapping_sub(tracked.probe_segs_in);
    event.segs_out = now.segs_out.wrapping_sub(tracked.probe_segs_out);
}

/// Tells a probe that the local queue discipline refused. The kernel counts each attempt.
#[inline(always)]
pub(crate) fn congested(view: &mut View, tracked: Option<&mut Tracked>, run_ns: u64) {
    let mut event = suppression(view, Suppression::LocalCongestion, run_ns);
    event.count = 1;
    emit(view, tracked, &event);
}

/// At the end of a run that sent nothing: tells once per due time why a due probe was not sent.
/// `locked`: the socket was locked by its user when the run began.
#[inline(always)]
pub(crate) fn suppressed(view: &mut View, tracked: &mut Tracked, run_ns: u64, locked: bool) {
    let jiffies = kernel::jiffies();
    let heard = view.heard_age(jiffies);
    if heard < view.idle_limit() {
        return;
    }
    let stamp = jiffies.wrapping_sub(heard);
    if tracked.due_told == 1 && tracked.due_stamp == stamp {
        return;
    }
    // In the kernel's order: the lock first, then the queue.
    let reason = if locked || view.owned() {
        Suppression::SocketLocked
    } else if !view.queue().is_empty() {
        Suppression::DataInFlight
    } else {
        return;
    };
    tracked.due_told = 1;
    tracked.due_stamp = stamp;
    let event = suppression(view, reason, run_ns);
    emit(view, Some(tracked), &event);
}

#[inline(always)]
fn suppression(view: &View, reason: Suppression, run_ns: u64) -> Event {
    let mut event = Event::new(Kind::Suppressed, Timer::Keepalive, kernel::now());
    event.reason = reason as u8;
    event.state = view.state();
    event.probes_out = view.probes_out();
    event.run_ns = run_ns;
    event
}
