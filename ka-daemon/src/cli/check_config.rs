//! `ka-daemon check --config FILE`: whether a configuration file is fit for use. Looks at nothing else, so
//! that it runs anywhere, as in a pipeline before the file is rolled out.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::check::CheckError;
use crate::config::{Config, ConfigError, Invalid};
use crate::policy::{Conditions, Policy, Severity};
use crate::view::words::duration;

/// The verdict in JSON, a contract: fields may be added, these stay.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    file: &'a Path,
    valid: bool,
    /// Presets of the file's own.
    own_presets: Option<usize>,
    /// All presets that would be in force.
    presets: Option<usize>,
    /// Policies, in order.
    policies: Option<Vec<Shown<'a>>>,
    /// What is wrong.
    error: Option<String>,
    /// Where it is wrong; null when the file cannot be read.
    place: Option<&'a Invalid>,
}

/// A policy.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    idle_limit_seconds: f64,
    severity: Severity,
    /// By field, as written; none: it applies to every connection.
    conditions: &'a Conditions,
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
    let policies = config.policies.iter();
    let (path, number) = (path.display(), policies.len());
    writeln!(out, "{path}: valid; presets: {own} of its own, {all} in all; policies: {number}")?;
    let names = policies.map(|policy| policy.name.len()).max().unwrap_or_default();
    for policy in config.policies.iter() {
        let Policy { name, severity, conditions, .. } = policy;
        let limit = duration(policy.idle_limit.as_secs_f64());
        writeln!(out, "  {name:names$}  {limit}, {}: {}", severity.label(), conditions.in_words())?;
    }
    out.flush()?;
    Ok(true)
}

impl<'a> Shown<'a> {
    fn new(policy: &'a Policy) -> Self {
        Self {
            name: &policy.name,
            idle_limit_seconds: policy.idle_limit.as_secs_f64(),
            severity: policy.severity,
            conditions: &policy.conditions,
        }
    }
}

impl<'a> Verdict<'a> {
    fn new(file: &'a Path, result: &'a Result<Config, ConfigError>) -> Self {
        match result {
            Ok(config) => Self {
                file,
                valid: true,
                own_presets: Some(config.own_presets),
                presets: Some(config.presets.iter().count()),
                policies: Some(config.policies.iter().map(Shown::new).collect()),
                error: None,
                place: None,
            },
            Err(error) => Self {
                file,
                valid: false,
                own_presets: None,
                presets: None,
                policies: None,
                error: Some(error.to_string()),
                place: match error {
                    ConfigError::Invalid(invalid) => Some(invalid),
                    ConfigError::Read { .. } | ConfigError::Large { .. } => None,
                },
            },
        }
    }
}
