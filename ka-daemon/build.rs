//! Tells the daemon what it was built from: the revision, the compiler and the kernel programs.
//!
//! The programs are compiled for another target by `cargo xtask build`, which names the object in
//! `KA_EBPF_OBJECT`; a plain `cargo build` takes the one that it left in the workspace.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let workspace = manifest.parent().expect("the package lies in the workspace");
    let rustc = env::var_os("RUSTC").expect("cargo sets it");

    directive("rerun-if-changed=build.rs");
    for input in ["KA_EBPF_OBJECT", "KA_REVISION"] {
        directive(&format!("rerun-if-env-changed={input}"));
    }
    directive(&format!("rustc-env=KA_REVISION={}", revision(workspace)));
    let version = first_line(Command::new(rustc).arg("--version")).unwrap_or_else(|| "unknown".into());
    directive(&format!("rustc-env=KA_RUSTC={version}"));

    let object = env::var_os("KA_EBPF_OBJECT")
        .map_or_else(|| workspace.join("target/bpf/ka-ebpf"), |path| workspace.join(path));
    directive(&format!("rerun-if-changed={}", object.display()));
    if !object.is_file() {
        directive(&format!(
            "error=the kernel programs are not built: no file {}; run `cargo xtask build`, \
             or name the object in KA_EBPF_OBJECT",
            object.display()
        ));
        return ExitCode::FAILURE;
    }
    directive(&format!("rustc-env=KA_EBPF_OBJECT={}", object.display()));
    ExitCode::SUCCESS
}

/// The commit that is built. A source archive has none: its packager may
/// set `KA_REVISION`.
fn revision(workspace: &Path) -> String {
    if let Ok(given) = env::var("KA_REVISION") {
        return given;
    }
    let git = |args: &[&str]| first_line(Command::new("git").arg("-C").arg(workspace).args(args));
    // HEAD names the branch, its log moves with every commit on it.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", file])
            && Path::new(&path).exists()
        {
            directive(&format!("rerun-if-changed={path}"));
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into())
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

fn directive(text: &str) {
    println!("cargo::{text}");
}
