//! The files, and what the checks look at in them.

use std::path::PathBuf;

use serde_json::Value;

/// A dashboard, and its file's name for what fails.
pub(crate) struct Board {
    pub(crate) name: String,
    pub(crate) json: Value,
}

/// Every committed dashboard.
pub(crate) fn all() -> Vec<Board> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dashboards/grafana");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 5, "overview, node, drops, settings, pipeline: {files:?}");
    let read = |path: PathBuf| Board {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        json: serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap(),
    };
    files.into_iter().map(read).collect()
}

/// Panels that show something: without headings.
pub(crate) fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    items(&board["panels"]).filter(|panel| panel["type"] != "row")
}

/// Panels that show data: without texts.
pub(crate) fn data_panels(board: &Value) -> impl Iterator<Item = &Value> {
    panels(board).filter(|panel| panel["type"] != "text")
}

/// The queries of all panels, each with its panel.
pub(crate) fn targets(board: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    data_panels(board).flat_map(|panel| items(&panel["targets"]).map(move |target| (panel, target)))
}

/// Every query, with where it stands: in a panel, or an annotation.
pub(crate) fn expressions(board: &Value) -> Vec<(String, &str)> {
    let of_panels = targets(board)
        .map(|(panel, target)| (format!("panel {} {}", panel["title"], target["refId"]), &target["expr"]));
    let of_annotations = items(&board["annotations"]["list"])
        .filter(|annotation| annotation.get("expr").is_some())
        .map(|annotation| (format!("annotation {}", annotation["name"]), &annotation["expr"]));
    of_panels.chain(of_annotations).map(|(place, expr)| (place, text(expr))).collect()
}

pub(crate) fn variables(board: &Value) -> impl Iterator<Item = &Value> {
    items(&board["templating"]["list"])
}

pub(crate) fn variable<'a>(board: &'a Value, name: &str) -> Option<&'a Value> {
    variables(board).find(|variable| variable["name"] == name)
}

/// The items of an array; none of anything else.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A string; empty of anything else.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Fails with all faults of all dashboards.
#[track_caller]
pub(crate) fn no_faults(check: impl Fn(&Value) -> Vec<String>) {
    let faults: Vec<_> = all()
        .iter()
        .flat_map(|board| {
            let of = |fault| format!("{}: {fault}", board.name);
            check(&board.json).into_iter().map(of).collect::<Vec<_>>()
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Fails unless a dashboard that was good is found at fault, in these words, once it was changed.
#[track_caller]
pub(crate) fn finds(words: &str, check: impl Fn(&Value) -> Vec<String>, change: impl FnOnce(&mut Value)) {
    let mut board = all().remove(0).json;
    assert_eq!(check(&board), Vec::<String>::new(), "before the change");
    change(&mut board);
    let faults = check(&board);
    assert!(faults.iter().any(|fault| fault.contains(words)), "expected {words:?}, came {faults:?}");
}

/// The first panel that shows data, to be changed.
pub(crate) fn first(board: &mut Value) -> &mut Value {
    let panels = board["panels"].as_array_mut().unwrap();
    panels.iter_mut().find(|panel| panel["type"] != "row").unwrap()
}

/// A variable, to be changed.
pub(crate) fn variable_mut<'a>(board: &'a mut Value, name: &str) -> &'a mut Value {
    let list = board["templating"]["list"].as_array_mut().unwrap();
    list.iter_mut().find(|variable| variable["name"] == name).unwrap()
}
