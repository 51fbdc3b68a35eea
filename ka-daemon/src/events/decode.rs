//! Bytes to records: what is no record is named by as much of its kind as can be read, so that
//! its loss is counted in the right place.

use ka_common::record::DecodeError;
use ka_common::{Kind, Record};
use std::mem::offset_of;

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Undecodable {
    /// What they claim to be, where that much can be read.
    pub kind: Option<Kind>,
    /// What is wrong with them.
    #[source]
    pub error: DecodeError,
}

/// Reads one record.
///
/// # Errors
/// When the bytes are not as long as a record, or hold a number outside of a closed set.
pub fn decode(bytes: &[u8]) -> Result<Record, Undecodable> {
    Record::decode(bytes).map_err(|error| Undecodable {
        kind: bytes.get(offset_of!(Record, kind)).copied().and_then(Kind::from_byte),
        error,
    })
}
