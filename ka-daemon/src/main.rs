//! `ka-daemon`: reads what was typed, starts the runtime, and turns failures into exit codes.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser as _;
use ka_daemon::cli::{Cli, Command, check};
use ka_daemon::run;

fn main() -> ExitCode {
    let started = Instant::now();
    let result = match Cli::parse().into_command() {
        Command::Run(args) => {
            args.log().init();
            serve(&args, started).map(|()| ExitCode::SUCCESS)
        }
        Command::Check(args) => check::run(&args, &mut std::io::stdout().lock())
            .map_err(anyhow::Error::from)
            .map(|complete| if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
    };
    result.unwrap_or_else(|error| {
        eprintln!("ka-daemon: {}", told(&error));
        ExitCode::FAILURE
    })
}

/// The error and its causes, each once: many an error tells its cause itself.
fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

fn serve(args: &ka_daemon::cli::args::RunArgs, started: Instant) -> anyhow::Result<()> {
    // One for the owner of the table, one for everything else.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(async {
        let shutdown = run::signals().context("cannot receive SIGTERM and SIGINT")?;
        Ok(run::start(args.settings(), started, shutdown).await?)
    });
    // A request that hangs on a blocking thread must not keep the process.
    runtime.shutdown_background();
    result
}
