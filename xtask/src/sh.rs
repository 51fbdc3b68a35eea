//! Runs other programs: says what it does and for how long, and names what failed.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long a quiet child may run before a line says that it still does.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How much of a quiet child's output is shown when it fails.
const TAIL_LINES: usize = 40;

/// One progress line, with the time since the start of this command.
pub(crate) fn say(message: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let seconds = START.get_or_init(Instant::now).elapsed().as_secs();
    eprintln!("[xtask {seconds}s] {message}");
}

/// A line of the command's result, on standard output.
pub(crate) fn print_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The cargo that runs us, in the workspace, with its output under the workspace's `target/`.
pub(crate) fn cargo(root: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // `cargo run` adds its own folders; a compiler or test program must not load libraries from there.
    command.env_remove("LD_LIBRARY_PATH");
    command.current_dir(root).arg(subcommand);
    command
}

/// Runs with the terminal; an exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    check(command, status)
}

/// What the program prints on standard output.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!(
            "{} failed ({}): {}",
            show(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no UTF-8", show(command)))
}

/// Runs a talkative program without its talk: a line now and then, and the end of its output if it fails.
pub(crate) fn run_watched(command: &mut Command, what: &str) -> anyhow::Result<()> {
    say(what);
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null());
    command.stdout(writer.try_clone().context("cannot duplicate a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| cannot_start(command))?;
    // The command still holds the pipe's writing ends; replace them, or the pipe never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let (sender, lines) = mpsc::channel();
    let pump = std::thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim().to_owned()).is_err() {
                return;
            }
        }
    });
    let mut tail = VecDeque::new();
    let mut next = Instant::now() + HEARTBEAT;
    loop {
        match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => {
                say(&format!("  still at it: {}", tail.back().map_or("(no output yet)", String::as_str)));
                next = Instant::now() + HEARTBEAT;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {}", show(command)))?;
    pump.join().map_err(|_| anyhow::anyhow!("the output reader of {} panicked", show(command)))?;
    if !status.success() {
        for line in &tail {
            eprintln!("  | {line}");
        }
    }
    check(command, status)
}

/// Hands each line of standard output to `on_line` as it comes; standard error goes to the terminal.
pub(crate) fn each_line(
    command: &mut Command,
    mut on_line: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| cannot_start(command))?;
    let stdout = child.stdout.take().context("the child's standard output was piped")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("cannot read the output of {}", show(command)))?;
        on_line(&String::from_utf8_lossy(&line))?;
    }
    child.wait().with_context(|| format!("cannot wait for {}", show(command)))
}

/// Where a program stands on `PATH` or in the system folders that a user's `PATH` may lack.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    programs_named(name).next()
}

/// Every program of that name, in the order of `PATH`.
pub(crate) fn programs_named(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .collect();
    let name = name.to_owned();
    folders.into_iter().map(move |folder| folder.join(&name)).filter(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// True for the superuser, who alone may attach programs and make network namespaces.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn check(command: &Command, status: ExitStatus) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("{} failed ({status})", show(command));
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start {}", show(command))
}

/// The command as one would type it.
fn show(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    format!("`{}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_complaint() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err().to_string();
        assert!(
            error.contains("exit 3") && error.contains("exit status: 3") && error.contains("why"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = format!("{:#}", run(&mut Command::new("ka-no-such-program")).unwrap_err());
        assert!(error.contains("cannot start `ka-no-such-program`"), "{error}");
    }

    #[test]
    fn watched_programs_end_and_report() {
        run_watched(Command::new("sh").args(["-c", "echo out; echo err >&2"]), "test").unwrap();
        assert!(run_watched(Command::new("false").arg("x"), "test").is_err());
    }

    #[test]
    fn lines_arrive_in_order() {
        let mut lines = Vec::new();
        let status = each_line(Command::new("printf").arg("a\\nb\\n"), |line| {
            lines.push(line.to_owned());
            Ok(())
        });
        assert!(status.unwrap().success());
        assert_eq!(lines, ["a", "b"]);
    }
}
