//! The task that lists and watches. kube's watcher keeps the protocol: pages, resource versions, bookmarks,
//! a new list after `410 Gone`, a new watch after a broken connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::runtime::{WatchStreamExt as _, utils::Backoff as _};
use kube::{Api, Client, Config};
use tower::limit::RateLimitLayer;

use super::pod::{Kept, Pod};
use super::status::{ErrorKind, Progress, WatchError};
use crate::owner::names::{KubeOptions, Names, PodNames};

/// Pods that are kept at most; a node of Kubernetes runs 110 by default.
const MAX_PODS: usize = 8192;
/// Requests in a time, at most. The watcher pauses after an error, but not where a watch ends without one, and
/// what ends each watch at once must not be asked without end. A list takes one request for 500 pods.
pub(super) const REQUESTS: (u64, Duration) = (10, Duration::from_secs(10));
/// A watch that lasted this long begins again without a growing pause.
const HEALTHY: Duration = Duration::from_mins(2);

/// Watches for as long as it is polled.
pub(super) async fn run(options: KubeOptions, names: PodNames, progress: Arc<Progress>) {
    let mut pauses = DefaultBackoff::default();
    loop {
        let began = Instant::now();
        match client(&options).await {
            Ok(client) => follow(client, &options.node, &names, &progress).await,
            // A mounted kubeconfig or service account may yet appear.
            Err(error) => progress.failed(error, Instant::now()),
        }
        if began.elapsed() > HEALTHY {
            pauses.reset();
        }
        tokio::time::sleep(pauses.next().unwrap_or(HEALTHY)).await;
    }
}

async fn client(options: &KubeOptions) -> Result<Client, WatchError> {
    // An empty name would be answered with the pods that are on no node yet.
    if options.node.is_empty() {
        let message = "the node's name is empty".to_owned();
        return Err(WatchError { kind: ErrorKind::Config, message });
    }
    let config = match options.kubeconfig.as_deref() {
        Some(path) => {
            let named = |error: &kube::config::KubeconfigError| {
                let mut error = WatchError::new(ErrorKind::Config, error);
                error.message = format!("{}: {}", path.display(), error.message);
                error
            };
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| named(&error))?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| named(&error))?
        }
        None => Config::incluster().map_err(|error| WatchError::new(ErrorKind::Config, &error))?,
    };
    let builder =
        ClientBuilder::try_from(config).map_err(|error| WatchError::new(ErrorKind::Config, &error))?;
    let (requests, per) = REQUESTS;
    Ok(builder.with_layer(&RateLimitLayer::new(requests, per)).build())
}

/// Takes in what the watch tells.
async fn follow(client: Client, node: &str, names: &PodNames, progress: &Progress) {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let mut events = watcher(Api::<Pod>::all(client), config).default_backoff().boxed();
    let mut pods = Pods::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if let Some(now_known) = pods.apply(event) {
                    progress.heard(now_known.len(), Instant::now());
                    names.store(now_known);
                }
            }
            Err(error) => {
                if let Some(error) = WatchError::of(&error) {
                    progress.failed(error, Instant::now());
                } else {
                    tracing::debug!("Kubernetes API: pods are listed anew: {error}");
                }
            }
        }
    }
}

/// The node's pods.
#[derive(Debug, Default)]
struct Pods {
    kept: BTreeMap<String, Kept>,
    /// A list in progress, which replaces what is known once it is complete.
    listing: Option<BTreeMap<String, Kept>>,
}

impl Pods {
    /// Takes an event in; the names that are known by then, unless nothing changed.
    fn apply(&mut self, event: Event<Pod>) -> Option<Names> {
        match event {
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                return None;
            }
            Event::InitApply(pod) => {
                insert(self.listing.get_or_insert_default(), pod);
                return None;
            }
            Event::InitDone => self.kept = self.listing.take().unwrap_or_default(),
            Event::Apply(pod) => insert(&mut self.kept, pod),
            Event::Delete(pod) => drop(self.kept.remove(pod.uid())),
        }
        let mut names = Names::default();
        for pod in self.kept.values() {
            pod.name(&mut names);
        }
        Some(names)
    }
}

fn insert(pods: &mut BTreeMap<String, Kept>, pod: Pod) {
    let uid = pod.uid().to_owned();
    if pods.len() < MAX_PODS || pods.contains_key(&uid) {
        pods.insert(uid, pod.keep());
    }
}
