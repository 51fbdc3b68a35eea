//! Gives a place in the tree of control groups its names: those of kubelet's log files first, then those
//! of the Kubernetes API.

use std::path::PathBuf;
use std::time::Duration;

use super::Owner;
use super::cgroup::{Place, Runtime};
use super::names::{Names, Pod, PodNames};
use super::pods::LogNames;

/// Characters of a container's id that people know it by.
const SHORT_ID: usize = 12;
/// Characters of such an id.
const WHOLE_ID: usize = 64;

/// The sources of names.
#[derive(Debug)]
pub(super) struct Naming {
    logs: LogNames,
    api: Option<PodNames>,
}

impl Naming {
    pub(super) fn new(pod_logs: PathBuf, container_logs: PathBuf, api: Option<PodNames>) -> Self {
        Self { logs: LogNames::new(pod_logs, container_logs), api }
    }

    /// The owner that a place gives, without a process; and whether nothing more can come to be known.
    pub(super) fn owner_at(&mut self, place: Place, now: Duration) -> (Owner, bool) {
        let in_kubernetes = !matches!(place.runtime, Some(Runtime::Lxc | Runtime::Nspawn));
        let mut owner = Owner {
            container: short(&place.container_id).to_owned(),
            container_id: place.container_id,
            pod_uid: place.pod_uid,
            service: place.unit,
            ..Owner::default()
        };
        let named = self.name(&mut owner, now) || !in_kubernetes;
        (owner, named)
    }

    /// Fills in the names that are known; and whether nothing more can come to be known.
    pub(super) fn name(&mut self, owner: &mut Owner, now: Duration) -> bool {
        let (uid, id) = (owner.pod_uid.as_str(), owner.container_id.as_str());
        if uid.is_empty() && id.is_empty() {
            return true;
        }
        let api = self.api.as_ref().map(PodNames::load).unwrap_or_default();
        let both = |logs: &Names| {
            let pod = pod_of(logs, uid, id).or_else(|| pod_of(&api, uid, id)).cloned();
            let container = logs.container(id).or_else(|| api.container(id));
            (pod, container.map(|container| container.name.clone()))
        };
        let complete = |logs: &Names| {
            let (pod, container) = both(logs);
            pod.is_some() && (id.is_empty() || container.is_some())
        };
        let logs = self.logs.names(now, complete);
        let (pod, container) = both(logs);
        let named = pod.is_some() && (id.is_empty() || container.is_some());
        if let Some(pod) = pod {
            owner.namespace = pod.namespace.into();
            owner.pod = pod.name.into();
        }
        if let Some(container) = container {
            owner.container = container.into();
        }
        named
    }
}

fn pod_of<'a>(names: &'a Names, uid: &str, id: &str) -> Option<&'a Pod> {
    names.pod(uid).or_else(|| names.container(id).map(|container| &container.pod))
}

/// The beginning of an id that is made of digits; a name as it is.
fn short(id: &str) -> &str {
    if id.len() == WHOLE_ID { id.get(..SHORT_ID).unwrap_or(id) } else { id }
}
