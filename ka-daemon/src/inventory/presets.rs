//! Names of presets for rows, each made once.

use std::collections::HashMap;
use std::sync::Arc;

use ka_common::SocketRow;
use rustc_hash::FxBuildHasher;

use crate::config::Config;
use crate::preset::Settings;
use crate::table::Clock;

/// The presets of a configuration.
pub struct PresetNames {
    config: Arc<Config>,
    names: HashMap<String, Arc<str>, FxBuildHasher>,
    none: Arc<str>,
}

impl PresetNames {
    /// Of this configuration.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Self { config, names: HashMap::default(), none: Arc::default() }
    }

    /// What the settings of a full socket look like; empty: nothing known.
    pub fn name(&mut self, row: &SocketRow, clock: Clock, comm: &str) -> Arc<str> {
        let settings = set(row.keepidle, row.keepintvl, row.keepcnt, clock);
        let Some(preset) = self.config.presets.look(&settings, comm) else { return Arc::clone(&self.none) };
        if let Some(name) = self.names.get(&preset.name) {
            return Arc::clone(name);
        }
        let name: Arc<str> = preset.name.as_str().into();
        self.names.insert(preset.name.clone(), Arc::clone(&name));
        name
    }
}

/// What is set on a socket, from the kernel's raw values.
#[must_use]
pub fn set(keepidle: u32, keepintvl: u32, keepcnt: u32, clock: Clock) -> Settings {
    let seconds = |jiffies: u32| (jiffies != 0).then(|| clock.whole_seconds(jiffies));
    Settings {
        keepidle: seconds(keepidle),
        keepintvl: seconds(keepintvl),
        keepcnt: (keepcnt != 0).then_some(keepcnt),
    }
}
