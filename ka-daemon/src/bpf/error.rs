//! Why the kernel side could not be attached.

use std::path::{Path, PathBuf};

use aya::programs::ProgramError;
use thiserror::Error;

use crate::status::Intent;

/// What stops the daemon from attaching. Nothing stays attached after any of these.
#[derive(Debug, Error)]
pub enum BpfError {
    /// The type information cannot be read.
    #[error("cannot read BTF from {path}: {reason}; name another file with --btf")]
    Btf {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Maps cannot be created, or the object file is not what this daemon was built with.
    #[error("cannot load the kernel programs: {0}")]
    Object(String),
    /// The maps do not fit into the memory that is left.
    #[error(
        "no memory for {map}: the maps take some {mib} MiB of kernel memory with these settings, which count \
         for the memory limit of a container or a service: raise that, or lower --max-sockets or \
         --ring-buffer-size"
    )]
    Memory {
        /// The map that did not fit any more.
        map: String,
        /// What the large ones take together.
        mib: u64,
    },
    /// Every plan failed for something the daemon cannot do without.
    #[error("cannot observe {}: {reasons}; {}", .intent.label(), hint(.btf.as_deref()))]
    Intent {
        /// What could not be observed.
        intent: Intent,
        /// Each plan tried with its error.
        reasons: String,
        /// The file of type information, where it was named.
        btf: Option<PathBuf>,
    },
    /// A map of the object file is missing or refuses an operation.
    #[error("map {map}: {reason}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What failed.
        reason: String,
    },
    /// How many processors there can be is not known.
    #[error("cannot read the processors from /sys/devices/system/cpu/possible: {reason}; is /sys mounted?")]
    Processors {
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel refuses to time BPF programs.
    #[error("cannot switch on BPF statistics (--bpf-stats): {0}")]
    Stats(String),
}

/// What to do when something cannot be observed. With the type information of another kernel most programs
/// cannot be loaded.
fn hint(btf: Option<&Path>) -> String {
    btf.map_or_else(
        || "`ka-daemon check` shows what this kernel offers".to_owned(),
        |path| {
            format!(
                "the type information is that of {} (--btf), which must be of the running kernel: leave --btf \
                 out where the kernel has its own",
                path.display()
            )
        },
    )
}

/// Why a program could not be loaded or attached, in one line.
pub(super) fn program(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else { return chain(error) };
    let log = verifier_log.to_string();
    let mut lines = log.lines().map(str::trim).filter(|line| !line.is_empty());
    // A verifier log ends in statistics; what it objected to stands before them.
    let objection = lines.rfind(|line| !STATISTICS.iter().any(|start| line.starts_with(start)));
    match objection {
        Some(objection) => format!("the verifier refuses it: {objection} ({io_error})"),
        None => format!("the kernel refuses to load it: {io_error}"),
    }
}

const STATISTICS: &[&str] = &["processed ", "verification time", "stack depth"];

/// An error with all its causes, in one line; a cause that only repeats is left out.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_of_type_information_is_suspected_first() {
        let told = |btf| {
            let reasons = "unknown BTF type `btf_trace_inet_sock_set_state`".to_owned();
            BpfError::Intent { intent: Intent::State, reasons, btf }.to_string()
        };
        let own = told(None);
        assert!(own.contains("`ka-daemon check`") && !own.contains("--btf"), "{own}");
        let named = told(Some(PathBuf::from("/lib/other")));
        assert!(named.contains("/lib/other (--btf), which must be of the running kernel"), "{named}");
    }
}
