//! What the daemon tells as it happens (`/api/v1/events`): a contract, kinds and fields may be added.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DropView;
use crate::owner::Owner;

/// Something that happened. The name of the variant is the `event:` of a server-sent event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A connection was dropped.
    Drop(Box<DropView>),
    /// A keepalive probe went unanswered: the early warning.
    ProbeUnanswered(Box<ProbeUnanswered>),
    /// The totals so far, each second.
    Totals(Totals),
    /// This reader was too slow: so many events were left out for it.
    Lost {
        /// How many.
        count: u64,
    },
}

impl Event {
    /// The name of its kind, as in JSON and in `event:`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Drop(_) => "drop",
            Self::ProbeUnanswered(_) => "probe_unanswered",
            Self::Totals(_) => "totals",
            Self::Lost { .. } => "lost",
        }
    }
}

/// A keepalive probe that went unanswered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProbeUnanswered {
    /// When that was known, in seconds since 1970.
    pub time_seconds: f64,
    /// Local end.
    #[schema(value_type = String, example = "10.0.0.1:443")]
    pub local: SocketAddr,
    /// Remote end.
    #[schema(value_type = String, example = "10.0.0.1:443")]
    pub remote: SocketAddr,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Unanswered in a row, this one included.
    pub probes_out: u8,
    /// How many unanswered ones end the connection.
    pub keepcnt: u32,
    /// Whose it is.
    pub owner: Owner,
}

/// Everything counted so far, of the whole node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Totals {
    /// Established sockets, as of the last sweep.
    pub sockets: u64,
    /// Those with keepalive on.
    pub keepalive_on: u64,
    /// Sockets in the table.
    pub tracked: u64,
    /// Keepalive probes sent.
    pub sent: u64,
    /// Answered.
    pub answered: u64,
    /// Unanswered.
    pub unanswered: u64,
    /// Zero-window probes.
    pub zero_window: u64,
    /// Received resets.
    pub resets: u64,
    /// Dropped connections.
    pub dropped: u64,
    /// Records lost.
    pub lost: u64,
}
