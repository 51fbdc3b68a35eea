//! Records for tests: one builder, so that a test names only the facts that it is about.

use super::{Clock, Limits, SocketTable};
use ka_common::{Kind, Record};
use std::time::Duration;
use zerocopy::FromZeros as _;

pub(crate) const HZ: u32 = 250;
pub(crate) const CLOCK: Clock = Clock::new(HZ);
pub(crate) const FLOOR: Duration = Duration::from_secs(10);
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// A record of an established IPv4 connection with keepalive at 15 s, 15 s, 9.
pub(crate) fn record(kind: Kind) -> Record {
    Record {
        time_ns: 100 * SECOND_NS,
        sock: 0xffff_8880_0000_1000,
        first_seen_ns: SECOND_NS,
        run_ns: 7,
        netns: 42,
        keepidle: 15 * HZ,
        keepintvl: 15 * HZ,
        sysctl_keepidle: 7200 * HZ,
        sysctl_keepintvl: 75 * HZ,
        sysctl_keepcnt: 9,
        family: 2,
        flags: Record::KEEPALIVE | Record::TRACKED,
        kind: kind as u8,
        reason: u8::from(kind == Kind::Suppressed),
        count: u32::from(kind == Kind::ZeroWindowProbe),
        state: super::tcp::ESTABLISHED,
        probes_out: u8::from(kind == Kind::ProbeSent),
        retries2: 15,
        ..Record::new_zeroed()
    }
}

/// The answer to the probe of [`record`]: it took 45 µs, and 20 s ago the probe was sent.
pub(crate) fn answer() -> Record {
    let settled = record(Kind::ProbeSettled);
    let probe_us = (settled.time_ns - 20 * SECOND_NS) / 1_000;
    Record {
        flags: settled.flags | Record::ANSWERED,
        probe_us,
        answer_us: probe_us + 45,
        acked_age: 20 * HZ,
        received_age: 35 * HZ,
        segs_in: 1,
        ..settled
    }
}

pub(crate) fn table(max_sockets: usize) -> SocketTable {
    let owner_labels = super::OwnerLabels::ALL;
    SocketTable::new(CLOCK, Limits { max_sockets, idle_floor: FLOOR, max_owners: 200, owner_labels })
}
