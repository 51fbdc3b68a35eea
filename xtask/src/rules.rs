//! `cargo xtask rules`: what is made from the rules for Prometheus. The operator's copy, and the address of
//! the runbooks, which is that of the repository in Cargo.toml.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::sh;

/// The rule files, in order, below [`FOLDER`].
pub(crate) const SOURCES: [&str; 2] = ["recording.yaml", "alerts.yaml"];
pub(crate) const FOLDER: &str = "dashboards/prometheus";
const OPERATOR: &str = "dashboards/prometheus-operator/prometheusrule.yaml";
const RUNBOOKS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/runbooks");

const HEAD: &str = "\
# Made by `cargo xtask rules` from dashboards/prometheus, where the rules stand and are tested: change them
# there. A Prometheus resource takes it if its ruleSelector and ruleNamespaceSelector match.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ka
  labels:
    app.kubernetes.io/name: ka
spec:
  groups:
";

/// A file and what should stand in it.
struct Made {
    path: PathBuf,
    text: String,
}

impl Made {
    fn is_there(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text == self.text)
    }
}

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    for made in all(root)?.iter().filter(|made| !made.is_there()) {
        fs::write(&made.path, &made.text).with_context(|| format!("cannot write {}", made.path.display()))?;
        sh::say(&format!("wrote {}", made.path.display()));
    }
    Ok(())
}

/// That everything is as this command would make it.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let old: Vec<String> = all(root)?
        .iter()
        .filter(|made| !made.is_there())
        .map(|made| made.path.strip_prefix(root).unwrap_or(&made.path).display().to_string())
        .collect();
    ensure!(old.is_empty(), "`cargo xtask rules` makes these anew: {}", old.join(", "));
    Ok(())
}

/// The files with tests of the rules, in order.
pub(crate) fn tests(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = root.join(FOLDER).join("tests");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("cannot read {}", folder.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

fn all(root: &Path) -> anyhow::Result<Vec<Made>> {
    let mut made = Vec::new();
    let mut groups = String::new();
    let sources = SOURCES.iter().map(|name| root.join(FOLDER).join(name));
    for path in sources.chain(tests(root)?) {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = with_runbooks(&text);
        if path.parent().is_some_and(|folder| folder.ends_with("prometheus")) {
            groups += &groups_of(&text).with_context(|| format!("{} has no groups", path.display()))?;
        }
        made.push(Made { path, text });
    }
    made.push(Made { path: root.join(OPERATOR), text: format!("{HEAD}{groups}") });
    Ok(made)
}

/// The groups of a rule file, as far in as they stand below a `spec`.
fn groups_of(text: &str) -> Option<String> {
    let (_, groups) = text.split_once("\ngroups:\n")?;
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    Some(groups.lines().map(indented).collect())
}

/// The same with the address of each runbook as it should be.
fn with_runbooks(text: &str) -> String {
    let line = |line: &str| match line.split_once("runbook_url: ") {
        Some((before, url)) => {
            let name = url.rsplit('/').next().unwrap_or(url);
            format!("{before}runbook_url: {RUNBOOKS}/{name}\n")
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_move_below_the_spec() {
        let text = "# Head.\ngroups:\n  - name: a\n    rules:\n\n      # Why.\n      - record: b\n";
        let expected = "    - name: a\n      rules:\n\n        # Why.\n        - record: b\n";
        assert_eq!(groups_of(text).as_deref(), Some(expected));
        assert_eq!(groups_of("rules: []\n"), None);
    }

    #[test]
    fn runbooks_get_the_address_of_the_repository() {
        let text = "  runbook_url: https://old.example/books/KaX.md\n  summary: none\n";
        assert_eq!(with_runbooks(text), format!("  runbook_url: {RUNBOOKS}/KaX.md\n  summary: none\n"));
    }

    #[test]
    fn what_is_in_the_repository_is_what_is_made() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        check(root).unwrap();
    }
}
