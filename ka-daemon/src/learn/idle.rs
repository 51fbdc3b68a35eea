//! Survivors among the sockets that send data again after a silence, as sweeps of the inventory find them. A
//! sweep sees a silence while it lasts; a later one sees that data was sent since, and acknowledged.

use super::counted::Generation;
use super::{Counted, Silence, Survival};
use crate::inventory::describe;
use crate::table::{Clock, tcp};
use hashbrown::HashTable;
use ka_common::SocketRow;
use std::time::Duration;

/// Sockets that are remembered: what a table of 2^17 places holds.
pub const MAX_SOCKETS: usize = (1 << 17) / 8 * 7;

/// Sockets that were silent in earlier sweeps.
#[derive(Debug)]
pub struct IdleSockets {
    table: HashTable<Entry>,
    /// The shortest silence that is remembered.
    floor: Duration,
    max: usize,
    /// The lowest bit of the number of the sweep under way.
    sweep: bool,
}

/// A socket that is silent, or was and counts.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// By [`describe::identity`].
    key: u64,
    /// Segments received, when its silence was first seen.
    segs_in: u32,
    /// When the silence began, in ms; wraps.
    since_ms: u32,
    /// The silence as the first sweep saw it, and as the last; none: the socket is in use.
    seen: Option<(Silence, Silence)>,
    counted: Counted,
    /// Something came in that was neither data nor an acknowledgement: the peer probes. Or this end does.
    broken: bool,
    sweep: bool,
}

const _: () = assert!(size_of::<Entry>() == 24);

/// A socket as this sweep finds it.
#[derive(Clone, Copy)]
struct Now {
    segs_in: u32,
    quiet: Duration,
    /// A probe of this end is out.
    probing: bool,
    since_ms: u32,
    /// Since data was last sent, if all that was written is acknowledged.
    delivered: Option<Duration>,
    time_ns: u64,
}

impl IdleSockets {
    /// Remembers silences of at least `floor`: the usual time between two sweeps.
    #[must_use]
    pub fn new(floor: Duration) -> Self {
        Self { table: HashTable::new(), floor: floor.max(Silence::SHORTEST), max: MAX_SOCKETS, sweep: false }
    }

    /// A sweep begins.
    pub const fn begin(&mut self) {
        self.sweep = !self.sweep;
    }

    /// It ended: what it did not find is forgotten.
    pub fn end(&mut self) {
        let sweep = self.sweep;
        self.table.retain(|entry| entry.sweep == sweep);
    }

    /// It found a socket; tells a silence that this survived.
    pub fn found(&mut self, row: &SocketRow, clock: Clock, time_ns: u64) -> Option<Survival> {
        let now = Now::of(row, clock, time_ns)?;
        let key = describe::identity(row);
        let Some(entry) = self.table.find_mut(key, |entry| entry.key == key) else {
            if now.quiet >= self.floor && self.table.len() < self.max {
                let entry = Entry::new(key, &now, self.sweep);
                self.table.insert_unique(key, entry, |entry| entry.key);
            }
            return None;
        };
        entry.sweep = self.sweep;
        if entry.goes_on(&now) {
            return None;
        }
        let survived = entry.survived(&now);
        entry.begin(&now, self.floor);
        let (silence, counts) = survived?;
        let remote = describe::end(row.family, row.remote, row.remote_port).ip();
        Some(Survival { remote, silence, counts })
    }
}

impl Entry {
    fn new(key: u64, now: &Now, sweep: bool) -> Self {
        let counted = Counted::default();
        let mut entry = Self { key, segs_in: 0, since_ms: 0, seen: None, counted, broken: false, sweep };
        entry.begin(now, Duration::ZERO);
        entry
    }

    /// Another silence, if this is one.
    fn begin(&mut self, now: &Now, floor: Duration) {
        self.segs_in = now.segs_in;
        self.since_ms = now.since_ms;
        self.broken = now.probing;
        self.seen = Silence::of(now.quiet).filter(|_| now.quiet >= floor).map(|quiet| (quiet, quiet));
    }

    /// Whether the silence that the last sweep saw goes on. Whatever ended it came after that sweep, so that
    /// this socket's silence, if it is silent, began much later.
    fn goes_on(&mut self, now: &Now) -> bool {
        let since_ms = self.since_ms;
        let Some((_, last)) = &mut self.seen else { return false };
        if now.begun_after(since_ms) >= last.at_least() / 2 {
            return false;
        }
        if now.segs_in == self.segs_in && !now.probing {
            *last = Silence::of(now.quiet).map_or(*last, |quiet| quiet.max(*last));
        } else {
            self.broken = true;
        }
        true
    }

    /// The silence that ended, if it was survived and counts: data was sent since, and acknowledged.
    ///
    /// The peer's own probes show where sweeps saw the number of segments move. Before the first sweep they do
    /// not; but a peer that probed then does so again within as long a time.
    fn survived(&mut self, now: &Now) -> Option<(Silence, super::Counts)> {
        let (first, last) = self.seen.filter(|_| !self.broken)?;
        // Sent after the last sweep that saw the silence, not before it began.
        let sent_into = (now.begun_after(self.since_ms) + now.quiet).saturating_sub(now.delivered?);
        if sent_into < last.at_least() / 2 {
            return None;
        }
        let whole = last.at_least() >= first.at_least() * 2;
        let counts = self.counted.take(last, whole, Generation::at(now.time_ns))?;
        Some((last, counts))
    }
}

impl Now {
    /// None: not an established connection of a program whose ages are known.
    fn of(row: &SocketRow, clock: Clock, time_ns: u64) -> Option<Self> {
        let wanted = SocketRow::FULL | SocketRow::ACKED;
        if row.state != tcp::ESTABLISHED || row.flags & (wanted | SocketRow::ORPHAN) != wanted {
            return None;
        }
        let quiet = describe::idle(row, clock)?;
        let quiet_ms = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        #[expect(clippy::cast_possible_truncation, reason = "wraps, as intended")]
        let since_ms = (time_ns / 1_000_000).wrapping_sub(quiet_ms) as u32;
        let is_delivered = row.flags & SocketRow::SENT != 0 && row.send_queue == 0;
        let delivered = is_delivered.then(|| clock.age(row.sent_age));
        Some(Self { segs_in: row.segs_in, quiet, probing: row.probes_out > 0, since_ms, delivered, time_ns })
    }

    /// How much later than another silence this one began. A sweep tells by its own clock when that was, a moment
    /// after the kernel told how long ago: what seems to have begun a little earlier is the same.
    fn begun_after(&self, since_ms: u32) -> Duration {
        let ms = self.since_ms.wrapping_sub(since_ms).cast_signed().max(0);
        Duration::from_millis(ms.unsigned_abs().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Counts;
    use crate::table::testing::{CLOCK, HZ, SECOND_NS};

    /// A socket in seconds: since data was sent, received, and acknowledged.
    fn row([sent, received, acked]: [u32; 3], segs_in: u32) -> SocketRow {
        SocketRow {
            sock: 0x1000,
            inode: 7,
            remote: [10, 0, 3, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            family: 2,
            state: tcp::ESTABLISHED,
            flags: SocketRow::FULL | SocketRow::ACKED | SocketRow::SENT | SocketRow::RECEIVED,
            sent_age: sent * HZ,
            received_age: received * HZ,
            acked_age: acked * HZ,
            segs_in,
            ..SocketRow::default()
        }
    }

    /// Sweeps each 15 s that find these; none: the socket is not there.
    fn swept(rows: &[Option<SocketRow>]) -> (Vec<Option<(u64, Counts)>>, usize) {
        let mut idle = IdleSockets::new(Duration::from_secs(15));
        let mut survived = Vec::new();
        for (sweep, row) in (1_u64..).zip(rows) {
            idle.begin();
            let found = row.as_ref().and_then(|row| idle.found(row, CLOCK, 15 * sweep * SECOND_NS));
            survived.push(found.map(|found| {
                assert_eq!(found.remote.to_string(), "10.0.3.9");
                (found.silence.at_least().as_secs(), found.counts)
            }));
            idle.end();
        }
        (survived, idle.table.len())
    }

    /// Silent for 20, 35, 50 s, and used a second ago, sending first or answering.
    fn used(now: SocketRow) -> Option<(u64, Counts)> {
        let silent = [20, 35, 50].map(|age| Some(row([age; 3], 100)));
        let (survived, _) = swept(&[&silent[..], &[Some(now)]].concat());
        assert_eq!(survived[..3], [None; 3]);
        survived[3]
    }

    const WHOLE: Counts = Counts::Anew { whole: true };
    const IN_PART: Counts = Counts::Anew { whole: false };

    #[test]
    fn data_that_is_acknowledged_after_a_silence_is_a_survivor() {
        assert_eq!(used(row([1; 3], 105)), Some((49, WHOLE)));
        assert_eq!(used(row([2, 3, 1], 105)), Some((49, WHOLE)));
    }

    #[test]
    fn anything_else_is_none() {
        assert_eq!(used(row([65; 3], 100)), None, "still silent");
        assert_eq!(used(row([65, 1, 65], 101)), None, "the peer spoke, and nothing was said");
        assert_eq!(used(row([65, 65, 1], 101)), None, "a probe was answered");
        assert_eq!(used(SocketRow { send_queue: 9, ..row([1, 65, 65], 100) }), None, "not acknowledged yet");
        assert_eq!(used(SocketRow { state: 8, ..row([1; 3], 105) }), None, "half closed");
        assert_eq!(used(SocketRow { inode: 8, ..row([1; 3], 105) }), None, "another socket at its address");
    }

    #[test]
    fn a_silence_that_seems_to_have_begun_a_little_earlier_or_later_goes_on() {
        let mut idle = IdleSockets::new(Duration::from_secs(15));
        // How long after the kernel told an age the sweep took it up, in ms.
        for (sweep, late_ms) in [(1, 300), (2, 0), (3, 80), (4, 900), (5, 0)] {
            idle.begin();
            let time_ns = 15 * sweep * SECOND_NS + late_ms * 1_000_000;
            let row = row([15 * u32::try_from(sweep).unwrap(); 3], 100);
            assert_eq!(idle.found(&row, CLOCK, time_ns), None, "sweep {sweep}");
            idle.end();
        }
    }

    #[test]
    fn what_the_peer_or_a_probe_broke_is_no_silence() {
        let sweeps = |segs_in: u32, probes_out: u8| {
            let second = SocketRow { probes_out, ..row([35; 3], segs_in) };
            let rows = [row([20; 3], 100), second, row([50; 3], segs_in), row([1; 3], segs_in + 5)];
            swept(&rows.map(Some)).0[3]
        };
        assert_eq!(sweeps(100, 0), Some((49, WHOLE)));
        assert_eq!(sweeps(101, 0), None, "the peer probed");
        assert_eq!(sweeps(100, 1), None, "this end probed");
    }

    #[test]
    fn a_silence_that_was_not_watched_for_half_of_it_may_have_been_broken() {
        for (ages, expected) in [(&[20, 35, 50][..], WHOLE), (&[26, 41], IN_PART), (&[26], IN_PART)] {
            let mut rows: Vec<_> = ages.iter().map(|age| Some(row([*age; 3], 100))).collect();
            rows.push(Some(row([1; 3], 105)));
            let (survived, _) = swept(&rows);
            assert_eq!(survived.last().unwrap().map(|(_, counts)| counts), Some(expected), "{ages:?}");
        }
    }

    #[test]
    fn a_connection_counts_once_for_each_longer_silence_and_is_forgotten_when_it_is_gone() {
        let silence = |ages: &[u32], segs_in| {
            let silent = ages.iter().map(move |age| Some(row([*age; 3], segs_in)));
            silent.chain([Some(row([1; 3], segs_in + 5))]).collect::<Vec<_>>()
        };
        let rows =
            [silence(&[16, 31, 46], 100), silence(&[16, 31, 46], 105), silence(&[16, 31, 46, 61], 110)];
        let (survived, kept) = swept(&rows.concat());
        let survived: Vec<_> = survived.into_iter().flatten().collect();
        assert_eq!((survived, kept), (vec![(45, WHOLE), (60, WHOLE)], 1));
        assert_eq!(swept(&[Some(row([20; 3], 100)), None]).1, 0);
        assert_eq!(swept(&[Some(row([14; 3], 100))]).1, 0, "shorter than from one sweep to the next");
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut idle = IdleSockets { max: 10, ..IdleSockets::new(Duration::from_secs(15)) };
        for inode in 0..30 {
            idle.found(&SocketRow { inode, ..row([20; 3], 100) }, CLOCK, 15 * SECOND_NS);
        }
        assert_eq!(idle.table.len(), 10);
    }
}
