//! From a board to Grafana's JSON: variables, links, annotations, and where each panel lies.

use serde_json::{Value, json};

use super::board::{Board, Panel};
use super::{panel, promql};

/// Grafana's grid has this many columns.
const GRID: u32 = 24;
/// What the links between the dashboards find them by.
const TAG: &str = "ka";
/// Of the JSON's form; Grafana 11 and later write it or migrate it.
const SCHEMA_VERSION: u32 = 39;

/// Every data source that a panel names is the one that is chosen above.
pub(super) fn data_source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

pub(super) fn board(board: &Board) -> Value {
    json!({
        "annotations": { "list": annotations(board) },
        "description": board.question,
        "editable": false,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "links": [links()],
        "panels": panels(board),
        "refresh": "1m",
        "schemaVersion": SCHEMA_VERSION,
        "tags": [TAG, "tcp-keepalive"],
        "templating": { "list": variables(board) },
        "time": { "from": "now-6h", "to": "now" },
        "timepicker": {},
        "timezone": "browser",
        "title": board.title,
        "uid": board.uid,
        "version": 1,
        "weekStart": "",
    })
}

/// All dashboards, side by side, with the same time and variables.
fn links() -> Value {
    json!({
        "asDropdown": false,
        "icon": "external link",
        "includeVars": true,
        "keepTime": true,
        "tags": [TAG],
        "targetBlank": false,
        "title": "ka",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    })
}

fn annotations(board: &Board) -> Vec<Value> {
    let grafana = json!({
        "builtIn": 1,
        "datasource": { "type": "grafana", "uid": "-- Grafana --" },
        "enable": true,
        "hide": true,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    });
    let selector = if board.by_owner { promql::DROPS } else { "ka_connections_dropped_total{@node}" };
    let drops = json!({
        "datasource": data_source(),
        "enable": true,
        "expr": promql::expand(&promql::events_by("instance, comm, cause", selector)),
        "iconColor": "red",
        "name": "Drops",
        "step": "1m",
        "tagKeys": "cause",
        "textFormat": "{{comm}} on {{instance}}",
        "titleFormat": "Dropped: {{cause}}",
        "useValueForTime": false,
    });
    vec![grafana, drops]
}

/// Each variable offers what is left by those before it.
fn variables(board: &Board) -> Vec<Value> {
    let data_source = json!({
        "hide": 0,
        "includeAll": false,
        "label": "Data source",
        "multi": false,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "skipUrlSync": false,
        "type": "datasource",
    });
    let node = r#"job=~"$job", instance=~"$instance""#;
    let mut variables = vec![
        data_source,
        variable("job", "Job", ".+", "label_values(ka_build_info, job)"),
        variable("instance", "Instance", ".+", r#"label_values(ka_build_info{job=~"$job"}, instance)"#),
    ];
    if board.by_owner {
        // An owner's labels may be empty.
        let of = |more: &str, label: &str| format!("label_values(ka_sockets{{{node}{more}}}, {label})");
        variables.push(variable("namespace", "Namespace", ".*", &of("", "namespace")));
        let more = r#", namespace=~"$namespace""#;
        variables.push(variable("service", "Service", ".*", &of(more, "service")));
        let more = r#", namespace=~"$namespace", service=~"$service""#;
        variables.push(variable("comm", "Process", ".*", &of(more, "comm")));
    }
    variables
}

fn variable(name: &str, label: &str, all: &str, query: &str) -> Value {
    json!({
        "allValue": all,
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
        "datasource": data_source(),
        "definition": query,
        "hide": 0,
        "includeAll": true,
        "label": label,
        "multi": true,
        "name": name,
        "options": [],
        "query": query,
        // When the time range changes.
        "refresh": 2,
        "regex": "",
        "skipUrlSync": false,
        // By name.
        "sort": 1,
        "type": "query",
    })
}

/// Headings, and below each its panels from left to right; a panel that finds no room begins a line.
fn panels(board: &Board) -> Vec<Value> {
    let mut placed = Vec::new();
    let mut y = 0;
    for row in &board.rows {
        placed.push(json!({
            "collapsed": false,
            "gridPos": { "h": 1, "w": GRID, "x": 0, "y": y },
            "id": placed.len() + 1,
            "panels": [],
            "title": row.title,
            "type": "row",
        }));
        y += 1;
        let (mut x, mut tallest) = (0, 0);
        for one in &row.panels {
            if x + one.width > GRID {
                (x, y, tallest) = (0, y + tallest, 0);
            }
            placed.push(place(one, board, placed.len() + 1, x, y));
            x += one.width;
            tallest = tallest.max(one.height);
        }
        y += tallest;
    }
    placed
}

fn place(of: &Panel, board: &Board, id: usize, x: u32, y: u32) -> Value {
    let mut value = panel::json(of, board);
    value["id"] = json!(id);
    value["gridPos"] = json!({ "h": of.height, "w": of.width, "x": x, "y": y });
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboards::board::{Reduce, row, stat};

    #[test]
    fn panels_fill_lines_and_do_not_overlap() {
        let one = || stat(Reduce::Last, "t", "s", "a").size(10, 4);
        let board = Board {
            uid: "u",
            title: "t",
            question: "q",
            by_owner: false,
            rows: vec![row("one", [one(), one(), one()]), row("two", [one()])],
        };
        let places: Vec<_> = panels(&board)
            .iter()
            .map(|panel| (panel["gridPos"]["x"].as_u64().unwrap(), panel["gridPos"]["y"].as_u64().unwrap()))
            .collect();
        assert_eq!(places, [(0, 0), (0, 1), (10, 1), (0, 5), (0, 9), (0, 10)]);
    }
}
