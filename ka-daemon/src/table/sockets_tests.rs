//! Transitions one by one: what each record does to a socket and to the totals.

use super::outcome::Outcome;
use super::snapshot::OwnerTotals;
use super::testing::{SECOND_NS, record, table};
use super::{Cause, Phase, SocketTable};
use ka_common::{Kind, Record, Suppression, Timer};
use std::time::Duration;

const SENT: Kind = Kind::ProbeSent;

fn totals(table: &SocketTable) -> OwnerTotals {
    let totals = table.snapshot().owners.swap_remove(0);
    assert!(totals.conserved(), "{totals:?}");
    totals
}

fn with(kind: Kind, change: impl FnOnce(&mut Record)) -> Record {
    let mut made = record(kind);
    change(&mut made);
    made
}

fn answer(change: impl FnOnce(&mut Record)) -> Record {
    let mut made = super::testing::answer();
    change(&mut made);
    made
}

#[test]
fn a_probe_is_sent_then_answered() {
    let mut table = table(8);
    assert_eq!(table.apply(&record(SENT)), Outcome::Sent { pending: true });
    assert_eq!(totals(&table).pending, 1);
    let rtt = Some(Duration::from_micros(45));
    assert_eq!(table.apply(&answer(|_| ())), Outcome::Settled { answered: true, rtt });
    let totals = totals(&table);
    assert_eq!((totals.sent, totals.answered, totals.pending, totals.rtt.count()), (1, 1, 0, 1));
    let snapshot = table.snapshot();
    assert_eq!((snapshot.tracked, snapshot.received(SENT)), (1, 1));
    assert_eq!((snapshot.netns[1].netns, snapshot.netns[1].keepalive), (42, 1));
}

#[test]
fn an_answer_without_a_round_trip_is_counted_as_skipped() {
    let mut table = table(8);
    table.apply(&record(SENT));
    let spoiled = answer(|r| r.segs_in = 2);
    assert_eq!(table.apply(&spoiled), Outcome::Settled { answered: true, rtt: None });
    assert_eq!((table.snapshot().rtt_skipped, totals(&table).rtt.count()), (1, 0));
}

#[test]
fn an_answer_that_may_be_to_an_earlier_probe_gives_no_round_trip() {
    type Before = (&'static str, fn(&mut SocketTable, &mut Record));
    let befores: [Before; 4] = [
        ("the kernel counts an earlier one", |_, probe| probe.probes_out = 2),
        ("an earlier one was unanswered, and the kernel began to count anew", |table, _| {
            table.apply(&record(SENT));
            table.apply(&record(Kind::ProbeSettled));
        }),
        ("the outcome of an earlier one was lost", |table, _| {
            table.apply(&record(SENT));
        }),
        ("exact or not", |_, probe| (probe.probes_out, probe.flags) = (2, probe.flags | Record::EXACT)),
    ];
    for (name, before) in befores {
        let mut table = table(8);
        let mut probe = with(SENT, |r| r.run_ns = 8);
        before(&mut table, &mut probe);
        table.apply(&probe);
        let exact = probe.flags & Record::EXACT;
        let late = answer(|r| (r.run_ns, r.flags) = (8, r.flags | exact));
        assert_eq!(table.apply(&late), Outcome::Settled { answered: true, rtt: None }, "{name}");
        assert_eq!(table.snapshot().rtt_skipped, 1, "{name}");
        table.apply(&with(SENT, |r| r.run_ns = 9));
        let rtt = Some(Duration::from_micros(45));
        let next = answer(|r| r.run_ns = 9);
        assert_eq!(table.apply(&next), Outcome::Settled { answered: true, rtt }, "{name}: the next one");
    }
}

#[test]
fn an_unanswered_probe_is_no_skipped_round_trip() {
    let mut table = table(8);
    table.apply(&record(SENT));
    let settled = table.apply(&record(Kind::ProbeSettled));
    assert_eq!(settled, Outcome::Settled { answered: false, rtt: None });
    assert_eq!((totals(&table).unanswered, table.snapshot().rtt_skipped), (1, 0));
}

#[test]
fn a_probe_reported_twice_counts_once() {
    let mut table = table(8);
    table.apply(&record(SENT));
    assert_eq!(table.apply(&record(SENT)), Outcome::Duplicate);
    table.apply(&answer(|_| ()));
    assert_eq!(table.apply(&record(SENT)), Outcome::Duplicate, "also once it is settled");
    let snapshot = table.snapshot();
    assert_eq!((totals(&table).sent, snapshot.oddities.duplicates), (1, 2));
    assert_eq!(snapshot.netns[1].keepalive, 1);
}

#[test]
fn a_lost_settlement_leaves_its_probe_unsettled() {
    let mut table = table(8);
    table.apply(&record(SENT));
    table.apply(&with(SENT, |r| r.run_ns = 8));
    assert_eq!((totals(&table).unsettled, totals(&table).pending), (1, 1));
    assert_eq!(table.apply(&answer(|_| ())), Outcome::Unmatched, "it comes late");
    table.apply(&record(Kind::Closed));
    let after = totals(&table);
    assert_eq!((after.sent, after.unsettled, after.pending, after.answered), (2, 2, 0, 0));
    assert!(table.is_empty());
}

#[test]
fn a_probe_without_a_place_is_unsettled_at_once() {
    let mut table = table(1);
    table.apply(&record(SENT));
    let other = with(SENT, |r| r.sock += 64);
    assert_eq!(table.apply(&other), Outcome::Sent { pending: false });
    assert_eq!(table.snapshot().oddities.table_full, 1);
    let untracked = with(SENT, |r| r.first_seen_ns = 0);
    assert_eq!(table.apply(&untracked), Outcome::Sent { pending: false });
    let nameless = with(SENT, |r| r.run_ns = 0);
    assert_eq!(table.apply(&nameless), Outcome::Sent { pending: false });
    let totals = totals(&table);
    assert_eq!((totals.sent, totals.unsettled, totals.pending), (4, 4, 0));
    assert_eq!(table.snapshot().netns[1].keepalive, 4);
}

#[test]
fn a_new_identity_takes_the_place_of_one_whose_end_was_lost() {
    for kind in [SENT, Kind::ProbeSettled, Kind::ResetReceived, Kind::Closed, Kind::Dropped] {
        let mut table = table(1);
        table.apply(&record(SENT));
        table.apply(&with(kind, |r| r.first_seen_ns += 1));
        assert_eq!((totals(&table).unsettled, table.snapshot().oddities.replaced), (1, 1), "{kind:?}");
        assert_eq!(table.len(), usize::from(kind == SENT), "{kind:?}");
    }
}

#[test]
fn a_straggler_of_an_older_identity_disturbs_nothing() {
    for &kind in Kind::ALL {
        let mut table = table(8);
        table.apply(&with(SENT, |r| r.first_seen_ns = 5 * SECOND_NS));
        table.apply(&record(kind));
        assert_eq!((totals(&table).pending, table.len()), (1, 1), "{kind:?}");
    }
}

#[test]
fn a_reset_settles_the_probe_that_it_names() {
    let settling = |change: fn(&mut Record)| {
        let mut table = table(8);
        table.apply(&record(SENT));
        let outcome = table.apply(&with(Kind::ResetReceived, |r| {
            r.flags |= Record::SETTLED | Record::PROBE_OUT;
            change(r);
        }));
        (outcome, totals(&table))
    };
    let (outcome, counted) = settling(|_| ());
    assert_eq!(outcome, Outcome::Reset { phase: Phase::Keepalive, settled: true });
    assert_eq!((counted.settled_by_reset, counted.resets[Phase::Keepalive.index()]), (1, 1));
    let (outcome, counted) = settling(|r| r.packets_out = 1);
    assert_eq!(outcome, Outcome::Reset { phase: Phase::Data, settled: true });
    assert_eq!((counted.settled_by_reset, counted.unanswered), (0, 1), "it answers the data");
    let (outcome, counted) = settling(|r| r.run_ns = 99);
    assert_eq!(outcome, Outcome::Reset { phase: Phase::Keepalive, settled: false });
    assert_eq!((counted.settled_by_reset, counted.pending), (0, 1), "it names another probe");
}

#[test]
fn suppressions_and_window_probes_are_counted_for_audit_as_the_kernel_does() {
    let mut table = table(0);
    for &reason in Suppression::ALL {
        table.apply(&with(Kind::Suppressed, |r| r.reason = reason as u8));
    }
    table.apply(&with(Kind::ZeroWindowProbe, |r| r.count = 3));
    let totals = totals(&table);
    assert_eq!((totals.suppressed, totals.zero_window), ([1, 1, 1], 3));
    let netns = table.snapshot().netns[1];
    assert_eq!((netns.keepalive, netns.zero_window), (1, 3), "local congestion counts as a probe");
}

#[test]
fn a_drop_is_counted_by_cause_and_timer_with_its_idle_age() {
    let mut table = table(8);
    table.apply(&record(SENT));
    let outcome = table.apply(&with(Kind::Dropped, |r| {
        r.timer = Timer::Keepalive as u8;
        r.sk_err = libc::ETIMEDOUT;
        r.acked_age = 1000;
        r.received_age = 2000;
    }));
    let (cause, timer) = (Cause::KeepaliveTimeout, Timer::Keepalive);
    assert_eq!(outcome, Outcome::Dropped { cause, timer, idle: Duration::from_secs(4) });
    assert_eq!(totals(&table).dropped(cause, timer), 1);
    assert_eq!(table.snapshot().idle_at_drop[cause.index()].count(), 1);
    assert!(table.is_empty());
}

#[test]
fn silence_beyond_what_the_settings_allow_ends_an_entry() {
    let mut table = table(8);
    table.apply(&record(SENT));
    // Last heard at 100 s; twice 15 + 9 × 15 s, and 60 s of grace.
    table.expire(459 * SECOND_NS, 10);
    assert_eq!(table.len(), 1);
    table.expire(460 * SECOND_NS, 10);
    assert_eq!((table.len(), totals(&table).unsettled, table.snapshot().oddities.expired), (0, 1, 1));
}

#[test]
fn expiry_does_no_more_than_it_is_allowed_and_comes_round() {
    let mut table = table(1000);
    for n in 0..1000 {
        table.apply(&with(SENT, |r| {
            r.sock += n * 64;
            r.time_ns += n % 2 * 10_000 * SECOND_NS;
        }));
    }
    for round in 0..table.places().div_ceil(100) {
        let before = table.len();
        table.expire(1000 * SECOND_NS, 100);
        assert!(before - table.len() <= 100, "round {round}");
    }
    assert_eq!(table.len(), 500);
    assert_eq!(totals(&table).pending, 500);
}

#[test]
fn a_record_that_never_was_decoded_is_counted_as_such() {
    let mut table = table(8);
    assert_eq!(table.apply(&with(SENT, |r| r.kind = 99)), Outcome::Undecodable);
    assert_eq!(table.apply(&with(Kind::Suppressed, |r| r.reason = 9)), Outcome::Undecodable);
    let snapshot = table.snapshot();
    assert_eq!((snapshot.undecodable[0], snapshot.undecodable[Kind::Suppressed as usize]), (1, 1));
    assert_eq!(snapshot.received, [0; ka_common::kind::KIND_SLOTS]);
}

#[test]
fn namespaces_beyond_the_bound_share_one_counter() {
    let mut table = table(0);
    for netns in 0..5000 {
        table.apply(&with(SENT, |r| {
            r.netns = netns;
            r.first_seen_ns = 0;
        }));
    }
    let snapshot = table.snapshot();
    assert_eq!(snapshot.netns.len(), super::netns::MAX_NETNS + 1);
    assert_eq!(snapshot.netns.iter().map(|netns| netns.keepalive).sum::<u64>(), 5000);
    assert_eq!(snapshot.netns[0].keepalive, 5000 - super::netns::MAX_NETNS as u64);
}
