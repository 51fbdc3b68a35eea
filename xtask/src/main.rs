//! Everything a developer of ka types: set-up, build, run, test, guests, lint.
//!
//! This file only parses the command line; each command lives in the module of its name.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

mod bench;
mod build;
mod dashboards;
mod ebpf;
mod licences;
mod lint;
mod manual;
mod packages;
mod paths;
mod pictures;
mod rules;
mod run;
mod sh;
mod test;
mod toolchain;
mod vm;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Set-up, build, run and tests of ka")]
struct Args {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Set up the BPF toolchain and build the release binary at target/release/ka-daemon
    Build,
    /// Set up, build, and run the daemon (as root, by sudo where needed)
    Run(run::RunArgs),
    /// Every test: lint, unit, native end-to-end, load, guests
    Test(test::TestArgs),
    /// The end-to-end tests in other kernels, in qemu
    Vm(vm::VmArgs),
    /// What it costs, beside the budgets
    Bench(bench::BenchArgs),
    /// Man pages and shell completions, below target/manual
    Manual,
    /// Make the Prometheus operator's copy of the rules, and the addresses of their runbooks
    Rules,
    /// Grafana's dashboards, from their descriptions
    Dashboards,
    /// Pictures of the dashboards, drawn with Grafana's own panels, for docs/images
    Pictures(pictures::PicturesArgs),
    /// Formatting, clippy, eBPF warnings, licences, file lengths, unsafe, dashboards
    Lint,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match workspace_root().and_then(|root| dispatch(args.command, &root)) {
        Ok(code) => code,
        Err(error) => {
            sh::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Cmd, root: &std::path::Path) -> anyhow::Result<ExitCode> {
    match command {
        Cmd::Build => build::run(root).map(|()| ExitCode::SUCCESS),
        Cmd::Run(args) => run::run(root, &args),
        Cmd::Test(args) => test::run(root, &args),
        Cmd::Vm(args) => test::guests(root, args),
        Cmd::Bench(args) => bench::run(root, &args),
        Cmd::Manual => manual::run(root).map(|()| ExitCode::SUCCESS),
        Cmd::Dashboards => dashboards::run(root).map(|()| ExitCode::SUCCESS),
        Cmd::Pictures(args) => pictures::run(root, &args).map(|()| ExitCode::SUCCESS),
        Cmd::Rules => rules::run(root).map(|()| ExitCode::SUCCESS),
        Cmd::Lint => lint::run(root),
    }
}

/// The workspace is the parent of this package, as cargo sees it when it runs us.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = package.parent().context("the xtask package has no parent folder")?;
    Ok(root.to_path_buf())
}
