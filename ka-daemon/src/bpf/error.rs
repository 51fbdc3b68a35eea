//! Why the kernel side could not be attached.

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
    /// Every plan failed for something the daemon cannot do without.
    #[error("cannot observe {}: {}; `ka-daemon check` shows what this kernel offers", .intent.label(), .reasons)]
    Intent {
        /// What could not be observed.
        intent: Intent,
        /// Each plan tried with its error.
        reasons: String,
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
