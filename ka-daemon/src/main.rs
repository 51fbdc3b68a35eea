//! `ka-daemon`: reads what was typed, starts the runtime, and turns failures into exit codes.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use jiff::tz::TimeZone;
use ka_daemon::cli::check::CheckError;
use ka_daemon::cli::command::Console;
use ka_daemon::cli::{Cli, Command, check, drops, idle_timeouts, sockets, top};
use ka_daemon::config::Live;
use ka_daemon::inventory::once;
use ka_daemon::process;

fn main() -> ExitCode {
    let started = Instant::now();
    dispatch(Cli::of_process().into_command(), started).unwrap_or_else(|error| {
        // Standard error may be a pipe or a terminal that is gone: there is nobody left to tell then.
        drop(writeln!(io::stderr(), "ka-daemon: {}", told(&error)));
        ExitCode::FAILURE
    })
}

fn dispatch(command: Command, started: Instant) -> anyhow::Result<ExitCode> {
    let (mut out, mut err) = (io::BufWriter::new(io::stdout().lock()), io::stderr());
    match command {
        Command::Run(args) => {
            drop(out);
            args.log().init();
            process::serve(args.settings(), started)?;
        }
        Command::Sockets(args) => {
            let console = Console::of_process(args.look());
            let config = Live::open(args.config.as_deref())?;
            let read = |filter: &_| Ok(once::all(filter, config)?);
            sockets::run(&args, read, console, &mut out, &mut err)?;
        }
        Command::Top(args) => {
            drop(out);
            top::run(&args)?;
        }
        Command::Drops(args) => {
            let console = Console::of_process(args.look());
            drops::run(&args, &TimeZone::system(), console, &mut out, &mut err)?;
        }
        Command::IdleTimeouts(args) => {
            let console = Console::of_process(args.look());
            idle_timeouts::run(&args, console, &mut out)?;
        }
        Command::Check(args) => match check::run(&args, &mut out) {
            Ok(complete) => return Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
            // Whoever reads has enough.
            Err(CheckError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error.into()),
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// The error and its causes, each once: many an error tells its cause itself.
fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}
