//! The table: applies records to sockets and totals, one transition per kind.
//!
//! The accounting holds one promise, after every record whatever it is: each probe counted as
//! sent is answered, unanswered, settled by an RST, unsettled or pending, exactly one of them, and
//! a live socket has at most one pending. Records may be lost, doubled or late; nothing that
//! happens to them may break the promise, only make probes unsettled.

use super::cause::{classify, drop_timer, idle_at_drop};
use super::clock::Clock;
use super::ending::{Phase, ended, phase};
use super::entries::Entries;
use super::histogram::{IDLE_BOUNDS, RTT_BOUNDS};
use super::netns::NetnsTable;
use super::outcome::Outcome;
use super::owners::{Nobody, OwnerLabels, Owners, Whose};
use super::place::{Placed, Settlement, forget, seconds};
use super::snapshot::{Snapshot, suppression_index};
use super::sweeps::Ended;
use crate::learn::Learner;
use ka_common::{Kind, Record, Suppression};
use std::time::Duration;

/// Bounds and thresholds that the user chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most sockets that are told apart at once.
    pub max_sockets: usize,
    /// The shortest silence that counts as idle.
    pub idle_floor: Duration,
    /// Most owners that are told apart.
    pub max_owners: usize,
    /// By which labels.
    pub owner_labels: OwnerLabels,
}

/// Every tracked socket of the node, and everything counted so far.
#[derive(Debug)]
pub struct SocketTable {
    pub(super) entries: Entries,
    pub(super) netns: NetnsTable,
    pub(super) owners: Owners,
    pub(super) counts: Snapshot,
    pub(super) clock: Clock,
    idle_floor: Duration,
    /// Number of the sweep under way, or of the last one.
    pub(super) sweep: u64,
    /// Sockets that ended while a sweep was under way: it may have found them before.
    pub(super) ended: Ended,
    pub(super) learner: Learner,
}

impl SocketTable {
    /// An empty table.
    #[must_use]
    pub fn new(clock: Clock, limits: Limits) -> Self {
        Self {
            entries: Entries::new(limits.max_sockets),
            netns: NetnsTable::new(),
            owners: Owners::new(limits.owner_labels, limits.max_owners),
            counts: Snapshot::default(),
            clock,
            idle_floor: limits.idle_floor,
            sweep: 0,
            ended: Ended::default(),
            learner: Learner::default(),
        }
    }

    /// The kernel's tick rate.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// How many sockets the table holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the table holds no socket.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// How many places, taken or free, expiry has to look at to see every socket once.
    #[must_use]
    pub fn places(&self) -> usize {
        self.entries.places()
    }

    /// A copy of all totals.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            netns: self.netns.totals().to_vec(),
            tracked: self.entries.len() as u64,
            ..self.counts.clone()
        }
    }

    /// Counts bytes that were no record; `kind` as far as it could be read.
    pub fn undecodable(&mut self, kind: Option<Kind>) {
        self.counts.undecodable[kind.map_or(0, |kind| kind as usize)] += 1;
    }

    /// Applies one record; whose its socket is, nobody asks.
    pub fn apply(&mut self, record: &Record) -> Outcome {
        self.apply_owned(record, &mut Nobody)
    }

    /// Applies one record. `whose` is asked for sockets that the table does not know.
    pub fn apply_owned(&mut self, record: &Record, whose: &mut dyn Whose) -> Outcome {
        let Some(kind) = Kind::from_byte(record.kind) else {
            self.undecodable(None);
            return Outcome::Undecodable;
        };
        let outcome = match kind {
            Kind::ProbeSent => self.sent(record, whose),
            Kind::ProbeSettled => self.settled(record),
            Kind::Suppressed => match Suppression::from_byte(record.reason) {
                Some(reason) => self.suppressed(record, reason, whose),
                None => Outcome::Undecodable,
            },
            Kind::ZeroWindowProbe => self.zero_window(record, whose),
            Kind::ResetReceived => self.reset(record, whose),
            Kind::Dropped => self.dropped(record, whose),
            Kind::Closed => self.closed(record),
        };
        if outcome == Outcome::Undecodable {
            self.undecodable(Some(kind));
        } else {
            self.counts.received[kind as usize] += 1;
        }
        outcome
    }

    /// Forgets sockets that were not heard of for longer than their settings allow: their
    /// `Closed` was lost. Looks at no more than `budget` of [`Self::places`]; the next call goes on.
    /// Forgets owners that are gone, too.
    pub fn expire(&mut self, now_ns: u64, budget: usize) {
        let Self { entries, netns, owners, counts, .. } = self;
        let second = seconds(now_ns);
        entries.expire(now_ns, budget, |entry| {
            counts.oddities.expired += 1;
            forget(entry, netns, owners, counts, second);
        });
        owners.expire(&mut counts.owners, second);
    }

    fn sent(&mut self, record: &Record, whose: &mut dyn Whose) -> Outcome {
        let clock = self.clock;
        let Placed { entry, owner, slot, netns, counts } = self.place(record, whose);
        let Some(entry) = entry else {
            netns.at(slot).keepalive += 1;
            let totals = counts.of(owner);
            totals.sent += 1;
            totals.unsettled += 1;
            return Outcome::Sent { pending: false };
        };
        if record.run_ns != 0 && record.run_ns == entry.run_ns {
            counts.oddities.duplicates += 1;
            return Outcome::Duplicate;
        }
        let lost = counts.abandon(entry);
        if lost || record.probes_out > 1 {
            entry.set_ambiguous(true);
        }
        entry.probes(record, clock);
        entry.run_ns = record.run_ns;
        // A probe without a run has no name by which it could be settled.
        let pending = record.run_ns != 0;
        entry.set_pending(pending);
        let totals = counts.of(owner);
        totals.sent += 1;
        if pending {
            totals.pending += 1;
        } else {
            totals.unsettled += 1;
        }
        netns.at(slot).keepalive += 1;
        Outcome::Sent { pending }
    }

    fn settled(&mut self, record: &Record) -> Outcome {
        let answered = record.flags & Record::ANSWERED != 0;
        let Some(Settlement { owner, rtt, outlived }) = self.settle(record, answered) else {
            self.counts.oddities.unmatched += 1;
            return Outcome::Unmatched;
        };
        self.outlived(record, outlived);
        self.counts.rtt_skipped += u64::from(answered && rtt.is_none());
        let totals = self.counts.of(owner);
        if answered {
            totals.answered += 1;
        } else {
            totals.unanswered += 1;
        }
        if let Some(rtt) = rtt {
            totals.rtt.observe(&RTT_BOUNDS, rtt);
        }
        Outcome::Settled { answered, rtt }
    }

    fn suppressed(&mut self, record: &Record, reason: Suppression, whose: &mut dyn Whose) -> Outcome {
        let Placed { owner, slot, netns, counts, .. } = self.place(record, whose);
        counts.of(owner).suppressed[suppression_index(reason)] += 1;
        // The kernel counts an attempt that its own queue refused as a probe.
        if reason == Suppression::LocalCongestion {
            netns.at(slot).keepalive += 1;
        }
        Outcome::Suppressed(reason)
    }

    fn zero_window(&mut self, record: &Record, whose: &mut dyn Whose) -> Outcome {
        let Placed { owner, slot, netns, counts, .. } = self.place(record, whose);
        counts.of(owner).zero_window += u64::from(record.count);
        netns.at(slot).zero_window += u64::from(record.count);
        Outcome::ZeroWindow
    }

    /// An RST that answers something else than the pending probe ends the connection with the
    /// probe unanswered.
    fn reset(&mut self, record: &Record, whose: &mut dyn Whose) -> Outcome {
        let phase = phase(record);
        let found = self.find(record).map(|entry| {
            let pending = entry.is_pending() && entry.run_ns == record.run_ns;
            (entry.owner, pending)
        });
        let (owner, pending) = match found {
            Some(found) => found,
            None => (self.owner(record, whose), false),
        };
        let settles = record.flags & Record::SETTLED != 0;
        if settles && pending {
            self.find(record).expect("found a moment ago").set_pending(false);
        }
        let totals = self.counts.of(owner);
        totals.resets[phase.index()] += 1;
        if !settles {
            return Outcome::Reset { phase, settled: false };
        }
        if pending {
            totals.pending -= 1;
            if phase == Phase::Keepalive {
                totals.settled_by_reset += 1;
            } else {
                totals.unanswered += 1;
            }
        } else {
            self.counts.oddities.unmatched += 1;
        }
        Outcome::Reset { phase, settled: pending }
    }

    fn dropped(&mut self, record: &Record, whose: &mut dyn Whose) -> Outcome {
        let entry = self.leave(record);
        let owner = entry.map_or_else(|| self.owner(record, whose), |entry| entry.owner);
        let cause = classify(record, self.clock, self.idle_floor);
        let timer = drop_timer(record);
        let idle = idle_at_drop(record, cause, self.clock);
        self.silenced(record, cause, entry.as_ref());
        self.counts.of(owner).dropped[cause.index()][timer as usize] += 1;
        self.counts.idle_at_drop[cause.index()].observe(&IDLE_BOUNDS, idle);
        Outcome::Dropped { cause, timer, idle }
    }

    fn closed(&mut self, record: &Record) -> Outcome {
        self.leave(record);
        let ended = ended(record);
        if let Some(ended) = ended {
            self.counts.ended[ended.index()] += 1;
        }
        Outcome::Closed { ended }
    }
}
