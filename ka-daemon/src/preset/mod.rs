//! Well-known keepalive settings: which program or library a socket's settings look like. Data, from
//! `builtin.yaml` and the configuration; [`crate::inventory`] asks for each socket that it reads.
//!
//! A match is no proof. Anyone can set the same values, so it is told as "looks like", with the name of
//! the process beside.

mod docs;
mod lookup;
mod spec;

use std::sync::{Arc, LazyLock};

pub use self::docs::table;
pub use self::lookup::Presets;
pub use self::spec::Spec;
pub(crate) use self::spec::check_all;

/// The built-in presets, in the form of a configuration file.
pub const BUILTIN: &str = include_str!("builtin.yaml");

/// What is set on one socket. `None` (and 0, as the kernel writes it): nothing, the network namespace's
/// sysctl is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    /// `TCP_KEEPIDLE` in seconds.
    pub keepidle: Option<u32>,
    /// `TCP_KEEPINTVL` in seconds.
    pub keepintvl: Option<u32>,
    /// `TCP_KEEPCNT`.
    pub keepcnt: Option<u32>,
}

/// Settings that a program or a library is known for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Stable and short, such as `go`: lower-case letters, digits and `-`. Shared, as it goes into the
    /// counts of a sweep.
    pub name: Arc<str>,
    /// What sets them, in words.
    pub title: String,
    /// The settings; any of them will do.
    pub patterns: Vec<Pattern>,
    /// Names of the processes (`/proc/PID/comm`), exact or as a glob; empty: whatever the process.
    pub processes: Vec<String>,
    /// Where that can be read.
    pub sources: Vec<String>,
    /// When it was read there, such as `2026-11-25`.
    pub read: Option<String>,
    /// What else is to be known.
    pub note: Option<String>,
}

/// One combination of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// Of `TCP_KEEPIDLE`, in seconds.
    pub keepidle: Expected,
    /// Of `TCP_KEEPINTVL`, in seconds.
    pub keepintvl: Expected,
    /// Of `TCP_KEEPCNT`.
    pub keepcnt: Expected,
}

/// What is expected of one setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Expected {
    /// Nothing: it may be anything.
    #[default]
    Any,
    /// Some value is set on the socket.
    Set,
    /// Nothing is set on the socket.
    Sysctl,
    /// This value is set on the socket. Never 0.
    Value(u32),
}

impl Expected {
    /// Whether `raw`, the value that is set on a socket or 0, is as expected.
    #[must_use]
    pub const fn holds(self, raw: u32) -> bool {
        match self {
            Self::Any => true,
            Self::Set => raw != 0,
            Self::Sysctl => raw == 0,
            Self::Value(value) => raw == value,
        }
    }

    /// Whether it says anything.
    #[must_use]
    pub const fn is_given(self) -> bool {
        !matches!(self, Self::Any)
    }

    /// Whether one raw value alone will do.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Sysctl | Self::Value(_))
    }

    /// Whether the application must have set something.
    #[must_use]
    pub const fn is_on_socket(self) -> bool {
        matches!(self, Self::Set | Self::Value(_))
    }
}

impl Pattern {
    /// The three, in the order idle, interval, count.
    #[must_use]
    pub const fn parts(&self) -> [Expected; 3] {
        [self.keepidle, self.keepintvl, self.keepcnt]
    }
}

impl Settings {
    /// The raw values, in the order idle, interval, count; 0: the sysctl's.
    const fn raw(self) -> [u32; 3] {
        const fn or_zero(value: Option<u32>) -> u32 {
            match value {
                Some(value) => value,
                None => 0,
            }
        }
        [or_zero(self.keepidle), or_zero(self.keepintvl), or_zero(self.keepcnt)]
    }
}

/// The built-in presets.
///
/// # Panics
/// When `builtin.yaml` is wrong: the tests parse it.
#[must_use]
pub fn builtin() -> &'static [Preset] {
    static PARSED: LazyLock<Vec<Preset>> = LazyLock::new(|| {
        crate::config::own_presets(BUILTIN, "builtin.yaml").expect("the tests parse builtin.yaml")
    });
    &PARSED
}

#[cfg(test)]
mod tests;
