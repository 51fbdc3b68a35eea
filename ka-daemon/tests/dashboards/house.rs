//! What we ask of a dashboard besides: that it keeps its address, answers on its first screen, says what to do,
//! and leads on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::boards::{all, data_panels, finds, first, items, no_faults, panels, text, variables};

/// Addresses that people have bookmarked, and links hold.
const UIDS: [&str; 5] = ["ka-drops", "ka-node", "ka-overview", "ka-pipeline", "ka-settings"];
/// More are not looked at.
const PANELS_MAX: usize = 16;
/// Grafana's own, besides `__name`s.
const MACROS: [&str; 5] = ["__field", "__interval", "__range", "__rate_interval", "__url_time_range"];

#[test]
fn addresses_stay() {
    let uids: Vec<_> = all().iter().map(|board| text(&board.json["uid"]).to_owned()).collect();
    assert_eq!(uids, UIDS);
    let files: Vec<_> = all().iter().map(|board| board.name.clone()).collect();
    assert_eq!(files, UIDS.map(|uid| format!("{uid}.json")));
}

/// Links between the dashboards that keep time and variables, drops as annotations.
fn leads_on(board: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let by_tag = |link: &&Value| items(&link["tags"]).any(|tag| items(&board["tags"]).any(|own| own == tag));
    match items(&board["links"]).find(by_tag) {
        Some(link) if link["keepTime"] == true && link["includeVars"] == true => {}
        _ => faults.push("no link to the others that keeps time and variables".to_owned()),
    }
    let drops = |one: &&Value| text(&one["expr"]).contains("ka_connections_dropped_total");
    if !items(&board["annotations"]["list"]).any(|one| drops(&one) && one["enable"] == true) {
        faults.push("drops are no annotations".to_owned());
    }
    let overridden = data_panels(board).flat_map(|panel| items(&panel["fieldConfig"]["overrides"]));
    let properties = overridden.flat_map(|one| items(&one["properties"])).filter(|one| one["id"] == "links");
    for url in properties.flat_map(|one| items(&one["value"])).map(|link| text(&link["url"])) {
        let uid = url.strip_prefix("/d/").and_then(|rest| rest.split('?').next()).unwrap_or_default();
        if !UIDS.contains(&uid) {
            faults.push(format!("a link leads nowhere: {url}"));
        }
        if !url.contains("${__url_time_range}") || !url.contains("${datasource:queryparam}") {
            faults.push(format!("a link forgets time or data source: {url}"));
        }
    }
    faults
}

/// Headings, numbers on top, panels that neither overlap nor are too many, each with a title of its own.
fn layout(board: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let count = panels(board).count();
    if count > PANELS_MAX {
        faults.push(format!("{count} panels, of which nobody looks at more than {PANELS_MAX}"));
    }
    if board["panels"][0]["type"] != "row" {
        faults.push("does not begin with a heading".to_owned());
    }
    let top: Vec<_> = panels(board).filter(|panel| panel["gridPos"]["y"] == 1).collect();
    if top.is_empty() || top.iter().any(|panel| panel["type"] != "stat") {
        faults.push("does not begin with numbers".to_owned());
    }
    let mut taken = BTreeSet::new();
    let mut known = BTreeSet::new();
    for panel in items(&board["panels"]) {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        let cells = (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line)));
        let overlaps = cells.filter(|cell| !taken.insert(*cell)).count() > 0;
        if x + w > 24 || overlaps {
            faults.push(format!("panel {} overlaps another, or the edge", panel["title"]));
        }
        for key in ["id", "title"] {
            if !known.insert(panel[key].to_string()) {
                faults.push(format!("there are two panels with the {key} {}", panel[key]));
            }
        }
    }
    faults
}

/// What to do is said; axes begin at 0; a number is 0 where nothing happened.
fn says_what_to_do(board: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for panel in data_panels(board) {
        let title = &panel["title"];
        let told = text(&panel["description"]).split_once("**When it looks bad:** ");
        if !told.is_some_and(|(shows, act)| shows.trim().len() > 15 && act.trim().len() > 15) {
            faults.push(format!("panel {title} does not say what it shows and what to do"));
        }
        if panel["fieldConfig"]["defaults"]["min"] != 0 {
            faults.push(format!("panel {title} does not begin at 0"));
        }
        let zero = |target: &Value| text(&target["expr"]).ends_with(" or vector(0)");
        if panel["type"] == "stat" && !items(&panel["targets"]).all(zero) {
            faults.push(format!("panel {title} has no number where nothing happened"));
        }
    }
    faults
}

/// Variables that are used are declared.
fn undeclared(board: &Value) -> Vec<String> {
    let declared: BTreeSet<_> = variables(board).map(|variable| text(&variable["name"])).collect();
    let written = board.to_string();
    let used = written.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end =
            rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
        &rest[..end]
    });
    let used: BTreeSet<_> =
        used.filter(|name| !MACROS.contains(name) && !["__all", "__value"].contains(name)).collect();
    used.difference(&declared).map(|name| format!("the variable ${name} is not declared")).collect()
}

#[test]
fn dashboards_lead_on() {
    no_faults(leads_on);
    finds("no link to the others", leads_on, |board| board["links"][0]["includeVars"] = json!(false));
    finds("drops are no annotations", leads_on, |board| {
        board["annotations"]["list"][1]["enable"] = json!(false);
    });
    let link = |url: &str| json!([{ "properties": [{ "id": "links", "value": [{ "url": url }] }] }]);
    finds("leads nowhere", leads_on, |board| first(board)["fieldConfig"]["overrides"] = link("/d/x?"));
    finds("forgets time", leads_on, |board| first(board)["fieldConfig"]["overrides"] = link("/d/ka-node?"));
}

#[test]
fn layouts_are_readable() {
    no_faults(layout);
    finds("17 panels", layout, |board| {
        let panels = board["panels"].as_array_mut().unwrap();
        let one = panels.last().unwrap().clone();
        panels.resize(panels.len() + 17 - panels.iter().filter(|panel| panel["type"] != "row").count(), one);
    });
    finds("overlaps", layout, |board| first(board)["gridPos"]["w"] = json!(5));
    finds("with numbers", layout, |board| first(board)["type"] = json!("table"));
    finds("with a heading", layout, |board| drop(board["panels"].as_array_mut().unwrap().remove(0)));
    finds("two panels with the title", layout, |board| {
        board["panels"][1]["title"] = board["panels"][2]["title"].clone();
    });
}

#[test]
fn panels_say_what_to_do() {
    no_faults(says_what_to_do);
    finds("what to do", says_what_to_do, |board| {
        first(board)["description"] = json!("Connections that were dropped.");
    });
    finds("begin at 0", says_what_to_do, |board| {
        first(board)["fieldConfig"]["defaults"]["min"] = json!(null);
    });
    finds("has no number", says_what_to_do, |board| {
        first(board)["targets"][0]["expr"] = json!("sum(ka_sockets)");
    });
}

#[test]
fn variables_are_declared() {
    no_faults(undeclared);
    finds("$pod is not declared", undeclared, |board| {
        first(board)["targets"][0]["expr"] = json!("x{pod=\"$pod\"}");
    });
}
