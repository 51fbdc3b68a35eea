//! How a connection ends: received resets and the change to `TCP_CLOSE`.
//!
//! Both may run in process context (the backlog is processed by whoever releases the socket lock),
//! so a reset and the close that follows are joined by the socket, never by the CPU.

use ka_common::{Kind, Record, Switches, Timer};

use crate::{
    emit::{Event, emit, lost_untracked},
    kernel::{
        self, Activity, CLOSE, ETIMEDOUT, IPPROTO_TCP, LISTEN, NEW_SYN_RECV, Queue, SYN_RECV, SYN_SENT, flag,
        layout, member, sized,
    },
    maps::{KA_CONFIG, TRACKED},
    probe, run,
    tracked::{self, Tracked},
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
fn finish_elsewhere(sk: u64, tracked: &mut Tracked, here: bool) {
    if tracked.run_open != 0 && !here {
        run::finish(sk, tracked);
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
    let mut found = tracked::find(sk);
    let probes_out: u8 = member(sk, layout!(probes_out.offset));
    if found.is_none() {
        // The everyday resets of sockets that nobody watches stay here.
        if probes_out == 0 && kernel::heard_age(sk, kernel::jiffies()) < idle_floor() {
            return;
        }
        found = tracked::enter(sk, true);
    }
    let mut event = Event::new(Kind::ResetReceived, Timer::None);
    event.state = state;
    event.probes_out = probes_out;
    let queue = Queue::read(sk);
    let Some(tracked) = found else {
        lost_untracked(Kind::Dropped);
        if probes_out != 0 {
            event.flags = Record::PROBE_OUT;
        }
        emit(sk, None, &event);
        return;
    };
    finish_elsewhere(sk, tracked, run::current_on(sk).is_some());
    let now = Activity::read(sk);
    if tracked.probe_pending != 0 && now.rcv_tstamp != tracked.probe_rcv_tstamp {
        probe::settle(sk, tracked, &now, Timer::None);
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
    emit(sk, Some(tracked), &event);
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
    let dropped = error != 0 && !orphan && established(old);
    let mut event = Event::new(if dropped { Kind::Dropped } else { Kind::Closed }, timer);
    event.state = old;
    event.probes_out = member(sk, layout!(probes_out.offset));
    let Some(tracked) = found else {
        // A deferred write-timer run is no run here on the tracepoint plan; only timers set
        // ETIMEDOUT.
        let by_timer = in_run || error == ETIMEDOUT;
        let told = if dropped {
            by_timer || kernel::heard_age(sk, kernel::jiffies()) >= idle_floor()
        } else {
            by_timer && timer != Timer::Keepalive && (orphan || old == SYN_SENT)
        };
        if told {
            emit(sk, None, &event);
        }
        return;
    };
    finish_elsewhere(sk, tracked, in_run);
    let now = Activity::read(sk);
    if switches.deferred_seen == 0 && timer == Timer::None {
        run::infer(sk, tracked, &now);
    }
    probe::settle(sk, tracked, &now, timer);
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
    emit(sk, Some(tracked), &event);
    // Fails only where another CPU was faster; the entry is gone either way.
    let _removed = TRACKED.remove(sk);
}
