//! The table against a model so naive that it can be checked by eye: it remembers each probe it
//! ever counted as sent, and what became of it.

use super::snapshot::OwnerTotals;
use super::testing::{SECOND_NS, record, table};
use ka_common::{Kind, Record};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;

const CAPACITY: usize = 3;
/// Later than any deadline that the records below can set.
const LATE_NS: u64 = 1_000_000 * SECOND_NS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pending,
    Answered,
    Unanswered,
    ByReset,
    Unsettled,
}

#[derive(Debug, Default)]
struct Model {
    probes: Vec<Fate>,
    /// By address: when it was first seen, the run of its last probe, its place in `probes`.
    sockets: HashMap<u64, (u64, u64, Option<usize>)>,
}

impl Model {
    fn forget(&mut self, sock: u64) {
        if let Some((_, _, Some(probe))) = self.sockets.remove(&sock) {
            self.give_up(probe);
        }
    }

    fn give_up(&mut self, probe: usize) {
        if self.probes[probe] == Fate::Pending {
            self.probes[probe] = Fate::Unsettled;
        }
    }

    fn apply(&mut self, record: &Record, kind: Kind) {
        let standing = self.sockets.get(&record.sock).map(|socket| socket.0);
        if standing.is_some_and(|first_seen| first_seen < record.first_seen_ns) {
            self.forget(record.sock);
        }
        let straggler = standing.is_some_and(|first_seen| first_seen > record.first_seen_ns);
        let enters = matches!(kind, Kind::ProbeSent | Kind::Suppressed | Kind::ZeroWindowProbe);
        let room = self.sockets.len() < CAPACITY;
        let known = self.sockets.contains_key(&record.sock);
        if enters && !straggler && !known && room && record.first_seen_ns != 0 {
            self.sockets.insert(record.sock, (record.first_seen_ns, 0, None));
        }
        let own = self.sockets.get(&record.sock).copied().filter(|own| own.0 == record.first_seen_ns);
        match kind {
            Kind::ProbeSent => self.send(record, own),
            Kind::ProbeSettled if record.flags & Record::ANSWERED != 0 => {
                self.settle(record, own, Fate::Answered);
            }
            Kind::ProbeSettled => self.settle(record, own, Fate::Unanswered),
            Kind::ResetReceived if record.flags & Record::SETTLED != 0 => {
                let bare = record.packets_out == 0 && record.flags & Record::PROBE_OUT != 0;
                self.settle(record, own, if bare { Fate::ByReset } else { Fate::Unanswered });
            }
            Kind::Dropped | Kind::Closed if own.is_some() => self.forget(record.sock),
            Kind::ResetReceived | Kind::Suppressed | Kind::ZeroWindowProbe | Kind::Dropped | Kind::Closed => {
            }
        }
    }

    fn send(&mut self, record: &Record, own: Option<(u64, u64, Option<usize>)>) {
        let Some((first_seen, run, last)) = own else {
            self.probes.push(Fate::Unsettled);
            return;
        };
        if record.run_ns != 0 && record.run_ns == run {
            return;
        }
        if let Some(probe) = last {
            self.give_up(probe);
        }
        self.probes.push(if record.run_ns == 0 { Fate::Unsettled } else { Fate::Pending });
        let probe = Some(self.probes.len() - 1);
        self.sockets.insert(record.sock, (first_seen, record.run_ns, probe));
    }

    fn settle(&mut self, record: &Record, own: Option<(u64, u64, Option<usize>)>, fate: Fate) {
        if let Some((_, run, Some(probe))) = own
            && run == record.run_ns
            && self.probes[probe] == Fate::Pending
        {
            self.probes[probe] = fate;
        }
    }

    fn agrees(&self, totals: &OwnerTotals) -> bool {
        let count = |fate| self.probes.iter().filter(|&&probe| probe == fate).count() as u64;
        totals.conserved()
            && totals.sent == self.probes.len() as u64
            && totals.pending == count(Fate::Pending)
            && totals.answered == count(Fate::Answered)
            && totals.unanswered == count(Fate::Unanswered)
            && totals.settled_by_reset == count(Fate::ByReset)
            && totals.unsettled == count(Fate::Unsettled)
    }
}

/// Records that meet each other: few addresses, few identities, few runs, any order.
fn any_record() -> impl Strategy<Value = Record> {
    let kinds = prop_oneof![
        4 => Just(Kind::ProbeSent),
        3 => Just(Kind::ProbeSettled),
        2 => Just(Kind::ResetReceived),
        1 => prop::sample::select(Kind::ALL),
    ];
    (kinds, 1..6_u64, 0..3_u64, 0..4_u64, 0..2_u32, any::<[bool; 3]>()).prop_map(
        |(kind, sock, first_seen_ns, run_ns, packets_out, flags)| {
            let [answered, settled, probe_out] = flags;
            let flag = |on, flag| if on { flag } else { 0 };
            Record {
                sock,
                first_seen_ns,
                run_ns,
                packets_out,
                flags: flag(answered, Record::ANSWERED)
                    | flag(settled, Record::SETTLED)
                    | flag(probe_out, Record::PROBE_OUT),
                ..record(kind)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_agrees_with_the_model_after_every_record(records in vec(any_record(), 1..80)) {
        let mut table = table(CAPACITY);
        let mut model = Model::default();
        for (n, record) in records.iter().enumerate() {
            table.apply(record);
            let kind = Kind::from_byte(record.kind).expect("made from a kind");
            model.apply(record, kind);
            let totals = &table.snapshot().owners[0];
            prop_assert!(model.agrees(totals), "after record {n}: {totals:?}\n{model:?}");
            prop_assert_eq!(table.len(), model.sockets.len());
            prop_assert!(table.len() <= CAPACITY);
            prop_assert!(totals.pending <= table.len() as u64, "more than one pending for a socket");
        }
        table.expire(LATE_NS, usize::MAX);
        let totals = &table.snapshot().owners[0];
        prop_assert!(totals.conserved() && totals.pending == 0 && table.is_empty(), "{totals:?}");
    }
}
