//! At the end of a run: the daemon's page against its record log, and both against the kernel over
//! all namespaces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::case::Env;
use crate::daemon::{Page, sum};
use crate::net::{Net, Nstat, Side, nstat_here};
use crate::records::View;
use crate::say;

/// Checks all of it; tries until everything stands still, since records come as long as sockets end.
/// `spoilt`: the kernel kept timer runs from BPF in some attempts, whose probes then have no outcome.
pub(crate) fn audit(
    env: &Env,
    nets: &[Arc<Net>],
    host_before: Nstat,
    spoilt: bool,
    patience: Duration,
) -> Result<()> {
    let begin = Instant::now();
    let mut waited_for = None;
    loop {
        match audit_once(env, nets, host_before, spoilt) {
            Err(e) if begin.elapsed() > patience => return Err(e),
            Err(e) => waited_for = Some(e),
            Ok(()) => break,
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    if let Some(last) = waited_for.filter(|_| begin.elapsed() > Duration::from_secs(5)) {
        say(&format!("the sums agreed after {:.1} s; before: {last:#}", begin.elapsed().as_secs_f64()));
    }
    Ok(())
}

fn audit_once(env: &Env, nets: &[Arc<Net>], host_before: Nstat, spoilt: bool) -> Result<()> {
    let page = env.daemon.metrics()?;
    let all = env.daemon.all()?;
    let total = |metric: &str, labels: &[&str]| sum(&page, metric, labels);
    let (emitted, received) =
        (total("ka_records_emitted_total", &[]), total("ka_records_received_total", &[]));
    let lost = total("ka_records_lost_total", &[]);
    ensure!(lost == 0, "expected no lost records, came {lost}");
    ensure!(
        emitted == received && emitted > 0,
        "expected emitted = received > 0, came {emitted} and {received}"
    );
    equal("records received", received, all.records().count() as u64)?;
    equal("probes sent", total("ka_keepalive_probes_sent_total", &[]), all.sent())?;
    equal("probes answered", total("ka_keepalive_probes_answered_total", &[]), all.answered())?;
    equal("probes unanswered", total("ka_keepalive_probes_unanswered_total", &[]), all.unanswered())?;
    let unsettled = total("ka_keepalive_probes_unsettled_total", &[]);
    ensure!(unsettled == 0 || spoilt, "expected every outcome known, came {unsettled} unsettled");
    equal("window probes", total("ka_zero_window_probes_sent_total", &[]), all.window_probes())?;
    for reason in ["data_in_flight", "socket_locked", "local_congestion"] {
        let label = format!("reason=\"{reason}\"");
        let counted = total("ka_keepalive_probes_suppressed_total", &[&label]);
        equal(reason, counted, all.suppressed(reason))?;
    }
    equal("resets", total("ka_resets_received_total", &[]), all.resets().len() as u64)?;
    drops(&page, &all)?;
    equal("ends", total("ka_connections_ended_total", &[]), all.ended().len() as u64)?;
    let samples = total("ka_keepalive_probe_rtt_seconds_count", &[]);
    let skipped = total("ka_keepalive_probe_rtt_skipped_total", &[]);
    equal("round trips", samples, all.round_trips().len() as u64)?;
    equal("round trips and skipped", samples + skipped, all.answered())?;
    kernel_sums(env, &page, nets, host_before)
}

fn drops(page: &Page, all: &View) -> Result<()> {
    let mut kinds = all.drops();
    equal("drops", sum(page, "ka_connections_dropped_total", &[]), kinds.len() as u64)?;
    kinds.sort();
    for group in kinds.chunk_by(|a, b| a == b) {
        let (cause, timer) = group[0].split_once('/').context("cause/timer")?;
        let labels = [format!("cause=\"{cause}\""), format!("timer=\"{timer}\"")];
        let counted = sum(page, "ka_connections_dropped_total", &[&labels[0], &labels[1]]);
        equal(&group[0], counted, group.len() as u64)?;
    }
    Ok(())
}

/// Per namespace and in sum; other people's namespaces on this machine are left out.
fn kernel_sums(env: &Env, page: &Page, nets: &[Arc<Net>], before: Nstat) -> Result<()> {
    let mut expected = nstat_here()?.keepalive - before.keepalive;
    let host = std::fs::metadata("/proc/self/ns/net").context("own namespace")?;
    let mut inodes = vec![std::os::unix::fs::MetadataExt::ino(&host)];
    for net in nets {
        for side in Side::BOTH {
            let (kernel, inode) = (net.nstat(side)?.keepalive, net.inode(side)?);
            let label = format!("netns=\"{inode}\"");
            let view = env.daemon.view(&[inode])?;
            equal(
                "probes sent and the kernel's count",
                view.sent() + view.suppressed("local_congestion"),
                kernel,
            )?;
            equal("observed probes", sum(page, "ka_observed_keepalive_probes_total", &[&label]), kernel)?;
            // More namespaces than are read for a page: as of the last sweep, which comes.
            equal("the kernel's count", sum(page, "ka_kernel_keepalive_probes_total", &[&label]), kernel)?;
            expected += kernel;
            inodes.push(inode);
        }
    }
    let view = env.daemon.view(&inodes)?;
    equal("kernel's probes over all namespaces", view.sent() + view.suppressed("local_congestion"), expected)
}

fn equal(what: &str, left: u64, right: u64) -> Result<()> {
    ensure!(left == right, "{what}: expected {right}, came {left}");
    Ok(())
}
