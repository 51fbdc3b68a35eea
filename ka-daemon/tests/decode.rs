//! Every value of every byte of a report: what is accepted is what was written, what is refused is
//! refused by name.

use ka_common::record::DecodeError;
use ka_common::{Kind, Record, Report, Suppression, Timer};
use ka_daemon::events::decode::{Undecodable, decode};
use proptest::prelude::*;
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Any numbers in every field, only the closed sets kept to what they may hold.
fn any_report() -> impl Strategy<Value = Report> {
    (
        proptest::array::uniform::<_, { Report::SIZE }>(any::<u8>()),
        prop::sample::select(Kind::ALL),
        prop::sample::select(Timer::ALL),
        prop::sample::select(Suppression::ALL),
        prop::sample::select(&[2_u16, 10]),
    )
        .prop_map(|(bytes, kind, timer, reason, family)| {
            let report = Report::read_from_bytes(&bytes).expect("as long as a report");
            let (kind, timer, reason) = (kind as u8, timer as u8, reason as u8);
            Report { record: Record { kind, timer, reason, family, ..report.record }, ..report }
        })
}

/// What decoding must say of bytes of the right length, written down a second time.
fn verdict(record: &Record) -> Option<DecodeError> {
    if !(1..=7).contains(&record.kind) {
        Some(DecodeError::Kind(record.kind))
    } else if record.timer > 3 {
        Some(DecodeError::Timer(record.timer))
    } else if record.kind == Kind::Suppressed as u8 && !(1..=3).contains(&record.reason) {
        Some(DecodeError::Reason(record.reason))
    } else if record.family != 2 && record.family != 10 {
        Some(DecodeError::Family(record.family))
    } else {
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_corrupt_byte_is_refused_by_name_or_comes_back_as_it_is(report in any_report()) {
        let mut bytes = report.as_bytes().to_vec();
        for place in 0..Report::SIZE {
            let sound = bytes[place];
            for value in 0..=u8::MAX {
                bytes[place] = value;
                let read = Report::read_from_bytes(&bytes).expect("as long as a report");
                match (decode(&bytes), verdict(&read.record)) {
                    (Ok(report), None) => prop_assert_eq!(report.as_bytes(), &bytes[..]),
                    (Err(got), Some(error)) => {
                        let kind = Kind::from_byte(read.record.kind);
                        prop_assert_eq!(got, Undecodable { kind, settled: read.settled.run_ns != 0, error });
                    }
                    (got, expected) => prop_assert!(false, "{got:?}, expected {expected:?}"),
                }
            }
            bytes[place] = sound;
        }
    }
}
