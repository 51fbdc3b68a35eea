//! What `/proc/PID` tells of a process. All of it is read through one descriptor of that folder, which
//! stands for the process and not for the number: once the process is gone, nothing more can be read,
//! even if the number is given to another.

use std::path::Path;

use procfs::ProcError;
use procfs::process::Process;

use super::cgroup::{self, Place};

/// `/proc/PID/stat` has the start in ticks of `USER_HZ`, rounded down; the iterator has nanoseconds. A
/// process id does not come again within two ticks.
const TOLERANCE_TICKS: u64 = 2;
/// Longest name of an executable that is kept, in bytes.
const EXE_BYTES: usize = 1024;

/// A process as `/proc` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Name of its main thread.
    pub comm: String,
    /// Path of its executable; empty for threads of the kernel and where it may not be read.
    pub exe: String,
    /// Where it stands in the tree of control groups.
    pub place: Place,
}

/// Whether `/proc` shows the process that was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// This is it.
    Found(Facts),
    /// It is gone.
    Gone,
    /// It is gone, and its id is another process's now.
    Reused,
    /// `/proc` cannot be read, or not be understood; with the reason.
    Failed(String),
}

/// Reads the process `pid` that started at `start_boottime_ns`.
#[must_use]
pub fn read(proc: &Path, pid: u32, start_boottime_ns: u64, ticks_per_second: u64) -> Reading {
    match facts(proc, pid, start_boottime_ns, ticks_per_second) {
        Ok(Some(facts)) => Reading::Found(facts),
        Ok(None) => Reading::Reused,
        Err(error) if is_gone(&error) => Reading::Gone,
        Err(error) => Reading::Failed(error.to_string()),
    }
}

fn facts(proc: &Path, pid: u32, start_ns: u64, ticks_per_second: u64) -> Result<Option<Facts>, ProcError> {
    let process = Process::new_with_root(proc.join(pid.to_string()))?;
    let stat = process.stat()?;
    if !is_same_start(start_ns, stat.starttime, ticks_per_second) {
        return Ok(None);
    }
    let place = cgroup::best(process.cgroups()?.0.iter().map(|line| {
        let controllers = line.controllers.iter().map(String::as_str);
        (cgroup::Hierarchy::of(line.hierarchy, controllers), line.pathname.as_str())
    }));
    let exe = match process.exe() {
        Ok(path) => {
            let path = path.to_string_lossy();
            printable(path.strip_suffix(" (deleted)").unwrap_or(&path), EXE_BYTES)
        }
        // A thread of the kernel has none; that of another user may be closed to a daemon without
        // CAP_SYS_PTRACE.
        Err(ProcError::NotFound(_) | ProcError::PermissionDenied(_)) => String::new(),
        Err(error) => return Err(error),
    };
    Ok(Some(Facts { comm: comm(&stat.comm), exe, place }))
}

/// Whether a start in nanoseconds and one in ticks, both since boot, are the same.
fn is_same_start(start_ns: u64, ticks: u64, ticks_per_second: u64) -> bool {
    let wanted = u128::from(start_ns) * u128::from(ticks_per_second) / 1_000_000_000;
    wanted.abs_diff(u128::from(ticks)) <= u128::from(TOLERANCE_TICKS)
}

fn is_gone(error: &ProcError) -> bool {
    match error {
        ProcError::NotFound(_) => true,
        ProcError::Io(error, _) => error.raw_os_error() == Some(libc::ESRCH),
        ProcError::PermissionDenied(_)
        | ProcError::Incomplete(_)
        | ProcError::Other(_)
        | ProcError::InternalError(_) => false,
    }
}

/// A process's name, fit to be shown. The kernel keeps 15 bytes, and up to 63 for its own threads.
#[must_use]
pub fn comm(text: &str) -> String {
    printable(text, 64)
}

/// Programs choose their names: what would move a terminal's cursor is shown as U+FFFD, as bytes that
/// are no UTF-8 are; what is too long is cut.
fn printable(text: &str, bytes: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(bytes));
    for character in text.chars() {
        let character = if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
        if shown.len() + character.len_utf8() > bytes {
            break;
        }
        shown.push(character);
    }
    shown
}
