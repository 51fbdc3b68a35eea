//! The end-to-end binary on this machine's kernel: built here, run as root against the release daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::tally::Tally;
use crate::{build, packages, paths, sh};

/// What the end-to-end stages run; the guests run the same.
pub(crate) struct Binaries {
    pub(crate) end_to_end: PathBuf,
    pub(crate) programs: PathBuf,
}

/// Builds the daemon, the end-to-end binary and the test programs in other languages.
pub(crate) fn prepare(root: &Path) -> anyhow::Result<Binaries> {
    packages::ensure(packages::NATIVE)?;
    build::daemon(root)?;
    let end_to_end = build_end_to_end(root)?;
    let programs = build_go(root)?;
    Ok(Binaries { end_to_end, programs })
}

/// Runs the scenarios and returns what the closing line says.
pub(crate) fn scenarios(root: &Path, binaries: &Binaries, arguments: &[&str]) -> anyhow::Result<Tally> {
    told(root, binaries, arguments)
}

/// Asks a real Prometheus what the dashboards ask, while connections live and die.
pub(crate) fn boards(root: &Path, binaries: &Binaries, arguments: &[&str]) -> anyhow::Result<Tally> {
    packages::ensure(packages::BOARDS)?;
    told(root, binaries, &[&["--boards", "dashboards/grafana"], arguments].concat())
}

fn told(root: &Path, binaries: &Binaries, arguments: &[&str]) -> anyhow::Result<Tally> {
    let (closing, status) = run(root, binaries, arguments)?;
    let Some(mut tally) = closing else {
        bail!("the end-to-end binary ended ({status}) without its closing line");
    };
    if !status.success() && tally.failed == 0 {
        sh::say(&format!("the end-to-end binary says that nothing failed, yet it ended with {status}"));
        tally += Tally::FAILURE;
    }
    Ok(tally)
}

/// Runs the load test.
pub(crate) fn load(root: &Path, binaries: &Binaries, arguments: &[&str]) -> anyhow::Result<Tally> {
    one(root, binaries, &[&["--load"], arguments].concat())
}

/// Runs the ways of alerts, with a real Prometheus and Alertmanager.
pub(crate) fn alert(root: &Path, binaries: &Binaries, arguments: &[&str]) -> anyhow::Result<Tally> {
    packages::ensure(packages::ALERT)?;
    let folder = root.join("dashboards/prometheus");
    let folder = folder.to_str().context("the path of the repository is no UTF-8")?;
    told(root, binaries, &[&["--alert", folder], arguments].concat())
}

/// What is one test: its exit code says how it went.
fn one(root: &Path, binaries: &Binaries, arguments: &[&str]) -> anyhow::Result<Tally> {
    let (_, status) = run(root, binaries, arguments)?;
    Ok(if status.success() { Tally { passed: 1, ..Tally::default() } } else { Tally::FAILURE })
}

/// Runs the end-to-end binary, shows what it prints, and returns its closing line and exit code.
fn run(root: &Path, binaries: &Binaries, arguments: &[&str]) -> anyhow::Result<(Option<Tally>, ExitStatus)> {
    let mut command = as_root()?;
    command
        .arg(format!("KA_DAEMON={}", paths::daemon(root).display()))
        .arg(format!("KA_E2E_TOOLS={}", binaries.programs.display()))
        .arg(&binaries.end_to_end)
        .args(arguments)
        .env_remove("LD_LIBRARY_PATH")
        .current_dir(root);
    let mut closing = None;
    let status = sh::each_line(&mut command, |line| {
        closing = Tally::from_closing_line(line).or(closing);
        sh::print_line(line)?;
        Ok(())
    })?;
    Ok((closing, status))
}

/// `env`, as root: variables are its first arguments, because sudo drops the environment.
fn as_root() -> anyhow::Result<Command> {
    if sh::is_root() {
        return Ok(Command::new("env"));
    }
    let Some(sudo) = sh::find_program("sudo") else {
        bail!("the end-to-end tests need root, and there is no sudo here: run cargo xtask test as root");
    };
    sh::say("the end-to-end tests need root: running them by sudo");
    let mut command = Command::new(sudo);
    command.arg("env");
    Ok(command)
}

fn build_end_to_end(root: &Path) -> anyhow::Result<PathBuf> {
    sh::say("building the end-to-end tests");
    let mut command = sh::cargo(root, "test");
    command
        .args(["--no-run", "--profile", super::PROFILE, "--package", "ka-daemon", "--test", "e2e"])
        .args(["--message-format", "json-render-diagnostics", "--target-dir"])
        .arg(paths::target(root))
        .stdin(Stdio::null());
    let mut found = None;
    let status = sh::each_line(&mut command, |line| {
        found = executable(line).or(found.take());
        Ok(())
    })?;
    if !status.success() {
        bail!("the end-to-end tests do not build ({status})");
    }
    found.context("cargo names no executable for the test e2e")
}

fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == "e2e";
    is_ours.then(|| message["executable"].as_str().map(PathBuf::from))?
}

/// Every folder below `ka-daemon/tests/programs/go` becomes a static program `go-FOLDER`.
fn build_go(root: &Path) -> anyhow::Result<PathBuf> {
    let output = paths::test_programs(root);
    fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    let sources = root.join("ka-daemon/tests/programs/go");
    for entry in fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))? {
        let folder = entry.with_context(|| format!("cannot read {}", sources.display()))?.path();
        if !folder.join("main.go").is_file() {
            continue;
        }
        let name =
            format!("go-{}", folder.file_name().context("a folder entry has a name")?.to_string_lossy());
        let mut command = Command::new("go");
        command
            .args(["build", "-trimpath", "-o"])
            .arg(output.join(&name))
            .arg(".")
            .current_dir(&folder)
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
            .env("GOPROXY", "off")
            .env("GOCACHE", paths::cache(root).join("go-build"))
            .env_remove("LD_LIBRARY_PATH");
        let what = format!("building the test program {name}");
        sh::run_watched(&mut command, &what)?;
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_in_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"e2e"},"executable":"/t/e2e-1"}"#;
        assert_eq!(executable(line), Some("/t/e2e-1".into()));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"ka_daemon"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable("text"), None);
    }
}
