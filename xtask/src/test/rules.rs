//! The stage `rules`: what Prometheus and Alertmanager themselves say of the files for them.

use std::path::Path;
use std::process::Command;

use super::tally::Tally;
use crate::{packages, rules, sh};

/// Every check, each once; a failing one does not hide the next.
pub(crate) fn stage(root: &Path) -> anyhow::Result<Tally> {
    packages::ensure(packages::RULES)?;
    let mut tally = Tally::default();
    let mut check = |name: &str, outcome: anyhow::Result<()>| match outcome {
        Ok(()) => {
            sh::say(&format!("rules: {name}: passed"));
            tally.passed += 1;
        }
        Err(error) => {
            sh::say(&format!("rules: {name}: FAILED: {error:#}"));
            tally.failed += 1;
        }
    };
    let folder = root.join(rules::FOLDER);
    let run = |program: &str, arguments: &[&str]| {
        sh::run(Command::new(program).args(arguments).current_dir(&folder).env_remove("LD_LIBRARY_PATH"))
    };
    check(
        "lint",
        run("promtool", &[&["check", "rules", "--lint=all", "--lint-fatal"], &rules::SOURCES[..]].concat()),
    );
    check("prometheus.yaml", run("promtool", &["check", "config", "prometheus.yaml"]));
    check("alertmanager.yaml", run("amtool", &["check-config", "alertmanager.yaml"]));
    check("the operator's copy", rules::check(root));
    for file in rules::tests(root)? {
        let file = file.strip_prefix(&folder).unwrap_or(&file).to_string_lossy();
        check(&file, run("promtool", &["test", "rules", &file]));
    }
    Ok(tally)
}
