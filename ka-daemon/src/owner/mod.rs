//! Whose a socket is: the process that holds it, and the container, pod or systemd unit of that
//! process. Beside the data path: [`crate::inventory`] asks, the table counts by what comes back.
//!
//! [`Owners`] answers, and keeps what it answered. It reads processes ([`process`]), takes control
//! group paths apart ([`cgroup`]), finds the path of a control group's id ([`cgroupfs`]), and learns
//! the names of pods and containers from kubelet's log files ([`pods`]) and, where asked to, from the
//! Kubernetes API (`kube`). docs/owners.md tells in which order, and what stays empty when.

pub mod cgroup;
pub mod cgroupfs;
#[cfg(feature = "kubernetes")]
pub mod kube;
pub mod names;
mod naming;
mod owners;
pub mod pods;
pub mod process;
mod source;
#[cfg(test)]
mod testing;

use ka_common::{Record, SocketRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::names::{KubeOptions, PodNames};
pub use self::owners::{Owners, Sources};
pub use self::source::PodSource;

/// Whose a socket is. What does not apply or is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Owner {
    /// The process, where one holds the socket.
    pub pid: Option<u32>,
    /// Its name, as `/proc/PID/comm` has it; `~kernel` for sockets of the kernel.
    pub comm: String,
    /// Its executable.
    pub exe: String,
    /// systemd unit, of what runs in no container.
    pub service: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Kubernetes pod.
    pub pod: String,
    /// Name of the container; the beginning of its id where the name is not known.
    pub container: String,
    /// The container's whole id.
    pub container_id: String,
    /// UID of the pod.
    pub pod_uid: String,
}

impl Owner {
    /// Whether it is known where it runs.
    #[must_use]
    pub fn has_place(&self) -> bool {
        [&self.service, &self.container_id, &self.pod_uid].into_iter().any(|name| !name.is_empty())
    }

    /// The same process, where another owner runs.
    #[must_use]
    pub fn at_place_of(&self, other: &Self) -> Self {
        Self { pid: self.pid, comm: self.comm.clone(), exe: self.exe.clone(), ..other.clone() }
    }
}

/// A socket, as far as it tells whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its inode; 0: none.
    pub inode: u64,
    /// Id of its own control group; 0: unknown.
    pub cgroup_id: u64,
    /// The kernel itself holds it.
    pub kernel: bool,
}

impl From<&Record> for Held {
    fn from(record: &Record) -> Self {
        let kernel = record.flags & Record::KERNEL != 0;
        Self { inode: record.inode, cgroup_id: record.cgroup_id, kernel }
    }
}

impl From<&SocketRow> for Held {
    fn from(row: &SocketRow) -> Self {
        let kernel = row.flags & SocketRow::KERNEL != 0;
        Self { inode: row.inode, cgroup_id: row.cgroup_id, kernel }
    }
}

/// The name of what the kernel itself holds (NFS, for one).
pub const KERNEL: &str = "~kernel";
