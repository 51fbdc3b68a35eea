//! What a sweep of the inventory does to the table: sockets whose end was lost leave it, tracked ones that
//! it does not know come in, owners that changed are changed. Nothing is counted twice: a sweep counts no
//! probe.

use super::owners::Whose;
use super::place::{forget, seconds};
use super::sockets::SocketTable;
use crate::inventory::namespace::KernelCounts;
use crate::inventory::totals::Sweep;
use ka_common::{Kind, Record, SocketRow};
use rustc_hash::FxHashSet;
use std::sync::Arc;
use std::time::Duration;
use zerocopy::FromZeros as _;

/// A tracked socket that a sweep found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Its network namespace.
    pub netns: u32,
    /// What was read of it.
    pub row: SocketRow,
    /// The namespace's defaults, in jiffies: idle time and interval, and the count.
    pub sysctls: [u32; 3],
}

impl SocketTable {
    /// A sweep begins: whatever is heard of from now on is there.
    pub fn sweep_begins(&mut self, number: u64) {
        self.sweep = number;
        self.entries.begin_sweep(number);
        self.ended.begin();
    }

    /// A sweep found a tracked socket.
    pub fn sweep_found(&mut self, found: &Found, whose: &mut dyn Whose, now_ns: u64) {
        let Found { netns: namespace, row, .. } = found;
        let Self { entries, owners, netns, counts, sweep, clock, ended, .. } = self;
        let second = seconds(now_ns);
        let mut owner_of = |totals: &mut _, overflow: &mut _| {
            owners.find(&whose.owner(row.into(), false), totals, overflow, second)
        };
        if ended.has(row.sock, row.first_seen_ns) {
            return;
        }
        let record = as_record(found, now_ns);
        if let Some(entry) = entries.swept(&record, *clock) {
            let owner = owner_of(&mut counts.owners, &mut counts.owner_overflow);
            // A pending probe is settled with whoever it was sent for.
            if owner != entry.owner && !entry.is_pending() && row.inode != 0 {
                owners.lose(entry.owner, second);
                entry.owner = owner;
                owners.gain(owner);
            }
            return;
        }
        let found = entries.enter(&record, *clock, || {
            let slot = netns.find(*namespace, *sweep);
            (owner_of(&mut counts.owners, &mut counts.owner_overflow), slot)
        });
        counts.oddities.table_full += u64::from(found.full);
        if let Some(entry) = found.entry {
            counts.oddities.found += 1;
            owners.gain(entry.owner);
            netns.gain(entry.netns);
        }
        if let Some(mut older) = found.replaced {
            counts.oddities.replaced += 1;
            forget(&mut older, netns, owners, counts, second);
        }
    }

    /// A sweep ended. What two of them in a row did not find in its namespace is gone. A namespace that could
    /// not be read tells nothing.
    pub fn sweep_ends(&mut self, sweep: Arc<Sweep>, now_ns: u64) {
        let Self { entries, owners, netns, counts, .. } = self;
        let second = seconds(now_ns);
        let read = netns.among(&sweep.namespaces);
        entries.remove_unswept(
            |slot| read[slot.index()],
            |entry| {
                counts.oddities.not_found += 1;
                forget(entry, netns, owners, counts, second);
            },
        );
        entries.vouch(now_ns, sweep.interval);
        netns.swept(&sweep.namespaces, sweep.skipped > 0, sweep.number);
        owners.sockets(&sweep.owners, &mut counts.owners, &mut counts.owner_overflow, second);
        owners.risks(&sweep.risks, &mut counts.owners, &mut counts.owner_overflow, second);
        counts.sweep = Some(sweep);
        self.ended.end();
    }

    /// What the kernel has counted by now.
    pub fn kernel_counts(&mut self, counts: &[(u32, KernelCounts)]) {
        for (netns, counts) in counts {
            self.netns.kernel(*netns, *counts, self.sweep);
        }
    }

    /// The last clean round trips of sockets, by address and first-seen time.
    #[must_use]
    pub fn round_trips(&self, sockets: &[(u64, u64)]) -> Vec<Option<Duration>> {
        let of = |(sock, first_seen_ns): &(u64, u64)| {
            let us = self.entries.get(*sock, *first_seen_ns)?.rtt_us;
            (us != 0).then(|| Duration::from_micros(us.into()))
        };
        sockets.iter().map(of).collect()
    }
}

/// Sockets that ended while a sweep was under way. What it found of them was true a moment before, and must
/// not bring them back.
#[derive(Debug, Default)]
pub(super) struct Ended {
    under_way: bool,
    sockets: FxHashSet<(u64, u64)>,
}

impl Ended {
    /// Beyond this many the next sweeps put it right.
    const MAX: usize = 1 << 16;

    fn begin(&mut self) {
        self.under_way = true;
        self.sockets.clear();
    }

    fn end(&mut self) {
        self.under_way = false;
        self.sockets = FxHashSet::default();
    }

    /// A socket ended, by address and first-seen time.
    pub(super) fn add(&mut self, sock: u64, first_seen_ns: u64) {
        if self.under_way && first_seen_ns != 0 && self.sockets.len() < Self::MAX {
            self.sockets.insert((sock, first_seen_ns));
        }
    }

    fn has(&self, sock: u64, first_seen_ns: u64) -> bool {
        self.sockets.contains(&(sock, first_seen_ns))
    }
}

/// As much of a record as the table's entry is made of.
fn as_record(found: &Found, now_ns: u64) -> Record {
    let Found { netns, row, sysctls } = found;
    Record {
        time_ns: now_ns,
        sock: row.sock,
        first_seen_ns: row.first_seen_ns,
        inode: row.inode,
        netns: *netns,
        keepidle: row.keepidle,
        keepintvl: row.keepintvl,
        keepcnt: row.keepcnt,
        sysctl_keepidle: sysctls[0],
        sysctl_keepintvl: sysctls[1],
        sysctl_keepcnt: sysctls[2],
        kind: Kind::Closed as u8,
        ..Record::new_zeroed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::read::Netns;
    use crate::owner::{Held, Owner};
    use crate::table::testing::{HZ, SECOND_NS, answer, record, table};
    use crate::table::{Outcome, OwnerTotals};
    use std::collections::HashMap;

    struct ByInode(HashMap<u64, &'static str>);

    impl Whose for ByInode {
        fn owner(&mut self, held: Held, _: bool) -> Arc<Owner> {
            let comm = self.0.get(&held.inode).copied().unwrap_or_default();
            Arc::new(Owner { comm: comm.to_owned(), ..Owner::default() })
        }
    }

    fn found(sock: u64, first_seen_ns: u64, inode: u64) -> Found {
        let row = SocketRow { sock, first_seen_ns, inode, flags: SocketRow::FULL, ..SocketRow::default() };
        Found { netns: 42, row, sysctls: [7200 * HZ, 75 * HZ, 9] }
    }

    fn sweep(table: &mut SocketTable, whose: &mut ByInode, number: u64, rows: &[Found]) {
        table.sweep_begins(number);
        for row in rows {
            table.sweep_found(row, whose, number * 15 * SECOND_NS);
        }
        let read = Netns { netns: 42, sysctls: None, counts: None };
        let ended = Sweep { number, namespaces: vec![read], ..Sweep::default() };
        table.sweep_ends(Arc::new(ended), number * 15 * SECOND_NS);
        assert!(table.snapshot().owners.iter().all(OwnerTotals::conserved));
    }

    fn sent(table: &SocketTable, comm: &str) -> Vec<(u64, u64)> {
        let snapshot = table.snapshot();
        let of = snapshot.owners.iter().filter(|totals| &*totals.owner.comm == comm);
        of.map(|totals| (totals.sent, totals.pending)).collect()
    }

    #[test]
    fn a_socket_whose_end_was_lost_leaves_after_two_sweeps() {
        let mut table = table(10);
        let mut whose = ByInode(HashMap::new());
        table.sweep_begins(1);
        table.apply(&record(Kind::ProbeSent));
        sweep(&mut table, &mut whose, 2, &[]);
        assert_eq!(table.len(), 1, "heard of under the sweep before");
        sweep(&mut table, &mut whose, 3, &[]);
        let snapshot = table.snapshot();
        assert_eq!((snapshot.tracked, snapshot.oddities.not_found), (0, 1));
        assert_eq!((snapshot.owners[0].sent, snapshot.owners[0].unsettled), (1, 1));
    }

    #[test]
    fn a_socket_that_is_found_or_heard_of_stays() {
        let mut table = table(10);
        let mut whose = ByInode(HashMap::new());
        let probe = record(Kind::ProbeSent);
        table.apply(&probe);
        for number in 1..600 {
            let rows = [found(probe.sock, probe.first_seen_ns, 0)];
            if number % 2 == 0 {
                sweep(&mut table, &mut whose, number, &rows);
            } else {
                table.apply(&record(Kind::ProbeSettled));
                sweep(&mut table, &mut whose, number, &[]);
            }
            assert_eq!(table.len(), 1, "sweep {number}");
        }
    }

    /// A second after each sweep, and just before the next one, everything that may expire does.
    fn sweep_and_expire(table: &mut SocketTable, number: u64, interval_s: u64, rows: &[Found]) {
        let began_ns = number * interval_s * SECOND_NS;
        table.sweep_begins(number);
        for row in rows {
            table.sweep_found(row, &mut ByInode(HashMap::new()), began_ns);
        }
        let ended = Sweep { number, interval: Duration::from_secs(interval_s), ..Sweep::default() };
        table.sweep_ends(Arc::new(ended), began_ns);
        for after_s in [1, interval_s - 1] {
            table.expire(began_ns + after_s * SECOND_NS, usize::MAX);
        }
    }

    #[test]
    fn a_socket_that_sweeps_find_keeps_its_probe_whatever_its_settings_become() {
        for interval_s in [15, 3600] {
            let mut table = table(10);
            let fast =
                Record { time_ns: 0, keepidle: HZ, keepintvl: HZ, keepcnt: 1, ..record(Kind::ProbeSent) };
            sweep_and_expire(&mut table, 0, interval_s, &[]);
            table.apply(&fast);
            // Slower, or off: nothing is heard of it any more.
            let mut row = found(fast.sock, fast.first_seen_ns, 0);
            row.row.keepcnt = 1;
            for number in 1..1000 {
                sweep_and_expire(&mut table, number, interval_s, &[row]);
                assert_eq!((table.len(), sent(&table, "")), (1, vec![(1, 1)]), "sweep {number}");
            }
            // Sweeps fail from now on; nothing vouches for it, and its deadline comes.
            let last_s = 999 * interval_s;
            let deadline_s = (last_s + 2 * (7200 + 75) + 60).max(last_s + 2 * (interval_s + 1) + 60);
            table.expire((deadline_s - 1) * SECOND_NS, usize::MAX);
            assert_eq!(table.len(), 1);
            table.expire(deadline_s * SECOND_NS, usize::MAX);
            assert_eq!((table.len(), table.snapshot().oddities.expired), (0, 1));
        }
    }

    #[test]
    fn what_a_sweep_cannot_read_expires_all_the_same() {
        let mut table = table(10);
        table.apply(&record(Kind::ProbeSent));
        // The deadline of a record is 360 s after it.
        for number in 10..40 {
            table.sweep_begins(number);
            let ended = Sweep { number, skipped: 1, interval: Duration::from_secs(15), ..Sweep::default() };
            table.sweep_ends(Arc::new(ended), number * 15 * SECOND_NS);
            table.expire((number * 15 + 1) * SECOND_NS, usize::MAX);
        }
        assert_eq!((table.len(), table.snapshot().oddities.expired), (0, 1));
    }

    #[test]
    fn a_tracked_socket_that_is_not_known_comes_in_and_counts_nothing() {
        let mut table = table(10);
        let mut whose = ByInode(HashMap::from([(7, "a")]));
        sweep(&mut table, &mut whose, 1, &[found(0x10, 5, 7)]);
        let snapshot = table.snapshot();
        assert_eq!((snapshot.tracked, snapshot.oddities.found), (1, 1));
        assert_eq!(sent(&table, "a"), [(0, 0)]);
        // Its settlement names a probe that nobody counted.
        let settled = Record { sock: 0x10, first_seen_ns: 5, ..record(Kind::ProbeSettled) };
        assert_eq!(table.apply(&settled), Outcome::Unmatched);
    }

    #[test]
    fn a_socket_that_ended_meanwhile_does_not_come_back() {
        let mut table = table(10);
        let mut whose = ByInode(HashMap::new());
        let probe = record(Kind::ProbeSent);
        table.apply(&probe);
        table.sweep_begins(1);
        table.apply(&record(Kind::Closed));
        table.sweep_found(&found(probe.sock, probe.first_seen_ns, 0), &mut whose, 0);
        assert_eq!(table.len(), 0);
        // Another socket at its address is another matter.
        table.sweep_found(&found(probe.sock, probe.first_seen_ns + 1, 0), &mut whose, 0);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_socket_that_was_passed_on_is_the_new_holders() {
        let mut table = table(10);
        let mut whose = ByInode(HashMap::from([(7, "parent")]));
        let probe = Record { inode: 7, ..record(Kind::ProbeSent) };
        table.apply_owned(&probe, &mut whose);
        whose.0.insert(7, "child");
        let row = [found(probe.sock, probe.first_seen_ns, 7)];
        sweep(&mut table, &mut whose, 1, &row);
        assert_eq!(sent(&table, "parent"), [(1, 1)], "while its probe is pending");
        table.apply_owned(&Record { inode: 7, ..record(Kind::ProbeSettled) }, &mut whose);
        sweep(&mut table, &mut whose, 2, &row);
        table.apply_owned(&Record { run_ns: 8, inode: 7, ..probe }, &mut whose);
        assert_eq!((sent(&table, "parent"), sent(&table, "child")), (vec![(1, 0)], vec![(1, 1)]));
    }

    #[test]
    fn a_namespace_that_was_not_read_keeps_its_sockets() {
        let mut table = table(10);
        table.apply(&record(Kind::ProbeSent));
        for number in 1..9 {
            table.sweep_begins(number);
            let other = Netns { netns: 43, sysctls: None, counts: None };
            let sweep = Sweep { number, namespaces: vec![other], ..Sweep::default() };
            table.sweep_ends(Arc::new(sweep), 0);
        }
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn round_trips_are_those_of_the_identity() {
        let mut table = table(10);
        let probe = record(Kind::ProbeSent);
        table.apply(&probe);
        table.apply(&answer());
        let asked = [(probe.sock, probe.first_seen_ns), (probe.sock, 99), (1, 1)];
        assert_eq!(table.round_trips(&asked), [Some(Duration::from_micros(45)), None, None]);
    }
}
