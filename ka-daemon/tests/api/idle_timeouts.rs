//! Suspected idle timeouts, from the kernel's records to what is asked for.

use ka_common::{Kind, Record};
use ka_daemon::api::idle_timeouts::IdleTimeoutsAnswer;
use ka_daemon::learn::GENERATION_NS;

use crate::daemon::Daemon;
use crate::http::get;
use crate::support::record;

const HZ: u32 = 250;
const SECOND_NS: u64 = 1_000_000_000;
/// Not past any deadline, whatever the machine's uptime is; half a day of observations begins there.
const BEGIN_NS: u64 = (1 << 62) / GENERATION_NS * GENERATION_NS;

/// A record of a connection to 10.0.3.9 that was last heard so many seconds ago.
fn silent(kind: Kind, connection: u64, seconds: u32, change: impl FnOnce(&mut Record)) -> Vec<u8> {
    record(kind, |record| {
        record.sock += connection << 12;
        record.remote[..4].copy_from_slice(&[10, 0, 3, 9]);
        record.time_ns = BEGIN_NS;
        record.acked_age = seconds * HZ;
        record.received_age = 10_000 * HZ;
        record.sent_age = 10_000 * HZ;
        change(record);
    })
}

/// Two probes of a connection, each answered.
fn survive(daemon: &Daemon, connection: u64, seconds: u32) {
    for probe in 1..=2_u32 {
        let run_ns = BEGIN_NS + u64::from(probe * seconds) * SECOND_NS;
        for kind in [Kind::ProbeSent, Kind::ProbeSettled] {
            let bytes = silent(kind, connection, seconds, |record| {
                (record.run_ns, record.time_ns, record.segs_in) = (run_ns, run_ns, 100 + probe);
                record.probes_out = 1;
                record.flags |= Record::ANSWERED;
            });
            daemon.records.send(bytes).unwrap();
        }
    }
}

/// The probe of a connection meets a reset; the one before it died 400 s ago.
fn die(daemon: &Daemon, connection: u64, seconds: u32) {
    let bytes = silent(Kind::Dropped, connection, seconds, |record| {
        record.time_ns = BEGIN_NS + connection * 400 * SECOND_NS;
        record.flags |= Record::RESET | Record::PROBE_OUT;
        (record.sk_err, record.probes_out, record.timer) = (libc::ECONNRESET, 1, 0);
    });
    daemon.records.send(bytes).unwrap();
}

async fn told(daemon: &Daemon) -> IdleTimeoutsAnswer {
    get(daemon.address, "/api/v1/idle-timeouts").await.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_told_once_enough_agrees() {
    let daemon = Daemon::start(None).await;
    let nothing = told(&daemon).await;
    assert!(nothing.idle_timeouts.is_empty() && nothing.longest_survived_seconds.is_none(), "{nothing:?}");
    for connection in 0..40 {
        survive(&daemon, connection, 340);
    }
    let survivors = told(&daemon).await;
    assert_eq!((survivors.idle_timeouts.len(), survivors.survived, survivors.died), (0, 40, 0));
    assert_eq!((survivors.remote_prefixes, survivors.longest_survived_seconds), (1, Some(339.968)));
    for connection in 100..112 {
        die(&daemon, connection, 360);
    }
    let answer = told(&daemon).await;
    let [limit] = &answer.idle_timeouts[..] else { panic!("{answer:?}") };
    assert_eq!(
        limit.summary,
        "Connections to 10.0.3.0/24 die between 340 s and 360.2 s of silence: 12 of 12 died above, 40 of 40 \
         survived below."
    );
    assert_eq!((limit.remote_prefix.as_str(), limit.died_again), ("10.0.3.0/24", 11));
    assert_eq!((answer.survived, answer.died), (40, 12));
    let page = get(daemon.address, "/metrics").await;
    for line in [
        "ka_suspected_idle_timeout_min_seconds{remote_prefix=\"10.0.3.0/24\"} 339.968",
        "ka_suspected_idle_timeout_max_seconds{remote_prefix=\"10.0.3.0/24\"} 360.192",
    ] {
        assert!(page.body.lines().any(|found| found == line), "{line}: {}", page.body);
    }
}
