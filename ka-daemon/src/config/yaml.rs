//! YAML into types, with errors that name line, column and field and speak of configuration files, not
//! of Rust.
//!
//! `serde-saphyr` gives the place, `serde_path_to_error` the field. Where a type keeps its place
//! (`Spanned`), the path of a field passes through a made-up field `value`; that is left out, so no field
//! of the configuration may have this name.

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment, Track};
use serde_saphyr::Error;

use super::error::Invalid;

/// Reads one document. An empty one is an empty mapping.
pub(super) fn read<T: DeserializeOwned>(text: &str, name: &str) -> Result<T, Invalid> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        reject_unsupported_tags: true,
    };
    let mut track = Track::new();
    let result = serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        T::deserialize(serde_path_to_error::Deserializer::new(deserializer, &mut track))
    });
    result.map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        Invalid { file: name.to_owned(), line, column, field: field(&track.path()), message: message(&error) }
    })
}

/// Bytes as text.
pub(super) fn text<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, Invalid> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() as u64 + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) as u64 + 1;
        let message = "expected text in UTF-8".to_owned();
        Invalid { file: name.to_owned(), line, column, field: String::new(), message }
    })
}

/// The path as people write it, without what `Spanned` and unknown places put in.
fn field(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => write!(text, "[{index}]").expect("a string takes everything"),
            Segment::Map { key } if key == "value" => {}
            Segment::Map { key } | Segment::Enum { variant: key } => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Segment::Unknown => {}
        }
    }
    text
}

/// What is wrong, in the words of whom the file belongs to.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is told in the library's words")]
fn message(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown(field, expected),
        Error::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        Error::DuplicateMappingKey { key, .. } => match key {
            Some(key) => format!("`{key}` is given twice"),
            None => "a key is given twice".to_owned(),
        },
        Error::MultipleDocuments { .. } => "expected one document: remove what follows `---`".to_owned(),
        Error::Unexpected { expected: "sequence start", .. } => "expected a list".to_owned(),
        Error::Unexpected { expected: "mapping start", .. } => {
            "expected a mapping, as in `key: value`".to_owned()
        }
        Error::Unexpected { expected: "string scalar", .. } | Error::NullIntoString { .. } => {
            "expected text".to_owned()
        }
        Error::InvalidBooleanStrict { .. } | Error::InvalidScalar { ty: "boolean", .. } => {
            "expected true or false".to_owned()
        }
        other => without_place(other),
    }
}

fn unknown(field: &str, expected: &[&str]) -> String {
    let accepted = expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let near = expected
        .iter()
        .map(|name| (strsim::damerau_levenshtein(field, name), name))
        .filter(|(distance, name)| distance * 3 <= name.len())
        .min();
    let meant = near.map_or_else(String::new, |(_, name)| format!(" (did you mean `{name}`?)"));
    format!("there is no such field{meant}; accepted are {accepted}")
}

/// The library's own words, without the place that stands in front of them here.
fn without_place(error: &Error) -> String {
    let text = error.to_string();
    let place = error.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
    match place.and_then(|place| text.strip_suffix(place.as_str()).map(str::to_owned)) {
        Some(text) => text,
        None => text,
    }
}
