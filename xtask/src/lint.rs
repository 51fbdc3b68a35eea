//! `cargo xtask lint`: formatting, clippy, the eBPF build's warnings, licences, file lengths, `unsafe`,
//! dashboards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::test::tally::Tally;
use crate::{dashboards, ebpf, licences, paths, sh};

/// Files longer than this are named.
const LONG_FILE: usize = 400;
/// Files longer than this fail.
const TOO_LONG_FILE: usize = 450;

pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let warnings = ebpf::ensure(root)?;
    let tally = checks(root, &warnings);
    sh::print_line(&tally.to_string())?;
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All checks, each once; a failing one does not hide the next.
pub(crate) fn checks(root: &Path, ebpf_warnings: &[String]) -> Tally {
    let mut tally = Tally::default();
    let mut check = |name: &str, outcome: anyhow::Result<()>| match outcome {
        Ok(()) => {
            sh::say(&format!("lint: {name}: passed"));
            tally.passed += 1;
        }
        Err(error) => {
            sh::say(&format!("lint: {name}: FAILED: {error:#}"));
            tally.failed += 1;
        }
    };
    check("formatting", formatting(root));
    check("clippy", clippy(root));
    check("warnings of ka-ebpf", ebpf_build(ebpf_warnings));
    check("licences and sources", licences::check(root));
    check("dashboards are as made", dashboards::check(root));
    match rust_files(root) {
        Ok(files) => {
            check("file lengths", file_lengths(root, &files));
            check("unsafe", unsafe_is_announced(root, &files));
        }
        Err(error) => check("file lengths, unsafe", Err(error)),
    }
    tally
}

fn formatting(root: &Path) -> anyhow::Result<()> {
    let mut command = sh::cargo(root, "fmt");
    sh::run(command.args(["--all", "--", "--check"])).context("`cargo fmt --all` puts it right")?;
    Ok(())
}

fn clippy(root: &Path) -> anyhow::Result<()> {
    // All targets are those that `cargo test` runs: the end-to-end tests are named.
    let targets: [&[&str]; 2] = [
        &["--workspace", "--exclude", "ka-ebpf", "--all-targets"],
        &["--package", "ka-daemon", "--test", "e2e"],
    ];
    for targets in targets {
        let mut command = sh::cargo(root, "clippy");
        command.args(targets).arg("--target-dir").arg(paths::target(root)).args(["--", "-D", "warnings"]);
        sh::run(&mut command)?;
    }
    Ok(())
}

/// The BPF compilers come without clippy: what rustc warns about must be nothing.
fn ebpf_build(warnings: &[String]) -> anyhow::Result<()> {
    if warnings.is_empty() {
        return Ok(());
    }
    bail!("the build gives {} warning(s), shown above", warnings.len());
}

fn file_lengths(root: &Path, files: &[PathBuf]) -> anyhow::Result<()> {
    let mut too_long = Vec::new();
    for file in files {
        let lines = read(file)?.lines().count();
        let name = file.strip_prefix(root).unwrap_or(file).display();
        if lines > TOO_LONG_FILE {
            too_long.push(format!("{name}: {lines} lines"));
        } else if lines > LONG_FILE {
            sh::say(&format!(
                "lint: {name} has {lines} lines; split it before it grows over {TOO_LONG_FILE}"
            ));
        }
    }
    if too_long.is_empty() {
        return Ok(());
    }
    bail!("at most {TOO_LONG_FILE} lines: {}", too_long.join(", "));
}

/// A file that uses `unsafe` says so in its `//!`, with the reason. The kernel side reads raw memory throughout.
fn unsafe_is_announced(root: &Path, files: &[PathBuf]) -> anyhow::Result<()> {
    let mut silent = Vec::new();
    for file in files {
        if !file.starts_with(root.join("ka-ebpf")) && uses_unsafe_silently(&read(file)?) {
            silent.push(file.strip_prefix(root).unwrap_or(file).display().to_string());
        }
    }
    if silent.is_empty() {
        return Ok(());
    }
    bail!("unsafe code in a file whose `//!` does not say why it needs `unsafe`: {}", silent.join(", "));
}

fn uses_unsafe_silently(source: &str) -> bool {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let forms = ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"];
    let uses = source.lines().filter(code).any(|line| {
        forms.iter().any(|form| line.split('"').step_by(2).any(|outside_text| outside_text.contains(form)))
    });
    let says = source.lines().any(|line| line.starts_with("//!") && line.contains("unsafe"));
    uses && !says
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Every Rust file of the workspace, in order; build output and hidden folders left out.
fn rust_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_must_be_announced() {
        let block = "fn f() { unsafe { g() } }\n";
        assert!(uses_unsafe_silently(block));
        assert!(!uses_unsafe_silently(&format!("//! Needs unsafe: reads a pointer.\n{block}")));
        assert!(uses_unsafe_silently(&format!("// unsafe is fine here\n{block}")), "only `//!` counts");
        assert!(!uses_unsafe_silently("// unsafe { }\n"));
        assert!(!uses_unsafe_silently("let text = \"unsafe { }\";\n"));
        assert!(!uses_unsafe_silently("#[unsafe(no_mangle)]\nstatic X: u8 = 0;\n"));
    }

    #[test]
    fn long_files_fail_and_are_named() {
        let root = std::env::temp_dir().join(format!("ka-xtask-lint-{}", std::process::id()));
        fs::create_dir_all(root.join("src")).unwrap();
        fs::create_dir_all(root.join("target")).unwrap();
        fs::write(root.join("src/good.rs"), "\n".repeat(TOO_LONG_FILE)).unwrap();
        fs::write(root.join("target/made.rs"), "\n".repeat(TOO_LONG_FILE + 1)).unwrap();
        assert!(file_lengths(&root, &rust_files(&root).unwrap()).is_ok());
        fs::write(root.join("src/long.rs"), "\n".repeat(TOO_LONG_FILE + 1)).unwrap();
        let Err(error) = file_lengths(&root, &rust_files(&root).unwrap()) else { panic!("passed") };
        assert!(error.to_string().ends_with("src/long.rs: 451 lines"), "{error}");
        fs::remove_dir_all(&root).unwrap();
    }
}
