//! Every metric, once: its name, type, unit, labels and help. The page is built from it, and
//! docs/metrics.md is generated from it.

/// What a metric's value is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Always 1; the labels are what it tells.
    Info,
    /// 0 or 1.
    Bool,
}

impl Unit {
    /// The name in the documentation.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Info => "always 1",
            Self::Bool => "0 or 1",
        }
    }
}

/// A metric's type, with the upper bounds of a histogram's buckets in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// Only grows.
    Counter,
    /// Moves both ways.
    Gauge,
    /// Counts by bucket; the bucket without a bound is implied.
    Histogram(&'static [f64]),
}

impl Type {
    /// The name in the text format.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, as served.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// Its unit.
    pub unit: Unit,
    /// Whether [`OWNER_LABELS`] come before `labels`.
    pub owner: bool,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

impl Metric {
    const fn new(name: &'static str, kind: Type, unit: Unit, help: &'static str) -> Self {
        Self { name, kind, unit, owner: false, labels: &[], help }
    }

    const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Type::Counter, Unit::Count, help)
    }

    const fn by_owner(self) -> Self {
        Self { owner: true, ..self }
    }

    const fn by(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    /// All label names, in the order in which values are given.
    pub fn label_names(&self) -> impl Iterator<Item = &'static str> {
        let owner: &[&str] = if self.owner { &OWNER_LABELS } else { &[] };
        owner.iter().chain(self.labels).copied()
    }
}

/// Whose socket it is. A label that does not apply is left empty.
pub const OWNER_LABELS: [&str; 5] = ["namespace", "pod", "container", "service", "comm"];

/// Bounds of probe round trips.
pub const RTT_BUCKETS: [f64; 15] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Bounds of idle ages: the idle limits of common load balancers and firewalls, and the kernel's
/// own default of two hours.
pub const IDLE_BUCKETS: [f64; 17] = [
    1.0, 15.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 350.0, 400.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    8000.0, 86_400.0,
];

macro_rules! catalogue {
    ($($ident:ident = $metric:expr;)*) => {
        $(#[doc = concat!("See [`Metric::help`] of `", stringify!($ident), "`.")] pub static $ident: Metric = $metric;)*
        /// Every metric, in the order of the documentation.
        pub static ALL: &[&Metric] = &[$(&$ident,)*];
    };
}

catalogue! {
    PROBES_SENT = Metric::counter("ka_keepalive_probes_sent_total",
        "Keepalive probes handed to the network.").by_owner();
    PROBES_ANSWERED = Metric::counter("ka_keepalive_probes_answered_total",
        "Keepalive probes followed by an acknowledgement.").by_owner();
    PROBES_UNANSWERED = Metric::counter("ka_keepalive_probes_unanswered_total",
        "Keepalive probes still unanswered when the timer ran again or the socket closed.").by_owner();
    PROBES_UNSETTLED = Metric::counter("ka_keepalive_probes_unsettled_total",
        "Keepalive probes whose outcome is unknown (records lost, table full, untracked).").by_owner();
    PROBES_SUPPRESSED = Metric::counter("ka_keepalive_probes_suppressed_total",
        "Keepalive probes that were due and were not sent, by reason.").by_owner().by(&["reason"]);
    PROBE_RTT = Metric::new("ka_keepalive_probe_rtt_seconds", Type::Histogram(&RTT_BUCKETS), Unit::Seconds,
        "Time from sending a keepalive probe to its answer.").by_owner();
    PROBE_RTT_SKIPPED = Metric::counter("ka_keepalive_probe_rtt_skipped_total",
        "Answers without a clean round trip: something else came, went or was done meanwhile, or an earlier probe was unanswered.");
    ZERO_WINDOW_PROBES = Metric::counter("ka_zero_window_probes_sent_total",
        "Attempts of the persist timer to probe a shut window.").by_owner();
    RESETS_RECEIVED = Metric::counter("ka_resets_received_total",
        "RST segments received by connections, by what they met.").by_owner().by(&["phase"]);
    CONNECTIONS_DROPPED = Metric::counter("ka_connections_dropped_total",
        "Connections with an owner that ended in an error, by cause and by the timer that ended them.")
        .by_owner().by(&["cause", "timer"]);
    CONNECTIONS_ENDED = Metric::counter("ka_connections_ended_total",
        "Ends of connections that are no drops, by how.").by(&["how"]);
    IDLE_AT_DROP = Metric::new("ka_connection_idle_at_drop_seconds", Type::Histogram(&IDLE_BUCKETS), Unit::Seconds,
        "How long a connection had been idle when it was dropped, by cause.").by(&["cause"]);
    SOCKETS = Metric::new("ka_sockets", Type::Gauge, Unit::Count,
        "Established TCP sockets, with keepalive on or off, as of the last sweep.").by_owner().by(&["keepalive"]);
    SOCKET_SETTINGS = Metric::new("ka_socket_settings", Type::Gauge, Unit::Count,
        "Established TCP sockets with keepalive on, by the settings in force: the 50 most common, the rest in ~other.")
        .by(&["keepidle_seconds", "keepintvl_seconds", "keepcnt", "origin", "preset"]);
    KEEPIDLE_MIN = Metric::new("ka_keepidle_min_seconds", Type::Gauge, Unit::Seconds,
        "The shortest idle setting in force among established sockets with keepalive on.").by_owner();
    KEEPIDLE_MAX = Metric::new("ka_keepidle_max_seconds", Type::Gauge, Unit::Seconds,
        "The longest idle setting in force among established sockets with keepalive on.").by_owner();
    SOCKETS_AT_RISK = Metric::new("ka_sockets_at_risk", Type::Gauge, Unit::Count,
        "Established TCP sockets that the idle limit of a policy would cut when nobody uses them, by why, as of the last sweep; peer_keeps_alive: would, but the peer probes.")
        .by_owner().by(&["policy", "reason"]);
    SOCKETS_AT_RISK_IDLE = Metric::new("ka_sockets_at_risk_idle", Type::Gauge, Unit::Count,
        "Those of ka_sockets_at_risk on which nothing was sent or heard for half of the policy's limit; the probes of a peer do not count.")
        .by_owner().by(&["policy", "reason"]);
    POLICY_IDLE_LIMIT = Metric::new("ka_policy_idle_limit_seconds", Type::Gauge, Unit::Seconds,
        "The idle limit of each policy in force at the last sweep.").by(&["policy", "severity"]);
    SUSPECTED_MIN = Metric::new("ka_suspected_idle_timeout_min_seconds", Type::Gauge, Unit::Seconds,
        "The longest silence that connections to a part of the network survived, below the one that others died of: something forgets them after more. The 20 limits with the most evidence; none where too few survived a shorter silence.")
        .by(&["remote_prefix"]);
    SUSPECTED_MAX = Metric::new("ka_suspected_idle_timeout_max_seconds", Type::Gauge, Unit::Seconds,
        "The shortest silence that connections to a part of the network died of: something forgets them by then. The 20 limits with the most evidence.")
        .by(&["remote_prefix"]);
    SYSCTL_KEEPIDLE = Metric::new("ka_sysctl_tcp_keepalive_time_seconds", Type::Gauge, Unit::Seconds,
        "The network namespace's default idle time (net.ipv4.tcp_keepalive_time).").by(&["netns"]);
    SYSCTL_KEEPINTVL = Metric::new("ka_sysctl_tcp_keepalive_intvl_seconds", Type::Gauge, Unit::Seconds,
        "The network namespace's default interval (net.ipv4.tcp_keepalive_intvl).").by(&["netns"]);
    SYSCTL_KEEPCNT = Metric::new("ka_sysctl_tcp_keepalive_probes", Type::Gauge, Unit::Count,
        "The network namespace's default number of probes (net.ipv4.tcp_keepalive_probes).").by(&["netns"]);
    KERNEL_PROBES = Metric::counter("ka_kernel_keepalive_probes_total",
        "Keepalive probes as the kernel counts them in a network namespace since that was made (TcpExtTCPKeepAlive).")
        .by(&["netns"]);
    KERNEL_ZERO_WINDOW_PROBES = Metric::counter("ka_kernel_zero_window_probes_total",
        "Window probes as the kernel counts them in a network namespace since that was made (TcpExtTCPWinProbe).")
        .by(&["netns"]);
    OBSERVED_PROBES = Metric::counter("ka_observed_keepalive_probes_total",
        "Keepalive probes seen in a network namespace, for audit against the kernel's TcpExtTCPKeepAlive.")
        .by(&["netns"]);
    OBSERVED_ZERO_WINDOW_PROBES = Metric::counter("ka_observed_zero_window_probes_total",
        "Window probes seen in a network namespace, for audit against the kernel's TcpExtTCPWinProbe.")
        .by(&["netns"]);
    RECORDS_EMITTED = Metric::counter("ka_records_emitted_total",
        "Records put into the ring buffer by the kernel side.").by(&["kind"]);
    RECORDS_RECEIVED = Metric::counter("ka_records_received_total",
        "Records read from the ring buffer by the daemon.").by(&["kind"]);
    RECORDS_LOST = Metric::counter("ka_records_lost_total",
        "Records lost, by reason.").by(&["kind", "reason"]);
    TRACKED_SOCKETS = Metric::new("ka_tracked_sockets", Type::Gauge, Unit::Count,
        "Sockets in the daemon's table.");
    OWNER_OVERFLOW = Metric::counter("ka_owner_series_overflow_total",
        "Owners that found no place among the most that are told apart (--max-owners): they are folded into comm=\"~other\".");
    INVENTORY_DURATION = Metric::new("ka_inventory_duration_seconds", Type::Gauge, Unit::Seconds,
        "How long the last sweep over all sockets took.");
    INVENTORY_LAST_SUCCESS = Metric::new("ka_inventory_last_success_timestamp_seconds", Type::Gauge, Unit::Seconds,
        "When the last sweep over all sockets ended, in seconds since 1970.");
    PROGRAM_INFO = Metric::new("ka_ebpf_program_info", Type::Gauge, Unit::Info,
        "What is attached to the kernel.").by(&["program", "hook", "plan"]);
    PROGRAM_ATTACHED = Metric::new("ka_ebpf_program_attached", Type::Gauge, Unit::Bool,
        "Whether a program is attached.").by(&["program"]);
    PROGRAM_RUNS = Metric::counter("ka_ebpf_program_runs_total",
        "Runs of a program, where the kernel collects BPF statistics.").by(&["program"]);
    PROGRAM_RUN_SECONDS = Metric::new("ka_ebpf_program_run_seconds_total", Type::Counter, Unit::Seconds,
        "Time spent in a program, where the kernel collects BPF statistics.").by(&["program"]);
    PROGRAM_MISSED = Metric::counter("ka_ebpf_program_missed_total",
        "Runs of a program that the kernel skipped, where it tells.").by(&["program"]);
    BUILD_INFO = Metric::new("ka_build_info", Type::Gauge, Unit::Info,
        "What the daemon was built from.").by(&["version", "revision", "rustc"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_follow_the_rules() {
        let mut seen = HashSet::new();
        for metric in ALL {
            let name = metric.name;
            assert!(seen.insert(name), "{name} stands twice");
            assert!(name.starts_with("ka_"), "{name}");
            assert_eq!(
                name.ends_with("_total"),
                metric.kind == Type::Counter,
                "{name}: only counters are totals"
            );
            assert_eq!(name.contains("_seconds"), metric.unit == Unit::Seconds, "{name}: units are in names");
            assert!(metric.help.ends_with('.'), "{name}: help is a sentence");
        }
    }

    #[test]
    fn buckets_are_those_of_the_table() {
        use crate::table::{IDLE_BOUNDS, RTT_BOUNDS};
        assert_eq!(RTT_BOUNDS.seconds().collect::<Vec<_>>(), RTT_BUCKETS);
        assert_eq!(IDLE_BOUNDS.seconds().collect::<Vec<_>>(), IDLE_BUCKETS);
    }
}
