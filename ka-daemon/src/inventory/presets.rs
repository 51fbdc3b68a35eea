//! What the settings of a socket look like, from the kernel's raw values.

use std::sync::Arc;

use ka_common::{Record, SocketRow};

use crate::preset::{Presets, Settings};
use crate::table::Clock;

/// What is set on a socket: `TCP_KEEPIDLE` and `TCP_KEEPINTVL` in jiffies and `TCP_KEEPCNT`, 0 where
/// nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw {
    /// `TCP_KEEPIDLE`
    pub keepidle: u32,
    /// `TCP_KEEPINTVL`
    pub keepintvl: u32,
    /// `TCP_KEEPCNT`
    pub keepcnt: u32,
}

impl Raw {
    /// In seconds.
    #[must_use]
    pub fn settings(self, clock: Clock) -> Settings {
        let set = |value: u32| (value != 0).then_some(value);
        Settings {
            keepidle: set(clock.whole_seconds(self.keepidle)),
            keepintvl: set(clock.whole_seconds(self.keepintvl)),
            keepcnt: set(self.keepcnt),
        }
    }

    /// The well-known settings that they look like. For sockets with keepalive on: one without it has the
    /// sysctl's, as many a program does.
    #[must_use]
    pub fn preset(self, presets: &Presets, clock: Clock, comm: &str) -> Option<Arc<str>> {
        presets.look(&self.settings(clock), comm).map(|preset| Arc::clone(&preset.name))
    }
}

impl From<&SocketRow> for Raw {
    fn from(row: &SocketRow) -> Self {
        Self { keepidle: row.keepidle, keepintvl: row.keepintvl, keepcnt: row.keepcnt }
    }
}

impl From<&Record> for Raw {
    fn from(record: &Record) -> Self {
        Self { keepidle: record.keepidle, keepintvl: record.keepintvl, keepcnt: record.keepcnt }
    }
}
