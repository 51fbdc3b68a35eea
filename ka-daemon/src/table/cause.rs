//! Why a connection was dropped: a pure function over the facts of one `Dropped` record.
//!
//! Nothing here remembers anything. Every fact that a verdict needs travels in the record, so
//! that a verdict can be repeated from a record log.

use super::clock::Clock;
use super::labels::closed_set;
use super::tcp;
use ka_common::{Record, Timer};
use std::time::Duration;

closed_set! {
    /// Why a connection that had an owner ended in an error.
    Cause {
        /// The keepalive probe count ran out unanswered.
        KeepaliveTimeout => "keepalive_timeout",
        /// `TCP_USER_TIMEOUT` was the limit that fired, whichever timer found it.
        UserTimeout => "user_timeout",
        /// The peer's window stayed shut and the peer silent.
        ZeroWindowTimeout => "zero_window_timeout",
        /// Data was never acknowledged.
        RetransmitTimeout => "retransmit_timeout",
        /// Data was never acknowledged, and it was the first after an idle time.
        TimeoutAfterIdle => "timeout_after_idle",
        /// A pending probe was answered by RST, with nothing else in flight.
        ResetByProbe => "reset_by_probe",
        /// RST on the first use after an idle time.
        ResetAfterIdle => "reset_after_idle",
        /// RST with nothing sent since an idle time began.
        ResetWhileIdle => "reset_while_idle",
        /// Any other RST.
        Reset => "reset",
        /// RST after the peer had said goodbye.
        ResetAfterClose => "reset_after_close",
        /// Ended by an administrator of this machine.
        Aborted => "aborted",
        /// None of these.
        Other => "other",
    }
}

/// The cause of a drop. `floor` is the shortest silence that counts as idle.
///
/// A received RST speaks before any timer: it is what closed the connection, even where a timer's
/// run began meanwhile on another CPU. An error that ICMP left earlier (`sk_err_soft`) takes the
/// place of `ETIMEDOUT` in `sk_err` and changes no cause.
#[must_use]
pub fn classify(record: &Record, clock: Clock, floor: Duration) -> Cause {
    if record.flags & Record::RESET != 0 {
        return by_reset(record, clock, floor);
    }
    match drop_timer(record) {
        Timer::Keepalive => by_keepalive(record),
        Timer::ZeroWindow => by_zero_window(record),
        Timer::Retransmit => by_retransmit(record, clock, floor),
        Timer::None if record.sk_err == libc::ECONNABORTED => Cause::Aborted,
        Timer::None => Cause::Other,
    }
}

/// The timer that ended the connection.
///
/// Mostly the one in whose run the record was made. A write-timer run that found the socket
/// locked is carried out when the lock is released, outside any run that the tracepoint plan can
/// see. It leaves a timeout (or the ICMP error that replaces it) with no timer and no RST: what
/// waits for acknowledgement then tells a retransmission from a window probe. A program that
/// closes upon the same ICMP error leaves its packets in the queue, which a timeout purges before
/// the state changes. Keepalive runs are never deferred so.
#[must_use]
pub fn drop_timer(record: &Record) -> Timer {
    let timer = Timer::from_byte(record.timer).unwrap_or(Timer::None);
    if timer != Timer::None || record.flags & Record::RESET != 0 || !timed_out(record) {
        timer
    } else if record.unacked > 0 {
        Timer::Retransmit
    } else if record.unsent > 0 {
        Timer::ZeroWindow
    } else {
        Timer::None
    }
}

/// How long the connection had been idle when it died, by the measure that its cause turns on:
/// the silence before the first use for the causes after idle, the age of the last data for a
/// reset while idle, else the time since anything was heard from the peer.
#[must_use]
pub fn idle_at_drop(record: &Record, cause: Cause, clock: Clock) -> Duration {
    match cause {
        Cause::TimeoutAfterIdle | Cause::ResetAfterIdle => silence_before_send(record, clock),
        Cause::ResetWhileIdle => data_idle(record, clock),
        Cause::KeepaliveTimeout
        | Cause::UserTimeout
        | Cause::ZeroWindowTimeout
        | Cause::RetransmitTimeout
        | Cause::ResetByProbe
        | Cause::Reset
        | Cause::ResetAfterClose
        | Cause::Aborted
        | Cause::Other => heard_age(record, clock),
    }
}

/// With a user timeout set the keepalive timer gives up by it alone and never looks at the count.
const fn by_keepalive(record: &Record) -> Cause {
    if record.user_timeout_ms != 0 { Cause::UserTimeout } else { Cause::KeepaliveTimeout }
}

/// The persist timer obeys both limits: whichever is reached first. Below the probe limit only
/// the user timeout can have fired.
const fn by_zero_window(record: &Record) -> Cause {
    if record.user_timeout_ms != 0 && record.probes_out < record.retries2 {
        Cause::UserTimeout
    } else {
        Cause::ZeroWindowTimeout
    }
}

/// A user timeout replaces the retransmission limit, also where the window shut after the data
/// had left. `packets_out` is no fact here: the queue is purged before the state changes, while
/// the bytes between `snd_una` and `snd_nxt` still stand.
fn by_retransmit(record: &Record, clock: Clock, floor: Duration) -> Cause {
    if record.user_timeout_ms != 0 {
        Cause::UserTimeout
    } else if record.snd_wnd == 0 && record.unacked > 0 {
        Cause::ZeroWindowTimeout
    } else if silence_before_send(record, clock) >= floor {
        Cause::TimeoutAfterIdle
    } else {
        Cause::RetransmitTimeout
    }
}

/// What an RST met. A pending window probe naturally has unsent data behind it, so only data in
/// flight makes it doubtful that the RST answers the probe.
fn by_reset(record: &Record, clock: Clock, floor: Duration) -> Cause {
    let in_flight = record.packets_out > 0;
    if record.state == tcp::CLOSE_WAIT {
        Cause::ResetAfterClose
    } else if record.flags & Record::PROBE_OUT != 0 && !in_flight {
        Cause::ResetByProbe
    } else if in_flight && silence_before_send(record, clock) >= floor && first_send_age(record) < floor {
        Cause::ResetAfterIdle
    } else if !in_flight && record.unsent == 0 && data_idle(record, clock) >= floor {
        Cause::ResetWhileIdle
    } else {
        Cause::Reset
    }
}

/// Whether `sk_err` is what a timer leaves behind: `ETIMEDOUT`, or ICMP's error in its place.
const fn timed_out(record: &Record) -> bool {
    let icmp = record.sk_err != 0 && record.sk_err == record.sk_err_soft;
    record.sk_err == libc::ETIMEDOUT || (icmp && record.packets_out == 0)
}

/// Time since anything was heard from the peer: an acknowledgement or data.
pub(super) fn heard_age(record: &Record, clock: Clock) -> Duration {
    clock.age(record.acked_age).min(clock.age(record.received_age))
}

/// Time since data moved, either way.
fn data_idle(record: &Record, clock: Clock) -> Duration {
    clock.age(record.received_age).min(clock.age(record.sent_age))
}

/// Time since the flight began that ended unacknowledged. The kernel starts it with the first segment
/// sent while nothing was out, moves it to the sending of what is acknowledged, and leaves it alone
/// when it sends again.
const fn first_send_age(record: &Record) -> Duration {
    Duration::from_millis(record.flight_age_ms as u64)
}

/// How long nothing had been heard when what is unacknowledged was first sent; 0 when something
/// was heard since.
fn silence_before_send(record: &Record, clock: Clock) -> Duration {
    heard_age(record, clock).saturating_sub(first_send_age(record))
}
