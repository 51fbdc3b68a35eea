//! The stage `schema`: the dashboards as Grafana's Foundation SDK reads them (`dashboards/schema`).
//!
//! The SDK is fetched by pip, once, below `target/ka`: at the version and with the hash that
//! `dashboards/schema/requirements.txt` names, from wherever the user's pip fetches packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::tally::Tally;
use crate::{packages, paths, sh};

const FOLDER: &str = "dashboards/schema";

/// Checks every dashboard, and that the check finds what is wrong in broken ones.
pub(crate) fn stage(root: &Path) -> anyhow::Result<Tally> {
    let sdk = install(root)?;
    let mut tally = None;
    let mut command = python();
    // No `.pyc` beside the sources, and no packages of the user's.
    command.args(["-E", "-B"]).arg(root.join(FOLDER).join("check.py")).arg(sdk).args(dashboards(root)?);
    let status = sh::each_line(&mut command, |line| {
        tally = Tally::from_closing_line(line);
        sh::print_line(&format!("schema: {line}"))?;
        Ok(())
    })?;
    let mut tally =
        tally.with_context(|| format!("check.py ended without a sum, with {status}: see above"))?;
    if !status.success() && tally.failed == 0 {
        tally += Tally::FAILURE;
    }
    Ok(tally)
}

/// The folder with the SDK. A copy of the requirements stands in it once it is complete.
fn install(root: &Path) -> anyhow::Result<PathBuf> {
    packages::ensure(packages::SCHEMA)?;
    let _lock = paths::CacheLock::acquire(root)?;
    let requirements = root.join(FOLDER).join("requirements.txt");
    let wanted =
        fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let folder = paths::cache(root).join("grafana-sdk");
    let complete = folder.join("requirements.txt");
    if fs::read(&complete).is_ok_and(|there| there == wanted) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    if sh::output(python().args(["-m", "pip", "--version"])).is_err() {
        packages::ensure(packages::PIP)?;
    }
    let mut pip = python();
    pip.args(["-m", "pip", "install", "--require-hashes", "--no-deps", "--only-binary=:all:"]);
    pip.args(["--disable-pip-version-check", "--no-input", "--target"]).arg(&folder);
    sh::run_watched(pip.arg("--requirement").arg(&requirements), "pip install, of Grafana's Foundation SDK")
        .context("no Foundation SDK for Python 3.11 or later from where pip fetches packages")?;
    paths::write_if_changed(&complete, &wanted)?;
    Ok(folder)
}

fn dashboards(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = root.join("dashboards/grafana");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("cannot read {}", folder.display()))?;
    files.sort();
    Ok(files)
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.env_remove("LD_LIBRARY_PATH");
    command
}
