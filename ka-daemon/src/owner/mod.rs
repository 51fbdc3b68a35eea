//! Whose a socket is: the process that holds it, and the container, pod or systemd unit of that
//! process. Beside the data path: [`crate::inventory`] asks, the table counts by what comes back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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

/// The name of what the kernel itself holds (NFS, for one).
pub const KERNEL: &str = "~kernel";
