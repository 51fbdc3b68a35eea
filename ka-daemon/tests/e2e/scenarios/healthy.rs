//! Probes that are answered.
//! Needs `unsafe` for mounts of a namespace of its own, which no crate here wraps.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Scenario, on_any};
use crate::capture::{Capture, Tcpdump};
use crate::case::{Case, Expect};
use crate::daemon::{Daemon, sum};
use crate::net::{Family, Side};
use crate::tcp::{FAST, Keepalive};

pub(super) const SCENARIOS: &[Scenario] = &[
    on_any("healthy_v4", |c| healthy(c, Family::V4)),
    on_any("healthy_v6", |c| healthy(c, Family::V6)),
    on_any("healthy_mapped", |c| healthy(c, Family::Mapped)),
    on_any("healthy_tcpdump", tcpdump),
    on_any("both_ends_probe", both_ends),
    on_any("both_ends_probe_rtt_exact", both_ends_exact),
    on_any("data_is_no_answer_rtt_exact", data_exact),
    on_any("older_than_the_daemon", older),
    on_any("answer_on_another_cpu", other_cpu),
    on_any("ring_buffer_wraps", wraps),
];

/// Three rounds, each answered, with a clean round trip, as many on the wire as counted.
fn healthy(case: &Case<'_>, family: Family) -> Result<Expect> {
    let capture = Capture::start(&case.net, Side::A)?;
    let pair = case.connect(family)?;
    pair.a.keepalive(FAST)?;
    let view = case.wait(Side::A, "three round trips", |v| v.round_trips().len() >= 3)?;
    let (sent, trips) = (view.sent(), view.round_trips());
    let wire = capture.probes_at_least(pair.a_address, pair.b_address, sent);
    ensure!(
        wire >= sent && wire <= sent + 1,
        "expected {sent} probes on the wire (or one not settled), came {wire}"
    );
    ensure!(view.unanswered() == 0, "expected every probe answered, came {} unanswered", view.unanswered());
    // A clock whose tick lags, as it may on emulated processors, costs a sample.
    ensure!(
        view.round_trips_skipped() <= 1,
        "expected a round trip of each of {} answers, came {trips:?}",
        view.answered()
    );
    ensure!(
        trips.iter().all(|t| t.0 > 0.0 && t.0 < 1e6),
        "expected round trips in (0, 1 s), came {trips:?} µs"
    );
    let first = view.records().next();
    let settings = first.map(|r| (r.keepidle_seconds, r.keepintvl_seconds, r.keepcnt));
    ensure!(settings == Some((Some(1.0), Some(1.0), Some(3))), "expected settings 1/1/3, came {settings:?}");
    let ends = first.map(|r| (r.local.as_str(), r.remote.as_str()));
    let (local, remote) = (pair.a_address.to_string(), pair.b_address.to_string());
    ensure!(ends == Some((&local, &remote)), "expected {local} to {remote}, came {ends:?}");
    Ok(Expect::nothing())
}

/// The real tcpdump agrees: empty segments one below the next sequence number.
fn tcpdump(case: &Case<'_>) -> Result<Expect> {
    let dump = Tcpdump::start(&case.net, Side::A)?;
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(FAST)?;
    case.wait(Side::A, "three answered probes", |v| v.answered() >= 3)?;
    // Off: from here on nothing is sent, so both counts can be compared as they stand.
    pair.a.keepalive_switch(false)?;
    std::thread::sleep(Duration::from_millis(1500));
    let sent = case.view(Side::A)?.sent();
    let lines = dump.stop()?;
    // The connect is a SYN and an ACK; everything else that a sends is a probe.
    let acks = lines.iter().filter(|l| l.contains("Flags [.]") && l.ends_with("length 0")).count() as u64;
    ensure!(
        acks == sent + 1,
        "expected {sent} probes and one ACK of the handshake in tcpdump, came {acks}:\n{}",
        lines.join("\n")
    );
    Ok(Expect::nothing())
}

/// The peer's probe is no answer and spoils the simple round trip.
fn both_ends(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(FAST)?;
    pair.b.keepalive(FAST)?;
    for side in Side::BOTH {
        let view = case.wait(side, "four answered probes", |v| v.answered() >= 4)?;
        case.all_answered(side, &view)?;
        let trips = view.round_trips();
        ensure!(trips.iter().all(|t| t.0 > 0.0 && t.0 < 5e5), "a spoiled round trip was used: {trips:?} µs");
        ensure!(
            view.round_trips_skipped() > 0,
            "expected skipped round trips, came none in {}",
            view.answered()
        );
    }
    Ok(Expect::nothing())
}

/// With `--rtt exact` each of those answers has its round trip.
fn both_ends_exact(case: &Case<'_>) -> Result<Expect> {
    let exact = Daemon::start(&case.env.program, &case.env.hooks, &["--rtt", "exact"])?;
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(FAST)?;
    pair.b.keepalive(FAST)?;
    for side in Side::BOTH {
        let view = case.wait_in(&exact, side, "four answered probes", |v| v.answered() >= 4)?;
        let trips = view.round_trips();
        ensure!(
            trips.len() as u64 == view.answered(),
            "expected a round trip of each of {} answers, came {trips:?}",
            view.answered()
        );
        ensure!(
            trips.iter().all(|t| t.1 && t.0 > 0.0 && t.0 < 5e5),
            "expected exact round trips, came {trips:?} µs"
        );
    }
    exact.stop()?;
    Ok(Expect::nothing())
}

/// The peer's data comes between a probe and its answer: it is not what was waited for.
fn data_exact(case: &Case<'_>) -> Result<Expect> {
    let exact = Daemon::start(&case.env.program, &case.env.hooks, &["--rtt", "exact"])?;
    let pair = case.connect(Family::V4)?;
    pair.b.write(b"x")?;
    pair.a.wait_unread(1)?;
    // Segments without data: the answer does not come through.
    case.net.filter(Side::A, &["meta l4proto tcp meta length < 53 drop"])?;
    pair.a.keepalive(Keepalive { idle: 1, interval: 600, count: 3 })?;
    case.wait_in(&exact, Side::A, "a probe", |v| v.sent() == 1)?;
    pair.b.write(b"y")?;
    pair.a.wait_unread(2)?;
    std::thread::sleep(Duration::from_millis(1500));
    case.net.heal(Side::A)?;
    pair.a.write(b"z")?;
    pair.b.read_exact(1)?;
    // The acknowledgement may be delayed.
    std::thread::sleep(Duration::from_millis(500));
    case.close(pair.a)?;
    let view =
        case.wait_in(&exact, Side::A, "the probe's outcome", |v| v.answered() + v.unanswered() == 1)?;
    let trips = view.round_trips();
    ensure!(
        view.answered() == 1 && trips.iter().all(|t| t.0 >= 1.5e6),
        "expected an answer after more than 1.5 s, came {} with {trips:?} µs",
        view.answered()
    );
    exact.stop()?;
    Ok(Expect::nothing())
}

/// A daemon that starts later knows everything about a socket from its first record.
fn older(case: &Case<'_>) -> Result<Expect> {
    let pair = case.connect(Family::V4)?;
    pair.a.keepalive(FAST)?;
    case.wait(Side::A, "an answered probe", |v| v.answered() >= 1)?;
    let later = Daemon::start(&case.env.program, &case.env.hooks, &[])?;
    let view = case.wait_in(&later, Side::A, "two answered probes", |v| v.answered() >= 2)?;
    // A sweep locks a socket for as long as it reads it; a run that meets it comes again shortly.
    let first = view.records().find(|r| r.kind != "suppressed").map(|r| {
        let settings = (r.keepidle_seconds, r.keepintvl_seconds, r.keepcnt);
        (r.kind.as_str(), r.state.to_ascii_uppercase(), settings, r.local.clone())
    });
    let settings = (Some(1.0), Some(1.0), Some(3));
    let expected = ("probe_sent", "ESTABLISHED".to_owned(), settings, pair.a_address.to_string());
    ensure!(first.as_ref() == Some(&expected), "expected the first record {expected:?}, came {first:?}");
    case.net.cut()?;
    let view = case.wait_in(&later, Side::A, "the drop", |v| !v.drops().is_empty())?;
    ensure!(view.drops() == ["keepalive_timeout/keepalive"], "came {:?}", view.drops());
    case.wait(Side::A, "the drop", |v| !v.drops().is_empty())?;
    later.stop()?;
    Ok(Expect::drops(&["keepalive_timeout/keepalive"]))
}

/// Receive packet steering hands the answers to CPU 1 and the next run's CPU is another.
fn other_cpu(case: &Case<'_>) -> Result<Expect> {
    let path = format!("/sys/class/net/{}/queues/rx-0/rps_cpus", Side::A.device());
    case.net.within(Side::A, || {
        // sysfs shows the network devices of the namespace it was mounted in.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        mount_sysfs()?;
        std::fs::write(&path, "2")?;
        Ok(())
    })?;
    let mut pairs = Vec::new();
    for _ in 0..20 {
        let pair = case.connect(Family::V4)?;
        pair.a.keepalive(Keepalive { idle: 1, interval: 1, count: 3 })?;
        pairs.push(pair);
    }
    let view = case.wait(Side::A, "60 answered probes", |v| v.answered() >= 60)?;
    ensure!(view.unanswered() == 0, "expected every probe answered, came {} unanswered", view.unanswered());
    Ok(Expect::nothing())
}

/// Mounts sysfs anew, in the calling thread's own mount namespace.
fn mount_sysfs() -> Result<()> {
    let (root, sys) = (c"/".as_ptr(), c"sysfs".as_ptr());
    // SAFETY: constant strings; only this thread's mount namespace changes.
    let private = unsafe {
        libc::mount(root, root, std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE, std::ptr::null())
    };
    ensure!(private == 0, "cannot make mounts private: {}", std::io::Error::last_os_error());
    // SAFETY: as above.
    let mounted = unsafe { libc::mount(sys, c"/sys".as_ptr(), sys, 0, std::ptr::null()) };
    ensure!(mounted == 0, "cannot mount sysfs: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Reports go round a small ring buffer many times, each is read whole, and the second mapping of the buffer is
/// not resident but for its first page.
fn wraps(case: &Case<'_>) -> Result<Expect> {
    const SOCKETS: usize = 40;
    /// Two records for each probe, 132 probes in the buffer, five times round.
    const RECORDS: u64 = 2 * 132 * 5;
    const RING_KIB: u64 = 32;
    const PAGE_KIB: u64 = 4;
    let daemon = Daemon::start(&case.env.program, &case.env.hooks, &["--ring-buffer-size", "32KiB"])?;
    let mut pairs = Vec::new();
    for _ in 0..SOCKETS {
        let pair = case.connect(Family::V4)?;
        pair.a.keepalive(FAST)?;
        pairs.push(pair);
    }
    let deadline = Instant::now() + Duration::from_mins(3);
    loop {
        let page = daemon.metrics()?;
        let records = |name: &str| sum(&page, &format!("ka_records_{name}_total"), &[]);
        let (emitted, received) = (records("emitted"), records("received"));
        if received >= RECORDS {
            break;
        }
        ensure!(Instant::now() < deadline, "expected {RECORDS} records, came {received} of {emitted}");
        std::thread::sleep(Duration::from_millis(500));
    }
    let resident = daemon.mapping_rss_kib("anon_inode:bpf-map", PAGE_KIB + 2 * RING_KIB)?;
    ensure!(
        resident == [RING_KIB + 2 * PAGE_KIB],
        "expected the position, the buffer and a page more to be resident, came {resident:?} KiB"
    );
    for pair in &pairs {
        pair.a.keepalive_switch(false)?;
    }
    daemon.wait_all_received(Duration::from_mins(2))?;
    let undecodable = sum(&daemon.metrics()?, "ka_records_lost_total", &["reason=\"undecodable\""]);
    ensure!(undecodable == 0, "expected every report to be whole, came {undecodable} that are not");
    daemon.stop()?;
    Ok(Expect::nothing())
}
