//! How many records a second one core decodes and applies.
//!
//! The mix is that of idle connections whose probes are answered: every socket has a probe sent,
//! then every socket has it settled, each round in another order, so that nothing is in a cache by
//! luck. That is harsher than a real node, where timers of one period fire in the order in which
//! they were armed, and where most settlements ride along with the next probe.

use std::time::{Duration, Instant};

use ka_common::{Kind, Record, Report};
use ka_daemon::events::decode::decode;
use ka_daemon::table::{Clock, Limits, OwnerLabels, OwnerTotals, SocketTable};
use zerocopy::{FromZeros as _, IntoBytes as _};

use crate::report::{Budget, Row, figure};

/// Records prepared, untimed, before they are decoded and applied: 16 MB, more than the caches
/// hold, as in a busy ring buffer.
const BATCH: u64 = 1 << 16;
const RECORDS: u64 = 1 << 24;
/// About as far apart as the kernel's socket structures.
const SOCKET_BYTES: u64 = 2432;
const FIRST_SOCKET: u64 = 0xffff_8880_0000_0000;
/// Coprime to the numbers of sockets, so that a walk by one of them meets each socket once.
const STRIDES: [u64; 4] = [617_707, 381_967, 846_233, 223_007];
const SECOND_NS: u64 = 1_000_000_000;

pub(super) fn measure() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (sockets, budget) in [(10_000, 5.0), (1_000_000, 2.0)] {
        let what = format!("decode and apply, {sockets} sockets");
        let row = Row::new(what, rate(sockets)? / 1e6, "million records/s", Budget::Least(budget));
        rows.push(row.note("one core; half probes sent, half answered, sockets in changing order"));
    }
    Ok(rows)
}

fn rate(sockets: u64) -> anyhow::Result<f64> {
    let limits = Limits {
        max_sockets: usize::try_from(sockets)?,
        idle_floor: Duration::from_secs(10),
        max_owners: 200,
        owner_labels: OwnerLabels::ALL,
    };
    let mut table = SocketTable::new(Clock::new(250), limits);
    // Every socket enters the table and every page of it is touched before the clock runs.
    let warm_up = sockets * 2;
    let mut next = 0;
    let mut batch = vec![0; usize::try_from(BATCH)? * Report::SIZE];
    let mut busy = Duration::ZERO;
    let mut counted = 0;
    while counted < RECORDS {
        for slot in batch.chunks_exact_mut(Report::SIZE) {
            slot.copy_from_slice(Report::alone(record(next, sockets)).as_bytes());
            next += 1;
        }
        let start = Instant::now();
        for bytes in batch.chunks_exact(Report::SIZE) {
            let report = decode(bytes)?;
            if let Some(settlement) = report.settlement() {
                table.apply(&settlement);
            }
            table.apply(&report.record);
        }
        if next - BATCH >= warm_up {
            busy += start.elapsed();
            counted += BATCH;
        }
    }
    check(&table.snapshot().owners[0], next)?;
    Ok(figure(counted) / busy.as_secs_f64())
}

/// The `n`th record: in even rounds probes are sent, in odd rounds they are answered.
fn record(n: u64, sockets: u64) -> Record {
    let (round, place) = (n / sockets, n % sockets);
    let sent = round % 2 == 0;
    let run_ns = (round / 2 + 1) * 15 * SECOND_NS;
    let probe_us = run_ns / 1000;
    let stride = STRIDES[usize::try_from(round % 4).unwrap_or(0)];
    Record {
        time_ns: run_ns,
        sock: FIRST_SOCKET + place * stride % sockets * SOCKET_BYTES,
        first_seen_ns: SECOND_NS,
        run_ns,
        probe_us,
        answer_us: if sent { 0 } else { probe_us + 100 + place % 1000 },
        netns: 0xf000_0000,
        keepidle: 15 * 250,
        keepintvl: 15 * 250,
        sysctl_keepidle: 7200 * 250,
        sysctl_keepintvl: 75 * 250,
        sysctl_keepcnt: 9,
        received_age: 15 * 250,
        segs_in: u32::from(!sent),
        family: 2,
        flags: Record::KEEPALIVE | if sent { 0 } else { Record::ANSWERED },
        kind: if sent { Kind::ProbeSent } else { Kind::ProbeSettled } as u8,
        state: 1,
        ..Record::new_zeroed()
    }
}

/// A rate is worth nothing when the records did not do what they were meant to.
fn check(totals: &OwnerTotals, records: u64) -> anyhow::Result<()> {
    anyhow::ensure!(totals.conserved(), "the totals do not add up: {totals:?}");
    anyhow::ensure!(
        totals.sent + totals.answered == records
            && totals.unsettled == 0
            && totals.rtt.count() == totals.answered,
        "{records} records were to be probes and their answers: {totals:?}"
    );
    Ok(())
}
