//! The state and the history of sockets: records in, totals out. Third station of the data path,
//! between [`crate::events`] and [`crate::metrics`].
//!
//! Pure: time is an argument, nothing here reads a clock, a file or the kernel. One task owns the
//! [`SocketTable`]; everyone else reads a [`Snapshot`] of it.

pub mod cause;
pub mod clock;
pub mod ending;
mod entries;
pub mod histogram;
mod labels;
mod netns;
pub mod outcome;
pub mod owners;
mod place;
mod round_trip;
mod silence;
pub mod snapshot;
pub mod sockets;
pub mod sweeps;
pub mod tcp;

#[cfg(test)]
mod cause_tests;
#[cfg(test)]
mod ending_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod silence_tests;
#[cfg(test)]
mod sockets_tests;
#[cfg(test)]
pub(crate) mod testing;

pub use cause::Cause;
pub use clock::Clock;
pub use ending::{Ended, Phase};
pub use histogram::{IDLE_BOUNDS, RTT_BOUNDS};
pub use outcome::Outcome;
pub use owners::{Nobody, OwnerLabels, Whose};
pub use snapshot::{NetnsTotals, OwnerId, OwnerKey, OwnerTotals, Snapshot};
pub use sockets::{Limits, SocketTable};
pub use sweeps::Found;
