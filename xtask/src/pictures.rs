//! `cargo xtask pictures`: a picture of each dashboard for the documentation, with what a real Prometheus saw of
//! a real daemon, drawn by Grafana's own panels in headless Chromium.
//!
//! Needs Node.js with npm, and fetches Grafana's packages (450 MB, below `target/ka`): no test does.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::test::native;
use crate::{ebpf, packages, paths, sh};

#[derive(clap::Args)]
pub(crate) struct PicturesArgs {
    /// For how long connections live and die before the pictures are taken, in seconds
    #[arg(long, default_value_t = 300)]
    seconds: u32,
}

/// Writes `docs/images/ka-*.png`.
pub(crate) fn run(root: &Path, args: &PicturesArgs) -> anyhow::Result<()> {
    packages::ensure(packages::PICTURES)?;
    ebpf::ensure(root)?;
    let binaries = native::prepare(root)?;
    let page = install(root)?;
    let answers = paths::cache(root).join("pictures/answers");
    sh::say(&format!("connections live and die for {} s", args.seconds));
    let seconds = args.seconds.to_string();
    let keep = answers.to_str().context("the path of target/ka is no UTF-8")?;
    let tally = native::boards(root, &binaries, &["--seconds", &seconds, "--keep", keep])?;
    ensure!(tally.failed == 0, "the dashboards do not pass their test, see above: no pictures");
    let mut command = Command::new("node");
    command
        .arg(page.join("draw.mjs"))
        .arg(root.join("dashboards/grafana"))
        .arg(&answers)
        .arg(root.join("docs/images"))
        .arg(
            sh::find_program("chromium")
                .or_else(|| sh::find_program("chromium-browser"))
                .context("no chromium")?,
        )
        .env_remove("LD_LIBRARY_PATH");
    sh::run(&mut command)
}

/// The page's sources beside the packages that they import.
fn install(root: &Path) -> anyhow::Result<std::path::PathBuf> {
    let folder = paths::cache(root).join("pictures/page");
    let sources = root.join("dashboards/pictures");
    for entry in fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", sources.display()))?.path();
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().context("a folder entry has a name")?;
        paths::write_if_changed(&folder.join(name), &content)?;
    }
    let mut npm = Command::new("npm");
    // No package's scripts run here; what they would build is not needed.
    npm.args(["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"]);
    sh::run_watched(npm.current_dir(&folder), "npm install, of Grafana's packages for the pictures")?;
    Ok(folder)
}
