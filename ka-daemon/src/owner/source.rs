//! Names of pods from the Kubernetes API, where they were asked for and this build can ask.

#[cfg(feature = "kubernetes")]
use super::kube::KubeSource;
use super::{KubeOptions, PodNames};

/// The watch, or none.
#[derive(Debug, Default)]
pub struct PodSource {
    #[cfg(feature = "kubernetes")]
    watch: Option<KubeSource>,
}

#[cfg(feature = "kubernetes")]
impl PodSource {
    /// Starts to ask, where that is wanted. On a tokio runtime.
    #[must_use]
    pub fn start(options: Option<&KubeOptions>) -> Self {
        Self { watch: options.map(|options| KubeSource::start(options.clone())) }
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> Option<PodNames> {
        self.watch.as_ref().map(KubeSource::names)
    }

    /// How it fares, for the status.
    #[must_use]
    pub fn status(&self) -> Option<serde_json::Value> {
        let status = self.watch.as_ref()?.status();
        // An error would be shown in its place; a status has a JSON form.
        Some(serde_json::to_value(status).unwrap_or_else(|error| error.to_string().into()))
    }
}

#[cfg(not(feature = "kubernetes"))]
impl PodSource {
    /// There is no option that asks for it.
    #[must_use]
    pub fn start(_: Option<&KubeOptions>) -> Self {
        Self {}
    }

    /// None.
    #[must_use]
    pub fn names(&self) -> Option<PodNames> {
        None
    }

    /// None.
    #[must_use]
    pub fn status(&self) -> Option<serde_json::Value> {
        None
    }
}
