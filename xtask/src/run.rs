//! `cargo xtask run`: everything that `build` does, then the daemon in place of this process.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::{build, paths, sh};

#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// Handed to ka-daemon, after `--`
    #[arg(last = true)]
    daemon_args: Vec<OsString>,
}

pub(crate) fn run(root: &Path, args: &RunArgs) -> anyhow::Result<ExitCode> {
    build::run(root)?;
    let daemon = paths::daemon(root);
    let mut command = if sh::is_root() {
        Command::new(&daemon)
    } else {
        let Some(sudo) = sh::find_program("sudo") else {
            bail!(
                "ka-daemon needs root to attach to the kernel, and there is no sudo here; as root, run {}",
                daemon.display()
            );
        };
        sh::say("ka-daemon needs root to attach to the kernel: starting it by sudo");
        let mut command = Command::new(sudo);
        command.arg(&daemon);
        command
    };
    command.args(&args.daemon_args).env_remove("LD_LIBRARY_PATH");
    sh::say("starting the daemon; Ctrl-C ends it");
    Err(command.exec()).with_context(|| format!("cannot start {}", daemon.display()))
}
