//! The configuration file (`--config`): YAML, checked as a whole before any of it is used. Beside the
//! data path: [`crate::cli`] names the file, the inventory asks what it says.

mod error;
mod live;
mod yaml;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

pub use self::error::{ConfigError, Invalid};
pub(crate) use self::error::{Fault, check_name};
pub use self::live::Live;
use crate::policy::{self, Policies};
use crate::preset::{self, Preset, Presets};

/// The largest file that is read: far more than anyone writes, far less than what could do harm.
const SIZE_MAX: u64 = 1 << 20;

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Config {
    /// Well-known settings: the file's own, then the built-in ones that it neither replaces nor switches
    /// off.
    pub presets: Presets,
    /// How many of these are the file's own.
    pub own_presets: usize,
    /// Idle limits on the way. Shared, as a sweep tells by which of them it judged.
    pub policies: Arc<Policies>,
}

/// The file as written. No field at any depth may be named `value` (see [`yaml`]).
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    builtin_presets: Option<bool>,
    #[serde(default)]
    presets: Option<Vec<preset::Spec>>,
    #[serde(default)]
    policies: Option<Vec<policy::Spec>>,
}

impl Default for Config {
    /// What holds without a file.
    fn default() -> Self {
        Self { presets: Presets::builtin(), own_presets: 0, policies: Arc::default() }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or with the first thing that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > SIZE_MAX {
            return Err(ConfigError::Large { path: path.to_owned() });
        }
        let name = path.display().to_string();
        let text = yaml::text(&bytes, &name)?;
        Self::parse(text, &name)
    }

    /// Reads what a file would hold; `name` stands for the file in errors.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        let Checked { presets: mut list, builtin_presets, policies } = read(text, name)?;
        let own_presets = list.len();
        if builtin_presets {
            let kept =
                preset::builtin().iter().filter(|preset| !list.iter().any(|own| own.name == preset.name));
            let kept: Vec<_> = kept.cloned().collect();
            list.extend(kept);
        }
        Ok(Self { presets: Presets::new(list), own_presets, policies: Arc::new(policies) })
    }
}

/// The presets that a document itself holds.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn own_presets(text: &str, name: &str) -> Result<Vec<Preset>, ConfigError> {
    Ok(read(text, name)?.presets)
}

/// A document, checked.
struct Checked {
    /// Its own.
    presets: Vec<Preset>,
    /// Whether the built-in ones hold as well.
    builtin_presets: bool,
    policies: Policies,
}

fn read(text: &str, name: &str) -> Result<Checked, ConfigError> {
    // Where everything is commented out, nothing is left to be a mapping.
    let document = yaml::read::<Option<Document>>(text, name)?.unwrap_or_default();
    let presets = preset::check_all(document.presets.unwrap_or_default())
        .map_err(|fault| fault.in_list(name, "presets"))?;
    let policies = policy::check_all(document.policies.unwrap_or_default())
        .map_err(|fault| fault.in_list(name, "policies"))?;
    Ok(Checked { presets, builtin_presets: document.builtin_presets.unwrap_or(true), policies })
}

#[cfg(test)]
mod tests;
