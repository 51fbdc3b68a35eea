//! Learns the idle timeout that nobody documented: how long a connection to some part of the network may stay
//! silent before something on the way forgets it. Beside the table, which feeds it; docs/idle-timeouts.md
//! tells the method.
//!
//! Pure: time is an argument. The table's owner holds the one [`Learner`]; everyone else reads what it
//! [`Learned`].

pub mod bracket;
pub mod counted;
mod evidence;
mod histogram;
pub mod idle;
mod incidents;
pub mod learner;
pub mod prefix;
pub mod silence;
#[cfg(test)]
mod tests;

pub use bracket::{Bracket, Tally};
pub use counted::{Counted, Counts, GENERATION_NS, Generation};
pub use learner::{Learned, Learner, Suspected};
pub use prefix::Prefix;
pub use silence::Silence;

use std::net::IpAddr;

/// A connection stayed silent, and lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survival {
    /// The other end.
    pub remote: IpAddr,
    /// How long at least.
    pub silence: Silence,
    /// How it counts.
    pub counts: Counts,
}
