//! Tells the daemon what it was built from: the revision, the compiler, the kernel programs and the
//! hashes of its page.
//!
//! The programs are compiled for another target by `cargo xtask build`, which names the object in
//! `KA_EBPF_OBJECT`; a plain `cargo build` takes the one that it left in the workspace.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

/// The page that the daemon serves at `/`.
const PAGE: &str = "src/api/page/index.html";

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

    directive(&format!("rerun-if-changed={PAGE}"));
    match page_sources(&manifest.join(PAGE)) {
        Ok(sources) => directive(&format!("rustc-env=KA_PAGE_SOURCES={sources}")),
        Err(error) => {
            directive(&format!("error={PAGE}: {error}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The part of the page's content security policy that names its style and script by their hashes.
fn page_sources(path: &Path) -> Result<String, String> {
    let page = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let hash = |tag: &str| {
        let (begin, end) = (format!("<{tag}>"), format!("</{tag}>"));
        match page.split(&begin).collect::<Vec<_>>()[..] {
            [_, rest] => {
                let (content, _) = rest.split_once(&end).ok_or(format!("no {end}"))?;
                Ok(BASE64_STANDARD.encode(Sha256::digest(content)))
            }
            _ => Err(format!("{begin} must be there once, without attributes")),
        }
    };
    Ok(format!("style-src 'sha256-{}'; script-src 'sha256-{}'", hash("style")?, hash("script")?))
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
