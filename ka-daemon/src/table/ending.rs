//! What an RST met, and how a connection ended that was not dropped: pure functions over the
//! facts of one `ResetReceived` or `Closed` record.

use super::labels::closed_set;
use super::tcp;
use ka_common::{Record, Timer};

closed_set! {
    /// What a received RST met.
    Phase {
        /// A probe was out and nothing else.
        Keepalive => "keepalive",
        /// Nothing in flight, data waiting to be sent.
        ZeroWindow => "zero_window",
        /// Data in flight.
        Data => "data",
        /// Nothing in flight, nothing waiting.
        Idle => "idle",
        /// Before the handshake was done or after our own goodbye, with no probe out.
        Other => "other",
    }
}

closed_set! {
    /// An end that is no drop and no ordinary close either.
    Ended {
        /// A timer gave up on a connection without an owner.
        OrphanTimeout => "orphan_timeout",
        /// An RST met a connection without an owner.
        OrphanReset => "orphan_reset",
        /// A connect was never answered.
        ConnectTimeout => "connect_timeout",
        /// The kernel killed an orphan for want of memory.
        NoMemory => "no_memory",
    }
}

/// The phase of a received RST.
///
/// The kernel probes half-closed connections too, and those that were accepted with the data of their SYN before
/// the handshake was done: what an RST answers there is a probe all the same.
#[must_use]
pub const fn phase(record: &Record) -> Phase {
    let orphan = record.flags & Record::ORPHAN != 0;
    let open = matches!(record.state, tcp::ESTABLISHED | tcp::CLOSE_WAIT);
    let probed = matches!(record.state, tcp::FIN_WAIT2 | tcp::SYN_RECV) && !orphan;
    let probe_alone = record.flags & Record::PROBE_OUT != 0 && record.packets_out == 0 && record.unsent == 0;
    if probed && probe_alone {
        Phase::Keepalive
    } else if !open {
        Phase::Other
    } else if record.packets_out > 0 {
        Phase::Data
    } else if record.unsent > 0 {
        Phase::ZeroWindow
    } else if record.flags & Record::PROBE_OUT != 0 {
        Phase::Keepalive
    } else {
        Phase::Idle
    }
}

/// How a closed connection ended where that is worth counting; none: an ordinary close.
///
/// An orphan that a write timer closes without an error was killed for want of memory (or for
/// being one orphan too many); one in `FIN_WAIT2` that the keepalive timer closes without an error
/// only waited out its time.
#[must_use]
pub fn ended(record: &Record) -> Option<Ended> {
    let timer = Timer::from_byte(record.timer).unwrap_or(Timer::None);
    let write_timer = matches!(timer, Timer::Retransmit | Timer::ZeroWindow);
    let timeout = record.sk_err == libc::ETIMEDOUT;
    let reset = record.flags & Record::RESET != 0;
    if record.flags & Record::ORPHAN != 0 {
        if reset {
            Some(Ended::OrphanReset)
        } else if record.sk_err == 0 {
            write_timer.then_some(Ended::NoMemory)
        } else if timer != Timer::None || timeout {
            Some(Ended::OrphanTimeout)
        } else {
            None
        }
    } else if record.state == tcp::SYN_SENT && !reset && (timeout || timer == Timer::Retransmit) {
        Some(Ended::ConnectTimeout)
    } else {
        None
    }
}
