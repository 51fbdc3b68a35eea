//! Bytes in, numbers and lines out: decoding, the record log and the pump together.

use super::decode::decode;
use super::json::Line;
use super::log::{LogError, RecordLog};
use super::pump::{Pump, RecordSource};
use crate::table::Outcome;
use crate::table::testing::{CLOCK, SECOND_NS, answer, record, table};
use ka_common::record::DecodeError;
use ka_common::{Kind, Record, Report, Settlement, Suppression, Timer};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::mem::offset_of;
use std::path::Path;
use std::sync::{Arc, Mutex};
use zerocopy::IntoBytes as _;

/// A file that is watched while it is written, and may be full.
#[derive(Clone, Default)]
struct Shared {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: bool,
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.bytes.lock().expect("no test panics while it writes").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lines(&self) -> Vec<Value> {
        let bytes = self.bytes.lock().expect("no test panics while it writes");
        let text = std::str::from_utf8(&bytes).expect("JSON is UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }
}

struct Fake(Vec<Vec<u8>>);

impl RecordSource for Fake {
    fn drain(&mut self, each: &mut dyn FnMut(&[u8])) -> usize {
        let waiting = std::mem::take(&mut self.0);
        for bytes in &waiting {
            each(bytes);
        }
        waiting.len()
    }

    async fn ready(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(record: &Record) -> Value {
    let outcome = table(8).apply(record);
    serde_json::to_value(Line::new(record, &outcome, CLOCK)).expect("a line is plain data")
}

#[test]
fn every_truncation_and_every_excess_is_refused_by_its_length() {
    let pair = pair();
    let mut bytes = pair.as_bytes().to_vec();
    for length in 0..Report::SIZE {
        let error = decode(&bytes[..length]).expect_err("too short");
        assert_eq!(error.error, DecodeError::Length(length));
        let kind = (length > offset_of!(Record, kind)).then_some(Kind::ProbeSent);
        assert_eq!(error.kind, kind, "{length} bytes");
        let settled = length >= offset_of!(Report, settled) + 8;
        assert_eq!(error.settled, settled, "{length} bytes");
    }
    bytes.push(0);
    assert!(decode(&bytes).is_err());
}

#[test]
fn every_byte_of_a_closed_set_is_checked() {
    for &kind in Kind::ALL {
        for value in 0..=u8::MAX {
            let spoil = |offset: usize| {
                let mut bytes = bytes_of(&record(kind));
                bytes[offset] = value;
                decode(&bytes)
            };
            let known = Kind::from_byte(value);
            // A record that becomes a suppression needs a reason.
            let valid = known.is_some_and(|to| to != Kind::Suppressed || kind == Kind::Suppressed);
            assert_eq!(spoil(offset_of!(Record, kind)).is_ok(), valid, "kind {value}");
            let valid = Timer::from_byte(value).is_some();
            assert_eq!(spoil(offset_of!(Record, timer)).is_ok(), valid, "timer {value}");
            let valid = kind != Kind::Suppressed || Suppression::from_byte(value).is_some();
            assert_eq!(spoil(offset_of!(Record, reason)).is_ok(), valid, "reason {value}");
            let valid = matches!(value, 2 | 10);
            assert_eq!(spoil(offset_of!(Record, family)).is_ok(), valid, "family {value}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_come_back_as_they_were(
        mut bytes in prop::collection::vec(any::<u8>(), Report::SIZE),
        kind in 0..10_u8,
        timer in 0..6_u8,
        reason in 0..5_u8,
        family in prop::sample::select(vec![2_u16, 10, 1]),
    ) {
        bytes[offset_of!(Record, kind)] = kind;
        bytes[offset_of!(Record, timer)] = timer;
        bytes[offset_of!(Record, reason)] = reason;
        bytes[offset_of!(Record, family)..][..2].copy_from_slice(&family.to_ne_bytes());
        let valid = Kind::from_byte(kind).is_some()
            && Timer::from_byte(timer).is_some()
            && (kind != Kind::Suppressed as u8 || Suppression::from_byte(reason).is_some())
            && family != 1;
        match decode(&bytes) {
            Ok(report) => {
                prop_assert!(valid);
                prop_assert_eq!(report.as_bytes(), &bytes[..]);
                // Whatever the rest holds, the table and the log take it.
                let mut table = table(4);
                for record in report.settlement().iter().chain([&report.record]) {
                    let outcome = table.apply(record);
                    prop_assert!(outcome != Outcome::Undecodable);
                    prop_assert!(serde_json::to_string(&Line::new(record, &outcome, CLOCK)).is_ok());
                }
            }
            Err(error) => {
                prop_assert!(!valid);
                prop_assert_eq!(error.kind, Kind::from_byte(kind));
            }
        }
    }
}

proptest! {
    #[test]
    fn what_rides_along_comes_out_as_it_was_alone(
        ago_ns in any::<u32>(), // Later than the settlement.
        (run_ns, probe_us) in (1..u64::MAX, 0..u64::MAX / 2),
        (ages, segs) in (any::<[u32; 2]>(), any::<[u16; 2]>()),
        own in prop::sample::select(vec![0, Record::ANSWERED, Record::ANSWERED | Record::EXACT]),
        shared in prop::sample::select(vec![0, Record::KEEPALIVE | Record::KERNEL, Record::ORPHAN]),
        (trip_us, state, probes_out) in (0..u32::MAX, any::<u8>(), any::<u8>()),
    ) {
        let trip_us = if own == 0 { 0 } else { trip_us };
        let alone = Record {
            run_ns, probe_us, state, probes_out,
            answer_us: if own == 0 { 0 } else { probe_us + u64::from(trip_us) },
            acked_age: ages[0], received_age: ages[1], segs_in: segs[0].into(), segs_out: segs[1].into(),
            flags: shared | own, timer: Timer::Keepalive as u8, inode: 99, snd_wnd: 7, packets_out: 3, unsent: 4,
            ..record(Kind::ProbeSettled)
        };
        let next = Record {
            time_ns: alone.time_ns + u64::from(ago_ns),
            run_ns: 8, probe_us: 1, acked_age: 2, received_age: 3, segs_in: 4, segs_out: 5, count: 6,
            flags: shared | Record::PROBE_OUT | Record::RESET | Record::TRACKED | Record::SETTLED,
            sk_err: 110, sk_err_soft: 113, flight_age_ms: 5, pending: 3,
            timer: Timer::None as u8, state: 2, probes_out: 1, kind: Kind::ResetReceived as u8,
            ..alone
        };
        let settled = Settlement {
            run_ns, probe_us, trip_us, ago_ns, state, probes_out, flags: own,
            acked_age: ages[0], received_age: ages[1], segs_in: segs[0], segs_out: segs[1],
        };
        let report = decode(Report { record: next, settled }.as_bytes()).expect("a sound report");
        prop_assert_eq!(report.settlement(), Some(alone));
        prop_assert_eq!(report.record, next);
        let late = Report { settled: Settlement { trip_us: Settlement::NO_TRIP, ..settled }, ..report };
        prop_assert_eq!(late.settlement(), Some(Record { answer_us: 0, ..alone }));
        prop_assert_eq!(Report::alone(next).settlement(), None);
    }
}

fn bytes_of(record: &Record) -> Vec<u8> {
    Report::alone(*record).as_bytes().to_vec()
}

/// The probe after that of [`record`], and the outcome of that.
fn pair() -> Report {
    let alone = answer();
    let settled = Settlement {
        run_ns: alone.run_ns,
        probe_us: alone.probe_us,
        trip_us: 45,
        ago_ns: 1_000,
        acked_age: alone.acked_age,
        received_age: alone.received_age,
        segs_in: 1,
        flags: Record::ANSWERED,
        ..Settlement::NONE
    };
    Report { record: Record { run_ns: 8, ..record(Kind::ProbeSent) }, settled }
}

#[test]
fn the_outcome_of_the_probe_before_is_counted_and_logged_before_the_next_probe() {
    let file = Shared::default();
    let log = RecordLog::to(Path::new("records"), Box::new(file.clone()));
    let mut pump = Pump::new(table(8), Some(log));
    let mut bad = pair();
    bad.record.family = 1;
    let reports = [bytes_of(&record(Kind::ProbeSent)), pair().as_bytes().to_vec(), bad.as_bytes().to_vec()];
    assert_eq!(pump.drain(&mut Fake(reports.to_vec())), 3);
    pump.tick(100 * SECOND_NS);
    let snapshot = pump.snapshots().load_full();
    assert_eq!((snapshot.received(Kind::ProbeSent), snapshot.received(Kind::ProbeSettled)), (2, 1));
    for kind in [Kind::ProbeSent, Kind::ProbeSettled] {
        assert_eq!(snapshot.undecodable[kind as usize], 1, "{kind:?}: the third is lost whole");
    }
    let totals = &snapshot.owners[0];
    assert_eq!((totals.sent, totals.answered, totals.rtt.count()), (2, 1, 1));
    let lines = file.lines();
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["probe_sent", "probe_settled", "probe_sent"]);
    assert_eq!(
        (&lines[1]["rtt_us"], &lines[1]["run_ns"], &lines[2]["run_ns"]),
        (&json!(45), &json!(7), &json!(8))
    );
}

#[test]
fn a_line_is_in_the_units_of_people() {
    let mut dropped = Record {
        timer: Timer::Keepalive as u8,
        sk_err: libc::ETIMEDOUT,
        acked_age: 500,
        received_age: 750,
        local_port: 43210,
        remote_port: 80,
        ..record(Kind::Dropped)
    };
    dropped.local[..4].copy_from_slice(&[10, 0, 0, 1]);
    dropped.remote[..4].copy_from_slice(&[10, 0, 0, 2]);
    let line = logged(&dropped);
    let expected = json!({
        "kind": "dropped", "counted": true, "sock": "0xffff888000001000", "netns": 42,
        "local": "10.0.0.1:43210", "remote": "10.0.0.2:80", "family": "ipv4", "state": "ESTABLISHED",
        "timer": "keepalive", "keepalive": true, "orphan": false,
        "keepidle_seconds": 15.0, "keepintvl_seconds": 15.0, "keepcnt": 9,
        "raw_keepidle_seconds": 15.0, "raw_keepintvl_seconds": 15.0, "raw_keepcnt": 0,
        "acked_age_seconds": 2.0, "received_age_seconds": 3.0, "sk_err": 110,
        "cause": "keepalive_timeout", "drop_timer": "keepalive", "idle_seconds": 2.0,
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&line[name], value, "{name}");
    }
}

#[test]
fn addresses_are_written_as_ss_writes_them() {
    let mut six = record(Kind::ProbeSent);
    six.family = 10;
    six.local[15] = 1;
    six.local_port = 80;
    six.remote[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
    six.remote_port = 443;
    let line = logged(&six);
    assert_eq!(line["local"], "[::1]:80");
    assert_eq!(line["remote"], "[::ffff:10.0.0.1]:443");
    assert_eq!(line["family"], "ipv6");
}

#[test]
fn each_kind_has_its_own_facts() {
    let facts: [(Kind, &[&str]); 7] = [
        (Kind::ProbeSent, &[]),
        (Kind::ProbeSettled, &["answered", "rtt_us", "exact"]),
        (Kind::Suppressed, &["reason"]),
        (Kind::ZeroWindowProbe, &["count", "inferred"]),
        (Kind::ResetReceived, &["phase", "settled"]),
        (Kind::Dropped, &["cause", "drop_timer", "idle_seconds"]),
        (Kind::Closed, &["ended"]),
    ];
    for (kind, own) in facts {
        let line = logged(&record(kind));
        for (_, names) in facts {
            for name in names {
                assert_eq!(line.get(name).is_some(), own.contains(name), "{name} of {kind:?}");
            }
        }
        assert_eq!(line["counted"], kind != Kind::ProbeSettled, "nothing was pending: {kind:?}");
    }
}

/// docs/record-log.md is the contract: it names every field, and nothing else.
#[test]
fn every_field_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/record-log.md");
    let text = std::fs::read_to_string(&path).expect("docs/record-log.md is there");
    let documented: std::collections::BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut written = std::collections::BTreeSet::new();
    for &kind in Kind::ALL {
        written.extend(logged(&record(kind)).as_object().expect("an object").keys().cloned());
    }
    assert_eq!(documented, written);
}

#[test]
fn the_pump_counts_logs_and_publishes() {
    let file = Shared::default();
    let log = RecordLog::to(Path::new("records"), Box::new(file.clone()));
    let mut pump = Pump::new(table(8), Some(log));
    let published = pump.snapshots();
    let sent = bytes_of(&record(Kind::ProbeSent));
    let mut bad = sent.clone();
    bad[offset_of!(Record, timer)] = 77;
    let mut source = Fake(vec![sent.clone(), sent, bad, vec![1, 2, 3]]);
    assert_eq!(pump.drain(&mut source), 4);
    assert_eq!(published.load().received(Kind::ProbeSent), 0, "readers see ticks only");
    pump.tick(100 * SECOND_NS);
    let first = published.load_full();
    assert_eq!(first.received(Kind::ProbeSent), 2);
    assert_eq!((first.undecodable[Kind::ProbeSent as usize], first.undecodable[0]), (1, 1));
    assert_eq!((first.owners[0].sent, first.oddities.duplicates), (1, 1));
    let counted: Vec<_> = file.lines().iter().map(|line| line["counted"].clone()).collect();
    assert_eq!(counted, [true, false], "flushed by the tick");
    pump.tick(101 * SECOND_NS);
    assert!(Arc::ptr_eq(&first, &published.load_full()), "nothing changed, nothing published");
    pump.tick(10_000 * SECOND_NS);
    assert_eq!((published.load().tracked, published.load().owners[0].unsettled), (0, 1));
}

#[test]
fn a_full_disk_ends_the_log_and_not_the_counting() {
    let file = Shared { full: true, ..Shared::default() };
    let log = RecordLog::to(Path::new("records"), Box::new(file.clone()));
    let mut pump = Pump::new(table(8), Some(log));
    let sent = record(Kind::ProbeSent);
    pump.report(&bytes_of(&sent));
    pump.tick(100 * SECOND_NS);
    assert_eq!(pump.log_lost(), 1, "what was buffered is lost");
    pump.report(&bytes_of(&Record { run_ns: 8, ..sent }));
    pump.tick(100 * SECOND_NS);
    assert_eq!((pump.log_lost(), pump.snapshots().load().owners[0].sent), (2, 2));
    assert!(file.lines().is_empty());
}

#[test]
fn a_log_that_cannot_be_made_says_where_and_what_to_do() {
    let error = RecordLog::create(Path::new("/nonexistent/records")).err().expect("no such folder");
    assert!(matches!(error, LogError::Create { .. }));
    let text = error.to_string();
    assert!(text.contains("/nonexistent/records") && text.contains("--record-log"), "{text}");
}

#[test]
fn what_may_block_is_refused_at_once() {
    let folder = std::env::temp_dir().join(format!("ka-record-log-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (fifo, socket, link) = (folder.join("fifo"), folder.join("socket"), folder.join("link"));
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::os::unix::fs::symlink(&fifo, &link).unwrap();
    for (path, what) in [
        (fifo.as_path(), "a FIFO"),
        (&link, "a FIFO"),
        (&socket, "a socket"),
        (Path::new("/dev/ptmx"), "a terminal or another device"),
        (Path::new("/dev/kmsg"), "a terminal or another device"),
    ] {
        let text = RecordLog::create(path).err().expect("not a file").to_string();
        let path = path.display().to_string();
        assert!(text.contains(&path) && text.contains(what) && text.contains("--record-log"), "{text}");
    }
    assert!(RecordLog::create(&folder).is_err(), "a folder");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn files_are_made_anew_and_what_never_blocks_is_taken() {
    let path = std::env::temp_dir().join(format!("ka-records-{}", std::process::id()));
    std::fs::write(&path, "older\n".repeat(1000)).unwrap();
    let mut log = RecordLog::create(&path).unwrap();
    log.write(&record(Kind::Closed), &Outcome::Closed { ended: None }, CLOCK);
    log.flush();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with('{') && text.lines().count() == 1, "{text}");
    std::fs::remove_file(&path).unwrap();
    for (device, lost) in [("/dev/null", 0), ("/dev/full", 1)] {
        let mut log = RecordLog::create(Path::new(device)).unwrap();
        log.write(&record(Kind::Closed), &Outcome::Closed { ended: None }, CLOCK);
        log.flush();
        assert_eq!(log.lost(), lost, "{device}");
    }
}
