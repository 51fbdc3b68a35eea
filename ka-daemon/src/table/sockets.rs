//! The table: applies records to sockets and totals, one transition per kind.
//!
//! The accounting holds one promise, after every record whatever it is: each probe counted as
//! sent is answered, unanswered, settled by an RST, unsettled or pending, exactly one of them, and
//! a live socket has at most one pending. Records may be lost, doubled or late; nothing that
//! happens to them may break the promise, only make probes unsettled.

use super::cause::{classify, drop_timer, idle_at_drop};
use super::clock::Clock;
use super::ending::{Phase, ended, phase};
use super::entries::{Entries, Entry};
use super::histogram::{IDLE_BOUNDS, RTT_BOUNDS};
use super::netns::{NetnsSlot, NetnsTable};
use super::outcome::Outcome;
use super::snapshot::{OwnerId, OwnerTotals, Snapshot, suppression_index};
use ka_common::{Kind, Record, Suppression};
use std::time::Duration;

/// Bounds and thresholds that the user chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most sockets that are told apart at once.
    pub max_sockets: usize,
    /// The shortest silence that counts as idle.
    pub idle_floor: Duration,
}

/// Every tracked socket of the node, and everything counted so far.
#[derive(Debug)]
pub struct SocketTable {
    entries: Entries,
    netns: NetnsTable,
    counts: Snapshot,
    clock: Clock,
    idle_floor: Duration,
}

impl SocketTable {
    /// An empty table.
    #[must_use]
    pub fn new(clock: Clock, limits: Limits) -> Self {
        Self {
            entries: Entries::new(limits.max_sockets),
            netns: NetnsTable::new(),
            counts: Snapshot::default(),
            clock,
            idle_floor: limits.idle_floor,
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

    /// Applies one record.
    pub fn apply(&mut self, record: &Record) -> Outcome {
        let Some(kind) = Kind::from_byte(record.kind) else {
            self.undecodable(None);
            return Outcome::Undecodable;
        };
        let outcome = match kind {
            Kind::ProbeSent => self.sent(record),
            Kind::ProbeSettled => self.settled(record),
            Kind::Suppressed => match Suppression::from_byte(record.reason) {
                Some(reason) => self.suppressed(record, reason),
                None => Outcome::Undecodable,
            },
            Kind::ZeroWindowProbe => self.zero_window(record),
            Kind::ResetReceived => self.reset(record),
            Kind::Dropped => self.dropped(record),
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
    pub fn expire(&mut self, now_ns: u64, budget: usize) {
        let counts = &mut self.counts;
        self.entries.expire(now_ns, budget, |entry| {
            counts.oddities.expired += 1;
            counts.abandon(entry);
        });
    }

    fn sent(&mut self, record: &Record) -> Outcome {
        let Self { entries, netns, counts, clock, .. } = self;
        let Some(entry) = enter(entries, netns, counts, *clock, record) else {
            let slot = netns.find(record.netns);
            netns.at(slot).keepalive += 1;
            let totals = counts.of(OwnerId::UNKNOWN);
            totals.sent += 1;
            totals.unsettled += 1;
            return Outcome::Sent { pending: false };
        };
        if record.run_ns != 0 && record.run_ns == entry.run_ns {
            counts.oddities.duplicates += 1;
            return Outcome::Duplicate;
        }
        counts.abandon(entry);
        entry.run_ns = record.run_ns;
        // A probe without a run has no name by which it could be settled.
        entry.pending = record.run_ns != 0;
        let totals = counts.of(entry.owner);
        totals.sent += 1;
        if entry.pending {
            totals.pending += 1;
        } else {
            totals.unsettled += 1;
        }
        netns.at(entry.netns).keepalive += 1;
        Outcome::Sent { pending: entry.pending }
    }

    fn settled(&mut self, record: &Record) -> Outcome {
        let Self { entries, counts, clock, .. } = self;
        let Some(owner) = settle(entries, counts, *clock, record) else {
            counts.oddities.unmatched += 1;
            return Outcome::Unmatched;
        };
        let answered = record.flags & Record::ANSWERED != 0;
        let rtt = if answered { round_trip(record) } else { None };
        counts.rtt_skipped += u64::from(answered && rtt.is_none());
        let totals = counts.of(owner);
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

    fn suppressed(&mut self, record: &Record, reason: Suppression) -> Outcome {
        let Self { entries, netns, counts, clock, .. } = self;
        let (owner, slot) = place(enter(entries, netns, counts, *clock, record), netns, record);
        counts.of(owner).suppressed[suppression_index(reason)] += 1;
        // The kernel counts an attempt that its own queue refused as a probe.
        if reason == Suppression::LocalCongestion {
            netns.at(slot).keepalive += 1;
        }
        Outcome::Suppressed(reason)
    }

    fn zero_window(&mut self, record: &Record) -> Outcome {
        let Self { entries, netns, counts, clock, .. } = self;
        let (owner, slot) = place(enter(entries, netns, counts, *clock, record), netns, record);
        counts.of(owner).zero_window += u64::from(record.count);
        netns.at(slot).zero_window += u64::from(record.count);
        Outcome::ZeroWindow
    }

    /// An RST that answers something else than the pending probe ends the connection with the
    /// probe unanswered.
    fn reset(&mut self, record: &Record) -> Outcome {
        let Self { entries, counts, clock, .. } = self;
        let phase = phase(record);
        let found = entries.find(record, *clock);
        counts.replaced(found.replaced);
        let owner = found.entry.as_ref().map_or(OwnerId::UNKNOWN, |entry| entry.owner);
        let pending = found.entry.filter(|entry| entry.pending && entry.run_ns == record.run_ns);
        let totals = counts.of(owner);
        totals.resets[phase.index()] += 1;
        if record.flags & Record::SETTLED == 0 {
            return Outcome::Reset { phase, settled: false };
        }
        let settled = pending.is_some();
        if let Some(entry) = pending {
            entry.pending = false;
            totals.pending -= 1;
            if phase == Phase::Keepalive {
                totals.settled_by_reset += 1;
            } else {
                totals.unanswered += 1;
            }
        } else {
            counts.oddities.unmatched += 1;
        }
        Outcome::Reset { phase, settled }
    }

    fn dropped(&mut self, record: &Record) -> Outcome {
        let owner = self.leave(record);
        let cause = classify(record, self.clock, self.idle_floor);
        let timer = drop_timer(record);
        let idle = idle_at_drop(record, cause, self.clock);
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

    /// Removes the record's socket. A probe that is still pending had its settlement lost: the
    /// kernel side settles before it reports the end.
    fn leave(&mut self, record: &Record) -> OwnerId {
        match self.entries.remove(record) {
            Some(mut entry) if entry.first_seen_ns == record.first_seen_ns => {
                self.counts.abandon(&mut entry);
                entry.owner
            }
            older => {
                self.counts.replaced(older);
                OwnerId::UNKNOWN
            }
        }
    }
}

/// Finds or enters the record's socket and accounts for one that had to make way.
fn enter<'a>(
    entries: &'a mut Entries,
    netns: &mut NetnsTable,
    counts: &mut Snapshot,
    clock: Clock,
    record: &Record,
) -> Option<&'a mut Entry> {
    let found = entries.enter(record, clock, || {
        let slot = netns.find(record.netns);
        counts.oddities.netns_overflow += u64::from(slot == NetnsSlot::default());
        slot
    });
    counts.oddities.table_full += u64::from(found.full);
    counts.replaced(found.replaced);
    found.entry
}

/// Whose a record is, and where its namespace is counted, also without a place in the table.
fn place(entry: Option<&mut Entry>, netns: &mut NetnsTable, record: &Record) -> (OwnerId, NetnsSlot) {
    match entry {
        Some(entry) => (entry.owner, entry.netns),
        None => (OwnerId::UNKNOWN, netns.find(record.netns)),
    }
}

/// Takes the pending state from the probe that a settlement names; none: it is not pending.
fn settle(entries: &mut Entries, counts: &mut Snapshot, clock: Clock, record: &Record) -> Option<OwnerId> {
    let found = entries.find(record, clock);
    counts.replaced(found.replaced);
    let entry = found.entry.filter(|entry| entry.pending && entry.run_ns == record.run_ns)?;
    entry.pending = false;
    counts.of(entry.owner).pending -= 1;
    Some(entry.owner)
}

/// The round trip of an answered probe. Without an arrival time taken as the answer came, only an
/// exchange that nothing else touched gives one: one segment in, none out since the probe.
fn round_trip(record: &Record) -> Option<Duration> {
    let clean = record.flags & Record::EXACT != 0 || (record.segs_in == 1 && record.segs_out == 0);
    if !clean || record.probe_us == 0 || record.answer_us == 0 {
        return None;
    }
    record.answer_us.checked_sub(record.probe_us).map(Duration::from_micros)
}

impl Snapshot {
    fn of(&mut self, owner: OwnerId) -> &mut OwnerTotals {
        &mut self.owners[owner.0 as usize]
    }

    /// A pending probe whose outcome will not be known any more.
    fn abandon(&mut self, entry: &mut Entry) {
        if std::mem::replace(&mut entry.pending, false) {
            let totals = self.of(entry.owner);
            totals.pending -= 1;
            totals.unsettled += 1;
        }
    }

    /// A socket whose end was lost and whose address came again.
    fn replaced(&mut self, entry: Option<Entry>) {
        if let Some(mut entry) = entry {
            self.oddities.replaced += 1;
            self.abandon(&mut entry);
        }
    }
}
