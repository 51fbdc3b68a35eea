//! The rules of Grafana's dashboard-linter (github.com/grafana/dashboard-linter at 4d0844b), by its names.
//! Those for Loki do not apply. Where ours are stricter (every kind of panel with data, not some), they are so
//! because nothing speaks for an exception. Whether Grafana knows a unit is for the stage `schema` to say.
//!
//! One rule knows an exception, `target-counter-agg`: a counter may stand by itself where its events are counted
//! exactly, as `increase()` cannot (docs/decisions/0005).

use serde_json::{Value, json};

use crate::boards::{
    data_panels, finds, first, items, no_faults, targets, text, variable, variable_mut, variables,
};
use crate::promql::{self, RATE_INTERVAL_MS, Selector, selectors};

const DATA_SOURCE: &str = "${datasource}";

fn template_datasource(board: &Value) -> Vec<String> {
    let all: Vec<_> = variables(board).filter(|variable| variable["type"] == "datasource").collect();
    let [one] = all[..] else { return vec![format!("{} data source variables, expected one", all.len())] };
    let expected = [("name", "datasource"), ("label", "Data source"), ("query", "prometheus")];
    let wrong = expected.iter().filter(|(key, value)| one[key] != *value);
    wrong
        .map(|(key, value)| format!("the data source variable's {key} is {}, not {value}", one[key]))
        .collect()
}

fn template_job_and_instance(board: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, label) in [("job", "Job"), ("instance", "Instance")] {
        let Some(one) = variable(board, name) else {
            faults.push(format!("there is no variable {name}"));
            continue;
        };
        let expected = [
            ("/datasource/uid", json!(DATA_SOURCE)),
            ("/type", json!("query")),
            ("/label", json!(label)),
            ("/multi", json!(true)),
            ("/allValue", json!(".+")),
        ];
        let wrong = expected.iter().filter(|(place, value)| one.pointer(place) != Some(value));
        faults.extend(wrong.map(|(place, value)| format!("variable {name}: {place} is not {value}")));
    }
    faults
}

/// The metric and the label of `label_values(METRIC, LABEL)`.
pub(crate) fn label_values(query: &str) -> Option<(&str, &str)> {
    query.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(", ")
}

fn template_label_promql(board: &Value) -> Vec<String> {
    let queried = variables(board).filter(|variable| variable["type"] == "query");
    queried
        .filter_map(|variable| {
            let query = text(&variable["query"]);
            let parsed = label_values(query).map(|(selector, _)| promql::parse(selector));
            match parsed {
                Some(Ok(_)) if variable["definition"] == query => None,
                Some(Err(error)) => Some(format!("variable {}: {error}: {query}", variable["name"])),
                _ => Some(format!("variable {}: no label_values(METRIC, LABEL): {query}", variable["name"])),
            }
        })
        .collect()
}

fn template_on_time_change_reload(board: &Value) -> Vec<String> {
    let queried = variables(board).filter(|variable| variable["type"] == "query" && variable["refresh"] != 2);
    queried.map(|variable| format!("variable {} is not read again with the time", variable["name"])).collect()
}

fn panel_datasource(board: &Value) -> Vec<String> {
    let of_panels = data_panels(board).map(|panel| (panel, &panel["datasource"]));
    let of_targets = targets(board).map(|(panel, target)| (panel, &target["datasource"]));
    let others = of_panels.chain(of_targets).filter(|(_, source)| source["uid"] != DATA_SOURCE);
    others.map(|(panel, source)| format!("panel {} has the data source {source}", panel["title"])).collect()
}

fn panel_title_description(board: &Value) -> Vec<String> {
    let bare = data_panels(board).filter(|panel| {
        text(&panel["title"]).trim().is_empty() || text(&panel["description"]).trim().is_empty()
    });
    bare.map(|panel| format!("panel {} {} has no title or description", panel["id"], panel["title"]))
        .collect()
}

fn panel_units(board: &Value) -> Vec<String> {
    let unitless =
        data_panels(board).filter(|panel| text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty());
    unitless.map(|panel| format!("panel {} has no unit", panel["title"])).collect()
}

fn panel_no_targets(board: &Value) -> Vec<String> {
    let empty = data_panels(board).filter(|panel| items(&panel["targets"]).next().is_none());
    empty.map(|panel| format!("panel {} has no queries", panel["title"])).collect()
}

fn target_promql(board: &Value) -> Vec<String> {
    let parsed = targets(board).map(|(panel, target)| (panel, target, promql::parse(text(&target["expr"]))));
    parsed
        .filter_map(|(panel, target, parsed)| {
            let error = parsed.err()?;
            Some(format!("panel {} {}: {error}: {}", panel["title"], target["refId"], target["expr"]))
        })
        .collect()
}

/// What a rule says of each selector of each query.
fn each_selector(board: &Value, rule: impl Fn(&Selector<'_>) -> Option<String>) -> Vec<String> {
    let mut faults = Vec::new();
    for (panel, target) in targets(board) {
        let Ok(expr) = promql::parse(text(&target["expr"])) else { continue };
        let of_target = |fault| format!("panel {} {}: {fault}", panel["title"], target["refId"]);
        faults.extend(selectors(&expr).iter().filter_map(&rule).map(of_target));
    }
    faults
}

fn target_rate_interval(board: &Value) -> Vec<String> {
    each_selector(board, |selector| {
        let range = selector.range_ms?;
        let rate = matches!(selector.function, Some("rate" | "irate"));
        let wrong = if range == RATE_INTERVAL_MS { !rate } else { rate };
        wrong.then(|| format!("{}: $__rate_interval and rate() belong together", selector.name()))
    })
}

fn target_job_and_instance(board: &Value) -> Vec<String> {
    each_selector(board, |selector| {
        let missing = [("job", "$job"), ("instance", "$instance")]
            .iter()
            .find(|(label, value)| !selector.asks(label, value))?;
        Some(format!("{} does not ask {}=~\"{}\"", selector.name(), missing.0, missing.1))
    })
}

fn target_counter_agg(board: &Value) -> Vec<String> {
    each_selector(board, |selector| {
        let counts = matches!(selector.function, Some("rate" | "irate" | "increase")) || selector.of_events;
        (selector.name().ends_with("_total") && !counts)
            .then(|| format!("counter {} is not made a rate or a number of events", selector.name()))
    })
}

fn uneditable(board: &Value) -> Vec<String> {
    if board["editable"] == false { Vec::new() } else { vec!["is editable".to_owned()] }
}

type Rule = fn(&Value) -> Vec<String>;

const RULES: [(&str, Rule); 13] = [
    ("template-datasource-rule", template_datasource),
    ("template-job-rule, template-instance-rule", template_job_and_instance),
    ("template-label-promql-rule", template_label_promql),
    ("template-on-time-change-reload-rule", template_on_time_change_reload),
    ("panel-datasource-rule", panel_datasource),
    ("panel-title-description-rule", panel_title_description),
    ("panel-units-rule", panel_units),
    ("panel-no-targets-rule", panel_no_targets),
    ("target-promql-rule", target_promql),
    ("target-rate-interval-rule", target_rate_interval),
    ("target-job-rule, target-instance-rule", target_job_and_instance),
    ("target-counter-agg-rule", target_counter_agg),
    ("uneditable-dashboard", uneditable),
];

#[test]
fn every_rule_is_kept() {
    let all = |board: &Value| {
        let told = |(name, rule): &(&str, Rule)| {
            rule(board).into_iter().map(|fault| format!("{name}: {fault}")).collect::<Vec<_>>()
        };
        RULES.iter().flat_map(told).collect()
    };
    no_faults(all);
}

#[test]
fn variables_that_break_a_rule_are_found() {
    finds("label", template_datasource, |board| variable_mut(board, "datasource")["label"] = json!("Source"));
    finds("expected one", template_datasource, |board| {
        variable_mut(board, "job")["type"] = json!("datasource");
    });
    finds("/multi", template_job_and_instance, |board| variable_mut(board, "job")["multi"] = json!(false));
    finds("/allValue", template_job_and_instance, |board| {
        variable_mut(board, "instance")["allValue"] = json!(".*");
    });
    finds("no variable job", template_job_and_instance, |board| {
        variable_mut(board, "job")["name"] = json!("jobs");
    });
    finds("no label_values", template_label_promql, |board| variable_mut(board, "job")["query"] = json!("x"));
    finds("label_values(x{, job)", template_label_promql, |board| {
        variable_mut(board, "job")["query"] = json!("label_values(x{, job)");
    });
    finds("is not read again", template_on_time_change_reload, |board| {
        variable_mut(board, "job")["refresh"] = json!(1);
    });
    finds("is editable", uneditable, |board| board["editable"] = json!(true));
}

#[test]
fn panels_that_break_a_rule_are_found() {
    finds("the data source", panel_datasource, |board| first(board)["datasource"]["uid"] = json!("abc"));
    finds("the data source", panel_datasource, |board| {
        first(board)["targets"][0]["datasource"]["uid"] = json!("abc");
    });
    finds("no title", panel_title_description, |board| first(board)["description"] = json!(" "));
    finds("no unit", panel_units, |board| first(board)["fieldConfig"]["defaults"]["unit"] = json!(""));
    finds("no queries", panel_no_targets, |board| first(board)["targets"] = json!([]));
}

#[test]
fn queries_that_break_a_rule_are_found() {
    let set =
        |query: &'static str| move |board: &mut Value| first(board)["targets"][0]["expr"] = json!(query);
    finds("sum(x", target_promql, set("sum(x"));
    finds("belong together", target_rate_interval, set("rate(x_total[5m])"));
    finds("belong together", target_rate_interval, set("avg_over_time(x[$__rate_interval])"));
    finds("does not ask job", target_job_and_instance, set("x{instance=~\"$instance\"}"));
    finds("does not ask instance", target_job_and_instance, set("x{job=~\"$job\", instance=\"$instance\"}"));
    finds("counter x_total", target_counter_agg, set("sum(x_total)"));
    finds("counter x_total", target_counter_agg, set("max_over_time(x_total[5m])"));
}
