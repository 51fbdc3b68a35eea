//! A keepalive probe's life: sent, suppressed, settled.

use ka_common::{Kind, Record, Suppression, Timer};

use crate::{
    emit::{Event, emit, lost_untracked},
    kernel::{self, Activity, Queue, layout, member, sized},
    run::Run,
    tracked::Tracked,
};

/// A probe that was just sent, as the hook that saw it knows it.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) run_ns: u64,
    pub(crate) probe_us: u64,
    /// Before the probe could be answered.
    pub(crate) rcv_tstamp: u32,
    pub(crate) segs_in: u32,
    /// The probe included.
    pub(crate) segs_out: u32,
    /// This probe included.
    pub(crate) probes_out: u8,
}

/// Tells a probe that was sent and remembers it until it is settled.
#[inline(always)]
pub(crate) fn sent(sk: u64, tracked: Option<&mut Tracked>, probe: &Sent) {
    let mut event = Event::new(Kind::ProbeSent, Timer::Keepalive);
    event.state = member(sk, layout!(state.offset));
    event.probes_out = probe.probes_out;
    event.run_ns = probe.run_ns;
    event.probe_us = probe.probe_us;
    event.segs_in = probe.segs_in;
    event.segs_out = probe.segs_out;
    let Some(tracked) = tracked else {
        // Its outcome will not be seen.
        lost_untracked(Kind::ProbeSettled);
        emit(sk, None, &event);
        return;
    };
    tracked.probe_pending = 1;
    tracked.probe_run_ns = probe.run_ns;
    tracked.probe_us = probe.probe_us;
    tracked.probe_rcv_tstamp = probe.rcv_tstamp;
    tracked.probe_segs_in = probe.segs_in;
    tracked.probe_segs_out = probe.segs_out;
    // A keepalive probe moves the counter that persist runs compare.
    tracked.zero_window_known = 0;
    emit(sk, Some(tracked), &event);
}

/// Settles a pending probe: answered when an acknowledgement was accepted since it was sent.
/// `tcp_ack` alone writes `rcv_tstamp`, so the peer's own probes and its data do not count.
#[inline(always)]
pub(crate) fn settle(sk: u64, tracked: &mut Tracked, now: &Activity, timer: Timer) {
    if tracked.probe_pending == 0 {
        return;
    }
    tracked.probe_pending = 0;
    let mut event = Event::new(Kind::ProbeSettled, timer);
    event.state = member(sk, layout!(state.offset));
    event.probes_out = now.probes_out;
    if now.rcv_tstamp != tracked.probe_rcv_tstamp {
        event.flags = Record::ANSWERED;
        event.answer_us = now.mstamp;
        if tracked.arrival_ns != 0 {
            event.flags |= Record::EXACT;
            event.answer_us = tracked.arrival_ns / 1_000;
        }
    }
    settlement(&mut event, tracked, now);
    emit(sk, Some(tracked), &event);
}

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
pub(crate) fn congested(sk: u64, tracked: Option<&mut Tracked>, run_ns: u64) {
    let mut event = suppression(sk, Suppression::LocalCongestion, run_ns);
    event.count = 1;
    emit(sk, tracked, &event);
}

/// At the end of a run that sent nothing: tells once per due time why a due probe was not sent.
#[inline(always)]
pub(crate) fn suppressed(sk: u64, tracked: &mut Tracked, run: &Run) {
    let jiffies = kernel::jiffies();
    let heard = kernel::heard_age(sk, jiffies);
    if heard < kernel::keepidle(sk) {
        return;
    }
    let stamp = jiffies.wrapping_sub(heard);
    if tracked.due_told == 1 && tracked.due_stamp == stamp {
        return;
    }
    // In the kernel's order: the lock first, then the queue.
    let reason = if run.owned != 0 || sized(sk, layout!(owned)) != 0 {
        Suppression::SocketLocked
    } else if !Queue::read(sk).is_empty() {
        Suppression::DataInFlight
    } else {
        return;
    };
    tracked.due_told = 1;
    tracked.due_stamp = stamp;
    let event = suppression(sk, reason, run.begin_ns);
    emit(sk, Some(tracked), &event);
}

#[inline(always)]
fn suppression(sk: u64, reason: Suppression, run_ns: u64) -> Event {
    let mut event = Event::new(Kind::Suppressed, Timer::Keepalive);
    event.reason = reason as u8;
    event.state = member(sk, layout!(state.offset));
    event.probes_out = member(sk, layout!(probes_out.offset));
    event.run_ns = run_ns;
    event
}
