//! Names of pods and containers, by what a control group path gives: the pod's UID and the container's
//! id. Both sources, kubelet's log files and the Kubernetes API, fill the same maps.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;
use serde::Serialize;

/// Longest name of a namespace or a container: a DNS label (RFC 1123).
const LABEL_BYTES: usize = 63;
/// Longest name of a pod: a DNS subdomain (RFC 1123).
const SUBDOMAIN_BYTES: usize = 253;
/// Longest UID of a pod and id of a container that is taken in; real ones have 36 and 64.
const ID_BYTES: usize = 128;
/// Pods and containers that are kept at most. kubelet starts 110 pods by default, and nobody is known to
/// run more than a few hundred on a node; a source that gives more is not trusted with the memory.
const MAX_ENTRIES: usize = 16_384;

/// A pod's name and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The pod that it runs in.
    pub pod: Pod,
    /// Its name within the pod.
    pub name: Box<str>,
}

/// What one source knows, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pods: FxHashMap<Box<str>, Pod>,
    containers: FxHashMap<Box<str>, Container>,
}

impl Names {
    /// Takes in a pod by its UID, or leaves it out where a name cannot be one.
    pub fn add_pod(&mut self, uid: &str, namespace: &str, name: &str) {
        if self.pods.len() < MAX_ENTRIES
            && is_id(uid)
            && is_name(namespace, LABEL_BYTES)
            && is_name(name, SUBDOMAIN_BYTES)
        {
            let pod = Pod { namespace: namespace.into(), name: name.into() };
            self.pods.insert(uid.into(), pod);
        }
    }

    /// Takes in a container by its id, or leaves it out where a name cannot be one.
    pub fn add_container(&mut self, id: &str, namespace: &str, pod: &str, name: &str) {
        if self.containers.len() < MAX_ENTRIES
            && is_id(id)
            && is_name(namespace, LABEL_BYTES)
            && is_name(pod, SUBDOMAIN_BYTES)
            && is_name(name, LABEL_BYTES)
        {
            let pod = Pod { namespace: namespace.into(), name: pod.into() };
            self.containers.insert(id.into(), Container { pod, name: name.into() });
        }
    }

    /// The pod of a UID.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<&Pod> {
        self.pods.get(uid)
    }

    /// The container of an id.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<&Container> {
        self.containers.get(id)
    }

    /// How many pods and containers are known.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.pods.len(), self.containers.len())
    }
}

/// The Kubernetes API as a source of names: whose pods to watch, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KubeOptions {
    /// The node, as Kubernetes calls it.
    pub node: String,
    /// A kubeconfig; none: the service account of the pod that the daemon runs in.
    pub kubeconfig: Option<PathBuf>,
}

/// Names that one task replaces as a whole while others read them.
#[derive(Clone, Debug, Default)]
pub struct PodNames(Arc<ArcSwap<Names>>);

impl PodNames {
    /// What is known now.
    #[must_use]
    pub fn load(&self) -> Arc<Names> {
        self.0.load_full()
    }

    /// Replaces what is known.
    pub fn store(&self, names: Names) {
        self.0.store(Arc::new(names));
    }
}

/// Whether Kubernetes takes this as a name: lower-case letters, digits, `-` and, in a subdomain, `.`.
fn is_name(text: &str, longest: usize) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    !text.is_empty() && text.len() <= longest && text.bytes().all(inner)
}

/// Whether this can be a UID or an id: those of static pods come from a file that a human may write.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_name_is_left_out() {
        let mut names = Names::default();
        let long = "a".repeat(254);
        for (uid, namespace, pod) in
            [("", "ns", "pod"), ("u", "", "pod"), ("u", "ns", ""), ("u", "Ns", "pod"), ("u", "ns", &long)]
        {
            names.add_pod(uid, namespace, pod);
            names.add_container(uid, namespace, pod, "app");
        }
        names.add_container("id", "ns", "pod", "a\nb");
        names.add_container("id", "ns", "pod", &"a".repeat(64));
        names.add_container("\u{e9}", "ns", "pod", "app");
        assert_eq!(names, Names::default());
        names.add_pod("u", &"n".repeat(63), &"a.b-1".repeat(50));
        names.add_container("id", "ns", "pod", "app");
        assert_eq!(names.len(), (1, 1));
    }

    #[test]
    fn memory_is_bounded() {
        let mut names = Names::default();
        for id in 0..=MAX_ENTRIES {
            names.add_pod(&id.to_string(), "ns", "pod");
            names.add_container(&id.to_string(), "ns", "pod", "app");
        }
        assert_eq!(names.len(), (MAX_ENTRIES, MAX_ENTRIES));
    }
}
