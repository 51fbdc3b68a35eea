//! How each kind of panel looks, once for all dashboards.

use serde_json::{Value, json};

use super::board::{Board, Column, Kind, Panel};
use super::json::data_source;
use super::promql::expand;

/// A step of an event's graph is at least this long: shorter ones are narrower than a bar, and scrapes are
/// seldom closer than a quarter of it.
const EVENT_STEP: &str = "1m";

/// A panel without its place.
pub(super) fn json(panel: &Panel, board: &Board) -> Value {
    if panel.kind == Kind::Text {
        return json!({
            "options": { "content": panel.text, "mode": "markdown" },
            "title": panel.title,
            "type": "text",
        });
    }
    let mut value = json!({
        "datasource": data_source(),
        "description": panel.description,
        "fieldConfig": { "defaults": defaults(panel), "overrides": overrides(panel, board) },
        "options": options(panel),
        "targets": targets(panel),
        "title": panel.title,
        "type": type_of(panel.kind),
    });
    if panel.queries.iter().any(|query| query.expr.contains("$__interval")) {
        value["interval"] = json!(EVENT_STEP);
    }
    if panel.kind == Kind::Table {
        value["transformations"] = transformations(panel);
    }
    value
}

const fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Stat(_) => "stat",
        Kind::Lines | Kind::Areas | Kind::Bars => "timeseries",
        Kind::Table => "table",
        Kind::BarGauge => "bargauge",
        Kind::Heatmap => "heatmap",
        Kind::Text => "text",
    }
}

fn targets(panel: &Panel) -> Vec<Value> {
    let format = match panel.kind {
        Kind::Table => "table",
        // Counts at or below each bound become counts between bounds.
        Kind::BarGauge | Kind::Heatmap => "heatmap",
        Kind::Stat(_) | Kind::Lines | Kind::Areas | Kind::Bars | Kind::Text => "time_series",
    };
    let instant = matches!(panel.kind, Kind::Table | Kind::BarGauge);
    let target = |(query, letter): (&super::board::Query, char)| {
        json!({
            "datasource": data_source(),
            "editorMode": "code",
            "expr": expand(&query.expr),
            "format": format,
            "instant": instant,
            "legendFormat": query.legend,
            "range": !instant,
            "refId": letter.to_string(),
        })
    };
    panel.queries.iter().zip('A'..).map(target).collect()
}

fn defaults(panel: &Panel) -> Value {
    let mut defaults = json!({
        "color": color(panel),
        "mappings": [],
        "min": 0,
        "thresholds": thresholds(panel.steps),
        "unit": panel.unit,
    });
    if let Some(custom) = custom(panel) {
        defaults["custom"] = custom;
    }
    if matches!(panel.kind, Kind::Bars) {
        defaults["decimals"] = json!(0);
    }
    if !panel.nothing.is_empty() {
        defaults["noValue"] = json!(panel.nothing);
    }
    defaults
}

fn color(panel: &Panel) -> Value {
    match panel.kind {
        Kind::Lines | Kind::Areas | Kind::Bars => json!({ "mode": "palette-classic" }),
        Kind::BarGauge => json!({ "fixedColor": "orange", "mode": "fixed" }),
        Kind::Stat(_) | Kind::Table | Kind::Heatmap | Kind::Text => json!({ "mode": "thresholds" }),
    }
}

/// Green is said only where there is something that would not be.
fn thresholds(steps: &[(f64, &str)]) -> Value {
    let base = if steps.is_empty() { "text" } else { "green" };
    let mut all = vec![json!({ "color": base, "value": null })];
    all.extend(steps.iter().map(|(value, color)| json!({ "color": color, "value": value })));
    json!({ "mode": "absolute", "steps": all })
}

fn custom(panel: &Panel) -> Option<Value> {
    let (style, fill, stacking) = match panel.kind {
        Kind::Lines => ("line", 8, "none"),
        Kind::Areas => ("line", 40, "normal"),
        Kind::Bars => ("bars", 90, "normal"),
        Kind::Table => {
            return Some(json!({ "align": "auto", "cellOptions": { "type": "auto" }, "inspect": false }));
        }
        Kind::Heatmap => {
            return Some(json!({
                "hideFrom": { "legend": false, "tooltip": false, "viz": false },
                "scaleDistribution": { "type": "linear" },
            }));
        }
        Kind::Stat(_) | Kind::BarGauge | Kind::Text => return None,
    };
    let line = if panel.steps.is_empty() { "off" } else { "dashed" };
    let mut custom = json!({
        "axisBorderShow": false,
        "axisCenteredZero": false,
        "axisColorMode": "text",
        "axisLabel": "",
        "axisPlacement": "auto",
        "barAlignment": 0,
        "barWidthFactor": 0.8,
        "drawStyle": style,
        "fillOpacity": fill,
        "gradientMode": "none",
        "hideFrom": { "legend": false, "tooltip": false, "viz": false },
        "insertNulls": false,
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "pointSize": 5,
        "scaleDistribution": { "type": "linear" },
        "showPoints": "auto",
        "spanNulls": false,
        "stacking": { "group": "A", "mode": stacking },
        "thresholdsStyle": { "mode": line },
    });
    if let Some(max) = soft_max(panel.unit) {
        custom["axisSoftMax"] = json!(max);
    }
    Some(custom)
}

/// How high the axis is at least: noise about nothing looks like nothing.
fn soft_max(unit: &str) -> Option<f64> {
    match unit {
        "percentunit" => Some(0.05),
        "cps" | "short" => Some(1.0),
        _ => None,
    }
}

fn overrides(panel: &Panel, board: &Board) -> Vec<Value> {
    let by = |matcher: &str, options: &str, properties: Vec<Value>| json!({ "matcher": { "id": matcher, "options": options }, "properties": properties });
    let mut all: Vec<Value> = panel
        .colours
        .iter()
        .map(|(name, colour)| {
            let colour = json!({ "id": "color", "value": { "fixedColor": colour, "mode": "fixed" } });
            by("byName", name, vec![colour])
        })
        .collect();
    if let Some((uid, label)) = panel.link {
        let value = format!("${{__field.labels.{label}}}");
        all.push(by("byType", "number", vec![link(board, uid, label, &value)]));
    }
    for column in shown(panel) {
        all.push(by("byName", column.name, cells(column, board)));
    }
    all
}

/// A column without a title is left out.
fn shown(panel: &Panel) -> impl Iterator<Item = &Column> {
    panel.columns.iter().filter(|column| !column.title.is_empty())
}

fn cells(column: &Column, board: &Board) -> Vec<Value> {
    // A label is text, even where it looks like a number.
    let label = (!column.name.starts_with("Value")).then_some("string");
    let mut properties =
        vec![json!({ "id": "displayName", "value": column.title }), json!({ "id": "noValue", "value": "–" })];
    if let Some(unit) = column.unit.or(label) {
        properties.push(json!({ "id": "unit", "value": unit }));
    }
    if !column.steps.is_empty() {
        let mut value = thresholds(column.steps);
        // A number that is not bad looks like any text.
        value["steps"][0]["color"] = json!("text");
        properties.push(json!({ "id": "thresholds", "value": value }));
        properties.push(json!({ "id": "custom.cellOptions", "value": { "type": "color-text" } }));
    }
    if !column.words.is_empty() {
        let options: serde_json::Map<_, _> = column
            .words
            .iter()
            .zip(0..)
            .map(|((value, text, color), index)| {
                ((*value).to_owned(), json!({ "color": color, "index": index, "text": text }))
            })
            .collect();
        properties.push(json!({ "id": "mappings", "value": [{ "options": options, "type": "value" }] }));
        properties.push(json!({ "id": "custom.cellOptions", "value": { "type": "color-text" } }));
    }
    if let Some((uid, variable)) = column.link {
        properties.push(link(board, uid, variable, "${__value.raw}"));
    }
    properties
}

/// A click opens another dashboard at the same time with the same variables, but for one.
fn link(board: &Board, uid: &str, variable: &str, value: &str) -> Value {
    let mut names = vec!["datasource", "job", "instance"];
    if board.by_owner {
        names.extend(["namespace", "service", "comm"]);
    }
    names.retain(|name| *name != variable);
    let kept: Vec<_> = names.iter().map(|name| format!("${{{name}:queryparam}}")).collect();
    let url = format!("/d/{uid}?${{__url_time_range}}&{}&var-{variable}={value}", kept.join("&"));
    json!({ "id": "links", "value": [{ "targetBlank": false, "title": format!("Open {uid}"), "url": url }] })
}

/// Brings several queries into one table, and the columns into the order of their description.
fn transformations(panel: &Panel) -> Value {
    let order: serde_json::Map<_, _> =
        shown(panel).zip(0..).map(|(column, at)| (column.name.to_owned(), json!(at))).collect();
    let left_out = panel.columns.iter().filter(|column| column.title.is_empty());
    let mut excluded: serde_json::Map<_, _> =
        left_out.map(|column| (column.name.to_owned(), json!(true))).collect();
    excluded.insert("Time".to_owned(), json!(true));
    let organize = json!({
        "id": "organize",
        "options": {
            "excludeByName": excluded,
            "includeByName": {},
            "indexByName": order,
            "renameByName": {},
        },
    });
    if panel.queries.len() == 1 {
        return json!([organize]);
    }
    json!([{ "id": "merge", "options": {} }, organize])
}

fn options(panel: &Panel) -> Value {
    let (calcs, sort) = match panel.kind {
        Kind::Bars => (json!(["sum"]), "Total"),
        Kind::Lines
        | Kind::Areas
        | Kind::Stat(_)
        | Kind::Table
        | Kind::BarGauge
        | Kind::Heatmap
        | Kind::Text => (json!(["max", "lastNotNull"]), "Last *"),
    };
    // Below the graph only three names would be seen without scrolling.
    let placement = if panel.width < 12 { "bottom" } else { "right" };
    match panel.kind {
        Kind::Stat(reduce) => json!({
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": { "calcs": [reduce.name()], "fields": "", "values": false },
            "showPercentChange": false,
            "textMode": "value",
            "wideLayout": true,
        }),
        Kind::Lines | Kind::Areas | Kind::Bars => json!({
            "legend": {
                "calcs": calcs, "displayMode": "table", "placement": placement, "showLegend": true,
                "sortBy": sort, "sortDesc": true,
            },
            "tooltip": { "hideZeros": true, "mode": "multi", "sort": "desc" },
        }),
        Kind::Table => {
            let last = shown(panel).filter(|column| column.name.starts_with("Value")).last();
            let sort: Vec<_> =
                last.iter().map(|column| json!({ "desc": true, "displayName": column.title })).collect();
            json!({ "cellHeight": "sm", "frameIndex": 0, "showHeader": true, "sortBy": sort })
        }
        Kind::BarGauge => json!({
            "displayMode": "basic",
            "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false },
            "maxVizHeight": 300,
            "minVizHeight": 10,
            "minVizWidth": 0,
            "namePlacement": "left",
            "orientation": "horizontal",
            "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
            "showUnfilled": false,
            "sizing": "auto",
            "valueMode": "text",
        }),
        Kind::Heatmap => json!({
            "calculate": false,
            "cellGap": 1,
            "color": {
                "exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "reverse": false, "scale": "exponential",
                "scheme": "Oranges", "steps": 64,
            },
            "exemplars": { "color": "rgba(255,0,255,0.7)" },
            "filterValues": { "le": 1e-9 },
            "legend": { "show": true },
            "rowsFrame": { "layout": "auto" },
            "showValue": "never",
            "tooltip": { "mode": "single", "showColorScale": false, "yHistogram": false },
            "yAxis": { "axisPlacement": "left", "reverse": false, "unit": panel.unit },
        }),
        Kind::Text => Value::Null,
    }
}
