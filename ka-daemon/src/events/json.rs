//! A record as one JSON object, in the units that people read. The format is a contract:
//! docs/record-log.md.

use crate::inventory::describe::end;
use crate::table::{Clock, Ended, Outcome, tcp::state_name};
use ka_common::{Kind, Record, Suppression, Timer};
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

const AF_INET: u16 = 2;

/// One line of the record log.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of a JSON object, independent of each other")]
pub struct Line {
    time_ns: u64,
    kind: &'static str,
    counted: bool,
    netns: u32,
    sock: String,
    first_seen_ns: u64,
    run_ns: u64,
    inode: u64,
    cgroup_id: u64,
    local: SocketAddr,
    remote: SocketAddr,
    family: &'static str,
    state: &'static str,
    timer: &'static str,
    keepalive: bool,
    orphan: bool,
    probe_out: bool,
    reset: bool,
    tracked: bool,
    keepidle_seconds: f64,
    keepintvl_seconds: f64,
    keepcnt: u32,
    raw_keepidle_seconds: f64,
    raw_keepintvl_seconds: f64,
    raw_keepcnt: u32,
    user_timeout_ms: u32,
    acked_age_seconds: f64,
    received_age_seconds: f64,
    sent_age_seconds: f64,
    flight_age_ms: u32,
    packets_out: u32,
    unacked: u32,
    unsent: u32,
    snd_wnd: u32,
    segs_in: u32,
    segs_out: u32,
    probes_out: u8,
    retransmits: u8,
    retries2: u8,
    sk_err: i32,
    sk_err_soft: i32,
    #[serde(flatten)]
    facts: Facts,
}

/// What only some kinds have.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Facts {
    Settled { answered: bool, rtt_us: Option<u64>, exact: bool },
    Suppressed { reason: &'static str },
    ZeroWindow { count: u32, inferred: bool },
    Reset { phase: &'static str, settled: bool },
    Dropped { cause: &'static str, drop_timer: &'static str, idle_seconds: f64 },
    Closed { ended: Option<&'static str> },
    None {},
}

impl Line {
    /// A record and what the table made of it.
    #[must_use]
    pub fn new(record: &Record, outcome: &Outcome, clock: Clock) -> Self {
        let flag = |flag| record.flags & flag != 0;
        let effective = |own: u32, inherited| if own == 0 { inherited } else { own };
        let setting = |jiffies| clock.duration(jiffies).as_secs_f64();
        let age = |jiffies| clock.age(jiffies).as_secs_f64();
        Self {
            time_ns: record.time_ns,
            kind: Kind::from_byte(record.kind).map_or("unknown", Kind::label),
            counted: outcome.counted(),
            netns: record.netns,
            sock: format!("{:#x}", record.sock),
            first_seen_ns: record.first_seen_ns,
            run_ns: record.run_ns,
            inode: record.inode,
            cgroup_id: record.cgroup_id,
            local: end(record.family, record.local, record.local_port),
            remote: end(record.family, record.remote, record.remote_port),
            family: if record.family == AF_INET { "ipv4" } else { "ipv6" },
            state: state_name(record.state),
            timer: Timer::from_byte(record.timer).map_or("unknown", Timer::label),
            keepalive: flag(Record::KEEPALIVE),
            orphan: flag(Record::ORPHAN),
            probe_out: flag(Record::PROBE_OUT),
            reset: flag(Record::RESET),
            tracked: flag(Record::TRACKED),
            keepidle_seconds: setting(effective(record.keepidle, record.sysctl_keepidle)),
            keepintvl_seconds: setting(effective(record.keepintvl, record.sysctl_keepintvl)),
            keepcnt: effective(record.keepcnt, record.sysctl_keepcnt),
            raw_keepidle_seconds: setting(record.keepidle),
            raw_keepintvl_seconds: setting(record.keepintvl),
            raw_keepcnt: record.keepcnt,
            user_timeout_ms: record.user_timeout_ms,
            acked_age_seconds: age(record.acked_age),
            received_age_seconds: age(record.received_age),
            sent_age_seconds: age(record.sent_age),
            flight_age_ms: record.flight_age_ms,
            packets_out: record.packets_out,
            unacked: record.unacked,
            unsent: record.unsent,
            snd_wnd: record.snd_wnd,
            segs_in: record.segs_in,
            segs_out: record.segs_out,
            probes_out: record.probes_out,
            retransmits: record.retransmits,
            retries2: record.retries2,
            sk_err: record.sk_err,
            sk_err_soft: record.sk_err_soft,
            facts: Facts::new(record, outcome),
        }
    }
}

impl Facts {
    /// By the record's kind, not by the outcome, so that an ignored record shows what it said.
    fn new(record: &Record, outcome: &Outcome) -> Self {
        let flag = |flag| record.flags & flag != 0;
        match *outcome {
            Outcome::Settled { answered, rtt } => {
                Self::Settled { answered, rtt_us: rtt.map(micros), exact: flag(Record::EXACT) }
            }
            Outcome::Unmatched => {
                Self::Settled { answered: flag(Record::ANSWERED), rtt_us: None, exact: flag(Record::EXACT) }
            }
            Outcome::Suppressed(reason) => Self::Suppressed { reason: Suppression::label(reason) },
            Outcome::ZeroWindow => Self::ZeroWindow { count: record.count, inferred: flag(Record::INFERRED) },
            Outcome::Reset { phase, settled } => Self::Reset { phase: phase.label(), settled },
            Outcome::Dropped { cause, timer, idle } => Self::Dropped {
                cause: cause.label(),
                drop_timer: timer.label(),
                idle_seconds: idle.as_secs_f64(),
            },
            Outcome::Closed { ended } => Self::Closed { ended: ended.map(Ended::label) },
            Outcome::Sent { .. } | Outcome::Duplicate | Outcome::Undecodable => Self::None {},
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
