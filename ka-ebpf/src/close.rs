//! How a connection ends: received resets and the change to `TCP_CLOSE`.
//!
//! Both may run in process context (the backlog is processed by whoever releases the socket lock),
//! so a reset and the close that follows are joined by the socket, never by the CPU.

use ka_common::{Kind, Record, Switches, Timer};

use crate::{
    emit::{Event, emit, lost_untracked},
    kernel::{
        self, CLOSE, ETIMEDOUT, IPPROTO_TCP, LISTEN, NEW_SYN_RECV, SYN_RECV, SYN_SENT, flag, layout, member,
        sized,
    },
    maps::{KA_CONFIG, TRACKED},
    persist, probe, run,
    tracked::{self, Tracked},
    view::{View, heard_age, with_view},
};

/// The states of a connection past the handshake.
#[inline(always)]
fn established(state: u8) -> bool {
    !matches!(state, SYN_SENT | SYN_RECV | NEW_SYN_RECV | CLOSE | LISTEN)
}

#[inline(always)]
fn idle_floor() -> u32 {
    // SAFETY: a read of a static.
    unsafe { core::ptr::read_volatile(&raw const KA_CONFIG.idle_floor) }
}

/// A keepalive run of this socket on another CPU may have sent a probe whose end was not seen yet
/// (tracepoint plan): tell it now, before what it provoked.
#[inline(always)]
fn finish_elsewhere(view: &mut View, tracked: &mut Tracked, here: bool) {
    if tracked.run_open != 0 && !here {
        run::finish(view, tracked);
    }
}

/// `tcp_receive_reset`: before the kernel sets the error and purges the queue.
#[inline(always)]
pub(crate) fn reset(sk: u64) {
    if sized(sk, layout!(protocol)) != IPPROTO_TCP {
        return;
    }
    let state: u8 = member(sk, layout!(state.offset));
    if !established(state) {
        return;
    }
    let found = tracked::find(sk);
    let probes_out: u8 = member(sk, layout!(probes_out.offset));
    // The everyday resets of sockets that nobody watches stay here.
    if found.is_none() && probes_out == 0 && heard_age(sk, kernel::jiffies()) < idle_floor() {
        return;
    }
    with_view(sk, |view| {
        let found = found.or_else(|| tracked::enter(view, true));
        told_reset(view, found);
    });
}

#[inline(always)]
fn told_reset(view: &mut View, found: Option<&mut Tracked>) {
    let probes_out = view.probes_out();
    let mut event = Event::new(Kind::ResetReceived, Timer::None, kernel::now());
    event.state = view.state();
    event.probes_out = probes_out;
    let queue = view.queue();
    let Some(tracked) = found else {
        lost_untracked(Kind::Dropped);
        if probes_out != 0 {
            event.flags = Record::PROBE_OUT;
        }
        emit(view, None, &event);
        return;
    };
    finish_elsewhere(view, tracked, run::current_on(view.sk).is_some());
    let now = view.activity();
    if tracked.probe_pending != 0 && now.rcv_tstamp != tracked.probe_rcv_tstamp {
        probe::settle(view, tracked, Timer::None, event.time_ns);
    }
    // Any accepted acknowledgement sets it to 0, so what counts here was not answered.
    let probe_out = tracked.probe_pending != 0 || probes_out != 0;
    if probe_out {
        event.flags |= Record::PROBE_OUT;
    }
    if tracked.probe_pending != 0 && queue.is_empty() {
        tracked.probe_pending = 0;
        event.flags |= Record::SETTLED;
        event.answer_us = now.mstamp;
        probe::settlement(&mut event, tracked, &now);
    }
    tracked.reset_seen = 1;
    tracked.reset_probe_out = u8::from(probe_out);
    tracked.reset_packets_out = queue.packets_out;
    emit(view, Some(tracked), &event);
}

/// What `closed` knows before it reads the socket.
#[derive(Clone, Copy)]
struct End {
    timer: Timer,
    /// In a timer run on this CPU.
    in_run: bool,
    dropped: bool,
    old: u8,
}

/// `inet_sock_set_state` to `TCP_CLOSE`: the last moment at which everything still stands.
#[inline(always)]
pub(crate) fn closed(switches: &Switches, sk: u64, old: u8) {
    if matches!(old, CLOSE | LISTEN) || sized(sk, layout!(protocol)) != IPPROTO_TCP {
        return;
    }
    let run = run::current_on(sk);
    let timer = match &run {
        Some(run) => match run.timer {
            1 => Timer::Keepalive,
            2 => Timer::ZeroWindow,
            _ => Timer::Retransmit,
        },
        None => Timer::None,
    };
    let in_run = run.is_some();
    if let Some(run) = run {
        run.closed = 1;
    }
    let found = tracked::find(sk);
    let error = sized(sk, layout!(err)) as i32;
    if found.is_none() && error == 0 && !in_run {
        return;
    }
    let orphan = flag(sized(sk, layout!(flags)), layout!(sock_dead));
    let end = End { timer, in_run, dropped: error != 0 && !orphan && established(old), old };
    if let Some(tracked) = found {
        with_view(sk, |view| tracked_end(switches, view, tracked, end));
        // Fails only where another CPU was faster; the entry is gone either way.
        let _removed = TRACKED.remove(sk);
        return;
    }
    // A deferred write-timer run is no run here on the tracepoint plan; only timers set ETIMEDOUT.
    let by_timer = in_run || error == ETIMEDOUT;
    let told = if end.dropped {
        by_timer || heard_age(sk, kernel::jiffies()) >= idle_floor()
    } else {
        by_timer && timer != Timer::Keepalive && (orphan || old == SYN_SENT)
    };
    if told {
        with_view(sk, |view| {
            let event = end_event(view, end);
            emit(view, None, &event);
        });
    }
}

#[inline(always)]
fn end_event(view: &View, end: End) -> Event {
    let kind = if end.dropped { Kind::Dropped } else { Kind::Closed };
    let mut event = Event::new(kind, end.timer, kernel::now());
    event.state = end.old;
    event.probes_out = view.probes_out();
    event
}

#[inline(always)]
fn tracked_end(switches: &Switches, view: &mut View, tracked: &mut Tracked, end: End) {
    finish_elsewhere(view, tracked, end.in_run);
    if switches.deferred_seen == 0 && end.timer == Timer::None {
        persist::infer(view, tracked);
    }
    let mut event = end_event(view, end);
    probe::settle(view, tracked, end.timer, event.time_ns);
    if tracked.by_reset == 0 {
        event.flags |= Record::TRACKED;
    }
    if tracked.reset_seen != 0 {
        event.flags |= Record::RESET;
        event.packets_out = tracked.reset_packets_out;
        if tracked.reset_probe_out != 0 {
            event.flags |= Record::PROBE_OUT;
        }
    }
    emit(view, Some(tracked), &event);
}
