//! End-to-end tests: the daemon as a process, real sockets, and equality with the kernel's own
//! counters and with what went over the wire. One program for the development machine and for the
//! guests of `cargo xtask vm`.
//!
//! All scenarios run side by side against one daemon, each in two network namespaces of its own.
//! It is a program (`harness = false`), so that a guest can run it without cargo.

mod alert;
mod args;
mod audit;
mod boards;
mod bpf;
mod capture;
mod case;
mod daemon;
mod load;
mod middle;
mod net;
mod records;
mod runner;
mod running;
mod scenarios;
mod servers;
mod ss;
mod tcp;
mod trace;
mod uffd;

use std::process::ExitCode;

use anyhow::Context as _;

/// The one place that writes to standard output.
pub(crate) fn say(line: &str) {
    #[expect(clippy::print_stdout, reason = "the report is this program's output")]
    {
        println!("{line}");
    }
}

/// What processes of this program are called.
pub(crate) fn own_comm() -> anyhow::Result<String> {
    let comm = std::fs::read_to_string("/proc/self/comm").context("/proc/self/comm")?;
    Ok(comm.trim_end().to_owned())
}

fn main() -> ExitCode {
    let result = args::Args::parse(std::env::args().skip(1)).and_then(|args| match args {
        args::Args { worker: Some(connections), .. } => load::worker(connections).map(|()| true),
        args::Args { program: Some(name), .. } => boards::worker(&name).map(|()| true),
        args if args.list => {
            for scenario in scenarios::all() {
                say(scenario.name);
            }
            Ok(true)
        }
        args if args.load => load::run(&args).map(|()| true),
        args if args.boards.is_some() => boards::run(&args),
        args::Args { alert: Some(ref rules), .. } => Ok(alert::run(&args, rules)),
        args => runner::run(&args),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            say(&format!("e2e: {e:#}"));
            ExitCode::FAILURE
        }
    }
}
