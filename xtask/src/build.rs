//! `cargo xtask build`: toolchain, eBPF objects, the release daemon.

use std::path::Path;

use crate::{ebpf, paths, sh};

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    ebpf::ensure(root)?;
    daemon(root)?;
    sh::say(&format!("built {}", paths::daemon(root).display()));
    Ok(())
}

/// The daemon alone; the eBPF objects must be there.
pub(crate) fn daemon(root: &Path) -> anyhow::Result<()> {
    sh::say("building the daemon (release)");
    sh::run(&mut ebpf::cargo_build(root, &["--package", "ka-daemon", "--bin", "ka-daemon"]))
}
