//! `cargo xtask bench`: builds everything and measures it beside the budgets of the design.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::{build, ebpf, paths, sh};

#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// Only these parts: kernel, apply, loss, daemon, inventory, start
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// A missed budget is a figure in the table, not a failure.
pub(crate) fn run(root: &Path, args: &BenchArgs) -> anyhow::Result<ExitCode> {
    build::run(root)?;
    sh::say("building the benchmarks (release)");
    sh::run(&mut ebpf::cargo_build(root, &["--package", "ka-daemon", "--example", "bench"]))?;
    let program = paths::target(root).join("release/examples/bench");
    let mut command = if sh::is_root() {
        Command::new(&program)
    } else {
        let Some(sudo) = sh::find_program("sudo") else {
            bail!("benchmarks attach to the kernel and need root; as root, run {}", program.display());
        };
        let mut command = Command::new(sudo);
        command.arg(&program);
        command
    };
    command.arg("--daemon").arg(paths::daemon(root));
    command.arg("--object").arg(paths::bpf_objects(root).join("ka-ebpf-bench"));
    if !args.only.is_empty() {
        command.arg("--only").arg(args.only.join(","));
    }
    command.env_remove("LD_LIBRARY_PATH");
    sh::say("measuring: about five minutes; keep the machine quiet meanwhile");
    let status = command.status().with_context(|| format!("cannot start {}", program.display()))?;
    if !status.success() {
        bail!("the benchmarks ended with {status}");
    }
    Ok(ExitCode::SUCCESS)
}
