//! A dropped connection in JSON: a contract, fields may be added, these stay.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::socket::Origins;
use crate::owner::Owner;

/// A configured idle limit that a connection had passed, and that its keepalive did not stay below.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PassedLimit {
    /// The policy's name.
    pub policy: String,
    /// Its limit.
    pub idle_limit_seconds: f64,
}

/// One dropped connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DropView {
    /// Counts up from 1 since the daemon started.
    pub id: u64,
    /// When, in seconds since 1970.
    pub time_seconds: f64,
    /// Why: `ka_connections_dropped_total{cause}`.
    pub cause: String,
    /// The timer that ended it: `keepalive`, `zero_window`, `retransmit` or `none`.
    pub timer: String,
    /// Local end.
    #[schema(value_type = String, example = "10.0.0.1:443")]
    pub local: SocketAddr,
    /// Remote end.
    #[schema(value_type = String, example = "10.0.0.1:443")]
    pub remote: SocketAddr,
    /// State before the end.
    pub state: String,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Inode of the socket.
    pub inode: u64,
    /// Whether keepalive was on.
    pub keepalive: bool,
    /// Idle time before the first probe in force.
    pub keepidle_seconds: u32,
    /// Time between unanswered probes in force.
    pub keepintvl_seconds: u32,
    /// Unanswered probes that end the connection.
    pub keepcnt: u32,
    /// Who chose these.
    pub origin: Origins,
    /// Well-known settings that these look like.
    pub preset: Option<String>,
    /// `TCP_USER_TIMEOUT`; 0: not set.
    pub user_timeout_ms: u32,
    /// How long the connection had been idle, by the measure that its cause turns on.
    pub idle_seconds: f64,
    /// The shortest idle limit of a policy that this silence had passed; none: no policy knows of one.
    #[serde(default)]
    pub passed: Option<PassedLimit>,
    /// Probes that were out, unanswered.
    pub probes_out: u8,
    /// Retransmissions in a row.
    pub retransmits: u8,
    /// Bytes sent and not acknowledged.
    pub unacked: u32,
    /// Bytes written and not sent.
    pub unsent: u32,
    /// The error that the application was given (`errno`).
    pub error: i32,
    /// The error that ICMP left before; 0: none.
    pub icmp_error: i32,
    /// Whose it was.
    pub owner: Owner,
    /// What happened and why, in one sentence.
    pub summary: String,
    /// What would have prevented it.
    pub advice: String,
}
