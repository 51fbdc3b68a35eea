//! `ka-daemon check --config FILE`: whether a configuration file is fit for use. Looks at nothing else, so
//! that it runs anywhere, as in a pipeline before the file is rolled out.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::check::CheckError;
use crate::config::{Config, ConfigError, Invalid};

/// The verdict in JSON, a contract: fields may be added, these stay.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    file: &'a Path,
    valid: bool,
    /// Presets of the file's own.
    own_presets: Option<usize>,
    /// All presets that would be in force.
    presets: Option<usize>,
    /// What is wrong.
    error: Option<String>,
    /// Where it is wrong; null when the file cannot be read.
    place: Option<&'a Invalid>,
}

/// Reads the file and says what came of it.
///
/// # Errors
/// What is wrong with the file; with `json` that is part of the output, and the answer is false.
pub(super) fn run(path: &Path, json: bool, out: &mut impl Write) -> Result<bool, CheckError> {
    let result = Config::load(path);
    if json {
        let verdict = Verdict::new(path, &result);
        serde_json::to_writer_pretty(&mut *out, &verdict).map_err(std::io::Error::from)?;
        writeln!(out)?;
        out.flush()?;
        return Ok(verdict.valid);
    }
    let config = result?;
    let (own, all) = (config.own_presets, config.presets.iter().count());
    writeln!(out, "{}: valid; presets: {own} of its own, {all} in all", path.display())?;
    out.flush()?;
    Ok(true)
}

impl<'a> Verdict<'a> {
    fn new(file: &'a Path, result: &'a Result<Config, ConfigError>) -> Self {
        match result {
            Ok(config) => Self {
                file,
                valid: true,
                own_presets: Some(config.own_presets),
                presets: Some(config.presets.iter().count()),
                error: None,
                place: None,
            },
            Err(error) => Self {
                file,
                valid: false,
                own_presets: None,
                presets: None,
                error: Some(error.to_string()),
                place: match error {
                    ConfigError::Invalid(invalid) => Some(invalid),
                    ConfigError::Read { .. } | ConfigError::Large { .. } => None,
                },
            },
        }
    }
}
