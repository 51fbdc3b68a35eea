//! Every alert is complete: a name, a time to wait, a severity, texts, a runbook, and tests both ways.

use std::collections::BTreeMap;

use crate::files;

/// Where runbooks are read: the repository, as Cargo.toml has it.
const RUNBOOKS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/runbooks");
/// That of a policy, which an operator chose.
const OF_THE_POLICY: &str = "{{ $labels.severity }}";

#[test]
fn every_alert_is_complete() {
    for alert in files::alerts() {
        let name = alert.name();
        let camel = name.strip_prefix("Ka").is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_uppercase())
                && rest.chars().all(|c| c.is_ascii_alphanumeric())
        });
        assert!(camel, "{name}: names are CamelCase and begin with Ka");
        assert!(alert.lasting.is_some(), "{name} has no `for`");
        let severity = alert.labels.get("severity").map_or("", String::as_str);
        assert!(
            ["info", "warning", "critical", OF_THE_POLICY].contains(&severity),
            "{name}: severity {severity:?}"
        );
        for text in ["summary", "description"] {
            assert!(!alert.annotation(text).is_empty(), "{name} has no {text}");
        }
        let expected = format!("{RUNBOOKS}/{name}.md");
        assert_eq!(alert.annotation("runbook_url"), expected, "{name}: `cargo xtask rules` puts it right");
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let index = files::text("docs/runbooks/README.md");
    let alerts = files::alerts();
    for alert in &alerts {
        let name = alert.name();
        let text = files::text(&format!("docs/runbooks/{name}.md"));
        for part in [
            &format!("# {name}\n"),
            "**Severity** ",
            "## What it means",
            "## Confirm",
            "## Fix",
            "## False alarm",
        ] {
            assert!(text.contains(part), "docs/runbooks/{name}.md has no {part:?}");
        }
        let severity = &alert.labels["severity"];
        let told = if severity == OF_THE_POLICY { "the policy's" } else { severity };
        let row = format!("| [{name}]({name}.md) | {told} | ");
        assert!(index.contains(&row), "docs/runbooks/README.md has no line that begins {row:?}");
    }
    let known: Vec<_> = alerts.iter().map(files::Rule::name).collect();
    for runbook in files::names("docs/runbooks", "md") {
        let is_page = ["README", "keepalive-settings"].contains(&runbook.as_str());
        assert!(
            is_page || known.contains(&runbook.as_str()),
            "docs/runbooks/{runbook}.md: there is no such alert"
        );
    }
}

/// Links between runbooks, and to other documents, lead somewhere.
#[test]
fn links_of_runbooks_lead_somewhere() {
    for name in files::names("docs/runbooks", "md") {
        let text = files::text(&format!("docs/runbooks/{name}.md"));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("http") {
                continue;
            }
            let target = if file.is_empty() { format!("{name}.md") } else { file.to_owned() };
            let target = format!("docs/runbooks/{target}");
            assert!(files::path(&target).exists(), "docs/runbooks/{name}.md: {link} leads nowhere");
            let headings = files::text(&target);
            let found = headings
                .lines()
                .filter_map(|line| line.strip_prefix('#'))
                .any(|line| anchor(line) == heading);
            assert!(heading.is_empty() || found, "docs/runbooks/{name}.md: {link}: no such heading");
        }
    }
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_alert_is_tested_firing_and_not_firing() {
    let mut cases: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for test in files::alert_tests() {
        cases.entry(test.alertname).or_default()[usize::from(test.exp_alerts.is_empty())] += 1;
    }
    for alert in files::alerts() {
        let [firing, silent] = cases.remove(alert.name()).unwrap_or_default();
        assert!(firing > 0, "{}: no case in which it fires", alert.name());
        assert!(silent > 0, "{}: no case in which it does not fire", alert.name());
    }
    assert!(cases.is_empty(), "tests of alerts that do not exist: {:?}", cases.keys());
}
