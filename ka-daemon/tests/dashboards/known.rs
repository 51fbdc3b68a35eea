//! Every metric and label that a dashboard names is one that the daemon has.

use std::collections::BTreeSet;

use ka_daemon::metrics::catalogue::{self, Metric, Type};
use serde_json::{Value, json};

use crate::boards::{
    data_panels, expressions, finds, first, items, no_faults, targets, text, variable_mut, variables,
};
use crate::linter::label_values;
use crate::promql::{self, labels_out, named_labels, selectors};

/// What Prometheus itself adds to a target, and the daemon's own process (`process_*`), without labels.
const BESIDES: [&str; 4] =
    ["up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"];
/// What Prometheus adds to every series.
const OF_THE_TARGET: [&str; 2] = ["job", "instance"];

/// The labels of a series as it is scraped; none: there is no such series.
fn labels_of(series: &str) -> Option<BTreeSet<&'static str>> {
    let mut labels = BTreeSet::from(OF_THE_TARGET);
    if BESIDES.contains(&series) {
        return Some(labels);
    }
    let of = |name: &str| catalogue::ALL.iter().find(|metric| metric.name == name).copied();
    let histogram = |metric: &&Metric| matches!(metric.kind, Type::Histogram(_));
    let metric = of(series).filter(|metric| !histogram(metric)).or_else(|| {
        let parts = ["_bucket", "_sum", "_count"];
        parts.iter().find_map(|part| of(series.strip_suffix(part)?)).filter(histogram)
    })?;
    labels.extend(metric.label_names());
    if series.ends_with("_bucket") {
        labels.insert("le");
    }
    Some(labels)
}

fn faults(board: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (place, expr) in expressions(board) {
        faults.extend(of_query(expr).into_iter().map(|fault| format!("{place}: {fault}")));
    }
    for variable in variables(board) {
        if let Some((selector, label)) = label_values(text(&variable["query"])) {
            let place = |fault| format!("variable {}: {fault}", variable["name"]);
            faults.extend(of_query(&format!("count by ({label}) ({selector})")).into_iter().map(place));
        }
    }
    faults
}

fn of_query(expr: &str) -> Vec<String> {
    let parsed = match promql::parse(expr) {
        Ok(parsed) => parsed,
        Err(error) => return vec![error],
    };
    let mut faults = Vec::new();
    let mut known = BTreeSet::new();
    for selector in selectors(&parsed) {
        let name = selector.name();
        let Some(labels) = labels_of(name) else {
            faults.push(format!("there is no metric {name:?}"));
            continue;
        };
        let strange = selector.matchers().iter().filter(|matcher| !labels.contains(matcher.name.as_str()));
        faults.extend(strange.map(|matcher| format!("{name} has no label {}", matcher.name)));
        known.extend(labels);
    }
    let strange = named_labels(&parsed).into_iter().filter(|label| !known.contains(label.as_str()));
    faults.extend(strange.map(|label| format!("no metric there has a label {label}")));
    faults
}

/// `{{label}}`s of a text.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).map(str::trim)
}

/// What is shown of a query's labels comes out of it: legends, texts of annotations, columns of tables.
fn shown(board: &Value) -> Vec<String> {
    let out =
        |expr: &str| promql::parse(expr).ok().and_then(|parsed| labels_out(&parsed)).unwrap_or_default();
    let mut faults = Vec::new();
    for (panel, target) in targets(board) {
        let (labels, legend) = (out(text(&target["expr"])), text(&target["legendFormat"]));
        let strange = placeholders(legend).filter(|label| !labels.contains(*label));
        faults
            .extend(strange.map(|label| format!("panel {}: the query has no label {label}", panel["title"])));
        let told: BTreeSet<_> = placeholders(legend).collect();
        let lost = labels.iter().filter(|label| *label != "le" && !told.contains(label.as_str()));
        if panel["type"] != "table" {
            faults.extend(lost.map(|label| format!("panel {}: no legend tells {label}", panel["title"])));
        }
    }
    for annotation in items(&board["annotations"]["list"]).filter(|one| one.get("expr").is_some()) {
        let labels = out(text(&annotation["expr"]));
        let texts = ["titleFormat", "textFormat"].map(|key| text(&annotation[key]));
        let strange = texts.into_iter().flat_map(placeholders).filter(|label| !labels.contains(*label));
        faults.extend(strange.map(|label| format!("annotation: the query has no label {label}")));
    }
    for panel in data_panels(board).filter(|panel| panel["type"] == "table") {
        let exprs: Vec<_> = items(&panel["targets"]).map(|target| text(&target["expr"])).collect();
        let mut names: BTreeSet<String> = exprs.iter().flat_map(|expr| out(expr)).collect();
        match exprs.len() {
            1 => drop(names.insert("Value".to_owned())),
            more => names.extend(('A'..).take(more).map(|letter| format!("Value #{letter}"))),
        }
        let left_out = &panel["transformations"].as_array().and_then(|all| all.last()).unwrap()["options"]["excludeByName"];
        names.retain(|name| left_out.get(name).is_none());
        let columns: BTreeSet<String> = items(&panel["fieldConfig"]["overrides"])
            .filter(|one| one["matcher"]["id"] == "byName")
            .map(|one| text(&one["matcher"]["options"]).to_owned())
            .collect();
        let differ = names.symmetric_difference(&columns);
        faults
            .extend(differ.map(|name| {
                format!("panel {}: {name} is no column, or comes from no query", panel["title"])
            }));
    }
    faults
}

#[test]
fn every_metric_and_label_exists() {
    no_faults(faults);
}

#[test]
fn what_is_shown_of_labels_comes_out_of_the_queries() {
    no_faults(shown);
}

#[test]
fn what_does_not_exist_is_found() {
    let set =
        |query: &'static str| move |board: &mut Value| first(board)["targets"][0]["expr"] = json!(query);
    finds("no metric \"ka_sokets\"", faults, set("sum(ka_sokets)"));
    finds("ka_sockets has no label cause", faults, set("sum(ka_sockets{cause=\"x\"})"));
    finds("no metric there has a label netns", faults, set("sum by (netns) (ka_sockets)"));
    finds("no metric \"ka_sockets_bucket\"", faults, set("sum by (le) (ka_sockets_bucket)"));
    finds("no metric \"ka_keepalive_probe_rtt_seconds\"", faults, set("ka_keepalive_probe_rtt_seconds"));
    finds("variable \"comm\"", faults, |board| {
        variable_mut(board, "comm")["query"] = json!("label_values(ka_sockets, process)");
    });
    finds("no label pod", shown, |board| first(board)["targets"][0]["legendFormat"] = json!("{{pod}}"));
    finds("no legend tells pod", shown, set("sum by (pod) (ka_sockets)"));
}
