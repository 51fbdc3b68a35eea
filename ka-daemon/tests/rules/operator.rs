//! What the Prometheus operator gets: the same rules, and objects that its API takes.
//!
//! The types stand for its schemas (API version v1, operator v0.93): the fields at each level that objects
//! of ours may use, and no others. An unknown field, a missing one or a wrong type fails here as it does
//! with `kubectl apply --validate=strict`.

use std::collections::BTreeMap;

use ka_daemon::metrics::catalogue::OWNER_LABELS;
use serde::Deserialize;

use crate::files::{self, RuleFile};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Object<Spec> {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// `PodMonitorSpec`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PodMonitor {
    selector: LabelSelector,
    pod_metrics_endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LabelSelector {
    match_labels: BTreeMap<String, String>,
}

/// `PodMetricsEndpoint`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Endpoint {
    port: String,
    path: String,
    interval: String,
    honor_labels: bool,
    relabelings: Vec<Relabeling>,
}

/// `RelabelConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Relabeling {
    source_labels: Vec<String>,
    target_label: Option<String>,
    regex: Option<String>,
    replacement: Option<String>,
    action: Action,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Action {
    #[default]
    Replace,
    LabelDrop,
}

const API: &str = "monitoring.coreos.com/v1";

fn object<Spec: serde::de::DeserializeOwned>(file: &str, kind: &str) -> Object<Spec> {
    let object: Object<Spec> = files::yaml(&format!("dashboards/prometheus-operator/{file}.yaml"));
    assert_eq!((object.api_version.as_str(), object.kind.as_str()), (API, kind));
    assert_eq!(object.metadata.name, "ka");
    assert_eq!(object.metadata.labels["app.kubernetes.io/name"], "ka");
    object
}

/// `((…y)(…w)(…d)(…h)(…m)(…s)(…ms))`, units in this order and each at most once.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    for unit in ["y", "w", "d", "h", "m", "s", "ms"] {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Some(after) = rest[digits..].strip_prefix(unit) else { continue };
        // `5ms` is no minutes.
        if digits > 0 && !(unit == "m" && after.starts_with('s')) {
            rest = after;
        }
    }
    rest.is_empty() && !text.is_empty()
}

#[test]
fn the_operator_gets_the_same_rules() {
    let object: Object<RuleFile> = object("prometheusrule", "PrometheusRule");
    assert_eq!(object.spec.groups, files::groups(), "`cargo xtask rules` makes it anew");
}

#[test]
fn durations_are_those_that_the_schema_takes() {
    for group in files::groups() {
        let times = group.rules.iter().flat_map(|rule| [&rule.lasting, &rule.keep_firing_for]);
        for time in times.chain([&group.interval]).flatten() {
            assert!(is_duration(time), "{}: {time:?}", group.name);
        }
    }
    for good in ["30s", "5m", "1h30m", "5ms", "1m5ms"] {
        assert!(is_duration(good), "{good}");
    }
    for bad in ["", "5", "5 m", "30s5m", "1.5h", "m"] {
        assert!(!is_duration(bad), "{bad}");
    }
}

#[test]
fn the_pod_monitor_keeps_the_owners_labels() {
    let PodMonitor { selector, pod_metrics_endpoints } = object("podmonitor", "PodMonitor").spec;
    assert_eq!(selector.match_labels["app.kubernetes.io/name"], "ka");
    let [endpoint] = pod_metrics_endpoints.as_slice() else { panic!("one endpoint") };
    assert!(endpoint.honor_labels);
    assert!(endpoint.port.len() <= 15, "the name of a port");
    assert_eq!(endpoint.path, "/metrics");
    assert!(is_duration(&endpoint.interval));
    // What the operator puts on every target of a PodMonitor, as far as owners have it too.
    let dropped = endpoint.relabelings.iter().find(|step| step.action == Action::LabelDrop).unwrap();
    let dropped: Vec<_> = dropped.regex.as_deref().unwrap().split('|').collect();
    assert_eq!(dropped, ["namespace", "pod", "container"]);
    assert!(dropped.iter().all(|label| OWNER_LABELS.contains(label)));
    let put = |label: &str| {
        endpoint.relabelings.iter().find(|step| step.target_label.as_deref() == Some(label)).unwrap()
    };
    assert_eq!(put("job").replacement.as_deref(), Some("ka"), "the alerts expect it");
    assert_eq!(put("instance").source_labels, ["__meta_kubernetes_pod_node_name"]);
}
