//! Writes man pages and shell completions below a folder: `cargo xtask manual` runs it.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use ka_daemon::cli::Cli;

const NAME: &str = "ka-daemon";

fn main() -> ExitCode {
    let folder = env::args_os().nth(1).unwrap_or_else(|| OsString::from("."));
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> anyhow::Result<()> {
    let pages = folder.join("man1");
    let completions = folder.join("completions");
    for folder in [&pages, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    clap_mangen::generate_to(Cli::command(), &pages)
        .with_context(|| format!("cannot write the man pages to {}", pages.display()))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), NAME, &completions).with_context(|| {
            format!("cannot write the completions for {shell} to {}", completions.display())
        })?;
    }
    Ok(())
}
