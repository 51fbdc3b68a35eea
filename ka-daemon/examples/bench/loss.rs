//! Loss: a program in the kernel puts 200,000 records a second into a ring buffer of the daemon's
//! size, and the daemon's own reader, decoder and table take them out.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use aya::maps::{Array, RingBuf};
use aya::{Btf, EbpfLoader};
use aya_log::EbpfLogger;
use ka_daemon::events::ring::RingReader;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::empty::hang;
use crate::reading::Reading;
use crate::report::{Budget, Row, figure};

const RECORDS_A_SECOND: u64 = 200_000;
/// As many records as one call emits; the program knows the same number.
const BURST: u64 = 200;
const TIME: Duration = Duration::from_secs(5);
const RING_BYTES: u32 = 32 << 20;

pub(super) fn measure(object: &Path) -> anyhow::Result<Vec<Row>> {
    let btf = Btf::from_sys_fs()?;
    let (process, call, wakeup) = (std::process::id(), u32::try_from(libc::SYS_getpgid)?, RING_BYTES / 4);
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .override_global("BENCH_TGID", &process, true)
        .override_global("BENCH_SYSCALL", &call, true)
        .override_global("BENCH_WAKEUP_BYTES", &wakeup, true)
        .map_max_entries("KA_RECORDS", RING_BYTES)
        .load_file(object)
        .with_context(|| format!("cannot load {}", object.display()))?;
    let ring = RingBuf::try_from(ebpf.take_map("KA_RECORDS").context("no map KA_RECORDS")?)?;
    let logger = EbpfLogger::init(&mut ebpf)?;
    let reading = Reading::start(250, || Ok(RingReader::new(ring, logger)?))?;
    let program = ebpf.program_mut("bench_emit").context("no program bench_emit")?;
    hang(program, "tp_btf/sys_enter", &btf)?;

    let start = Instant::now();
    let before = cpu(UsageWho::RUSAGE_SELF)?;
    let spent = std::thread::spawn(emit).join().map_err(|_| anyhow::anyhow!("the emitter panicked"))??;
    let wall = start.elapsed();
    let snapshot = reading.finish()?;
    let reader = cpu(UsageWho::RUSAGE_SELF)?.saturating_sub(before).saturating_sub(spent);

    let progress: Array<_, [u64; 3]> =
        Array::try_from(ebpf.map("BENCH_PROGRESS").context("no map BENCH_PROGRESS")?)?;
    let [emitted, full, _] = progress.get(&0, 0)?;
    let received: u64 = snapshot.received.iter().sum();
    let rate = figure(emitted + full) / wall.as_secs_f64();
    ensure!(rate > 0.95 * figure(RECORDS_A_SECOND), "only {rate:.0} records/s were emitted");
    let lost = full + emitted.abs_diff(received);
    let share = 100.0 * reader.as_secs_f64() / wall.as_secs_f64();
    Ok(vec![
        Row::new("records lost at 200,000 a second", figure(lost), "records", Budget::Most(0.0)).note(format!(
            "{emitted} emitted, {received} received in {:.1} s, {rate:.0} a second, ring buffer of 32 MiB",
            wall.as_secs_f64()
        )),
        Row::new("the reader's CPU meanwhile", share, "% of one core", Budget::None)
            .note("wake-ups, reading, decoding, the table"),
    ])
}

/// Paces the calls; tells the CPU time that they took.
fn emit() -> anyhow::Result<Duration> {
    let before = cpu(UsageWho::RUSAGE_THREAD)?;
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < TIME {
        let due = u64::try_from(start.elapsed().as_micros())? * RECORDS_A_SECOND / 1_000_000;
        while done < due {
            rustix::process::getpgid(None)?;
            done += BURST;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(cpu(UsageWho::RUSAGE_THREAD)?.saturating_sub(before))
}

fn cpu(who: UsageWho) -> anyhow::Result<Duration> {
    let usage: Usage = getrusage(who)?;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(us)?))
}
