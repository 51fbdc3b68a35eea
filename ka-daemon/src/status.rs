//! What is attached and how it fares: plain data, filled by [`crate::bpf`], read by the metrics,
//! the API and `check`.

use ka_common::Counters;
use serde::Serialize;
use utoipa::ToSchema;

/// A way to hook the kernel, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// BPF trampolines on the functions themselves.
    Fentry,
    /// kprobes and kretprobes; not exact, the kernel skips runs under recursion.
    Kprobe,
    /// Timer tracepoints only; sees no write-timer run deferred to the release of the socket lock.
    Tracepoint,
    /// BPF iterators, for what is read and not hooked.
    Iterator,
}

impl Plan {
    /// Every plan to hook the kernel, best first.
    pub const ALL: [Self; 3] = [Self::Fentry, Self::Kprobe, Self::Tracepoint];

    /// The name used in options, metrics and JSON.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
            Self::Iterator => "iterator",
        }
    }
}

/// Something the daemon wants to observe; a plan is chosen for each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Runs of the keepalive timer.
    KeepaliveRun,
    /// Keepalive probes handed to the network.
    KeepaliveProbe,
    /// Runs of the write timer (retransmission and persist).
    WriteRun,
    /// Window probes of the persist timer.
    ZeroWindowProbe,
    /// Ends of connections.
    State,
    /// Received resets.
    Reset,
    /// Arrival of answers (`--rtt exact`).
    ExactRtt,
    /// Every socket with its settings and timers.
    Sockets,
    /// Which process holds which socket.
    Holders,
}

impl Intent {
    /// The name used in metrics and JSON.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::KeepaliveRun => "keepalive_run",
            Self::KeepaliveProbe => "keepalive_probe",
            Self::WriteRun => "write_run",
            Self::ZeroWindowProbe => "zero_window_probe",
            Self::State => "state",
            Self::Reset => "reset",
            Self::ExactRtt => "exact_rtt",
            Self::Sockets => "sockets",
            Self::Holders => "holders",
        }
    }
}

/// The plan that an intent got, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct IntentStatus {
    /// What is to be observed.
    pub intent: Intent,
    /// How; none when no plan could be attached (only optional intents).
    pub plan: Option<Plan>,
    /// Why this plan: forced, the best one, or what the better ones failed with.
    pub reason: String,
}

/// One BPF program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProgramStatus {
    /// The program's name in the object file and in `bpftool prog`.
    pub program: &'static str,
    /// What it hangs on, such as `fentry/tcp_keepalive_timer`.
    pub hook: String,
    /// The plan it belongs to; programs of every plan (states, resets) are `tracepoint`.
    pub plan: Plan,
    /// What it observes.
    pub intent: Intent,
    /// Whether it is attached now.
    pub attached: bool,
    /// What went wrong where it is wanted and not attached.
    pub error: Option<String>,
    /// Runs, where the kernel collects BPF statistics.
    pub runs: Option<u64>,
    /// Time spent in runs in ns, where the kernel collects BPF statistics.
    pub run_ns: Option<u64>,
    /// Runs the kernel skipped, where it tells.
    pub missed: Option<u64>,
}

/// Everything about the kernel side at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct KernelSide {
    /// `uname -r`.
    pub release: String,
    /// Where type information came from.
    pub btf: String,
    /// Jiffies per second.
    pub hz: u32,
    /// `simple` or `exact`.
    pub rtt: &'static str,
    /// Plans by intent.
    pub intents: Vec<IntentStatus>,
    /// Programs, in order of attachment.
    pub programs: Vec<ProgramStatus>,
    /// The kernel side's counters, summed over the CPUs.
    #[serde(skip)]
    pub counters: Counters,
}
