//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::Serialize;
use serde_saphyr::{Location, Spanned};

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}, the value of --config: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no configuration by its size alone.
    #[error("{}, the value of --config, is larger than 1 MiB: this is no configuration", path.display())]
    Large {
        /// Which.
        path: PathBuf,
    },
    /// What stands in it is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Something wrong at a place of a file. Shown as compilers do, so that editors find the place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Invalid {
    /// The file.
    pub file: String,
    /// Counts from 1; 0: not known.
    pub line: u64,
    /// Counts from 1, in characters; 0: not known.
    pub column: u64,
    /// Path of the field, such as `presets[0].name`; empty: the document itself.
    pub field: String,
    /// What is wrong and what is expected.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.file)?;
        if self.line > 0 {
            write!(formatter, "{}:{}:", self.line, self.column)?;
        }
        if !self.field.is_empty() {
            write!(formatter, " {}:", self.field)?;
        }
        write!(formatter, " {}", self.message)
    }
}

/// Something wrong with a document whose types are right.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: Location,
    /// Relative to the list that is checked, such as `[0].name`.
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Fault {
    /// What is wrong with `list` in a file.
    pub(super) fn in_list(self, file: &str, list: &str) -> Invalid {
        let Self { at, field, message } = self;
        Invalid {
            file: file.to_owned(),
            line: at.line(),
            column: at.column(),
            field: format!("{list}{field}"),
            message,
        }
    }
}

/// Checks the name of an element of a list.
pub(crate) fn check_name(name: &Spanned<String>) -> Result<(), Fault> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.value.is_empty() && name.value.bytes().all(plain) {
        return Ok(());
    }
    let message = format!("{:?} is no name: expected lower-case letters, digits and `-`", name.value);
    Err(Fault { at: name.referenced, field: "name".into(), message })
}
