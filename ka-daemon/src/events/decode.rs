//! Bytes to reports: what is none is named by as much of it as can be read, so that its loss is counted in
//! the right place.

use ka_common::record::DecodeError;
use ka_common::{Kind, Record, Report, Settlement};
use std::mem::offset_of;

/// Bytes that are no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Undecodable {
    /// What their record claims to be, where that much can be read.
    pub kind: Option<Kind>,
    /// Whether a settlement rides along, where that much can be read.
    pub settled: bool,
    /// What is wrong with them.
    #[source]
    pub error: DecodeError,
}

/// Reads one report: a record, and maybe a settlement that comes before it.
///
/// # Errors
/// When the bytes are not as long as a report, or hold a number outside of a closed set.
pub fn decode(bytes: &[u8]) -> Result<Report, Undecodable> {
    const KIND: usize = offset_of!(Report, record) + offset_of!(Record, kind);
    const SETTLES: usize = offset_of!(Report, settled) + offset_of!(Settlement, run_ns);
    Report::decode(bytes).map_err(|error| Undecodable {
        kind: bytes.get(KIND).copied().and_then(Kind::from_byte),
        settled: bytes.get(SETTLES..SETTLES + size_of::<u64>()).is_some_and(|run_ns| run_ns != [0; 8]),
        error,
    })
}
