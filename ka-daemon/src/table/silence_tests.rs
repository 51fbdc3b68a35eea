//! Which silences the table tells of: records of probes and drops in, survivors and deaths out.

use super::testing::{HZ, SECOND_NS, record, table};
use super::{SocketTable, tcp};
use crate::learn::{Learned, Tally};
use ka_common::{Kind, Record, Timer};
use std::sync::Arc;

/// A connection whose keepalive probes come each 15 s, the first one at 100 s; what differs is given.
struct Connection {
    table: SocketTable,
    now_s: u64,
    segs_in: u32,
    probes: u64,
}

impl Connection {
    fn new() -> Self {
        Self { table: table(8), now_s: 100, segs_in: 50, probes: 0 }
    }

    fn record(&self, kind: Kind) -> Record {
        Record {
            time_ns: self.now_s * SECOND_NS,
            run_ns: self.now_s * SECOND_NS,
            remote: [10, 0, 3, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            sent_age: 500 * HZ,
            received_age: 500 * HZ,
            acked_age: 15 * HZ,
            segs_in: self.segs_in,
            ..record(kind)
        }
    }

    /// A probe goes out.
    fn probe(&mut self, change: impl FnOnce(&mut Record)) {
        self.probes += 1;
        let mut sent = self.record(Kind::ProbeSent);
        change(&mut sent);
        self.table.apply(&sent);
    }

    /// It is settled 15 s later.
    fn settle(&mut self, answered: bool) {
        let run_ns = self.now_s * SECOND_NS;
        self.now_s += 15;
        let mut settled = Record { run_ns, segs_in: 1, ..self.record(Kind::ProbeSettled) };
        if answered {
            settled.flags |= Record::ANSWERED;
            self.segs_in += 1;
        }
        self.table.apply(&settled);
    }

    fn answered(&mut self) {
        self.probe(|_| ());
        self.settle(true);
    }

    fn drop(&mut self, change: impl FnOnce(&mut Record)) {
        let mut dropped = Record { timer: Timer::None as u8, run_ns: 0, ..self.record(Kind::Dropped) };
        change(&mut dropped);
        self.table.apply(&dropped);
    }

    fn learned(&mut self) -> Arc<Learned> {
        self.table.learn(self.now_s * SECOND_NS);
        self.table.snapshot().learned
    }

    /// Survivors, deaths, and the longest silence that was seen whole.
    fn told(&mut self) -> (u32, u32, Option<u64>) {
        let learned = self.learned();
        let Tally { survived, died } = learned.silent;
        (survived, died, learned.longest.map(|longest| longest.as_millis().try_into().unwrap()))
    }
}

fn told(steps: impl FnOnce(&mut Connection)) -> (u32, u32, Option<u64>) {
    let mut connection = Connection::new();
    steps(&mut connection);
    connection.told()
}

#[test]
fn an_answered_probe_is_a_survivor_and_the_second_one_was_seen_whole() {
    assert_eq!(told(|_| ()), (0, 0, None));
    assert_eq!(told(Connection::answered), (1, 0, None));
    assert_eq!(told(|c| (0..2).for_each(|_| c.answered())), (1, 0, Some(15_000)));
    assert_eq!(told(|c| (0..100).for_each(|_| c.answered())), (1, 0, Some(15_000)), "one connection");
}

#[test]
fn what_the_peer_broke_by_its_own_probes_is_no_silence() {
    let broken = |c: &mut Connection| {
        c.answered();
        c.segs_in += 1;
        c.answered();
    };
    assert_eq!(told(broken), (1, 0, None), "the first one, of which nothing was known, and no other");
    let longer = |c: &mut Connection| {
        c.answered();
        c.segs_in += 1;
        c.probe(|r| r.acked_age = 60 * HZ);
        c.settle(true);
    };
    assert_eq!(told(longer), (1, 0, None), "nor does a longer one count that was broken");
}

#[test]
fn after_data_nothing_is_known_of_the_silence_until_the_next_probe() {
    let data = |c: &mut Connection, acked| {
        c.answered();
        // Data came 20 s after the probe, and a minute of silence followed.
        c.now_s += 65;
        c.segs_in += 3;
        c.probe(|r| (r.received_age, r.acked_age) = (60 * HZ, acked));
        c.settle(true);
    };
    assert_eq!(told(|c| data(c, 60 * HZ)), (2, 0, None), "it may have been broken");
    assert_eq!(told(|c| data(c, HZ)), (1, 0, None), "an acknowledgement came later: no silence");
    let and_another = |c: &mut Connection| {
        data(c, 60 * HZ);
        c.probe(|r| (r.received_age, r.acked_age) = (75 * HZ, 60 * HZ));
        c.settle(true);
    };
    assert_eq!(told(and_another), (2, 0, Some(60_000)));
}

#[test]
fn what_is_too_short_or_of_nobody_does_not_count() {
    let short = |c: &mut Connection| {
        c.probe(|r| r.acked_age = 5 * HZ - 1);
        c.settle(true);
    };
    assert_eq!(told(short), (0, 0, None));
    let orphan = |c: &mut Connection| {
        c.probe(|_| ());
        let run_ns = c.now_s * SECOND_NS;
        let settled = c.record(Kind::ProbeSettled);
        let flags = settled.flags | Record::ANSWERED | Record::ORPHAN;
        c.table.apply(&Record { run_ns, flags, ..settled });
    };
    assert_eq!(told(orphan), (0, 0, None));
}

#[test]
fn a_reset_that_answers_a_probe_ends_the_silence_before_it() {
    let reset = |r: &mut Record| {
        r.flags |= Record::RESET | Record::PROBE_OUT;
        r.sk_err = libc::ECONNRESET;
        r.probes_out = 1;
    };
    let after_one = |c: &mut Connection| {
        c.probe(|_| ());
        c.drop(reset);
    };
    assert_eq!(told(after_one), (0, 1, None));
    assert_eq!(told(|c| c.drop(reset)), (0, 1, None), "its probe was not seen");
    let second = |r: &mut Record| {
        reset(r);
        r.probes_out = 2;
    };
    assert_eq!(told(|c| c.drop(second)), (0, 0, None), "nor was the first of two");
    let window = |r: &mut Record| {
        reset(r);
        r.unsent = 9;
    };
    assert_eq!(told(|c| c.drop(window)), (0, 0, None), "a window probe");
}

#[test]
fn a_timeout_ends_the_silence_before_the_first_probe_that_went_unanswered() {
    let timeout = |r: &mut Record| {
        r.timer = Timer::Keepalive as u8;
        r.sk_err = libc::ETIMEDOUT;
        (r.probes_out, r.acked_age) = (3, 60 * HZ);
    };
    let dead = |c: &mut Connection| {
        for out in 1..=3_u8 {
            c.probe(|r| (r.probes_out, r.acked_age) = (out, u32::from(out) * 15 * HZ));
            c.settle(false);
        }
        c.drop(timeout);
    };
    let after_answers = |c: &mut Connection| {
        c.answered();
        c.answered();
        dead(c);
    };
    assert_eq!(told(after_answers), (1, 1, Some(15_000)));
    // Twenty such deaths, 11 minutes apart: all of them after 15 s, not after a minute.
    let mut connection = Connection::new();
    for _ in 0..20 {
        connection.now_s += 660;
        dead(&mut connection);
    }
    let learned = connection.learned();
    let [suspected] = learned.suspected[..] else { panic!("{learned:?}") };
    assert_eq!((suspected.bracket.min, suspected.bracket.max.as_millis()), (None, 15_008));
    assert_eq!(told(|c| c.drop(timeout)), (0, 0, None), "its probes were not seen");
}

#[test]
fn a_probe_that_is_answered_after_one_that_was_not_tells_nothing() {
    let lost = |c: &mut Connection| {
        c.answered();
        c.probe(|r| r.acked_age = 60 * HZ);
        c.settle(false);
        c.probe(|r| (r.probes_out, r.acked_age) = (2, 75 * HZ));
        c.settle(true);
    };
    assert_eq!(told(lost), (1, 0, None));
}

#[test]
fn data_after_a_silence_may_end_it_too() {
    let flight = |r: &mut Record| {
        (r.acked_age, r.flight_age_ms, r.packets_out, r.unacked) = (352 * HZ, 2_000, 1, 9);
        r.snd_wnd = 1;
    };
    let reset = |r: &mut Record| {
        flight(r);
        r.flags |= Record::RESET;
        r.sk_err = libc::ECONNRESET;
    };
    assert_eq!(told(|c| c.drop(reset)), (0, 1, None));
    let timeout = |r: &mut Record| {
        flight(r);
        r.timer = Timer::Retransmit as u8;
        r.sk_err = libc::ETIMEDOUT;
    };
    assert_eq!(told(|c| c.drop(timeout)), (0, 1, None));
    // What ends otherwise is no death of silence.
    let others: [fn(&mut Record); 3] = [
        |r| r.sk_err = libc::ECONNABORTED,
        |r| (r.flags, r.sk_err) = (r.flags | Record::RESET, libc::ECONNRESET),
        |r| (r.flags, r.state, r.sk_err) = (r.flags | Record::RESET, tcp::CLOSE_WAIT, libc::EPIPE),
    ];
    for other in others {
        assert_eq!(told(|c| c.drop(other)), (0, 0, None));
    }
}
