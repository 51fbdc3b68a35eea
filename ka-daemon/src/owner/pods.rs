//! Names of pods and containers from the names of kubelet's log files: nothing in them is opened.
//!
//! `/var/log/pods/NAMESPACE_POD_UID/` is there from before the first container of a pod starts until
//! after the last has ended; `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` for as long as the
//! container's log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::names::Names;

/// Between two readings of the folders.
const PAUSE: Duration = Duration::from_secs(1);
/// Length of the id of a container that was started through the CRI.
const ID_DIGITS: usize = 64;
/// File names that are looked at in one folder at most.
const MAX_FILES: usize = 65_536;

/// What the folders told when they were last read.
#[derive(Debug)]
pub struct LogNames {
    pods: PathBuf,
    containers: PathBuf,
    names: Names,
    read_at: Option<Duration>,
    failing: bool,
}

impl LogNames {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(pods: PathBuf, containers: PathBuf) -> Self {
        Self { pods, containers, names: Names::default(), read_at: None, failing: false }
    }

    /// What is known, read anew where `is_enough` finds something missing and the last reading is a
    /// second old.
    pub fn names(&mut self, now: Duration, is_enough: impl Fn(&Names) -> bool) -> &Names {
        let due = self.read_at.is_none_or(|read_at| now.saturating_sub(read_at) >= PAUSE);
        if due && !is_enough(&self.names) {
            self.read_at = Some(now);
            self.read();
        }
        &self.names
    }

    fn read(&mut self) {
        let mut names = Names::default();
        let pods = each_name(&self.pods, |file| {
            if let Some((namespace, pod, uid)) = pod_folder(file) {
                names.add_pod(uid, namespace, pod);
            }
        });
        let containers = each_name(&self.containers, |file| {
            if let Some((namespace, pod, container, id)) = container_log(file) {
                names.add_container(id, namespace, pod, container);
            }
        });
        for (folder, result) in [(&self.pods, &pods), (&self.containers, &containers)] {
            if let (Err(error), false) = (result, self.failing) {
                let folder = folder.display();
                tracing::warn!("cannot read {folder}: {error}; pods and containers may stay without names");
            }
        }
        self.failing = pods.is_err() || containers.is_err();
        self.names = names;
    }
}

/// Calls with each name in a folder. A folder that is not there is an empty one: no kubelet runs here.
fn each_name(folder: &Path, mut call: impl FnMut(&str)) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.take(MAX_FILES) {
        if let Some(name) = entry?.file_name().to_str() {
            call(name);
        }
    }
    Ok(())
}

/// `NAMESPACE_POD_UID`: no name in Kubernetes has a `_`.
fn pod_folder(name: &str) -> Option<(&str, &str, &str)> {
    let mut parts = name.splitn(3, '_');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

/// `POD_NAMESPACE_CONTAINER-ID.log`, in the order namespace, pod, container, id. kubelet cuts such a name
/// at the 255 bytes of a file name, and what is left of the id then names nothing.
fn container_log(name: &str) -> Option<(&str, &str, &str, &str)> {
    let (names, id) = name.strip_suffix(".log")?.rsplit_once('-')?;
    if id.len() != ID_DIGITS {
        return None;
    }
    let mut parts = names.splitn(3, '_');
    let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
    Some((namespace, pod, container, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::testing::Folder;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn names_come_from_the_names_of_files() {
        let folder = Folder::new("names");
        let pods = folder.make("pods");
        let containers = folder.make("containers");
        // An ordinary pod, a static one, and the layout before Kubernetes 1.14.
        folder.make("pods/shop_cart-5d8f6c7b9-x2x4z_0c1f5a3e-9d1f-4a39-a8a1-2b1a1c1d1e1f");
        folder.make("pods/kube-system_etcd-node.example.org_6d1b8d9f6f1c0c3f4a5b6c7d8e9f0a1b");
        folder.make("pods/7a0f0d8c-0f52-4f43-9e3a-1d2c3b4a5f60");
        folder.link(&format!("containers/cart-5d8f6c7b9-x2x4z_shop_web-server-{ID}.log"));
        folder.link(&format!("containers/{}_shop_web-{}.log", "p".repeat(180), &ID[..60]));
        folder.link("containers/readme.txt");
        let mut logs = LogNames::new(pods, containers);
        let names = logs.names(at(0), |_| false);
        assert_eq!(names.len(), (2, 1));
        let pod = names.pod("0c1f5a3e-9d1f-4a39-a8a1-2b1a1c1d1e1f").unwrap();
        assert_eq!((&*pod.namespace, &*pod.name), ("shop", "cart-5d8f6c7b9-x2x4z"));
        assert_eq!(&*names.pod("6d1b8d9f6f1c0c3f4a5b6c7d8e9f0a1b").unwrap().name, "etcd-node.example.org");
        let container = names.container(ID).unwrap();
        assert_eq!((&*container.name, &container.pod), ("web-server", pod));
    }

    #[test]
    fn folders_are_read_again_only_for_what_is_missing_and_once_a_second() {
        let folder = Folder::new("again");
        let pods = folder.make("pods");
        let mut logs = LogNames::new(pods, folder.path("containers"));
        assert_eq!(logs.names(at(0), |_| false).len(), (0, 0));
        folder.make("pods/ns_a_uid-a");
        let known = |names: &Names| names.pod("uid-a").is_some();
        assert_eq!(logs.names(Duration::from_millis(999), known).len(), (0, 0), "too early");
        assert_eq!(logs.names(at(1), known).len(), (1, 0));
        folder.make("pods/ns_b_uid-b");
        assert_eq!(logs.names(at(9), known).len(), (1, 0), "nothing is missing");
        fs::remove_dir(folder.path("pods/ns_a_uid-a")).unwrap();
        assert_eq!(logs.names(at(10), |names| names.pod("uid-b").is_some()).len(), (1, 0));
        assert!(logs.names(at(10), |_| true).pod("uid-a").is_none(), "a removed pod goes");
    }

    #[test]
    fn a_node_without_kubelet_is_no_error() {
        let folder = Folder::new("none");
        let mut logs = LogNames::new(folder.path("pods"), folder.path("containers"));
        assert_eq!(logs.names(at(0), |_| false).len(), (0, 0));
        assert!(!logs.failing);
        // Where a file stands in place of the folder, that is told.
        fs::write(folder.path("pods"), "").unwrap();
        assert_eq!(logs.names(at(1), |_| false).len(), (0, 0));
        assert!(logs.failing);
    }
}
