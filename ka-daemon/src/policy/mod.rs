//! Idle-timeout policies: which connections pass something on their way that cuts what is idle for too long
//! (a load balancer, NAT, a firewall), and which sockets it would cut. Data, from the configuration;
//! [`crate::inventory`] asks for each socket that it reads. Pure.
//!
//! [`spec`] checks what is written, [`Conditions`] tell to which connections a policy applies,
//! [`Policies::judge`] which of them it would cut, and why.

mod matching;
mod spec;
#[cfg(test)]
mod tests;
mod verdict;
#[cfg(test)]
mod verdict_tests;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::matching::Conditions;
pub use self::spec::Spec;
pub(crate) use self::spec::check_all;
pub use self::verdict::{Connection, PeerProbes, reason};

/// How many policies there may be: each may have series for each owner.
pub const POLICIES_MAX: usize = 64;

/// How bad it is when a connection is cut.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth changing.
    #[default]
    Warning,
    /// Worth a page.
    Critical,
}

impl Severity {
    /// Every one, the mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The name in the configuration, in metrics and in JSON.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Why a policy's idle limit would cut a socket that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Keepalive is off.
    KeepaliveOff,
    /// The first probe comes no sooner than the limit.
    IdleTooLong,
    /// One of these, but the peer was seen to probe often enough.
    PeerKeepsAlive,
}

impl Reason {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::KeepaliveOff, Self::IdleTooLong, Self::PeerKeepsAlive];

    /// The name in metrics and in JSON.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::KeepaliveOff => "keepalive_off",
            Self::IdleTooLong => "idle_too_long",
            Self::PeerKeepsAlive => "peer_keeps_alive",
        }
    }
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Stable and short, such as `aws-nlb`: lower-case letters, digits and `-`. Shared, as it goes into what
    /// is told of sockets.
    pub name: Arc<str>,
    /// For how long a connection may be idle before it is cut.
    pub idle_limit: Duration,
    /// How bad that is.
    pub severity: Severity,
    /// Which connections it applies to.
    pub conditions: Conditions,
    /// Where the limit is written down.
    pub sources: Vec<String>,
    /// When it was read there, such as `2026-11-25`.
    pub read: Option<String>,
    /// What else is to be known; told with the advice.
    pub note: Option<String>,
}

impl Policy {
    /// Whether an idle age has reached half of the limit: from then on a socket at risk is worth an alert.
    #[must_use]
    pub fn is_half_over(&self, idle: Option<Duration>) -> bool {
        idle.is_some_and(|idle| idle.saturating_mul(2) >= self.idle_limit)
    }
}

/// Policies in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    list: Vec<Policy>,
    /// A socket that probes sooner than this is cut by none.
    shortest: Duration,
}

impl Policies {
    /// Policies that were checked.
    #[must_use]
    pub fn new(list: Vec<Policy>) -> Self {
        let shortest = list.iter().map(|policy| policy.idle_limit).min().unwrap_or_default();
        Self { list, shortest }
    }

    /// All of them.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Policy> {
        self.list.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Checks that there is a policy of a name.
    ///
    /// # Errors
    /// The names that there are.
    pub fn check_name(&self, name: &str) -> Result<(), String> {
        if self.list.iter().any(|policy| *policy.name == *name) {
            return Ok(());
        }
        let names: Vec<&str> = self.list.iter().map(|policy| &*policy.name).collect();
        Err(if names.is_empty() {
            "no policy is configured (see docs/policies.md)".to_owned()
        } else {
            format!("expected one of the configured policies: {}", names.join(", "))
        })
    }

    /// The policy at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Policy> {
        self.list.get(place)
    }
}
