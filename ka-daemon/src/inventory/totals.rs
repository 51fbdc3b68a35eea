//! Sockets aggregated while they are read: what is kept does not grow with their number.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ka_common::SocketRow;
use rustc_hash::FxBuildHasher;

use super::describe::Settings;
use super::read::Netns;
use crate::owner::Owner;
use crate::policy::{Policies, Reason};
use crate::table::tcp;
use crate::view::socket::Origin;

/// Combinations of settings that are told apart while reading.
const MAX_SETTINGS: usize = 4096;

/// Established sockets of an owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerSockets {
    /// With keepalive on.
    pub on: u64,
    /// With keepalive off.
    pub off: u64,
    /// The shortest idle setting in force among those with keepalive on, in seconds.
    pub keepidle_min: Option<u32>,
    /// The longest.
    pub keepidle_max: Option<u32>,
}

impl OwnerSockets {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let of = |pick: fn(u32, u32) -> u32, a: Option<u32>, b: Option<u32>| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (one, None) | (None, one) => one,
        };
        Self {
            on: self.on + other.on,
            off: self.off + other.off,
            keepidle_min: of(u32::min, self.keepidle_min, other.keepidle_min),
            keepidle_max: of(u32::max, self.keepidle_max, other.keepidle_max),
        }
    }
}

/// Established sockets of an owner that a policy would cut, for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskCount {
    /// Place of the policy in [`Sweep::policies`].
    pub policy: usize,
    /// Why it would cut them.
    pub reason: Reason,
    /// How many.
    pub sockets: u64,
    /// Those of them that have been idle for half of the policy's limit.
    pub idle: u64,
}

impl RiskCount {
    /// Adds this to what was counted of the same policy and reason.
    pub fn add_to(self, counts: &mut Vec<Self>) {
        let same = |count: &&mut Self| (count.policy, count.reason) == (self.policy, self.reason);
        match counts.iter_mut().find(same) {
            Some(count) => {
                count.sockets += self.sockets;
                count.idle += self.idle;
            }
            None => counts.push(self),
        }
    }
}

/// Who chose the three settings, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Chosen {
    /// All by the sysctl.
    Sysctl,
    /// All by the application.
    Socket,
    /// Some by the one, some by the other.
    Mixed,
}

impl Chosen {
    /// The name used in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sysctl => "sysctl",
            Self::Socket => "socket",
            Self::Mixed => "mixed",
        }
    }

    fn of(settings: &Settings) -> Self {
        let origin = settings.origin;
        let by = |origin| origin == Some(Origin::Socket);
        match [by(origin.keepidle), by(origin.keepintvl), by(origin.keepcnt)] {
            [true, true, true] => Self::Socket,
            [false, false, false] => Self::Sysctl,
            _ => Self::Mixed,
        }
    }
}

/// Settings that sockets share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SettingsKey {
    /// Idle time in seconds.
    pub keepidle: u32,
    /// Interval in seconds.
    pub keepintvl: u32,
    /// Probes.
    pub keepcnt: u32,
    /// Who chose them.
    pub origin: Chosen,
    /// Well-known settings that these look like; empty: none.
    pub preset: Arc<str>,
}

/// What a sweep found.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Its number, from 1.
    pub number: u64,
    /// How long it took.
    pub took: Duration,
    /// From its begin to that of the next.
    pub interval: Duration,
    /// When it ended, in seconds since 1970.
    pub ended_seconds: f64,
    /// Namespaces that were read to the end.
    pub namespaces: Vec<Netns>,
    /// Namespaces that could not be read.
    pub skipped: usize,
    /// Sockets of every kind.
    pub sockets: u64,
    /// Established ones.
    pub established: u64,
    /// Those of them with keepalive on.
    pub keepalive_on: u64,
    /// Established sockets by owner.
    pub owners: Vec<(Arc<Owner>, OwnerSockets)>,
    /// Established sockets with keepalive on, by settings; the most common first.
    pub settings: Vec<(SettingsKey, u64)>,
    /// Those whose settings found no place.
    pub settings_other: u64,
    /// The policies by which sockets were judged.
    pub policies: Arc<Policies>,
    /// Established sockets that these would cut, by owner.
    pub risks: Vec<(Arc<Owner>, Vec<RiskCount>)>,
    /// How many of them found no place among those whose peers are watched for probes.
    pub unwatched: u64,
}

/// A sweep while it goes on.
#[derive(Debug, Default)]
pub struct Totals {
    sockets: u64,
    established: u64,
    keepalive_on: u64,
    owners: HashMap<Arc<Owner>, OwnerSockets, FxBuildHasher>,
    settings: HashMap<SettingsKey, u64, FxBuildHasher>,
    settings_other: u64,
    risks: HashMap<Arc<Owner>, Vec<RiskCount>, FxBuildHasher>,
}

impl Totals {
    /// Takes one socket. `preset` is asked for sockets with keepalive on.
    pub fn add(
        &mut self,
        row: &SocketRow,
        settings: Option<&Settings>,
        owner: &Arc<Owner>,
        preset: impl FnOnce() -> Arc<str>,
    ) {
        self.sockets += 1;
        if row.state != tcp::ESTABLISHED {
            return;
        }
        self.established += 1;
        let Some(settings) = settings else { return };
        let on = row.flags & SocketRow::KEEPALIVE != 0;
        let one = if on {
            let keepidle = Some(settings.keepidle);
            OwnerSockets { on: 1, off: 0, keepidle_min: keepidle, keepidle_max: keepidle }
        } else {
            OwnerSockets { off: 1, ..OwnerSockets::default() }
        };
        match self.owners.get_mut(owner) {
            Some(sockets) => *sockets = sockets.and(one),
            None => {
                self.owners.insert(Arc::clone(owner), one);
            }
        }
        if on {
            self.keepalive_on += 1;
            self.count_settings(settings, preset());
        }
    }

    /// Counts a socket that the policy at a place would cut.
    pub fn add_risk(&mut self, owner: &Arc<Owner>, policy: usize, reason: Reason, idle: bool) {
        let one = RiskCount { policy, reason, sockets: 1, idle: idle.into() };
        match self.risks.get_mut(owner) {
            Some(counts) => one.add_to(counts),
            None => {
                self.risks.insert(Arc::clone(owner), vec![one]);
            }
        }
    }

    fn count_settings(&mut self, settings: &Settings, preset: Arc<str>) {
        let Settings { keepidle, keepintvl, keepcnt, .. } = *settings;
        let key = SettingsKey { keepidle, keepintvl, keepcnt, origin: Chosen::of(settings), preset };
        if let Some(count) = self.settings.get_mut(&key) {
            *count += 1;
        } else if self.settings.len() < MAX_SETTINGS {
            self.settings.insert(key, 1);
        } else {
            self.settings_other += 1;
        }
    }

    /// What was found, as far as sockets tell it.
    #[must_use]
    pub fn finish(self) -> Sweep {
        let mut settings: Vec<_> = self.settings.into_iter().collect();
        settings.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
        Sweep {
            sockets: self.sockets,
            established: self.established,
            keepalive_on: self.keepalive_on,
            owners: self.owners.into_iter().collect(),
            settings,
            settings_other: self.settings_other,
            risks: self.risks.into_iter().collect(),
            ..Sweep::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn risks_are_counted_by_owner_policy_and_reason() {
        let owner = |comm: &str| Arc::new(Owner { comm: comm.to_owned(), ..Owner::default() });
        let (a, b) = (owner("a"), owner("b"));
        let (off, kept) = (Reason::KeepaliveOff, Reason::PeerKeepsAlive);
        let mut totals = Totals::default();
        for (owner, policy, reason, idle) in [
            (&a, 0, off, true),
            (&a, 0, off, false),
            (&a, 1, off, true),
            (&b, 0, kept, false),
            // Another process that is alike.
            (&owner("a"), 0, off, true),
        ] {
            totals.add_risk(owner, policy, reason, idle);
        }
        let mut risks = totals.finish().risks;
        risks.sort_by(|(a, _), (b, _)| a.comm.cmp(&b.comm));
        let count = |policy, reason, sockets, idle| RiskCount { policy, reason, sockets, idle };
        assert_eq!(
            risks,
            [(a, vec![count(0, off, 3, 2), count(1, off, 1, 1)]), (b, vec![count(0, kept, 1, 0)])]
        );
    }
}
