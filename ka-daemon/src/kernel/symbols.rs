//! Addresses of the two timer functions, from `/proc/kallsyms`.
//!
//! Only the tracepoint plan needs them: it sees every timer of the machine and picks those whose
//! function is one of these. The other plans work without, so that a reason why an address is not
//! known is kept beside it, and is an error only where that plan is wanted.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// Callback of the keepalive timer.
pub const KEEPALIVE_TIMER: &str = "tcp_keepalive_timer";
/// Callback of the write timer (retransmission and persist).
pub const WRITE_TIMER: &str = "tcp_write_timer";

/// Addresses of the timer functions; 0 where one is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerFunctions {
    /// `tcp_keepalive_timer`.
    pub keepalive: u64,
    /// `tcp_write_timer`.
    pub write: u64,
}

/// Why the address of a function is not known.
#[derive(Clone, Debug, Error)]
pub enum SymbolError {
    /// The list of symbols cannot be read.
    #[error("cannot read {}: {source} (is /proc mounted, the kernel built with CONFIG_KALLSYMS?)", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// The kernel shows addresses as 0.
    #[error(
        "{} shows the address of {name} as 0: run as root or with CAP_SYSLOG, and with \
         `sysctl kernel.kptr_restrict` at 0 or 1 (2 hides addresses from everyone)",
        path.display()
    )]
    Hidden {
        /// The file.
        path: PathBuf,
        /// The function.
        name: &'static str,
    },
    /// There is no such symbol.
    #[error(
        "{} has no function {name}: the kernel is built without CONFIG_KALLSYMS, or the compiler renamed \
         the function; use --hooks fentry or --hooks kprobe",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The function.
        name: &'static str,
    },
    /// There are several functions of this name.
    #[error(
        "{} has {count} functions {name}, and nothing tells which of them is TCP's; use --hooks fentry or \
         --hooks kprobe",
        path.display()
    )]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// The function.
        name: &'static str,
        /// Number of different addresses.
        count: usize,
    },
}

/// The timer functions in a file like `/proc/kallsyms`, which is read as a stream.
///
/// # Errors
/// One of them is not known, and why.
pub fn timer_functions(path: &Path) -> Result<TimerFunctions, SymbolError> {
    let read = |source| SymbolError::Read { path: path.into(), source: Arc::new(source) };
    let file = File::open(path).map_err(read)?;
    let [keepalive, write] =
        scan(BufReader::with_capacity(1 << 16, file), [KEEPALIVE_TIMER, WRITE_TIMER]).map_err(read)?;
    Ok(TimerFunctions {
        keepalive: choose(path, KEEPALIVE_TIMER, keepalive)?,
        write: choose(path, WRITE_TIMER, write)?,
    })
}

/// Addresses at which a function was found, in the kernel itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Under its own name.
    exact: Vec<u64>,
    /// Its jump table entry (`.cfi_jt`). Kernels before 6.1 with clang's control-flow integrity
    /// put this address, not the function's, into a timer.
    jump_table: Vec<u64>,
    /// Under its name with the suffix that link-time optimization gives a static function.
    renamed: Vec<u64>,
}

/// Collects what bears one of the names. A `.cold` part, an inlined copy (`.isra`, `.constprop`),
/// or a function of a module or of BPF is never the callback.
fn scan<const N: usize>(mut lines: impl BufRead, names: [&str; N]) -> std::io::Result<[Found; N]> {
    let mut found = [const { Found { exact: Vec::new(), jump_table: Vec::new(), renamed: Vec::new() } }; N];
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? != 0 {
        for (name, found) in names.iter().zip(&mut found) {
            if let Some((address, suffix)) = parse(&line, name) {
                match suffix {
                    "" => found.exact.push(address),
                    ".cfi_jt" => found.jump_table.push(address),
                    other if other.starts_with(".llvm.") => found.renamed.push(address),
                    _ => {}
                }
            }
        }
        line.clear();
    }
    Ok(found)
}

/// Address and suffix, if a line such as `ffffffff8202bdf0 t tcp_keepalive_timer.cold` is that of
/// code of the kernel itself whose name begins with `name`.
fn parse<'a>(line: &'a [u8], name: &str) -> Option<(u64, &'a str)> {
    let at = line.iter().position(|byte| *byte == b' ')?;
    let suffix = line.get(at + 3..)?.strip_prefix(name.as_bytes())?;
    let code = matches!(line.get(at + 1)?, b't' | b'T' | b'w' | b'W');
    let address = u64::from_str_radix(str::from_utf8(&line[..at]).ok()?, 16).ok()?;
    let suffix = str::from_utf8(suffix).ok()?.trim_end_matches('\n');
    (code && !suffix.contains('[')).then_some((address, suffix))
}

/// The address that a timer holds.
fn choose(path: &Path, name: &'static str, found: Found) -> Result<u64, SymbolError> {
    let candidates = [found.jump_table, found.exact, found.renamed];
    let Some(mut addresses) = candidates.into_iter().find(|addresses| !addresses.is_empty()) else {
        return Err(SymbolError::Missing { path: path.into(), name });
    };
    if addresses.contains(&0) {
        return Err(SymbolError::Hidden { path: path.into(), name });
    }
    addresses.sort_unstable();
    addresses.dedup();
    match addresses[..] {
        [address] => Ok(address),
        _ => Err(SymbolError::Ambiguous { path: path.into(), name, count: addresses.len() }),
    }
}
