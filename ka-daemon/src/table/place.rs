//! A record's place in the table: found, entered, settled or left. Whatever leaves is accounted for here.

use super::entries::Entry;
use super::netns::{NetnsSlot, NetnsTable};
use super::owners::{Owners, Whose};
use super::round_trip::round_trip;
use super::snapshot::{OwnerId, OwnerTotals, Snapshot};
use super::sockets::SocketTable;
use crate::learn::{Counts, Silence};
use ka_common::Record;
use std::time::Duration;

/// Where a record is counted.
pub(super) struct Placed<'a> {
    /// Its socket; none: it found no place.
    pub(super) entry: Option<&'a mut Entry>,
    pub(super) owner: OwnerId,
    pub(super) slot: NetnsSlot,
    pub(super) netns: &'a mut NetnsTable,
    pub(super) counts: &'a mut Snapshot,
}

/// What became of a pending probe.
pub(super) struct Settlement {
    pub(super) owner: OwnerId,
    pub(super) rtt: Option<Duration>,
    /// The silence that the connection survived, if it counts.
    pub(super) outlived: Option<(Silence, Counts)>,
}

impl SocketTable {
    /// Finds or enters the record's socket and accounts for one that had to make way. Where it finds no
    /// place it is counted all the same.
    pub(super) fn place<'a>(&'a mut self, record: &Record, whose: &mut dyn Whose) -> Placed<'a> {
        let Self { entries, netns, owners, counts, clock, sweep, .. } = self;
        let second = seconds(record.time_ns);
        let mut owner_of = |counts: &mut Snapshot, alive| {
            let owner = whose.owner(record.into(), alive);
            owners.find(&owner, &mut counts.owners, &mut counts.owner_overflow, second)
        };
        let found = entries.enter(record, *clock, || {
            let slot = netns.find(record.netns, *sweep);
            counts.oddities.netns_overflow += u64::from(slot == NetnsSlot::default());
            (owner_of(counts, true), slot)
        });
        counts.oddities.table_full += u64::from(found.full);
        let Some(entry) = found.entry else {
            let (owner, slot) = (owner_of(counts, false), netns.find(record.netns, *sweep));
            return Placed { entry: None, owner, slot, netns, counts };
        };
        if found.is_new {
            owners.gain(entry.owner);
            netns.gain(entry.netns);
        } else if !entry.is_pending() && entry.gets_owner(record.inode) {
            // Accepted after its first record.
            let before = std::mem::replace(&mut entry.owner, owner_of(counts, true));
            owners.lose(before, second);
            owners.gain(entry.owner);
        }
        if let Some(mut older) = found.replaced {
            counts.oddities.replaced += 1;
            forget(&mut older, netns, owners, counts, second);
        }
        let (owner, slot) = (entry.owner, entry.netns);
        Placed { entry: Some(entry), owner, slot, netns, counts }
    }

    /// Finds the record's socket and never enters it.
    pub(super) fn find(&mut self, record: &Record) -> Option<&mut Entry> {
        let Self { entries, netns, owners, counts, clock, .. } = self;
        let found = entries.find(record, *clock);
        if let Some(mut older) = found.replaced {
            counts.oddities.replaced += 1;
            forget(&mut older, netns, owners, counts, seconds(record.time_ns));
        }
        found.entry
    }

    /// Whose the socket of a record is that is not in the table.
    pub(super) fn owner(&mut self, record: &Record, whose: &mut dyn Whose) -> OwnerId {
        let Self { owners, counts, .. } = self;
        let owner = whose.owner(record.into(), false);
        owners.find(&owner, &mut counts.owners, &mut counts.owner_overflow, seconds(record.time_ns))
    }

    /// Takes the pending state from the probe that a settlement names, and tells what became of it; none: it is
    /// not pending.
    ///
    /// Answers name no probe. After one that went unanswered the next answer may be its, late (Karn's
    /// ambiguity), and is no measure of either.
    pub(super) fn settle(&mut self, record: &Record, answered: bool) -> Option<Settlement> {
        let clock = self.clock;
        let entry = self.find(record).filter(|entry| entry.is_pending() && entry.run_ns == record.run_ns)?;
        entry.set_pending(false);
        let ambiguous = entry.set_ambiguous(!answered);
        let rtt = if answered && !ambiguous { round_trip(record, clock) } else { None };
        if let Some(rtt) = rtt {
            entry.rtt_us = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        }
        let (owner, outlived) = (entry.owner, entry.settles(record, answered));
        self.counts.of(owner).pending -= 1;
        Some(Settlement { owner, rtt, outlived })
    }

    /// Removes the record's socket, and tells what it was; none: it was not in the table. A probe that is
    /// still pending had its settlement lost: the kernel side settles before it reports the end.
    pub(super) fn leave(&mut self, record: &Record) -> Option<Entry> {
        let Self { entries, netns, owners, counts, ended, .. } = self;
        ended.add(record.sock, record.first_seen_ns);
        let mut entry = entries.remove(record)?;
        forget(&mut entry, netns, owners, counts, seconds(record.time_ns));
        if entry.first_seen_ns == record.first_seen_ns {
            Some(entry)
        } else {
            counts.oddities.replaced += 1;
            None
        }
    }
}

/// Of `CLOCK_MONOTONIC`.
pub(super) fn seconds(ns: u64) -> u32 {
    u32::try_from(ns / 1_000_000_000).unwrap_or(u32::MAX)
}

/// Accounts for a socket that leaves the table.
pub(super) fn forget(
    entry: &mut Entry,
    netns: &mut NetnsTable,
    owners: &mut Owners,
    counts: &mut Snapshot,
    second: u32,
) {
    counts.abandon(entry);
    owners.lose(entry.owner, second);
    netns.lose(entry.netns);
}

impl Snapshot {
    pub(super) fn of(&mut self, owner: OwnerId) -> &mut OwnerTotals {
        &mut self.owners[owner.index()]
    }

    /// Gives up a pending probe whose outcome will not be known any more; tells whether there was one.
    pub(super) fn abandon(&mut self, entry: &mut Entry) -> bool {
        let pending = entry.set_pending(false);
        if pending {
            let totals = self.of(entry.owner);
            totals.pending -= 1;
            totals.unsettled += 1;
        }
        pending
    }
}
