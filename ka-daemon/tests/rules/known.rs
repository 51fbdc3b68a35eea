//! What there is to ask for: metrics with their labels, and the values of labels that are closed sets.

use std::collections::{BTreeMap, BTreeSet};

use ka_daemon::bpf::{Spec, TABLE};
use ka_daemon::metrics::catalogue::{self, OWNER_LABELS, Type};
use ka_daemon::status::Intent;
use ka_daemon::table::Cause;
use ka_daemon::table::snapshot::OTHER;

use crate::files;

/// What Prometheus gives every series of a target.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];
/// What is not in the catalogue: Prometheus' own, and those of the process, which are the usual ones.
const ELSEWHERE: [&str; 2] = ["up", "process_start_time_seconds"];

pub(crate) type Labels = BTreeSet<&'static str>;

/// The labels of a metric, or of a recorded one by its level; none where there is no such metric.
pub(crate) fn labels_of(metric: &str) -> Option<Labels> {
    if ELSEWHERE.contains(&metric) {
        return Some(Labels::from(TARGET_LABELS));
    }
    if let Some((level, _)) = metric.split_once(':') {
        let recorded = files::rules().iter().any(|rule| rule.record.as_deref() == Some(metric));
        return recorded.then(|| labels_of_level(level))?;
    }
    let mut all = catalogue::ALL.iter();
    let (metric, more) =
        all.find_map(|known| Some((known, more_labels(known.kind, metric.strip_prefix(known.name)?)?)))?;
    Some(metric.label_names().chain(TARGET_LABELS).chain(more.iter().copied()).collect())
}

/// The labels that a series has besides its metric's, by the end of its name; none where there is no such series.
fn more_labels(kind: Type, end: &str) -> Option<&'static [&'static str]> {
    match (end, kind) {
        ("", Type::Counter | Type::Gauge) | ("_sum" | "_count", Type::Histogram(_)) => Some(&[]),
        ("_bucket", Type::Histogram(_)) => Some(&["le"]),
        _ => None,
    }
}

/// As the head of recording.yaml says.
fn labels_of_level(level: &str) -> Option<Labels> {
    let owner = || OWNER_LABELS.into_iter().chain(TARGET_LABELS);
    match level {
        "owner" => Some(owner().collect()),
        "owner_cause" => Some(owner().chain(["cause"]).collect()),
        "workload" => Some(owner().filter(|label| !["instance", "pod"].contains(label)).collect()),
        "netns" => Some(TARGET_LABELS.into_iter().chain(["netns"]).collect()),
        _ => None,
    }
}

/// The values of a label, where all of them are known.
pub(crate) fn values_of(label: &str) -> Option<Vec<&'static str>> {
    match label {
        "cause" => Some(Cause::ALL.iter().map(|cause| cause.label()).collect()),
        "keepalive" => Some(vec!["on", "off"]),
        "program" => Some(TABLE.iter().map(|spec| spec.program).collect()),
        "reason" => Some(vec!["keepalive_off", "idle_too_long", "peer_keeps_alive"]),
        // Anything, and nothing; what is written out is a name of ka's own.
        "comm" => Some(vec!["", OTHER]),
        "namespace" | "pod" | "container" | "service" => Some(vec![""]),
        "job" => Some(vec!["ka"]),
        _ => None,
    }
}

/// Programs whose work no other plan does.
pub(crate) fn without_substitute() -> BTreeSet<&'static str> {
    let mut plans: BTreeMap<Intent, BTreeSet<_>> = BTreeMap::new();
    for spec in TABLE {
        for intent in spec.intents {
            plans.entry(*intent).or_default().insert(spec.plan);
        }
    }
    let alone = |spec: &&Spec| spec.intents.iter().any(|intent| plans[intent].len() == 1);
    TABLE.iter().filter(alone).map(|spec| spec.program).collect()
}

#[test]
fn metrics_are_found_by_the_names_of_their_series() {
    let labels = |name| labels_of(name).map(|labels| labels.into_iter().collect::<Vec<_>>());
    assert_eq!(labels("up"), Some(vec!["instance", "job"]));
    assert_eq!(labels("ka_tracked_sockets"), Some(vec!["instance", "job"]));
    let bucket = labels("ka_connection_idle_at_drop_seconds_bucket");
    assert_eq!(bucket, Some(vec!["cause", "instance", "job", "le"]));
    for unknown in
        ["ka_tracked", "ka_tracked_sockets_bucket", "ka_connection_idle_at_drop_seconds", "owner:x:y"]
    {
        assert_eq!(labels(unknown), None, "{unknown}");
    }
}
