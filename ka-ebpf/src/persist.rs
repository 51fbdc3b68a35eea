//! What a run of the write timer means while the peer's window is shut: zero-window probes.

use ka_common::{Kind, Record, Switches, Timer};

use crate::{
    close,
    emit::{Event, emit, lost_untracked},
    kernel::{self, CLOSE, PENDING_PROBE0, layout, member},
    run::{Run, open, same},
    tracked::{self, Tracked},
    view::View,
};

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
    run.view.read(sk);
    run.begin = run.view.begin(run.begin.ns);
    let Some(tracked) = tracked::of(&run.view).or_else(|| tracked::enter(&run.view, false)) else { return };
    run.first_seen_ns = tracked.who.first_seen_ns;
    if switches.deferred_seen == 0 {
        infer(&mut run.view, tracked);
    }
}

/// Window probes that no run was seen for: `icsk_probes_out` grew between two runs.
#[inline(always)]
pub(crate) fn infer(view: &mut View, tracked: &mut Tracked) {
    if tracked.zero_window_known == 0 {
        return;
    }
    let now = view.activity();
    // An accepted acknowledgement set the counter to 0 in between.
    let before =
        if now.rcv_tstamp == tracked.zero_window_rcv_tstamp { tracked.zero_window_probes } else { 0 };
    tracked.zero_window_probes = now.probes_out;
    tracked.zero_window_rcv_tstamp = now.rcv_tstamp;
    if now.probes_out > before {
        let mut event = Event::new(Kind::ZeroWindowProbe, Timer::ZeroWindow, kernel::now());
        event.state = view.state();
        event.probes_out = now.probes_out;
        event.flags = Record::INFERRED;
        event.count = u32::from(now.probes_out - before);
        tracked.goes_out(view.lrcvtime());
        emit(view, Some(tracked), &event);
    }
}

/// The write timer's run ended: find out from counters whether it probed (tracepoint plan).
#[inline(always)]
pub(crate) fn write_end(switches: &Switches, run: &mut Run, timer: u8) {
    let zero_window = timer == Timer::ZeroWindow as u8;
    if member::<u8>(run.sk, layout!(state.offset)) == CLOSE {
        closed_unseen(run, zero_window);
        return;
    }
    if !zero_window || switches.probe0_hook != 0 {
        return;
    }
    let found = same(run);
    if found.is_none() && run.first_seen_ns != 0 {
        return;
    }
    run.view.refresh();
    let now = run.view.activity();
    let answered = now.rcv_tstamp != run.begin.rcv_tstamp;
    // New data moves `snd_nxt`; data that could not be sent needs an open window.
    let probed = now.segs_out != run.begin.segs_out
        && now.snd_nxt == run.begin.snd_nxt
        && (answered || (now.probes_out != run.begin.probes_out && !run.view.queue().window_open()));
    let mut found = found;
    if probed {
        let probes_out = run.begin.probes_out.wrapping_add(1);
        window_probe(run, found.as_deref_mut(), probes_out);
    }
    if let Some(tracked) = found {
        tracked.zero_window_known = 1;
        tracked.zero_window_probes = now.probes_out;
        tracked.zero_window_rcv_tstamp = now.rcv_tstamp;
    }
}

/// The run ends at a closed socket, and no program saw the close.
#[inline(always)]
fn closed_unseen(run: &mut Run, zero_window: bool) {
    // Other runs of the write timer did not read it.
    let (timer, old) =
        if zero_window { (Timer::ZeroWindow, run.view.state()) } else { (Timer::Retransmit, CLOSE) };
    run.view.read(run.sk);
    if let Some(tracked) = tracked::of(&run.view) {
        close::unseen(&mut run.view, tracked, timer, old);
    }
}

/// `tcp_send_probe0` returned, under the socket lock.
#[inline(always)]
pub(crate) fn probe0(run: &mut Run) {
    run.view.refresh();
    let queue = run.view.queue();
    // The window opened meanwhile: data was sent, or could not be.
    if queue.packets_out != 0 || queue.window_open() {
        return;
    }
    let (found, probes_out) = (same(run), run.view.probes_out());
    window_probe(run, found, probes_out);
}

#[inline(always)]
fn window_probe(run: &mut Run, tracked: Option<&mut Tracked>, probes_out: u8) {
    let mut event = Event::new(Kind::ZeroWindowProbe, Timer::ZeroWindow, kernel::now());
    event.state = run.view.state();
    event.probes_out = probes_out;
    event.pending = run.pending;
    event.run_ns = run.begin.ns;
    event.count = 1;
    let Some(tracked) = tracked else {
        lost_untracked(Kind::Closed);
        emit(&mut run.view, None, &event);
        return;
    };
    tracked.goes_out(run.begin.lrcvtime);
    emit(&mut run.view, Some(tracked), &event);
}
