//! The BPF toolchain: probe the machine, choose a way, make it ready, and say which way was taken and why.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

pub(crate) mod advice;
mod apt;
mod choose;
mod debian;
pub(crate) mod probe;

pub(crate) use choose::Way;
use choose::{Choice, choose};

use crate::sh;

/// A toolchain that builds eBPF objects.
pub(crate) struct Toolchain {
    pub(crate) way: Way,
    linker: PathBuf,
    compiler: Compiler,
}

enum Compiler {
    Nightly { name: String },
    Ready { rustc: PathBuf, libraries: Option<PathBuf> },
}

impl Toolchain {
    /// A `cargo` subcommand that compiles with this toolchain, without flags yet.
    pub(crate) fn cargo(&self, root: &Path, subcommand: &str) -> Command {
        match &self.compiler {
            Compiler::Nightly { name } => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo", subcommand]).current_dir(root);
                for variable in ["RUSTC", "CARGO", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"] {
                    command.env_remove(variable);
                }
                command
            }
            Compiler::Ready { rustc, libraries } => {
                let mut command = sh::cargo(root, subcommand);
                command.env("RUSTC", rustc);
                // aya-ebpf alone uses an unstable feature.
                command.env("RUSTC_BOOTSTRAP", "aya_ebpf");
                if let Some(libraries) = libraries {
                    command.env("LD_LIBRARY_PATH", libraries);
                }
                command
            }
        }
    }

    /// True where `core` must be compiled along.
    pub(crate) fn needs_build_std(&self) -> bool {
        matches!(self.compiler, Compiler::Nightly { .. })
    }

    /// rustc's option that names the linker.
    pub(crate) fn linker_flag(&self) -> OsString {
        let mut flag = OsString::from("-Clinker=");
        flag.push(&self.linker);
        flag
    }
}

/// Makes a toolchain ready, from the caches where they have one.
pub(crate) fn ensure(root: &Path) -> anyhow::Result<Toolchain> {
    let facts = probe::facts(root)?;
    let choice = match choose(&facts) {
        Ok(choice) => choice,
        Err(refusal) => bail!(advice::message(&refusal, facts.family)),
    };
    let (way, reason) = match &choice {
        Choice::Rustup { reason, .. } => (Way::Rustup, reason),
        Choice::Rustc { reason, .. } => (Way::Rustc, reason),
        Choice::Debian { reason } => (Way::Debian, reason),
    };
    sh::say(&format!("BPF toolchain: {} way: {reason}", way.name()));
    Ok(match choice {
        Choice::Rustup { toolchain, linker, .. } => {
            Toolchain { way, linker, compiler: Compiler::Nightly { name: toolchain } }
        }
        Choice::Rustc { rustc, linker, .. } => {
            Toolchain { way, linker, compiler: Compiler::Ready { rustc, libraries: None } }
        }
        Choice::Debian { .. } => {
            let made = debian::ensure(root)?;
            sh::say(&format!("BPF toolchain: {}", made.contents));
            let compiler = Compiler::Ready { rustc: made.rustc, libraries: Some(made.libraries) };
            Toolchain { way, linker: made.linker, compiler }
        }
    })
}
