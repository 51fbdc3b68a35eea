//! `cargo xtask manual`: man pages and shell completions of the daemon, made from its own options.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::{ebpf, paths, sh};

/// Writes them below `target/manual`.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    ebpf::ensure(root)?;
    sh::run(&mut ebpf::cargo_build(root, &["--package", "ka-daemon", "--example", "manual"]))?;
    let program = paths::target(root).join("release/examples/manual");
    let folder = paths::target(root).join("manual");
    let status = Command::new(&program)
        .arg(&folder)
        .env_remove("LD_LIBRARY_PATH")
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(status.success(), "{} ended with {status}", program.display());
    sh::say("target/manual/man1 holds the man pages, target/manual/completions those for bash, zsh and fish");
    Ok(())
}
