//! How a connection ends: received resets and the change to `TCP_CLOSE`.
//!
//! Both may run in process context (the backlog is processed by whoever releases the socket lock),
//! so a reset and the close that follows are joined by the socket, never by the CPU.

use ka_common::{Kind, Record, Switches, Timer};

use crate::{
    emit::{Event, emit, lost_untracked},
    kernel::{
        self, CLOSE, ETIMEDOUT, FIN_WAIT1, FIN_WAIT2, IPPROTO_TCP, LISTEN, NEW_SYN_RECV, RCV_SHUTDOWN,
        SS_CONNECTED, SYN_RECV, SYN_SENT, flag, layout, member, sized,
    },
    maps::{KA_CONFIG, TRACKED},
    persist, probe, run,
    tracked::{self, Tracked},
    twice::{self, Turn},
    view::{View, heard_age, with_view},
};

/// A connection in this state can be dropped: it is past the handshake, or a program accepted it with the data
/// of its SYN (TCP Fast Open), and the handshake goes on.
#[inline(always)]
fn connected(sk: u64, state: u8) -> bool {
    match state {
        SYN_RECV => {
            // Of two ends that connect to each other no connect has returned in this state.
            let socket: u64 = member(sk, layout!(socket.offset));
            socket != 0 && sized(socket, layout!(socket_state)) == SS_CONNECTED
        }
        _ => !matches!(state, SYN_SENT | NEW_SYN_RECV | CLOSE | LISTEN),
    }
}

/// The kernel resets the connection by itself: data came, and the program has shut the socket down for
/// reading and writing (`TcpExtTCPAbortOnData`). Nobody sent an RST. Such a segment was accepted just now,
/// with its timestamp; an RST never is. Ticks may fall in between. While the FIN is not acknowledged only
/// data makes an acknowledgement come; after that an RST without timestamps that follows within a tick
/// looks the same.
#[inline(always)]
fn by_data(sk: u64, state: u8) -> bool {
    let ticks = match state {
        FIN_WAIT1 => 2,
        FIN_WAIT2 => 1,
        _ => return false,
    };
    if sized(sk, layout!(shutdown)) & RCV_SHUTDOWN == 0 {
        return false;
    }
    let age = kernel::jiffies().wrapping_sub(member(sk, layout!(rcv_tstamp.offset)));
    age <= ticks && sized(sk, layout!(rcv_tsval)) == sized(sk, layout!(ts_recent))
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
pub(crate) fn reset(turn: Turn, sk: u64) {
    if sized(sk, layout!(protocol)) != IPPROTO_TCP {
        return;
    }
    let state: u8 = member(sk, layout!(state.offset));
    if !connected(sk, state) || !turn.takes(sk, twice::RESET) || by_data(sk, state) {
        return;
    }
    let probes_out: u8 = member(sk, layout!(probes_out.offset));
    // Those of sockets that nobody watches stay here.
    let everyday = probes_out == 0 && heard_age(sk, kernel::jiffies()) < idle_floor();
    if everyday && tracked::find(sk).is_none() {
        return;
    }
    with_view(sk, |view| {
        let found = tracked::of(view);
        if found.is_none() && everyday {
            return;
        }
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
        if probes_out != 0 && view.no_data_since_ack() {
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
    let probe_out = (tracked.probe_pending != 0 || probes_out != 0) && tracked.no_data_since_probe(view);
    if probe_out {
        event.flags |= Record::PROBE_OUT;
    }
    if probe_out && tracked.probe_pending != 0 && queue.is_empty() {
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
pub(crate) fn closed(turn: Turn, switches: &Switches, sk: u64, old: u8) {
    if matches!(old, CLOSE | LISTEN)
        || sized(sk, layout!(protocol)) != IPPROTO_TCP
        || !turn.takes(sk, twice::CLOSED)
    {
        return;
    }
    ended(switches, sk, old);
}

/// One function for both programs.
#[inline(never)]
fn ended(switches: &Switches, sk: u64, old: u8) {
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
    let found = tracked::find(sk).is_some();
    let error = sized(sk, layout!(err)) as i32;
    if !found && error == 0 && !in_run {
        return;
    }
    let orphan = flag(sized(sk, layout!(flags)), layout!(sock_dead));
    let end = End { timer, in_run, dropped: error != 0 && !orphan && connected(sk, old), old };
    // A deferred write-timer run is no run here on the tracepoint plan; only timers set ETIMEDOUT.
    let by_timer = in_run || error == ETIMEDOUT;
    let told = if end.dropped {
        by_timer || heard_age(sk, kernel::jiffies()) >= idle_floor()
    } else {
        by_timer && timer != Timer::Keepalive && (orphan || old == SYN_SENT)
    };
    if !found && !told {
        return;
    }
    with_view(sk, |view| {
        if let Some(tracked) = if found { tracked::of(view) } else { None } {
            tracked_end(switches, view, tracked, end);
        } else if told {
            let event = end_event(view, end, kernel::now());
            emit(view, None, &event);
        }
    });
    if found {
        // Fails only where another CPU was faster; the entry is gone either way.
        let _removed = TRACKED.remove(sk);
    }
}

/// The same of a socket that a timer's run finds closed while its entry is still there: no program saw the close. The
/// entry goes before the state changes, so whoever closed it on another CPU has told already.
#[inline(always)]
pub(crate) fn unseen(view: &mut View, tracked: &mut Tracked, timer: Timer, old: u8) {
    let sk = view.sk;
    let orphan = flag(sized(sk, layout!(flags)), layout!(sock_dead));
    let dropped = sized(sk, layout!(err)) != 0 && !orphan && (old == CLOSE || connected(sk, old));
    tell(view, tracked, End { timer, in_run: timer as u8 != Timer::None as u8, dropped, old });
    // Fails only where another CPU was faster.
    let _removed = TRACKED.remove(sk);
}

#[inline(always)]
fn end_event(view: &View, end: End, now_ns: u64) -> Event {
    let kind = if end.dropped { Kind::Dropped } else { Kind::Closed };
    let mut event = Event::new(kind, end.timer, now_ns);
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
    tell(view, tracked, end);
}

/// Settles a pending probe and tells the end.
#[inline(always)]
fn tell(view: &mut View, tracked: &mut Tracked, end: End) {
    let now = kernel::now();
    probe::settle(view, tracked, end.timer, now);
    let mut event = end_event(view, end, now);
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
