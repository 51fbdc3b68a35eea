//! Whole lines of the record log as a reader gets them, when they reach the file, and what a full
//! disk does to them.
#![recursion_limit = "256"]

use ka_common::{Kind, Record, Report, Suppression, Timer};
use ka_daemon::events::{Pump, RecordLog};
use ka_daemon::table::{Clock, Limits, OwnerLabels, SocketTable};
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zerocopy::{FromZeros as _, IntoBytes as _};

const HZ: u32 = 250;
const SECOND_NS: u64 = 1_000_000_000;

/// A file for tests: what was written, how often, and when it begins to fail.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Default)]
struct DiskState {
    bytes: Vec<u8>,
    calls: usize,
    full: bool,
}

impl io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().expect("no test panics while it writes");
        disk.calls += 1;
        if disk.full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        disk.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk {
    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().expect("no test panics while it writes").bytes.clone())
            .expect("JSON is UTF-8");
        assert!(text.is_empty() || text.ends_with('\n'), "a torn line: {text}");
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }
}

fn pump() -> (Pump, Disk) {
    let disk = Disk::default();
    let limits = Limits {
        max_sockets: 8,
        idle_floor: Duration::from_secs(10),
        max_owners: 200,
        owner_labels: OwnerLabels::ALL,
    };
    let table = SocketTable::new(Clock::new(HZ), limits);
    (Pump::new(table, Some(RecordLog::to(Path::new("records"), Box::new(disk.clone())))), disk)
}

fn record(kind: Kind) -> Record {
    Record {
        time_ns: 100 * SECOND_NS,
        sock: 0xffff_8880_0000_1000,
        first_seen_ns: SECOND_NS,
        run_ns: 7,
        probe_us: 99_000_000,
        inode: 12_345,
        cgroup_id: 99,
        local: address(&[10, 0, 0, 2]),
        remote: address(&[10, 0, 0, 1]),
        local_port: 43_210,
        remote_port: 80,
        netns: 4_026_531_840,
        keepidle: 15 * HZ,
        sysctl_keepidle: 7200 * HZ,
        sysctl_keepintvl: 75 * HZ,
        sysctl_keepcnt: 9,
        acked_age: HZ,
        received_age: 2 * HZ,
        sent_age: HZ / 2,
        snd_wnd: 65_535,
        probes_out: 1,
        retries2: 15,
        family: 2,
        flags: Record::KEEPALIVE,
        kind: kind as u8,
        state: 1,
        timer: Timer::Keepalive as u8,
        reason: if kind == Kind::Suppressed { Suppression::SocketLocked as u8 } else { 0 },
        count: u32::from(kind == Kind::ZeroWindowProbe),
        ..Record::new_zeroed()
    }
}

fn address(bytes: &[u8]) -> [u8; 16] {
    let mut address = [0; 16];
    address[..bytes.len()].copy_from_slice(bytes);
    address
}

/// The lines of these records, each applied after the ones before.
fn lines(records: &[Record]) -> Vec<Value> {
    let (mut pump, disk) = pump();
    for record in records {
        pump.report(Report::alone(*record).as_bytes());
    }
    pump.tick(101 * SECOND_NS);
    disk.lines()
}

/// The fields that a line has and `probe_sent`, which has none of its own, has not.
fn own_fields(record: &Record) -> Value {
    let common = lines(&[self::record(Kind::ProbeSent)]).remove(0);
    let mut line = lines(&[self::record(Kind::ProbeSent), *record]).remove(1);
    let fields = line.as_object_mut().expect("each line is an object");
    fields.retain(|name, _| common.get(name).is_none());
    line
}

#[test]
fn a_line_holds_every_fact_in_the_units_that_people_read() {
    let expected = json!({
        "time_ns": 100_000_000_000_u64, "kind": "probe_sent", "counted": true, "netns": 4_026_531_840_u32,
        "sock": "0xffff888000001000", "first_seen_ns": 1_000_000_000, "run_ns": 7,
        "inode": 12_345, "cgroup_id": 99, "local": "10.0.0.2:43210", "remote": "10.0.0.1:80",
        "family": "ipv4", "state": "ESTABLISHED", "timer": "keepalive", "keepalive": true,
        "orphan": false, "probe_out": false, "reset": false, "tracked": false,
        "keepidle_seconds": 15.0, "keepintvl_seconds": 75.0, "keepcnt": 9,
        "raw_keepidle_seconds": 15.0, "raw_keepintvl_seconds": 0.0, "raw_keepcnt": 0,
        "user_timeout_ms": 0, "acked_age_seconds": 1.0, "received_age_seconds": 2.0,
        "sent_age_seconds": 0.5, "flight_age_ms": 0, "packets_out": 0, "unacked": 0, "unsent": 0,
        "snd_wnd": 65_535, "segs_in": 0, "segs_out": 0, "probes_out": 1, "retransmits": 0,
        "retries2": 15, "sk_err": 0, "sk_err_soft": 0,
    });
    assert_eq!(lines(&[record(Kind::ProbeSent)]), [expected]);
}

#[test]
fn each_kind_has_the_fields_of_its_own() {
    let answer = Record {
        flags: Record::KEEPALIVE | Record::ANSWERED,
        answer_us: 99_000_045,
        segs_in: 1,
        ..record(Kind::ProbeSettled)
    };
    let rst = Record { flags: Record::SETTLED | Record::PROBE_OUT, ..record(Kind::ResetReceived) };
    let window = Record { count: 3, flags: Record::INFERRED, ..record(Kind::ZeroWindowProbe) };
    let dropped = Record { sk_err: libc::ETIMEDOUT, ..record(Kind::Dropped) };
    let orphan = Record { flags: Record::ORPHAN, sk_err: libc::ETIMEDOUT, ..record(Kind::Closed) };
    let cases = [
        (answer, json!({"answered": true, "rtt_us": 45, "exact": false})),
        (Record { segs_in: 2, ..answer }, json!({"answered": true, "rtt_us": null, "exact": false})),
        (
            Record { segs_in: 2, flags: answer.flags | Record::EXACT, ..answer },
            json!({"answered": true, "rtt_us": 45, "exact": true}),
        ),
        (record(Kind::ProbeSettled), json!({"answered": false, "rtt_us": null, "exact": false})),
        (record(Kind::Suppressed), json!({"reason": "socket_locked"})),
        (window, json!({"count": 3, "inferred": true})),
        (rst, json!({"phase": "keepalive", "settled": true})),
        (Record { run_ns: 9, ..rst }, json!({"phase": "keepalive", "settled": false})),
        (dropped, json!({"cause": "keepalive_timeout", "drop_timer": "keepalive", "idle_seconds": 1.0})),
        (record(Kind::Closed), json!({"ended": null})),
        (orphan, json!({"ended": "orphan_timeout"})),
    ];
    for (record, expected) in cases {
        assert_eq!(own_fields(&record), expected, "{record:?}");
    }
}

#[test]
fn records_that_count_for_nothing_are_logged_as_such() {
    let records = [
        record(Kind::ProbeSent),
        record(Kind::ProbeSent),
        record(Kind::ProbeSettled),
        record(Kind::ProbeSettled),
    ];
    let counted: Vec<_> = lines(&records).iter().map(|line| line["counted"].clone()).collect();
    assert_eq!(counted, [true, false, true, false]);
}

#[test]
fn lines_reach_the_file_with_the_tick_and_with_the_end() {
    let (mut pump, disk) = pump();
    pump.report(Report::alone(record(Kind::ProbeSent)).as_bytes());
    assert_eq!(disk.lines().len(), 0, "a write for each record would cost more than the record");
    pump.tick(100 * SECOND_NS);
    assert_eq!(disk.lines().len(), 1);
    pump.report(Report::alone(record(Kind::ProbeSettled)).as_bytes());
    drop(pump);
    assert_eq!(disk.lines().len(), 2);
}

#[test]
fn a_full_disk_ends_the_log_and_nothing_else() {
    let (mut pump, disk) = pump();
    pump.report(Report::alone(record(Kind::ProbeSent)).as_bytes());
    pump.tick(100 * SECOND_NS);
    disk.0.lock().expect("no test panics while it writes").full = true;
    for n in 0..1000 {
        pump.report(Report::alone(Record { run_ns: 8 + n, ..record(Kind::ProbeSent) }).as_bytes());
    }
    pump.tick(100 * SECOND_NS);
    pump.tick(100 * SECOND_NS);
    let calls = disk.0.lock().expect("no test panics while it writes").calls;
    assert_eq!(calls, 2, "one write went well, one failed, none was tried after it");
    let counted = pump.snapshots().load().owners[0].sent;
    assert_eq!(counted, 1001, "counting goes on");
    disk.0.lock().expect("no test panics while it writes").full = false;
    assert_eq!(pump.log_lost(), 1000, "what was not written is counted, buffered lines included");
    pump.report(Report::alone(record(Kind::ProbeSettled)).as_bytes());
    assert_eq!(pump.log_lost(), 1001);
    drop(pump);
    assert_eq!(
        (disk.lines().len(), disk.0.lock().expect("no test panics while it writes").calls),
        (1, calls),
        "it never resumes"
    );
}
