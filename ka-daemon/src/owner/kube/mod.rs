//! Names of pods and containers from the Kubernetes API: an optional source, beside kubelet's log files.
//!
//! One task lists and watches the pods of this node, and keeps their names; [`super::Owners`] reads them.
//! It never fails the daemon: what goes wrong is tried again, logged once for each kind, and shown in the
//! status. Without names owners have what the path of the control group tells.

#[cfg(test)]
mod fake;
mod pod;
mod status;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use self::status::Progress;
pub use self::status::{ErrorKind, KubeStatus, LastError};
use super::names::{KubeOptions, PodNames};

/// The running watch. It ends when this is dropped.
#[derive(Debug)]
pub struct KubeSource {
    node: String,
    names: PodNames,
    progress: Arc<Progress>,
    task: JoinHandle<()>,
}

impl KubeSource {
    /// Starts watching, on the current tokio runtime.
    #[must_use]
    pub fn start(options: KubeOptions) -> Self {
        let names = PodNames::default();
        let progress = Arc::<Progress>::default();
        let node = options.node.clone();
        let task = tokio::spawn(watch::run(options, names.clone(), Arc::clone(&progress)));
        Self { node, names, progress, task }
    }

    /// The names, for [`super::Sources`].
    #[must_use]
    pub fn names(&self) -> PodNames {
        self.names.clone()
    }

    /// How it fares.
    #[must_use]
    pub fn status(&self) -> KubeStatus {
        self.progress.status(&self.node, Instant::now())
    }
}

impl Drop for KubeSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}
