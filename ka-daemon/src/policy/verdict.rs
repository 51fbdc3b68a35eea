//! Which policies would cut a socket that nobody uses, and why.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Policies, Policy, Reason};
use crate::owner::Owner;

/// An established socket, as far as a verdict needs it. `TCP_USER_TIMEOUT` is no part of it: it ends a
/// connection sooner, and keeps none.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Local end.
    pub local: SocketAddr,
    /// Remote end.
    pub remote: SocketAddr,
    /// Whose it is.
    pub owner: &'a Owner,
    /// Idle time before the first probe in force; none: keepalive is off.
    pub keepidle: Option<Duration>,
}

/// What was seen of the probes of a peer, by sweeps ([`crate::inventory::peers`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProbes {
    /// For how long the connection had been idle, at least, when the last one came.
    pub after: Duration,
    /// For how long there has been none since, and no other use either.
    pub silent: Duration,
    /// From one sweep to the next.
    pub interval: Duration,
}

impl PeerProbes {
    /// Whether they keep a connection below an idle limit: the last one came in time, and a silence since
    /// is not that of a peer who stopped. A sweep sees a probe up to an interval after it came, which is allowed
    /// for: that a probe came at all shows that nothing had cut the connection.
    #[must_use]
    pub fn keep_below(&self, limit: Duration) -> bool {
        // One comes at least as often as this, and may be lost once.
        let pace = self.after.saturating_add(self.interval.saturating_mul(2));
        let patience = pace.saturating_mul(2).min(limit.saturating_add(self.interval));
        self.after < limit && self.silent < patience
    }
}

/// Whether an idle limit would cut a connection, and why; none: keepalive keeps it.
#[must_use]
pub fn reason(keepidle: Option<Duration>, limit: Duration, peer: Option<PeerProbes>) -> Option<Reason> {
    let by_settings = match keepidle {
        None => Reason::KeepaliveOff,
        Some(keepidle) if keepidle >= limit => Reason::IdleTooLong,
        Some(_) => return None,
    };
    let kept = peer.is_some_and(|peer| peer.keep_below(limit));
    Some(if kept { Reason::PeerKeepsAlive } else { by_settings })
}

impl Policies {
    /// Tells the place of each policy that would cut a connection, and why, in their order. `peer` is asked,
    /// once, where there is one.
    pub fn judge(
        &self,
        connection: &Connection<'_>,
        peer: impl FnOnce() -> Option<PeerProbes>,
        mut each: impl FnMut(usize, Reason),
    ) {
        let Connection { local, remote, owner, keepidle } = *connection;
        if keepidle.is_some_and(|keepidle| keepidle < self.shortest) {
            return;
        }
        let mut cut = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, policy)| {
                reason(keepidle, policy.idle_limit, None).is_some()
                    && policy.conditions.hold(local, remote, owner)
            })
            .peekable();
        if cut.peek().is_none() {
            return;
        }
        let peer = peer();
        for (place, policy) in cut {
            if let Some(reason) = reason(keepidle, policy.idle_limit, peer) {
                each(place, reason);
            }
        }
    }

    /// The shortest limit that a silence has passed of those that would cut the connection.
    #[must_use]
    pub fn passed(&self, connection: &Connection<'_>, idle: Duration) -> Option<&Policy> {
        let mut passed: Option<&Policy> = None;
        self.judge(
            connection,
            || None,
            |place, _| {
                let policy = self.get(place).filter(|policy| policy.idle_limit <= idle);
                passed = passed.into_iter().chain(policy).min_by_key(|policy| policy.idle_limit);
            },
        );
        passed
    }
}
