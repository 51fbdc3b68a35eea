//! The options in force, checked: what the rest of the daemon is told, and what the status shows.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::owner::KubeOptions;
use crate::status::Plan;
use crate::table::OwnerLabels;

/// How the round trip of a probe is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rtt {
    /// From what the next timer run finds; nothing runs for ordinary packets.
    Simple,
    /// As the answer arrives; a program looks at each received segment.
    Exact,
}

/// How sockets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// By BPF iterators, else by `sock_diag` and /proc.
    Auto,
    /// By `sock_diag` and /proc.
    SockDiag,
}

/// Everything `ka-daemon run` can be told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Where HTTP is served.
    pub listen_address: SocketAddr,
    /// The unix socket where it is served too.
    pub unix_socket: Option<PathBuf>,
    /// Whether the page and the API are for others than this machine.
    pub expose_sockets: bool,
    /// Names that the `Host` header may have beside this machine's own.
    pub allowed_hosts: Vec<String>,
    /// The only plan to attach by; none: the best for each intent.
    #[serde(serialize_with = "plan_or_auto")]
    pub hooks: Option<Plan>,
    /// Type information from elsewhere than the running kernel.
    pub btf: Option<PathBuf>,
    /// How round trips are taken.
    pub rtt: Rtt,
    /// Sockets that are tracked at most.
    pub max_sockets: u32,
    /// Idle time from which resets and drops of unwatched sockets are told of.
    #[serde(rename = "idle_floor_seconds", serialize_with = "seconds")]
    pub idle_floor: Duration,
    /// Owners that have series of their own, at most.
    pub max_owners: usize,
    /// The owner labels in use.
    pub owner_labels: OwnerLabels,
    /// How all sockets are read.
    pub inventory: Source,
    /// How often.
    #[serde(rename = "inventory_interval_seconds", serialize_with = "seconds")]
    pub inventory_interval: Duration,
    /// Share of one CPU that it may take, in percent.
    #[serde(rename = "inventory_max_cpu_percent")]
    pub inventory_max_cpu: f64,
    /// Size of the ring buffer.
    pub ring_buffer_bytes: u32,
    /// Where each record is written as a line of JSON.
    pub record_log: Option<PathBuf>,
    /// Whether the kernel is asked to time its BPF programs.
    pub bpf_stats: bool,
    /// The configuration file.
    #[serde(rename = "config_file")]
    pub config: Option<PathBuf>,
    /// The Kubernetes API, where it is asked for names.
    pub kubernetes: Option<KubeOptions>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn plan_or_auto<S: Serializer>(plan: &Option<Plan>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(plan.map_or("auto", Plan::label))
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
