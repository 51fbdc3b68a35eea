//! The sockets themselves: a bounded map from address to what is remembered of a live identity.
//!
//! Entries are small and lie in the hash table itself: with a million of them a lookup costs little
//! more than one cache miss, and expiry can walk over them piece by piece.

use super::clock::Clock;
use super::netns::NetnsSlot;
use super::snapshot::OwnerId;
use crate::learn::{Counted, Silence};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use ka_common::Record;
use rustc_hash::FxBuildHasher;
use std::cmp::Ordering;
use std::hash::BuildHasher as _;
use std::time::Duration;

/// Grace on top of the longest silence that the settings of a socket allow.
const GRACE_S: u64 = 60;
const NS_PER_S: u64 = 1_000_000_000;

/// What is remembered of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Its address.
    sock: u64,
    /// With the address the identity.
    pub(super) first_seen_ns: u64,
    /// The run that sent the last probe; 0: none yet.
    pub(super) run_ns: u64,
    /// Forgotten from this second of `CLOCK_MONOTONIC` on.
    deadline_s: u32,
    /// Whose it is.
    pub(super) owner: OwnerId,
    /// Where its namespace is counted.
    pub(super) netns: NetnsSlot,
    /// The last clean round trip of a probe in µs; 0: none yet.
    pub(super) rtt_us: u32,
    /// Segments received when the last probe went out.
    pub(super) segs_in: u32,
    /// The silence before the probe that is out, or the first of those that are.
    pub(super) silence: Option<Silence>,
    /// The survived silences that it counts for.
    pub(super) counted: Counted,
    /// The last sweep that found it, or under which a record told of it: the lowest byte of its number.
    sweep: u8,
    flags: u8,
}

/// The probe of `run_ns` waits for its outcome.
const PENDING: u8 = 1 << 0;
/// Whose it is was found out by its inode.
const OWNED: u8 = 1 << 1;
/// A probe went unanswered, or its outcome was lost, and no later one was answered: the next answer may be to
/// any of them.
const AMBIGUOUS: u8 = 1 << 2;
/// The last probe was answered.
const ANSWERED: u8 = 1 << 3;
/// How the silence before the probe that is out was seen.
const WHOLE: u8 = 1 << 4;
const BROKEN: u8 = 1 << 5;

/// How a silence was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// From its begin to its end.
    Whole,
    /// Its begin was not: the peer may have probed.
    InPart,
    /// The peer probed, or this end did.
    Broken,
}

/// What became of a lookup.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    /// The record's own identity.
    pub(super) entry: Option<&'a mut Entry>,
    /// An older identity at its address, removed.
    pub(super) replaced: Option<Entry>,
    /// There was no place left for it.
    pub(super) full: bool,
    /// It was not known before.
    pub(super) is_new: bool,
}

/// The bounded map.
#[derive(Debug)]
pub(super) struct Entries {
    table: HashTable<Entry>,
    capacity: usize,
    cursor: usize,
    /// The sweep under way, or the last.
    sweep: u8,
    /// Until this second of `CLOCK_MONOTONIC` what the last sweeps found is there, whatever its deadline says.
    vouched_s: u64,
}

impl Entries {
    /// Takes memory as sockets come, not ahead: entries lie scattered, so that a few of them would
    /// soon touch every page of a large table.
    pub(super) const fn new(capacity: usize) -> Self {
        Self { table: HashTable::new(), capacity, cursor: 0, sweep: 0, vouched_s: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many places there are to look at for expiry.
    pub(super) fn places(&self) -> usize {
        self.table.num_buckets()
    }

    /// Finds the record's identity, or enters it; where it is counted is looked up only then.
    ///
    /// An entry of the same address that was first seen earlier is a socket whose `Closed` was
    /// lost: it makes way. One that was first seen later makes the record a straggler, which
    /// enters nothing.
    pub(super) fn enter(
        &mut self,
        record: &Record,
        clock: Clock,
        counted: impl FnOnce() -> (OwnerId, NetnsSlot),
    ) -> Found<'_> {
        if record.first_seen_ns == 0 {
            return Found::default();
        }
        let full = self.table.len() >= self.capacity;
        let sweep = self.sweep;
        let new = || {
            let (owner, netns) = counted();
            Entry {
                sock: record.sock,
                first_seen_ns: record.first_seen_ns,
                run_ns: 0,
                deadline_s: deadline_s(record, clock),
                owner,
                netns,
                rtt_us: 0,
                segs_in: 0,
                silence: None,
                counted: Counted::default(),
                sweep,
                flags: if record.inode == 0 { 0 } else { OWNED },
            }
        };
        match self.table.entry(hash(record.sock), at(record), |entry| hash(entry.sock)) {
            Place::Occupied(place) => {
                let entry = place.into_mut();
                match entry.first_seen_ns.cmp(&record.first_seen_ns) {
                    Ordering::Equal => Found::known(entry, record, clock, sweep),
                    Ordering::Less => {
                        let replaced = Some(std::mem::replace(entry, new()));
                        Found { entry: Some(entry), replaced, full: false, is_new: true }
                    }
                    Ordering::Greater => Found::default(),
                }
            }
            Place::Vacant(_) if full => Found { full: true, ..Found::default() },
            Place::Vacant(place) => {
                let entry = place.insert(new()).into_mut();
                Found { entry: Some(entry), is_new: true, ..Found::default() }
            }
        }
    }

    /// Finds the record's identity and never enters it.
    pub(super) fn find(&mut self, record: &Record, clock: Clock) -> Found<'_> {
        let Ok(place) = self.table.find_entry(hash(record.sock), at(record)) else {
            return Found::default();
        };
        match place.get().first_seen_ns.cmp(&record.first_seen_ns) {
            Ordering::Equal => Found::known(place.into_mut(), record, clock, self.sweep),
            Ordering::Less => Found { replaced: Some(place.remove().0), ..Found::default() },
            Ordering::Greater => Found::default(),
        }
    }

    /// Removes the record's identity, or an older one at its address; tells which.
    pub(super) fn remove(&mut self, record: &Record) -> Option<Entry> {
        let place = self.table.find_entry(hash(record.sock), at(record)).ok()?;
        (place.get().first_seen_ns <= record.first_seen_ns).then(|| place.remove().0)
    }

    /// Looks at up to `budget` places from where the last call stopped and removes the entries
    /// that are past their deadline and for which no sweep vouches. A table that grew meanwhile is only
    /// walked out of step.
    pub(super) fn expire(&mut self, now_ns: u64, budget: usize, mut gone: impl FnMut(&mut Entry)) {
        let second = now_ns / NS_PER_S;
        let vouching = (second < self.vouched_s).then_some(self.sweep);
        for _ in 0..budget.min(self.places()) {
            if self.cursor >= self.places() {
                self.cursor = 0;
            }
            if let Ok(mut place) = self.table.get_bucket_entry(self.cursor)
                && u64::from(place.get().deadline_s) <= second
                && !vouching.is_some_and(|sweep| place.get().is_fresh(sweep))
            {
                gone(place.get_mut());
                place.remove();
            }
            self.cursor += 1;
        }
    }
}

impl Entries {
    /// Another sweep begins.
    pub(super) fn begin_sweep(&mut self, number: u64) {
        self.sweep = sweep_byte(number);
    }

    /// A sweep found the identity of what it read, made a record; none: it is not known. Its settings may have
    /// changed since the last record, so that its deadline is another.
    pub(super) fn swept(&mut self, row: &Record, clock: Clock) -> Option<&mut Entry> {
        let sweep = self.sweep;
        let entry = self.table.find_mut(hash(row.sock), at(row))?;
        (entry.first_seen_ns == row.first_seen_ns).then(|| {
            entry.sweep = sweep;
            entry.deadline_s = deadline_s(row, clock);
            entry
        })
    }

    /// A sweep ended. What it and the one before it found does not expire until two more of them are due:
    /// a socket may be silent for longer than its deadline allows, when its settings were changed.
    pub(super) fn vouch(&mut self, now_ns: u64, interval: Duration) {
        let two = interval.as_secs().saturating_add(1).saturating_mul(2);
        self.vouched_s = (now_ns / NS_PER_S).saturating_add(two).saturating_add(GRACE_S);
    }

    /// The identity, if it is known.
    pub(super) fn get(&self, sock: u64, first_seen_ns: u64) -> Option<&Entry> {
        let entry = self.table.find(hash(sock), |entry| entry.sock == sock)?;
        (entry.first_seen_ns == first_seen_ns).then_some(entry)
    }

    /// Removes what neither this sweep nor the one before it found, and of which no record told meanwhile, in
    /// the namespaces that were read.
    pub(super) fn remove_unswept(
        &mut self,
        is_read: impl Fn(NetnsSlot) -> bool,
        mut gone: impl FnMut(&mut Entry),
    ) {
        let sweep = self.sweep;
        self.table.retain(|entry| {
            let stays = entry.is_fresh(sweep) || !is_read(entry.netns);
            if !stays {
                gone(entry);
            }
            stays
        });
    }
}

/// Two sweeps in a row differ, and none is mistaken for one that was two hundred sweeps before.
const fn sweep_byte(number: u64) -> u8 {
    (number & 0xff) as u8
}

/// Addresses differ in their middle bits; the hasher spreads them over all.
fn hash(sock: u64) -> u64 {
    FxBuildHasher.hash_one(sock)
}

/// Whether an entry is at the record's address.
fn at(record: &Record) -> impl Fn(&Entry) -> bool {
    let sock = record.sock;
    move |entry| entry.sock == sock
}

impl<'a> Found<'a> {
    /// An entry that was heard of again.
    fn known(entry: &'a mut Entry, record: &Record, clock: Clock, sweep: u8) -> Self {
        entry.deadline_s = deadline_s(record, clock);
        entry.sweep = sweep;
        Self { entry: Some(entry), ..Self::default() }
    }
}

impl Entry {
    /// Whether this sweep or the one before it found it, or a record told of it meanwhile.
    const fn is_fresh(&self, sweep: u8) -> bool {
        self.sweep == sweep || self.sweep == sweep.wrapping_sub(1)
    }

    /// Whether the probe of `run_ns` waits for its outcome.
    pub(super) const fn is_pending(&self) -> bool {
        self.flags & PENDING != 0
    }

    /// Says so, and tells how it was.
    pub(super) const fn set_pending(&mut self, pending: bool) -> bool {
        self.set(PENDING, pending)
    }

    /// Whether the next answer may be to an earlier probe than the last. Says so, and tells how it was.
    pub(super) const fn set_ambiguous(&mut self, ambiguous: bool) -> bool {
        self.set(AMBIGUOUS, ambiguous)
    }

    /// Whether the last probe was answered. Says so, and tells how it was.
    pub(super) const fn set_answered(&mut self, answered: bool) -> bool {
        self.set(ANSWERED, answered)
    }

    /// How the silence before the probe that is out was seen.
    pub(super) const fn seen(&self) -> Seen {
        match self.flags & (WHOLE | BROKEN) {
            0 => Seen::InPart,
            WHOLE => Seen::Whole,
            _ => Seen::Broken,
        }
    }

    /// Says so.
    pub(super) const fn set_seen(&mut self, seen: Seen) {
        self.set(WHOLE, matches!(seen, Seen::Whole));
        self.set(BROKEN, matches!(seen, Seen::Broken));
    }

    const fn set(&mut self, flag: u8, on: bool) -> bool {
        let before = self.flags & flag != 0;
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
        before
    }

    /// Whether it had no inode yet by which to find whose it is, and has one now: once.
    pub(super) const fn gets_owner(&mut self, inode: u64) -> bool {
        if inode == 0 || self.flags & OWNED != 0 {
            return false;
        }
        self.flags |= OWNED;
        true
    }
}

/// The second from which a socket may be forgotten if it is not heard of before: a probe is
/// settled within the keepalive time, and a dead connection ends within all its probes; twice that
/// allows for settings that change meanwhile.
fn deadline_s(record: &Record, clock: Clock) -> u32 {
    let set = |own: u32, inherited: u32| u64::from(if own == 0 { inherited } else { own });
    let idle = set(record.keepidle, record.sysctl_keepidle);
    let interval = set(record.keepintvl, record.sysctl_keepintvl);
    let probes = set(record.keepcnt, record.sysctl_keepcnt);
    let silence = clock.seconds_up(idle.saturating_add(probes.saturating_mul(interval)));
    let deadline =
        (record.time_ns / NS_PER_S).saturating_add(silence.saturating_mul(2)).saturating_add(GRACE_S);
    u32::try_from(deadline).unwrap_or(u32::MAX)
}

// A million sockets are to fit where others have a hundred thousand.
const _: () = assert!(size_of::<Entry>() == 48);
