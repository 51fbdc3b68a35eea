//! What the committed dashboards ask, as Grafana would with every variable at All.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::prometheus::{Series, Span};

/// `$__rate_interval`: four scrapes of one second would do; this bridges one that is missed.
const RATE_INTERVAL: &str = "15s";

/// A dashboard's queries.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) uid: String,
    pub(crate) queries: Vec<Query>,
    /// The label and the selector that each variable offers the values of.
    pub(crate) variables: Vec<(String, String)>,
}

/// A query of a panel, or of an annotation.
#[derive(Debug)]
pub(crate) struct Query {
    board: String,
    pub(crate) panel: String,
    id: u64,
    letter: String,
    expr: String,
    pub(crate) instant: bool,
    /// What each variable is when everything is wanted.
    all: Vec<(String, String)>,
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: panel {:?} {}", self.board, self.panel, self.letter)
    }
}

impl Query {
    /// With every variable at All.
    pub(crate) fn with_all(&self, span: &Span) -> String {
        let mut expr = self
            .expr
            .replace("$__rate_interval", RATE_INTERVAL)
            .replace("$__interval", &format!("{}s", span.step.as_secs()))
            .replace("$__range", &format!("{}s", span.seconds()));
        for (name, all) in &self.all {
            expr = expr.replace(&format!("\"${name}\""), &format!("\"{all}\""));
        }
        expr
    }
}

/// The dashboards of a folder.
pub(crate) fn read(folder: &Path) -> Result<Vec<Board>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>().context("dashboards")?;
    files.sort();
    ensure!(!files.is_empty(), "no dashboards in {}", folder.display());
    files.iter().map(|file| board(file).with_context(|| file.display().to_string())).collect()
}

fn board(file: &Path) -> Result<Board> {
    let board: Value = serde_json::from_slice(&fs::read(file)?)?;
    let uid = text(&board["uid"])?;
    let (mut all, mut variables) = (Vec::new(), Vec::new());
    for variable in list(&board["templating"]["list"])?.iter().filter(|one| one["type"] == "query") {
        let name = text(&variable["name"])?;
        let query = text(&variable["query"])?;
        let values = query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(", "));
        let (selector, _) = values.with_context(|| format!("variable {name}: {query}"))?;
        all.push((name.clone(), text(&variable["allValue"])?));
        variables.push((name, selector.to_owned()));
    }
    // A variable's selector names those before it.
    for (_, selector) in &mut variables {
        for (name, all) in &all {
            *selector = selector.replace(&format!("\"${name}\""), &format!("\"{all}\""));
        }
    }
    let mut queries = Vec::new();
    for panel in list(&board["panels"])?.iter().filter(|panel| panel.get("targets").is_some()) {
        for target in list(&panel["targets"])? {
            queries.push(Query {
                board: uid.clone(),
                panel: text(&panel["title"])?,
                id: panel["id"].as_u64().context("a panel without an id")?,
                letter: text(&target["refId"])?,
                expr: text(&target["expr"])?,
                instant: target["instant"] == true,
                all: all.clone(),
            });
        }
    }
    for annotation in list(&board["annotations"]["list"])?.iter().filter(|one| one.get("expr").is_some()) {
        queries.push(Query {
            board: uid.clone(),
            panel: format!("annotation {}", text(&annotation["name"])?),
            id: 0,
            letter: String::new(),
            expr: text(&annotation["expr"])?,
            instant: false,
            all: all.clone(),
        });
    }
    Ok(Board { uid, queries, variables })
}

/// Writes what every query answered, for pictures: a file for each dashboard.
pub(crate) fn keep(
    folder: &Path,
    boards: &[Board],
    answer: impl Fn(&Query) -> Result<Vec<Series>>,
) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for board in boards {
        let mut answers = Vec::new();
        for query in &board.queries {
            let series = answer(query)?;
            let series: Vec<_> = series
                .iter()
                // JSON has no NaN.
                .map(|one| {
                    json!({ "labels": one.labels, "values": one.values.iter().map(|(time, value)| {
                    json!([time, value.is_finite().then_some(value)])
                }).collect::<Vec<_>>() })
                })
                .collect();
            answers.push(json!({ "panel": query.id, "refId": query.letter, "series": series }));
        }
        let file = folder.join(format!("{}.json", board.uid));
        fs::write(&file, Value::from(answers).to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("no list: {value}"))
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("no text: {value}"))?.to_owned())
}
