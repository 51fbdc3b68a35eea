//! A socket in JSON: a contract, fields may be added, these stay. What is unknown is null, never 0.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::risk::{Risk, Warning};
use crate::owner::Owner;

/// Who chose a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The network namespace's sysctl: nothing was set on the socket.
    Sysctl,
    /// The application.
    Socket,
}

/// Who chose each of the three settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origins {
    /// Of `keepidle_seconds`.
    pub keepidle: Option<Origin>,
    /// Of `keepintvl_seconds`.
    pub keepintvl: Option<Origin>,
    /// Of `keepcnt`.
    pub keepcnt: Option<Origin>,
}

/// Which timer is armed. Where two are, the write timer's is shown, as `ss` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// The keepalive timer (also that of an orphan in `FIN_WAIT2`).
    Keepalive,
    /// The write timer, to send again.
    Retransmit,
    /// The write timer, to probe a shut window.
    ZeroWindow,
    /// The end of `TIME_WAIT`.
    TimeWait,
}

/// The armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimerView {
    /// Which.
    pub kind: TimerKind,
    /// Until it fires. A keepalive timer that finds the connection was used meanwhile only starts
    /// again: see `next_probe_seconds`.
    pub expires_seconds: f64,
    /// Keepalive or window probes sent since anything was heard.
    pub probes_out: u8,
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SocketView {
    /// Local end.
    #[schema(value_type = String, example = "10.0.0.1:443")]
    pub local: SocketAddr,
    /// Remote end; all zeros for a listener.
    #[schema(value_type = String, example = "10.0.0.1:443")]
    pub remote: SocketAddr,
    /// TCP state, such as `ESTABLISHED`.
    pub state: String,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Inode of the socket; 0: no process holds it.
    pub inode: u64,
    /// Whether keepalive is on.
    pub keepalive: Option<bool>,
    /// Idle time before the first probe in force, whether or not keepalive is on.
    pub keepidle_seconds: Option<u32>,
    /// Time between unanswered probes in force.
    pub keepintvl_seconds: Option<u32>,
    /// Unanswered probes that end the connection.
    pub keepcnt: Option<u32>,
    /// Who chose these.
    pub origin: Origins,
    /// Well-known settings that these look like.
    pub preset: Option<String>,
    /// `TCP_USER_TIMEOUT`; 0: not set.
    pub user_timeout_ms: Option<u32>,
    /// The armed timer.
    pub timer: Option<TimerView>,
    /// Until the next keepalive probe, if nothing is heard before.
    pub next_probe_seconds: Option<f64>,
    /// Until keepalive ends the connection, if nothing is heard any more.
    pub drop_in_seconds: Option<f64>,
    /// Since data was last received.
    pub last_received_seconds: Option<f64>,
    /// Since data was last sent.
    pub last_sent_seconds: Option<f64>,
    /// Since an acknowledgement was last received; answers to probes count.
    pub last_acked_seconds: Option<f64>,
    /// Round trip of the last keepalive probe with a clean one. Null without a daemon.
    pub last_rtt_seconds: Option<f64>,
    /// Bytes received and not read; of a listener: connections not accepted.
    pub recv_queue: Option<u32>,
    /// Bytes not sent or not acknowledged; of a listener: connections that may wait.
    pub send_queue: Option<u32>,
    /// User that owns the socket.
    pub uid: Option<u32>,
    /// Id of the socket's control group (v2); 0: unknown.
    pub cgroup_id: u64,
    /// Whose it is.
    pub owner: Owner,
    /// Policies whose idle limit would cut it when nobody uses it. Null: none is configured, or its settings are
    /// not known.
    pub risks: Option<Vec<Risk>>,
    /// What to set against the strictest of these.
    pub advice: Option<String>,
    /// Settings that are a risk whatever lies on the way. Null: its settings are not known.
    pub warnings: Option<Vec<Warning>>,
}

impl SocketView {
    /// How long nothing was heard or sent, the measure of idle timeouts on the way: keepalive probes
    /// and their answers count as use.
    #[must_use]
    pub fn idle_seconds(&self) -> Option<f64> {
        let ages = [self.last_received_seconds, self.last_sent_seconds, self.last_acked_seconds];
        ages.into_iter().flatten().reduce(f64::min)
    }
}
