//! Grafana's own JSON schemas, kept in `schema/` (its README says from where), and a validator of as much of
//! JSON Schema as they use: a keyword that it does not know is a fault, not something to skip over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::boards::{data_panels, finds, first, items, no_faults, panels, text};

/// A schema file.
struct Schema(Value);

static SCHEMAS: LazyLock<BTreeMap<&str, Schema>> = LazyLock::new(|| {
    let texts = [
        ("bargauge", include_str!("schema/bargauge.json")),
        ("dashboard", include_str!("schema/dashboard.json")),
        ("heatmap", include_str!("schema/heatmap.json")),
        ("prometheus", include_str!("schema/prometheus.json")),
        ("stat", include_str!("schema/stat.json")),
        ("table", include_str!("schema/table.json")),
        ("text", include_str!("schema/text.json")),
        ("timeseries", include_str!("schema/timeseries.json")),
        ("units", include_str!("schema/units.json")),
    ];
    texts.into_iter().map(|(name, text)| (name, Schema(serde_json::from_str(text).unwrap()))).collect()
});

/// What says something to people, not to a validator.
const REMARKS: [&str; 7] =
    ["description", "default", "deprecated", "x-deprecation-message", "format", "$schema", "definitions"];

impl Schema {
    fn named(name: &str) -> &'static Self {
        SCHEMAS
            .get(name)
            .unwrap_or_else(|| panic!("no schema {name}: add it to schema/, from where its README says"))
    }

    /// What is wrong with a value by a definition, each with its place.
    fn faults(&self, definition: &str, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(&json!({ "$ref": format!("#/definitions/{definition}") }), value, definition, &mut faults);
        faults
    }

    fn check(&self, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        // How the generator of these schemas writes "anything".
        if schema.get("type") == Some(&json!("object"))
            && schema.get("additionalProperties") == Some(&json!({}))
        {
            return;
        }
        for (keyword, operand) in schema.as_object().expect("a schema is an object") {
            let fault = match keyword.as_str() {
                remark if REMARKS.contains(&remark) => None,
                "$ref" => {
                    let name = text(operand).strip_prefix("#/definitions/").unwrap();
                    let definition = self.0["definitions"].get(name);
                    self.check(definition.expect("definitions that are referred to"), value, place, faults);
                    None
                }
                "type" => (!is_a(text(operand), value)).then(|| format!("is no {operand}: {value}")),
                "enum" => (!items(operand).any(|one| one == value))
                    .then(|| format!("is none of {operand}: {value}")),
                "const" => (operand != value).then(|| format!("is not {operand}: {value}")),
                "minimum" => {
                    (value.as_f64() < operand.as_f64()).then(|| format!("is below {operand}: {value}"))
                }
                "maximum" => {
                    (value.as_f64() > operand.as_f64()).then(|| format!("is above {operand}: {value}"))
                }
                "exclusiveMinimum" => {
                    (value.as_f64() <= operand.as_f64()).then(|| format!("is not above {operand}: {value}"))
                }
                "exclusiveMaximum" => {
                    (value.as_f64() >= operand.as_f64()).then(|| format!("is not below {operand}: {value}"))
                }
                "minLength" => ((text(value).len() as u64) < operand.as_u64().unwrap())
                    .then(|| format!("is shorter than {operand}: {value}")),
                "required" => {
                    let missing = items(operand).find(|name| value.get(text(name)).is_none());
                    missing.map(|name| format!("has no {name}"))
                }
                "properties" => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = operand.get(name) {
                            self.check(schema, member, &format!("{place}.{name}"), faults);
                        }
                    }
                    None
                }
                "additionalProperties" => self.additional(schema, operand, value, place, faults),
                "items" => {
                    for (at, item) in items(value).enumerate() {
                        self.check(operand, item, &format!("{place}[{at}]"), faults);
                    }
                    None
                }
                "allOf" => {
                    for schema in items(operand) {
                        self.check(schema, value, place, faults);
                    }
                    None
                }
                // Of `oneOf` the generator leaves open by which member one tells the forms apart: several fit.
                "anyOf" | "oneOf" => self.one_of(operand, value, place),
                _ => Some(format!(
                    "cannot be judged: the schema has a keyword {keyword} that is not known here"
                )),
            };
            faults.extend(fault.map(|fault| format!("{place} {fault}")));
        }
    }

    fn additional(
        &self,
        schema: &Value,
        operand: &Value,
        value: &Value,
        place: &str,
        faults: &mut Vec<String>,
    ) -> Option<String> {
        let known = |name: &str| schema["properties"].get(name).is_some();
        for (name, member) in value.as_object()?.iter().filter(|(name, _)| !known(name)) {
            if operand == &json!(false) {
                return Some(format!("has a member that there is none of: {name}"));
            }
            self.check(operand, member, &format!("{place}.{name}"), faults);
        }
        None
    }

    fn one_of(&self, operand: &Value, value: &Value, place: &str) -> Option<String> {
        let tried: Vec<Vec<String>> = items(operand)
            .map(|schema| {
                let mut faults = Vec::new();
                self.check(schema, value, place, &mut faults);
                faults
            })
            .collect();
        if tried.iter().any(Vec::is_empty) {
            return None;
        }
        // What was nearly right tells most.
        let nearest = tried.into_iter().min_by_key(Vec::len).unwrap_or_default();
        Some(format!("has none of the forms it may have; the nearest: {}", nearest.join("; ")))
    }
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        _ => panic!("no type {kind} in JSON Schema"),
    }
}

/// Names of Grafana's units.
pub(crate) fn units() -> BTreeSet<String> {
    let schema = Schema::named("units");
    let all = schema.0["definitions"].as_object().unwrap();
    all.values().map(|unit| text(&unit["const"]).to_owned()).collect()
}

/// The dashboard by its own schema, and in it what only the schemas of its panels and queries know.
fn faults(board: &Value) -> Vec<String> {
    let dashboard = Schema::named("dashboard");
    let mut faults = dashboard.faults("Dashboard", board);
    for panel in panels(board) {
        let kind = Schema::named(text(&panel["type"]));
        let place = |fault: String| format!("panel {}: {fault}", panel["title"]);
        faults.extend(kind.faults("Options", &panel["options"]).into_iter().map(place));
        if let Some(custom) = panel["fieldConfig"]["defaults"].get("custom") {
            faults.extend(kind.faults("FieldConfig", custom).into_iter().map(place));
        }
        for property in items(&panel["fieldConfig"]["overrides"]).flat_map(|one| items(&one["properties"])) {
            faults.extend(overridden(dashboard, kind, property).into_iter().map(place));
        }
    }
    let queries = Schema::named("prometheus");
    for panel in data_panels(board) {
        let place = |fault: String| format!("panel {}: {fault}", panel["title"]);
        let of_targets = items(&panel["targets"]).flat_map(|target| queries.faults("Dataquery", target));
        faults.extend(of_targets.map(place));
    }
    faults
}

/// The dashboard's schema lets a property that is overridden be anything.
fn overridden(dashboard: &Schema, kind: &Schema, property: &Value) -> Vec<String> {
    let value = &property["value"];
    match text(&property["id"]) {
        "color" => dashboard.faults("FieldColor", value),
        "custom.cellOptions" => kind.faults("TableCellOptions", value),
        "displayName" | "noValue" if value.is_string() => Vec::new(),
        "links" => items(value).flat_map(link).collect(),
        "mappings" => items(value).flat_map(|one| dashboard.faults("ValueMapping", one)).collect(),
        "thresholds" => dashboard.faults("ThresholdsConfig", value),
        "unit" if units().contains(text(value)) => Vec::new(),
        _ => vec![format!("cannot be overridden so: {property}")],
    }
}

/// A link of a field; Grafana's `DataLink`, for which the schemas have another type's definition.
fn link(link: &Value) -> Vec<String> {
    let names: BTreeSet<_> = link.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let fits = names.iter().eq(["targetBlank", "title", "url"].iter())
        && link["targetBlank"].is_boolean()
        && text(&link["url"]).starts_with("/d/");
    if fits { Vec::new() } else { vec![format!("no link: {link}")] }
}

#[test]
fn dashboards_are_valid() {
    no_faults(faults);
}

#[test]
fn what_is_invalid_is_found() {
    finds("has a member that there is none of: colour", faults, |board| board["colour"] = json!("red"));
    finds("has no \"schemaVersion\"", faults, |board| {
        drop(board.as_object_mut().unwrap().remove("schemaVersion"));
    });
    finds("Dashboard.version is no \"integer\"", faults, |board| board["version"] = json!("1"));
    finds("is none of", faults, |board| first(board)["options"]["graphMode"] = json!("pie"));
    finds("Dataquery.format is none of", faults, |board| first(board)["targets"][0]["format"] = json!("csv"));
    finds("Dataquery has no \"expr\"", faults, |board| {
        drop(first(board)["targets"][0].as_object_mut().unwrap().remove("expr"));
    });
    finds("none of the forms", faults, |board| first(board)["gridPos"]["w"] = json!("wide"));
}

#[test]
fn a_keyword_that_is_not_known_is_a_fault() {
    let schema = Schema(json!({ "definitions": { "X": { "multipleOf": 2 } } }));
    assert!(schema.faults("X", &json!(3))[0].contains("multipleOf"));
}

#[test]
fn every_keyword_is_judged() {
    let faults =
        |schema: Value, value: Value| Schema(json!({ "definitions": { "X": schema } })).faults("X", &value);
    for (schema, right, wrong) in [
        (json!({"type": "integer"}), json!(1), json!(1.5)),
        (json!({"enum": [1, 2]}), json!(2), json!(3)),
        (json!({"const": 1}), json!(1), json!(2)),
        (json!({"minimum": 1, "maximum": 2}), json!(2), json!(3)),
        (json!({"minimum": 1, "maximum": 2}), json!(1), json!(0)),
        (json!({"exclusiveMinimum": 0, "exclusiveMaximum": 2}), json!(1), json!(2)),
        (json!({"exclusiveMinimum": 0, "exclusiveMaximum": 2}), json!(1), json!(0)),
        (json!({"minLength": 1}), json!("x"), json!("")),
        (json!({"items": {"type": "string"}}), json!(["x"]), json!([1])),
        (json!({"allOf": [{"type": "number"}, {"minimum": 1}]}), json!(1), json!(0)),
        (json!({"anyOf": [{"type": "number"}, {"minimum": 1}]}), json!(1), json!("x")),
        (json!({"oneOf": [{"type": "number"}, {"type": "boolean"}]}), json!(0), json!("x")),
        (json!({"additionalProperties": {"type": "string"}}), json!({"x": "y"}), json!({"x": 1})),
        (json!({"type": "object", "required": ["x"]}), json!({"x": 1}), json!({"y": 1})),
    ] {
        assert_eq!(faults(schema.clone(), right.clone()), Vec::<String>::new(), "{schema} {right}");
        assert_ne!(faults(schema.clone(), wrong.clone()), Vec::<String>::new(), "{schema} {wrong}");
    }
}
