//! `cargo xtask dashboards`: Grafana's dashboards below dashboards/grafana, made from the descriptions here.
//!
//! A description says what differs from panel to panel; how a panel looks stands once, in `panel`. What is
//! committed is what is made: `cargo xtask lint` compares. That the JSON is right is tested without this code,
//! by `ka-daemon/tests/dashboards` and against a real Prometheus by the stage `boards` (docs/decisions/0005).

mod board;
mod drops;
mod json;
mod node;
mod overview;
mod panel;
mod pipeline;
mod promql;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::{paths, sh};

/// Writes them all.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    for (path, content) in files(root) {
        let changed = paths::write_if_changed(&path, content.as_bytes())?;
        sh::say(&format!("{} {}", path.display(), if changed { "written" } else { "is as it should be" }));
    }
    Ok(())
}

/// Fails where what is committed is not what would be made, or nothing makes it.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let made = files(root);
    let stale = made.iter().filter(|(path, content)| fs::read_to_string(path).ok().as_ref() != Some(content));
    let mut wrong: Vec<PathBuf> = stale.map(|(path, _)| path.clone()).collect();
    let folder = folder(root);
    if folder.is_dir() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
            if !made.iter().any(|(known, _)| *known == path) {
                wrong.push(path);
            }
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = wrong.iter().map(|path| path.display().to_string()).collect();
    bail!("not what `cargo xtask dashboards` makes: {}", names.join(", "));
}

fn folder(root: &Path) -> PathBuf {
    root.join("dashboards/grafana")
}

fn files(root: &Path) -> Vec<(PathBuf, String)> {
    let boards = [overview::board(), node::board(), drops::board(), settings::board(), pipeline::board()];
    let file = |board: &board::Board| {
        let mut json = json::board(board);
        // Whatever other crates make serde_json do, as it keeps or sorts them by a feature.
        json.sort_all_objects();
        let json = serde_json::to_string_pretty(&json).expect("JSON values can be written");
        (folder(root).join(format!("{}.json", board.uid)), json + "\n")
    };
    boards.iter().map(file).collect()
}
