//! Fills the catalogue: pure, from a snapshot and a look at the kernel side to families.
//!
//! Known series start at 0 for the owner that is always there, sockets whose owner is not known;
//! for other owners only what happened has a series.

use std::time::Duration;

use ka_common::{Kind, Suppression, Timer};
use prometheus::proto::MetricFamily;

use super::Build;
use super::catalogue as c;
use super::family::Family;
use crate::inventory::totals::{RiskCount, Sweep};
use crate::learn::Learned;
use crate::policy::Reason;
use crate::status::KernelSide;
use crate::table::snapshot::OTHER;
use crate::table::{Cause, Ended, NetnsTotals, OwnerId, OwnerKey, OwnerTotals, Phase, Snapshot};

/// The `kind` of a record whose kind could not be read.
const UNKNOWN_KIND: &str = "unknown";

pub(super) fn families(snapshot: &Snapshot, kernel: &KernelSide, build: Build) -> Vec<MetricFamily> {
    let mut families = owners(snapshot);
    families.extend(sockets(snapshot));
    families.extend(suspected(&snapshot.learned));
    families.extend(totals(snapshot));
    families.extend(namespaces(&snapshot.netns));
    families.extend(records(snapshot, kernel));
    families.extend(programs(kernel));
    let mut info = Family::new(&c::BUILD_INFO);
    info.count([build.version, build.revision, build.rustc], 1);
    families.push(info);
    families.into_iter().filter_map(Family::finish).collect()
}

fn owner_labels(owner: &OwnerKey) -> [&str; 5] {
    [&owner.namespace, &owner.pod, &owner.container, &owner.service, &owner.comm]
}

fn shown(snapshot: &Snapshot) -> impl Iterator<Item = &OwnerTotals> {
    snapshot.owners.iter().filter(|totals| totals.shown)
}

type CountOf = fn(&OwnerTotals) -> u64;

fn owners(snapshot: &Snapshot) -> Vec<Family> {
    let counters: [(_, CountOf); 5] = [
        (&c::PROBES_SENT, |totals| totals.sent),
        (&c::PROBES_ANSWERED, |totals| totals.answered),
        (&c::PROBES_UNANSWERED, |totals| totals.unanswered),
        (&c::PROBES_UNSETTLED, |totals| totals.unsettled),
        (&c::ZERO_WINDOW_PROBES, |totals| totals.zero_window),
    ];
    let mut families = Vec::new();
    for (metric, value) in counters {
        let mut family = Family::new(metric);
        for totals in shown(snapshot) {
            family.count(owner_labels(&totals.owner), value(totals));
        }
        families.push(family);
    }
    let mut suppressed = Family::new(&c::PROBES_SUPPRESSED);
    let mut rtt = Family::new(&c::PROBE_RTT);
    let mut resets = Family::new(&c::RESETS_RECEIVED);
    let mut dropped = Family::new(&c::CONNECTIONS_DROPPED);
    for totals in shown(snapshot) {
        let ahead = std::ptr::eq(totals, &raw const snapshot.owners[OwnerId::UNKNOWN.index()]);
        let owner = owner_labels(&totals.owner);
        let with = |extra| owner.into_iter().chain(extra);
        for reason in Suppression::ALL {
            let count = totals.suppressed(*reason);
            if ahead || count > 0 {
                suppressed.count(with([reason.label()]), count);
            }
        }
        if ahead || totals.rtt.count() > 0 {
            rtt.histogram(owner, &totals.rtt);
        }
        for phase in Phase::ALL {
            let count = totals.resets[phase.index()];
            if ahead || count > 0 {
                resets.count(with([phase.label()]), count);
            }
        }
        let with = |extra: [_; 2]| owner.into_iter().chain(extra);
        for cause in Cause::ALL {
            for timer in Timer::ALL {
                let count = totals.dropped(*cause, *timer);
                // Most pairs cannot happen: ahead is only what each cause begins with.
                if count > 0 || (ahead && *timer == usual_timer(*cause)) {
                    dropped.count(with([cause.label(), timer.label()]), count);
                }
            }
        }
    }
    families.extend([suppressed, rtt, resets, dropped]);
    families
}

/// The timer that a cause goes with where nothing is unusual.
const fn usual_timer(cause: Cause) -> Timer {
    match cause {
        Cause::KeepaliveTimeout => Timer::Keepalive,
        Cause::ZeroWindowTimeout => Timer::ZeroWindow,
        Cause::UserTimeout | Cause::RetransmitTimeout | Cause::TimeoutAfterIdle => Timer::Retransmit,
        Cause::ResetByProbe
        | Cause::ResetAfterIdle
        | Cause::ResetWhileIdle
        | Cause::Reset
        | Cause::ResetAfterClose
        | Cause::Aborted
        | Cause::Other => Timer::None,
    }
}

fn totals(snapshot: &Snapshot) -> Vec<Family> {
    let mut skipped = Family::new(&c::PROBE_RTT_SKIPPED);
    skipped.count([], snapshot.rtt_skipped);
    let mut tracked = Family::new(&c::TRACKED_SOCKETS);
    tracked.count([], snapshot.tracked);
    let mut ended = Family::new(&c::CONNECTIONS_ENDED);
    for how in Ended::ALL {
        ended.count([how.label()], snapshot.ended[how.index()]);
    }
    let mut idle = Family::new(&c::IDLE_AT_DROP);
    for cause in Cause::ALL {
        idle.histogram([cause.label()], &snapshot.idle_at_drop[cause.index()]);
    }
    let mut overflow = Family::new(&c::OWNER_OVERFLOW);
    overflow.count([], snapshot.owner_overflow);
    vec![skipped, tracked, ended, idle, overflow]
}

/// What the last sweep found; nothing before the first.
fn sockets(snapshot: &Snapshot) -> Vec<Family> {
    let Some(sweep) = &snapshot.sweep else { return Vec::new() };
    let mut sockets = Family::new(&c::SOCKETS);
    let mut shortest = Family::new(&c::KEEPIDLE_MIN);
    let mut longest = Family::new(&c::KEEPIDLE_MAX);
    for totals in shown(snapshot) {
        let owner = owner_labels(&totals.owner);
        for (keepalive, count) in [("on", totals.sockets.on), ("off", totals.sockets.off)] {
            sockets.count(owner.into_iter().chain([keepalive]), count);
        }
        if let Some(seconds) = totals.sockets.keepidle_min {
            shortest.count(owner, seconds.into());
        }
        if let Some(seconds) = totals.sockets.keepidle_max {
            longest.count(owner, seconds.into());
        }
    }
    let mut families = vec![sockets, settings(sweep), shortest, longest];
    families.extend(risks(snapshot, sweep));
    let mut duration = Family::new(&c::INVENTORY_DURATION);
    duration.value([], sweep.took.as_secs_f64());
    let mut success = Family::new(&c::INVENTORY_LAST_SUCCESS);
    success.value([], sweep.ended_seconds);
    families.extend([duration, success]);
    families
}

/// What policies would cut. Every policy has its series from the first sweep that judged by it, and none after
/// it is gone.
fn risks(snapshot: &Snapshot, sweep: &Sweep) -> [Family; 3] {
    let mut limits = Family::new(&c::POLICY_IDLE_LIMIT);
    for policy in sweep.policies.iter() {
        limits.value([&*policy.name, policy.severity.label()], policy.idle_limit.as_secs_f64());
    }
    let mut all = Family::new(&c::SOCKETS_AT_RISK);
    let mut idle = Family::new(&c::SOCKETS_AT_RISK_IDLE);
    let mut add = |totals: &OwnerTotals, count: RiskCount| {
        let Some(policy) = sweep.policies.get(count.policy) else { return };
        let labels = owner_labels(&totals.owner).into_iter().chain([&*policy.name, count.reason.label()]);
        all.count(labels.clone(), count.sockets);
        idle.count(labels, count.idle);
    };
    for totals in shown(snapshot) {
        if std::ptr::eq(totals, &raw const snapshot.owners[OwnerId::UNKNOWN.index()]) {
            for policy in 0..sweep.policies.iter().len() {
                for reason in Reason::ALL {
                    let found =
                        totals.risks.iter().find(|count| (count.policy, count.reason) == (policy, reason));
                    add(totals, found.copied().unwrap_or(RiskCount { policy, reason, sockets: 0, idle: 0 }));
                }
            }
        } else {
            totals.risks.iter().for_each(|count| add(totals, *count));
        }
    }
    [all, idle, limits]
}

/// Combinations of settings that have series of their own.
const SETTINGS: usize = 50;

fn settings(sweep: &Sweep) -> Family {
    let mut family = Family::new(&c::SOCKET_SETTINGS);
    let (most, rest) = sweep.settings.split_at(SETTINGS.min(sweep.settings.len()));
    for (key, count) in most {
        let numbers = [key.keepidle, key.keepintvl, key.keepcnt].map(|number| number.to_string());
        let [keepidle, keepintvl, keepcnt] = numbers.each_ref().map(String::as_str);
        family.count([keepidle, keepintvl, keepcnt, key.origin.label(), &key.preset], *count);
    }
    let other = rest.iter().map(|(_, count)| count).sum::<u64>() + sweep.settings_other;
    if other > 0 {
        family.count([OTHER; 5], other);
    }
    family
}

/// Suspected idle timeouts that have series of their own.
const SUSPECTED: usize = 20;

fn suspected(learned: &Learned) -> [Family; 2] {
    let mut shortest = Family::new(&c::SUSPECTED_MIN);
    let mut longest = Family::new(&c::SUSPECTED_MAX);
    for suspected in learned.suspected.iter().take(SUSPECTED) {
        let prefix = suspected.prefix.to_string();
        if let Some(min) = suspected.bracket.min {
            shortest.value([prefix.as_str()], min.as_secs_f64());
        }
        longest.value([prefix.as_str()], suspected.bracket.max.as_secs_f64());
    }
    [shortest, longest]
}

fn namespaces(all: &[NetnsTotals]) -> Vec<Family> {
    let mut sysctls = [&c::SYSCTL_KEEPIDLE, &c::SYSCTL_KEEPINTVL, &c::SYSCTL_KEEPCNT].map(Family::new);
    let mut kernel = [&c::KERNEL_PROBES, &c::KERNEL_ZERO_WINDOW_PROBES].map(Family::new);
    let mut observed = [&c::OBSERVED_PROBES, &c::OBSERVED_ZERO_WINDOW_PROBES].map(Family::new);
    for totals in all {
        // The place of the namespaces that found none has a series once it is used; a place that is free
        // has none.
        if totals.netns == 0 && totals.keepalive == 0 && totals.zero_window == 0 {
            continue;
        }
        let netns = totals.netns.to_string();
        let add = |families: &mut [Family], values: &[u64]| {
            for (family, value) in families.iter_mut().zip(values) {
                family.count([netns.as_str()], *value);
            }
        };
        add(&mut observed, &[totals.keepalive, totals.zero_window]);
        if let Some(counts) = totals.kernel {
            add(&mut kernel, &[counts.keepalive, counts.zero_window]);
        }
        if let Some(own) = totals.sysctls {
            add(&mut sysctls, &[own.keepidle, own.keepintvl, own.keepcnt].map(u64::from));
        }
    }
    sysctls.into_iter().chain(kernel).chain(observed).collect()
}

fn records(snapshot: &Snapshot, kernel: &KernelSide) -> Vec<Family> {
    let mut emitted = Family::new(&c::RECORDS_EMITTED);
    let mut received = Family::new(&c::RECORDS_RECEIVED);
    let mut lost = Family::new(&c::RECORDS_LOST);
    for kind in Kind::ALL {
        let (label, place) = (kind.label(), *kind as usize);
        emitted.count([label], kernel.counters.emitted[place]);
        received.count([label], snapshot.received(*kind));
        lost.count([label, "ring_full"], kernel.counters.ring_full[place]);
        lost.count([label, "tracked_full"], kernel.counters.tracked_full[place]);
        lost.count([label, "undecodable"], snapshot.undecodable[place]);
    }
    lost.count([UNKNOWN_KIND, "undecodable"], snapshot.undecodable[0]);
    vec![emitted, received, lost]
}

fn programs(kernel: &KernelSide) -> Vec<Family> {
    let mut info = Family::new(&c::PROGRAM_INFO);
    let mut attached = Family::new(&c::PROGRAM_ATTACHED);
    let mut runs = Family::new(&c::PROGRAM_RUNS);
    let mut seconds = Family::new(&c::PROGRAM_RUN_SECONDS);
    let mut missed = Family::new(&c::PROGRAM_MISSED);
    for program in &kernel.programs {
        let name = [program.program];
        attached.count(name, u64::from(program.attached));
        if program.attached {
            info.count([program.program, &program.hook, program.plan.label()], 1);
        }
        if let Some(count) = program.runs {
            runs.count(name, count);
        }
        if let Some(ns) = program.run_ns {
            seconds.value(name, Duration::from_nanos(ns).as_secs_f64());
        }
        if let Some(count) = program.missed {
            missed.count(name, count);
        }
    }
    vec![info, attached, runs, seconds, missed]
}
