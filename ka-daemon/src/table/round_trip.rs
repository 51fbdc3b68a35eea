//! The round trip of an answered probe, or none: a sample is taken only where nothing but the answer can have
//! made it.

use super::clock::Clock;
use ka_common::Record;
use std::time::Duration;

/// How far two readings of one moment may lie apart that count in ticks: one tick each, and one for a record
/// that is made a little later than its time says.
const TICKS: u32 = 3;

/// The round trip, from the facts of the settlement alone.
///
/// Without an arrival time taken as the answer came, `answer_us` is the last time at which the socket looked
/// at the clock. The answer makes it do so, and so do other segments (so: one in, none out), and calls of the
/// program that send nothing: reading what came before, writing what has to wait. So it must also agree with
/// the time of the last accepted acknowledgement, as far as ticks tell.
///
/// An answer has no data. Where data came since the probe, it was that which was acknowledged with, or
/// that which arrived first.
pub(super) fn round_trip(record: &Record, clock: Clock) -> Option<Duration> {
    if record.probe_us == 0 || record.answer_us == 0 {
        return None;
    }
    let slack_us = micros(clock.duration(TICKS));
    let ago_us = |age| (record.time_ns / 1_000).saturating_sub(micros(clock.age(age)));
    let exact = record.flags & Record::EXACT != 0;
    let clean = exact
        || (record.segs_in == 1
            && record.segs_out == 0
            && record.answer_us.abs_diff(ago_us(record.acked_age)) <= slack_us);
    let bare = ago_us(record.received_age).saturating_add(slack_us) < record.probe_us;
    let trip = record.answer_us.checked_sub(record.probe_us)?;
    (clean && bare).then(|| Duration::from_micros(trip))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::round_trip;
    use crate::table::testing::{CLOCK, HZ, answer};
    use ka_common::Record;
    use std::time::Duration;

    /// A probe sent 20 s before its settlement and answered after 45 µs.
    fn trip(change: fn(&mut Record)) -> Option<u64> {
        let mut record = answer();
        change(&mut record);
        round_trip(&record, CLOCK).map(|trip| u64::try_from(trip.as_micros()).unwrap())
    }

    #[test]
    fn only_a_clean_exchange_gives_a_round_trip() {
        type Case = (&'static str, fn(&mut Record), Option<u64>);
        let cases: [Case; 12] = [
            ("clean", |_| (), Some(45)),
            ("the peer probed too", |r| r.segs_in = 2, None),
            ("nothing came in", |r| r.segs_in = 0, None),
            ("something went out", |r| r.segs_out = 1, None),
            ("no send time", |r| r.probe_us = 0, None),
            ("no arrival time", |r| r.answer_us = 0, None),
            ("answered before it was sent", |r| r.answer_us = r.probe_us - 1, None),
            ("the program read 1 s after the answer", |r| r.answer_us += 1_000_000, None),
            ("or a little later than ticks can tell", |r| r.answer_us += 16_000, None),
            ("ticks do not tell more", |r| r.answer_us += 7_000, Some(7_045)),
            (
                "a slow answer",
                |r| (r.answer_us, r.acked_age) = (r.probe_us + 3_000_000, 17 * HZ),
                Some(3_000_000),
            ),
            ("what was acknowledged with was data", |r| r.received_age = r.acked_age, None),
        ];
        for (name, change, us) in cases {
            assert_eq!(trip(change), us, "{name}");
        }
    }

    #[test]
    fn an_exact_arrival_needs_no_clean_exchange() {
        let exact = |change: fn(&mut Record)| {
            let mut record = answer();
            record.flags |= Record::EXACT;
            change(&mut record);
            round_trip(&record, CLOCK)
        };
        let us = |us| Some(Duration::from_micros(us));
        assert_eq!(exact(|r| (r.segs_in, r.segs_out) = (5, 3)), us(45));
        assert_eq!(exact(|r| r.acked_age = HZ), us(45), "the peer acknowledged something later");
        assert_eq!(exact(|r| r.received_age = HZ), None, "data may have come before the answer");
        assert_eq!(exact(|r| r.answer_us = 0), None);
    }

    #[test]
    fn an_acknowledgement_that_is_younger_than_the_record_is_no_old_one() {
        // Another CPU wrote it after the record took its time.
        let late = |r: &mut Record| (r.acked_age, r.answer_us) = (u32::MAX, r.time_ns / 1_000);
        assert_eq!(trip(late), Some(20_000_000));
    }
}
