//! What the commands that show something share: where their output goes, and how they fail.

use std::io::{self, IsTerminal as _};

use clap::ColorChoice;

use super::args::show::LookArgs;
use super::client::ClientError;

/// Why a reading of the kernel failed, in the words of whoever reads.
pub type ReadError = Box<dyn std::error::Error + Send + Sync>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Standard output takes no more.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The daemon did not tell.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The kernel could not be read.
    #[error("cannot read this kernel's sockets: {source}{hint}")]
    Read {
        /// Why.
        source: ReadError,
        /// What to do, with the semicolon before it; empty: the cause says all.
        hint: &'static str,
    },
    /// The runtime of the HTTP client cannot be had.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    /// `top` needs one.
    #[error(
        "`ka-daemon top` needs a terminal; `ka-daemon sockets` and `ka-daemon drops --follow` write to anything"
    )]
    NoTerminal,
    /// The terminal cannot be used.
    #[error("cannot use the terminal: {0}")]
    Terminal(io::Error),
}

/// A reader that has enough (`| head`) is no failure.
///
/// # Errors
/// Whatever else went wrong.
pub fn allow_broken_pipe(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Runs what asks a daemon.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let result = runtime.block_on(work);
    // A name that takes long to be looked up must not keep the command.
    runtime.shutdown_background();
    result
}

/// What standard output and standard error are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Console {
    /// Columns of the terminal; none: output goes elsewhere and is never cut.
    pub width: Option<usize>,
    /// Whether output has colours.
    pub color: bool,
    /// Whether standard error is told what was done.
    pub narrate: bool,
    /// Whether this is root, who may read the kernel.
    pub root: bool,
}

impl Console {
    /// As they are in this process.
    #[must_use]
    pub fn of_process(look: LookArgs) -> Self {
        let stdout = io::stdout();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            width: stdout
                .is_terminal()
                .then(|| terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0)))
                .flatten()
                .filter(|width| *width > 0),
            color: match look.color {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => stdout.is_terminal() && !no_color && !dumb,
            },
            narrate: look.verbose || io::stderr().is_terminal(),
            root: rustix::process::geteuid().is_root(),
        }
    }
}
