//! What a record meant to the table: for the record log and for tests.

use super::cause::Cause;
use super::ending::{Ended, Phase};
use ka_common::{Suppression, Timer};
use std::time::Duration;

/// What applying a record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A probe was counted as sent.
    Sent {
        /// Its outcome is awaited; else it is unsettled already (untracked, or the table is full).
        pending: bool,
    },
    /// A probe that was reported before; ignored.
    Duplicate,
    /// The pending probe was settled.
    Settled {
        /// Whether it was answered.
        answered: bool,
        /// Its round trip, where the exchange was clean.
        rtt: Option<Duration>,
    },
    /// The settlement of a probe that is not pending; ignored.
    Unmatched,
    /// A due probe was not sent.
    Suppressed(Suppression),
    /// Window-probe attempts were counted.
    ZeroWindow,
    /// An RST was counted.
    Reset {
        /// What it met.
        phase: Phase,
        /// It settled the pending probe.
        settled: bool,
    },
    /// A drop was counted.
    Dropped {
        /// Why.
        cause: Cause,
        /// The timer that ended the connection.
        timer: Timer,
        /// How long the connection had been idle.
        idle: Duration,
    },
    /// A connection closed.
    Closed {
        /// How, where that is counted.
        ended: Option<Ended>,
    },
    /// Not a record that [`ka_common::Report::decode`] would have let pass; counted as such.
    Undecodable,
}

impl Outcome {
    /// Whether the record changed any total beside that of received records.
    #[must_use]
    pub const fn counted(self) -> bool {
        !matches!(self, Self::Duplicate | Self::Unmatched | Self::Undecodable)
    }
}
