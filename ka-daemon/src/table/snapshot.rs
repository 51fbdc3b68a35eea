//! What the table has counted: aggregates only, never the sockets. The table counts in these very
//! structures and publishes a copy, so a reader sees one consistent moment.

use super::cause::Cause;
use super::ending::{Ended, Phase};
use super::histogram::{IdleHistogram, RttHistogram};
use crate::inventory::namespace::{KernelCounts, Sysctls};
use crate::inventory::totals::{OwnerSockets, RiskCount, Sweep};
use crate::learn::Learned;
use ka_common::kind::KIND_SLOTS;
use ka_common::{Kind, Suppression, Timer};
use std::sync::Arc;

/// Place of an owner in [`Snapshot::owners`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnerId(pub u32);

impl OwnerId {
    /// The owner of sockets whose owner is not known.
    pub const UNKNOWN: Self = Self(0);
    /// The owners that found no place of their own.
    pub const OTHER: Self = Self(1);

    /// As a place in a list.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whose sockets are counted together: the owner labels. What does not apply is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnerKey {
    /// Kubernetes namespace.
    pub namespace: Arc<str>,
    /// Kubernetes pod.
    pub pod: Arc<str>,
    /// Container.
    pub container: Arc<str>,
    /// systemd unit.
    pub service: Arc<str>,
    /// Name of the process.
    pub comm: Arc<str>,
}

/// The name of [`OwnerId::OTHER`].
pub const OTHER: &str = "~other";

/// Everything that is counted by owner.
///
/// `sent` = `answered` + `unanswered` + `settled_by_reset` + `unsettled` + `pending`, always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerTotals {
    /// Whose.
    pub owner: OwnerKey,
    /// Whether it has series: a place that is free has none.
    pub shown: bool,
    /// Its established sockets, as of the last sweep.
    pub sockets: OwnerSockets,
    /// Those of them that a policy of the last sweep would cut.
    pub risks: Vec<RiskCount>,
    /// Keepalive probes handed to the network.
    pub sent: u64,
    /// Probes that were answered.
    pub answered: u64,
    /// Probes that were still unanswered at the next run or at the close.
    pub unanswered: u64,
    /// Probes whose pending state ended in an RST that answered them. Each is counted in
    /// `resets` of phase keepalive too.
    pub settled_by_reset: u64,
    /// Probes whose outcome is unknown.
    pub unsettled: u64,
    /// Probes that wait for their outcome now.
    pub pending: u64,
    /// Due probes that were not sent; use [`Self::suppressed`].
    pub suppressed: [u64; Suppression::ALL.len()],
    /// Send to answer.
    pub rtt: RttHistogram,
    /// Window-probe attempts.
    pub zero_window: u64,
    /// RST received, by [`Phase::index`].
    pub resets: [u64; Phase::COUNT],
    /// Drops, by [`Cause::index`] and number of the [`Timer`].
    pub dropped: [[u64; Timer::ALL.len()]; Cause::COUNT],
}

impl OwnerTotals {
    /// Due probes that were not sent for this reason.
    #[must_use]
    pub const fn suppressed(&self, reason: Suppression) -> u64 {
        self.suppressed[suppression_index(reason)]
    }

    /// Drops by this cause in a run of this timer.
    #[must_use]
    pub const fn dropped(&self, cause: Cause, timer: Timer) -> u64 {
        self.dropped[cause.index()][timer as usize]
    }

    /// Whether every probe counted as sent is accounted for exactly once.
    #[must_use]
    pub const fn conserved(&self) -> bool {
        self.sent == self.answered + self.unanswered + self.settled_by_reset + self.unsettled + self.pending
    }
}

/// Place of a reason in [`OwnerTotals::suppressed`]; their numbers begin at 1.
pub(super) const fn suppression_index(reason: Suppression) -> usize {
    reason as usize - 1
}

/// What was observed of one network namespace, to be compared with the kernel's own counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetnsTotals {
    /// Inode of the namespace; 0: all namespaces that found no place in the table.
    pub netns: u32,
    /// Keepalive probes as the kernel counts them: sent, or refused by local congestion.
    pub keepalive: u64,
    /// Window-probe attempts.
    pub zero_window: u64,
    /// What the kernel counted, as it was last read.
    pub kernel: Option<KernelCounts>,
    /// The namespace's keepalive defaults.
    pub sysctls: Option<Sysctls>,
}

/// One consistent moment of everything that was counted.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// By owner; the first is [`OwnerId::UNKNOWN`], the second [`OwnerId::OTHER`].
    pub owners: Vec<OwnerTotals>,
    /// By network namespace; the first holds what found no place.
    pub netns: Vec<NetnsTotals>,
    /// Sockets in the table.
    pub tracked: u64,
    /// Records received, by number of their [`Kind`]; use [`Self::received`].
    pub received: [u64; KIND_SLOTS],
    /// Records that could not be decoded, by number of their kind where that much could be read;
    /// at 0 those of no known kind.
    pub undecodable: [u64; KIND_SLOTS],
    /// Answered probes without a clean round trip.
    pub rtt_skipped: u64,
    /// Ends that are no drops, by [`Ended::index`].
    pub ended: [u64; Ended::COUNT],
    /// Idle ages at the drop, by [`Cause::index`].
    pub idle_at_drop: [IdleHistogram; Cause::COUNT],
    /// Owners folded into [`OwnerId::OTHER`].
    pub owner_overflow: u64,
    /// The last sweep; none yet.
    pub sweep: Option<Arc<Sweep>>,
    /// Idle timeouts on the way, as far as connections told.
    pub learned: Arc<Learned>,
    /// Oddities, for support.
    pub oddities: Oddities,
}

/// What a healthy node counts none of, or little: for support, not for alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// `ProbeSent` reported twice, ignored.
    pub duplicates: u64,
    /// Settlements of a probe that the table did not know as pending, ignored.
    pub unmatched: u64,
    /// Records whose socket found the table full.
    pub table_full: u64,
    /// Sockets removed because nothing was heard of them for too long.
    pub expired: u64,
    /// Sockets removed because their address came again with a new identity.
    pub replaced: u64,
    /// Sockets removed because two sweeps in a row did not find them.
    pub not_found: u64,
    /// Sockets that a sweep found tracked and the table did not know.
    pub found: u64,
    /// Sockets whose network namespace is unknown or found no place.
    pub netns_overflow: u64,
}

impl Snapshot {
    /// Records received of this kind.
    #[must_use]
    pub const fn received(&self, kind: Kind) -> u64 {
        self.received[kind as usize]
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            owners: vec![
                OwnerTotals { shown: true, ..OwnerTotals::default() },
                OwnerTotals {
                    owner: OwnerKey { comm: OTHER.into(), ..OwnerKey::default() },
                    ..OwnerTotals::default()
                },
            ],
            netns: vec![NetnsTotals::default()],
            tracked: 0,
            received: [0; KIND_SLOTS],
            undecodable: [0; KIND_SLOTS],
            rtt_skipped: 0,
            ended: [0; Ended::COUNT],
            owner_overflow: 0,
            sweep: None,
            learned: Arc::default(),
            idle_at_drop: std::array::from_fn(|_| IdleHistogram::default()),
            oddities: Oddities::default(),
        }
    }
}
