//! Everything that the rules ask for exists.

use std::collections::BTreeSet;

use crate::files::{self, Rule};
use crate::known::{self, Labels, labels_of, values_of};
use crate::promql::{self, Asked, Selector};

/// The expressions of a rule: its own, and those in its annotations.
fn expressions(rule: &Rule) -> Vec<String> {
    let templates = rule.annotations.values().chain(rule.labels.values());
    templates.flat_map(|template| promql::queries(template)).chain([rule.expr.clone()]).collect()
}

fn asked(rule: &Rule, expression: &str) -> Asked {
    promql::asked(expression).unwrap_or_else(|error| panic!("{}: {error}: {expression}", rule.name()))
}

fn faults_of_selector(selector: &Selector) -> Vec<String> {
    let Selector { metric, matchers } = selector;
    let Some(labels) = labels_of(metric) else {
        return vec![format!("{metric} is not in the catalogue")];
    };
    let mut faults = Vec::new();
    for matcher in matchers {
        let label = matcher.label.as_str();
        if !labels.contains(label) {
            faults.push(format!("{metric} has no label {label}"));
        }
        for value in &matcher.values {
            // What stands in a template's query for a value of the alert's own.
            if value != "x" && values_of(label).is_some_and(|known| !known.contains(&value.as_str())) {
                faults.push(format!("{metric}: {label} is never {value:?}"));
            }
        }
    }
    faults
}

fn faults_of(rule: &Rule) -> Vec<String> {
    let mut faults = Vec::new();
    for expression in expressions(rule) {
        let asked = asked(rule, &expression);
        let labels = labels_together(&asked);
        faults.extend(asked.selectors.iter().flat_map(faults_of_selector));
        let known = |label: &&String| labels.contains(label.as_str());
        faults.extend(
            asked
                .labels
                .iter()
                .filter(|label| !known(label))
                .map(|label| format!("nothing has a label {label}")),
        );
    }
    faults.into_iter().map(|fault| format!("{}: {fault}", rule.name())).collect()
}

/// The labels of everything that an expression asks for, and so at most those of what it gives.
pub(crate) fn labels_together(asked: &Asked) -> Labels {
    if asked.absent {
        return Labels::new();
    }
    asked.selectors.iter().filter_map(|selector| labels_of(&selector.metric)).flatten().collect()
}

#[test]
fn every_metric_label_and_value_exists() {
    let faults: Vec<_> = files::rules().iter().flat_map(faults_of).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn what_does_not_exist_is_named() {
    let faults = |expr: &str| {
        let rule = Rule {
            record: Some("r".to_owned()),
            alert: None,
            expr: expr.to_owned(),
            lasting: None,
            keep_firing_for: None,
            labels: [].into(),
            annotations: [].into(),
        };
        faults_of(&rule)
    };
    assert_eq!(faults("sum by (netns) (ka_kernel_keepalive_probes_total)"), [""; 0]);
    assert_eq!(faults("ka_no_such_thing"), ["r: ka_no_such_thing is not in the catalogue"]);
    assert_eq!(faults("up{pod=\"\"}"), ["r: up has no label pod"]);
    assert_eq!(faults("sum by (cuase) (up)"), ["r: nothing has a label cuase"]);
    let wrong = "ka_connections_dropped_total{cause=~\"reset|keepalive_timout\"}";
    assert_eq!(faults(wrong), ["r: ka_connections_dropped_total: cause is never \"keepalive_timout\""]);
}

/// A template that names a label which the alert does not have leaves a hole in the text.
#[test]
fn texts_name_labels_that_the_alert_has() {
    for alert in files::alerts() {
        let labels = labels_together(&asked(&alert, &alert.expr));
        for template in alert.annotations.values().chain(alert.labels.values()) {
            for label in promql::template_labels(template) {
                assert!(labels.contains(label.as_str()), "{}: it has no label {label}", alert.name());
            }
        }
    }
}

/// Who is paged must read whose it is.
#[test]
fn texts_name_the_owner() {
    for alert in files::alerts() {
        let labels = labels_together(&asked(&alert, &alert.expr));
        let named = promql::template_labels(alert.annotation("description"));
        let owner: BTreeSet<_> = ["namespace", "pod", "container", "service", "comm", "instance"].into();
        let missing: Vec<_> =
            owner.iter().filter(|label| labels.contains(*label) && !named.contains(**label)).collect();
        assert!(missing.is_empty(), "{}: the description does not name {missing:?}", alert.name());
    }
}

/// The alert names programs one by one: a new one must find its way there.
#[test]
fn programs_without_a_substitute_are_watched() {
    let rule = files::alerts().into_iter().find(|rule| rule.name() == "KaProgramsNotAttached").unwrap();
    let asked = asked(&rule, &rule.expr);
    let programs = |metric: &str| -> BTreeSet<String> {
        let selector = asked.selectors.iter().find(|selector| selector.metric == metric).unwrap();
        selector.matchers.iter().flat_map(|matcher| matcher.values.clone()).collect()
    };
    let watched = programs("ka_ebpf_program_attached");
    assert_eq!(watched.iter().map(String::as_str).collect::<BTreeSet<_>>(), known::without_substitute());
    let begins = programs("ka_ebpf_program_info");
    let plans: BTreeSet<_> = ka_daemon::bpf::TABLE
        .iter()
        .filter(|spec| begins.contains(spec.program))
        .inspect(|spec| assert!(spec.intents.contains(&ka_daemon::status::Intent::KeepaliveRun)))
        .map(|spec| spec.plan)
        .collect();
    assert_eq!(plans, ka_daemon::status::Plan::ALL.into());
}
