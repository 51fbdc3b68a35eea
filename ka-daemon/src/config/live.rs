//! The configuration in force, and how it is read anew while the daemon runs.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::signal::unix::Signal;

use super::{Config, ConfigError};

/// The configuration in force. Whoever needs it loads it anew for each piece of work.
#[derive(Debug, Default)]
pub struct Live {
    path: Option<PathBuf>,
    current: ArcSwap<Config>,
}

impl Live {
    /// Reads the file for the first time; what holds without one where none is named.
    ///
    /// # Errors
    /// When it cannot be read or is wrong: a daemon does not start with half of what it was told.
    pub fn open(path: Option<&Path>) -> Result<Self, ConfigError> {
        let config = path.map(Config::load).transpose()?.unwrap_or_default();
        Ok(Self { path: path.map(Path::to_owned), current: ArcSwap::from_pointee(config) })
    }

    /// What is in force now.
    #[must_use]
    pub fn load(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// Reads the file again. Where there is none, nothing changes.
    ///
    /// # Errors
    /// When it cannot be read or is wrong; what was in force stays so.
    pub fn reload(&self) -> Result<Arc<Config>, ConfigError> {
        if let Some(path) = &self.path {
            self.current.store(Arc::new(Config::load(path)?));
        }
        Ok(self.load())
    }

    /// Reads the file again at each signal, and tells in the log what came of it. Never completes.
    pub async fn follow(self: Arc<Self>, mut hangups: Signal) -> Infallible {
        while hangups.recv().await.is_some() {
            let live = Arc::clone(&self);
            // A file may lie on a file system that hangs.
            match tokio::task::spawn_blocking(move || live.reload()).await {
                Ok(outcome) => self.tell(outcome),
                Err(error) => {
                    tracing::error!(%error, "reading the configuration failed, the old one stays in force");
                }
            }
        }
        // The runtime is going down.
        std::future::pending().await
    }

    fn tell(&self, outcome: Result<Arc<Config>, ConfigError>) {
        match (&self.path, outcome) {
            (None, _) => tracing::info!("SIGHUP: there is no configuration file to read, see --config"),
            (Some(path), Ok(config)) => {
                let (path, own) = (path.display(), config.own_presets);
                let policies = config.policies.iter().count();
                tracing::info!("SIGHUP: {path} is in force, presets of its own: {own}, policies: {policies}");
            }
            (Some(_), Err(error)) => {
                tracing::error!("SIGHUP: the old configuration stays in force: {error}");
            }
        }
    }
}
