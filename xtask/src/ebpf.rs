//! Builds the kernel side and puts the objects where the daemon's build script finds them: `target/bpf/`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::toolchain::{self, Toolchain, probe::BPF_TARGET};
use crate::{paths, sh};

/// The objects: the programs, and the empty ones that benchmarks measure against.
const OBJECTS: [&str; 2] = ["ka-ebpf", "ka-ebpf-bench"];

/// Toolchain and objects, whatever of them is missing or old. Returns the compiler's warnings.
pub(crate) fn ensure(root: &Path) -> anyhow::Result<Vec<String>> {
    let _lock = paths::CacheLock::acquire(root)?;
    let toolchain = toolchain::ensure(root)?;
    sh::say("building the eBPF objects");
    let warnings = compile(root, &toolchain)?;
    for name in OBJECTS {
        let built = build_folder(root).join(BPF_TARGET).join("release").join(name);
        let content = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
        if paths::write_if_changed(&paths::bpf_objects(root).join(name), &content)? {
            sh::say(&format!("  target/bpf/{name} is new ({} KiB)", content.len() / 1024));
        }
    }
    Ok(warnings)
}

fn build_folder(root: &Path) -> std::path::PathBuf {
    paths::cache(root).join("ebpf-build")
}

fn compile(root: &Path, toolchain: &Toolchain) -> anyhow::Result<Vec<String>> {
    let mut command = toolchain.cargo(root, "build");
    command
        .args(["--package", "ka-ebpf", "--bins", "--release", "--target", BPF_TARGET])
        .arg("--target-dir")
        .arg(build_folder(root))
        .args([
            "--message-format",
            if io::stderr().is_terminal() { "json-diagnostic-rendered-ansi" } else { "json" },
        ])
        .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain))
        // bpf-linker optimizes the whole program itself.
        .env("CARGO_PROFILE_RELEASE_LTO", "false")
        .stdin(Stdio::null());
    if toolchain.needs_build_std() {
        command.args(["-Z", "build-std=core"]);
    }
    let mut warnings = Vec::new();
    let status = sh::each_line(&mut command, |line| {
        if let Some(text) = diagnostic(line) {
            eprint!("{text}");
            warnings.push(text);
        }
        Ok(())
    })?;
    if !status.success() {
        bail!(
            "the eBPF build failed with the {} toolchain. If the linker complains about the bitcode, its LLVM is \
             older than the compiler's; KA_BPF_TOOLCHAIN=rustup|rustc|debian takes another way",
            toolchain.way.name()
        );
    }
    Ok(warnings)
}

/// Programs read kernel structures through the host's calling convention, hence its architecture.
fn flags(toolchain: &Toolchain) -> OsString {
    let mut flags = OsString::from(format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH));
    for flag in ["-Cdebuginfo=2".into(), "-Clink-arg=--btf".into(), toolchain.linker_flag()] {
        flags.push("\u{1f}");
        flags.push::<OsString>(flag);
    }
    flags
}

/// The rendered text of a compiler message; the closing "N warnings emitted" is none.
fn diagnostic(line: &str) -> Option<String> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-message" || message["message"]["spans"].as_array()?.is_empty() {
        return None;
    }
    Some(message["message"]["rendered"].as_str()?.to_owned())
}

/// Host crates embed the object, so every command that compiles them comes through here first.
pub(crate) fn cargo_build(root: &Path, arguments: &[&str]) -> Command {
    let mut command = sh::cargo(root, "build");
    command.args(["--release", "--target-dir"]).arg(paths::target(root)).args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_with_a_place_are_diagnostics() {
        let message = |spans: &str| {
            format!(
                r#"{{"reason":"compiler-message","message":{{"rendered":"warning: x\n","spans":[{spans}]}}}}"#
            )
        };
        assert_eq!(diagnostic(&message("{}")), Some("warning: x\n".to_owned()));
        assert_eq!(diagnostic(&message("")), None, "a summary");
        assert_eq!(diagnostic(r#"{"reason":"compiler-artifact"}"#), None);
        assert_eq!(diagnostic("no JSON"), None);
    }
}
