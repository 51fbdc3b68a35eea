//! Whether the daemon does its work. Set by [`crate::run`], read by `/-/ready` and the status.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// What the daemon can say of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Attached, and all tasks run.
    Ready,
    /// Not ready, and why.
    NotReady(String),
}

/// The readiness of this process; clones share it.
#[derive(Clone, Debug)]
pub struct Health(Arc<ArcSwap<Readiness>>);

impl Health {
    /// Not ready, as nothing has started.
    #[must_use]
    pub fn starting() -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Readiness::NotReady("starting".to_owned()))))
    }

    /// Sets it.
    pub fn set(&self, readiness: Readiness) {
        self.0.store(Arc::new(readiness));
    }

    /// Reads it.
    #[must_use]
    pub fn get(&self) -> Arc<Readiness> {
        self.0.load_full()
    }
}
