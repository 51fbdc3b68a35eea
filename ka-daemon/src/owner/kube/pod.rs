//! As much of a pod as names need. The rest of what the API server sends (some kilobytes each) is skipped
//! while it is parsed.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::Deserialize;

use crate::owner::names::Names;

/// A static pod: the API shows a mirror of it with a UID of its own, while kubelet names control groups and
/// logs by the UID it made of the pod's file, which is in this annotation of the mirror.
/// <https://github.com/kubernetes/kubernetes/blob/v1.31.0/pkg/kubelet/types/pod_update.go> (`ConfigHashAnnotationKey`).
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// A pod.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pod {
    metadata: ObjectMeta,
    status: Option<PodStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct PodStatus {
    #[serde(rename = "initContainerStatuses")]
    init: Option<Vec<ContainerStatus>>,
    #[serde(rename = "containerStatuses")]
    main: Option<Vec<ContainerStatus>>,
    #[serde(rename = "ephemeralContainerStatuses")]
    ephemeral: Option<Vec<ContainerStatus>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    last_state: Option<ContainerState>,
}

#[derive(Clone, Debug, Deserialize)]
struct ContainerState {
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Deserialize)]
struct Terminated {
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What is kept of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    uid: String,
    static_uid: Option<String>,
    namespace: String,
    name: String,
    /// Ids and names, those of containers that were replaced among them.
    containers: Vec<(String, String)>,
}

impl Pod {
    /// Its UID in the API.
    pub(super) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// What is worth keeping.
    pub(super) fn keep(self) -> Kept {
        let Self { metadata, status } = self;
        let status = status.unwrap_or_default();
        let all = [status.init, status.main, status.ephemeral];
        let mut containers = Vec::new();
        for status in all.into_iter().flatten().flatten() {
            let last = status.last_state.and_then(|state| state.terminated).and_then(|end| end.container_id);
            for id in [last, status.container_id].into_iter().flatten() {
                // `containerd://ID`; empty until the container exists.
                if let Some((_, id)) = id.split_once("://") {
                    containers.push((id.to_owned(), status.name.clone()));
                }
            }
        }
        Kept {
            static_uid: metadata.annotations.and_then(|mut all| all.remove(CONFIG_HASH)),
            uid: metadata.uid.unwrap_or_default(),
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            containers,
        }
    }
}

impl Kept {
    /// Adds it to the names.
    pub(super) fn name(&self, names: &mut Names) {
        for uid in [Some(&self.uid), self.static_uid.as_ref()].into_iter().flatten() {
            names.add_pod(uid, &self.namespace, &self.name);
        }
        for (id, name) in &self.containers {
            names.add_container(id, &self.namespace, &self.name, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(pod: serde_json::Value) -> Names {
        let mut names = Names::default();
        serde_json::from_value::<Pod>(pod).unwrap().keep().name(&mut names);
        names
    }

    #[test]
    fn every_kind_of_container_is_named() {
        let names = names(json!({
            "apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "node-a", "containers": [{"name": "web"}]},
            "metadata": {"uid": "uid-1", "namespace": "shop", "name": "cart-1", "managedFields": []},
            "status": {
                "phase": "Running",
                "initContainerStatuses": [{"name": "setup", "containerID": "containerd://id-0"}],
                "containerStatuses": [
                    {"name": "web", "containerID": "cri-o://id-1", "state": {"running": {}},
                     "lastState": {"terminated": {"exitCode": 1, "containerID": "cri-o://id-2"}}},
                    {"name": "starting", "containerID": "", "lastState": {}},
                ],
                "ephemeralContainerStatuses": [{"name": "debug", "containerID": "docker://id-3"}],
            },
        }));
        assert_eq!(names.len(), (1, 4));
        assert_eq!(&*names.pod("uid-1").unwrap().name, "cart-1");
        for (id, name) in [("id-0", "setup"), ("id-1", "web"), ("id-2", "web"), ("id-3", "debug")] {
            let container = names.container(id).unwrap();
            assert_eq!((&*container.name, &*container.pod.namespace), (name, "shop"));
        }
    }

    #[test]
    fn a_static_pod_is_known_by_the_uid_that_kubelet_gave_it() {
        let names = names(json!({"metadata": {
            "uid": "0c1f5a3e-9d1f-4a39-a8a1-2b1a1c1d1e1f", "namespace": "kube-system", "name": "etcd-node-a",
            "annotations": {"kubernetes.io/config.hash": "6d1b8d9f6f1c0c3f4a5b6c7d8e9f0a1b"},
        }}));
        let pod = names.pod("6d1b8d9f6f1c0c3f4a5b6c7d8e9f0a1b").unwrap();
        assert_eq!(&*pod.name, "etcd-node-a");
        assert_eq!(names.pod("0c1f5a3e-9d1f-4a39-a8a1-2b1a1c1d1e1f"), Some(pod));
    }
}
