//! The daemon itself: can what the other dashboards show be believed?

use super::board::{
    Board, Panel,
    Reduce::{Last, Max, Sum},
    areas, bars, column, lines, row, stat, table,
};
use super::overview::DAEMONS_DOWN;
use super::promql::{all_events, events_by, events_in_range};

pub(super) fn board() -> Board {
    Board {
        uid: "ka-pipeline",
        title: "ka: pipeline",
        question: "Can what the other dashboards show be believed? Is anything lost, detached, stale or down?",
        by_owner: false,
        rows: vec![
            row("Can it be believed?", now()),
            row("From the kernel to the daemon", records()),
            row("Against the kernel's own count", audit()),
            row("What is attached to the kernel", [programs()]),
            row("What it costs", costs()),
            row("The daemons", [daemons()]),
        ],
    }
}

/// Programs that no other plan makes up for; those of a plan that the kernel refuses are none of them.
const NEEDED: &str =
    "ka_set_state|ka_state_again|ka_receive_reset|ka_reset_again|ka_segment|ka_iter_tcp|ka_iter_file";
/// One of these watches the keepalive timer.
const TIMER: &str = "ka_fentry_keepalive|ka_kprobe_keepalive|ka_timer_entry";

fn now() -> [Panel; 6] {
    [
        stat(
            Max,
            "Daemons down",
            "Nodes whose daemon Prometheus could not scrape, at worst in the time range.",
            "`systemctl status ka-daemon` or the pod's log there. The table of daemons below has those that answer.",
        )
        .query(DAEMONS_DOWN, "")
        .steps(&[(1.0, "red")]),
        stat(
            Sum,
            "Records lost",
            "Observations of the kernel side that never reached the daemon, in the time range: counts are too low \
             by at most as many.",
            "*Lost records* below tells why: `ring_full` wants a larger `--ring-buffer-size` or a daemon with more \
             CPU, `tracked_full` a larger `--max-sockets`, `undecodable` is a bug.",
        )
        .query(all_events("ka_records_lost_total{@node}"), "")
        .steps(&[(1.0, "red")]),
        stat(
            Max,
            "Programs missing",
            "BPF programs that nothing makes up for and that are not attached, over all nodes.",
            "`ka-daemon check` on the node says what is missing, why, and how to get it.",
        )
        .query(
            format!(
                "sum(ka_ebpf_program_attached{{@node, program=~\"{NEEDED}\"}} == bool 0) \
                 + sum((ka_build_info{{@node}} unless on (job, instance) \
                 ka_ebpf_program_info{{@node, program=~\"{TIMER}\"}}) or 0 * ka_build_info{{@node}}) or vector(0)"
            ),
            "",
        )
        .steps(&[(1.0, "red")]),
        stat(
            Last,
            "Unseen probes",
            "The share of keepalive probes that the kernel counted and the daemons did not see, in the time range.",
            "*Keepalive probes, counted twice* below tells since when, the node's log why. A namespace that is older \
             than its daemon may show a little at first.",
        )
        .query(
            "clamp_min(1 - sum(increase(ka_observed_keepalive_probes_total{@node}[$__range])) / \
             (sum(increase(ka_kernel_keepalive_probes_total{@node}[$__range])) > 0), 0) or vector(0)",
            "",
        )
        .unit("percentunit")
        .steps(&[(0.01, "orange"), (0.05, "red")]),
        stat(
            Last,
            "Oldest sweep",
            "How long ago the slowest node finished its last look at all sockets. Sweeps come every 15 s, or 300 \
             times what the last one took.",
            "a socket that a program has locked holds up the sweep (docs/compatibility.md). Settings and sockets at \
             risk are as of then; probes and drops are not affected.",
        )
        .query("max(time() - ka_inventory_last_success_timestamp_seconds{@node}) or vector(0)", "")
        .unit("s")
        .steps(&[(600.0, "orange"), (1200.0, "red")]),
        stat(
            Sum,
            "Owners folded",
            "Owners that found no place of their own and are shown as `~other`, in the time range.",
            "raise `--max-owners`, or drop a label with `--owner-labels` (docs/owners.md).",
        )
        .query(all_events("ka_owner_series_overflow_total{@node}"), "")
        .steps(&[(1.0, "orange")]),
    ]
}

fn records() -> [Panel; 3] {
    [
        areas(
            "Records received, by kind",
            "What the kernel side told the daemons.",
            "nothing at all on a node with keepalive sockets: the programs are not attached. A flood of one kind: \
             its owner shows on *ka: node*.",
        )
        .query("sum by (kind) (rate(ka_records_received_total{@node}[$__rate_interval]))", "{{kind}}")
        .unit("cps")
        .size(8, 9),
        lines(
            "Sent by the kernel side, and received",
            "Records put into the ring buffer, and read from it. The two lines lie on each other.",
            "apart for long: the daemon does not keep up, and the ring buffer fills. See its CPU below.",
        )
        .query("sum(rate(ka_records_emitted_total{@node}[$__rate_interval]))", "sent")
        .query("sum(rate(ka_records_received_total{@node}[$__rate_interval]))", "received")
        .unit("cps")
        .size(8, 9),
        bars(
            "Lost records, and probes of unknown outcome",
            "Records lost in each step, by reason, and probes whose outcome stayed unknown by that.",
            "see *Records lost* above. Unknown outcomes without lost records: sockets that were not tracked.",
        )
        .query(events_by("reason", "ka_records_lost_total{@node}").replace(" > 0", ""), "lost: {{reason}}")
        .query(all_events("ka_keepalive_probes_unsettled_total{@node}"), "unknown outcome")
        .size(8, 9),
    ]
}

fn audit() -> [Panel; 2] {
    let rate = |counter: &str| format!("sum(rate(ka_{counter}_probes_total{{@node}}[$__rate_interval]))");
    [
        lines(
            "Keepalive probes, counted twice",
            "By the kernel (TcpExtTCPKeepAlive) and by the daemons, over all network namespaces; the same of \
             zero-window probes (TcpExtTCPWinProbe).",
            "ka below the kernel: it does not see all (docs/compatibility.md lists what each plan cannot see). The \
             kernel's counts may be as old as the last sweep.",
        )
        .query(rate("kernel_keepalive"), "keepalive, kernel")
        .query(rate("observed_keepalive"), "keepalive, ka")
        .query(rate("kernel_zero_window"), "zero window, kernel")
        .query(rate("observed_zero_window"), "zero window, ka")
        .unit("cps"),
        lines(
            "Unseen keepalive probes, by node",
            "The kernel's rate minus the daemon's: the ten nodes that differ most.",
            "one node: `ka-daemon check` there, and its log. All nodes with one kernel: that kernel keeps runs from \
             BPF programs.",
        )
        .query(
            "topk(10, abs(sum by (instance) (rate(ka_kernel_keepalive_probes_total{@node}[$__rate_interval])) \
             - sum by (instance) (rate(ka_observed_keepalive_probes_total{@node}[$__rate_interval]))))",
            "{{instance}}",
        )
        .unit("cps")
        .opens("ka-node", "instance"),
    ]
}

fn programs() -> Panel {
    table(
            "Programs",
            "Each BPF program: whether it is attached, where, by which plan, and what it costs (with `--bpf-stats`). \
             Programs of a plan that the kernel refused are not attached, and another plan's are instead.",
            "`missed` counts runs that the kernel skipped: kprobes do under recursion. `ka-daemon check` has the \
             reasons.",
            [
                column("instance", "Node").opens("ka-node", "instance"),
                column("program", "Program"),
                column("hook", "Hook"),
                column("plan", "Plan"),
                column("Value #A", "Attached").words(&[("1", "yes", "green"), ("0", "no", "orange")]),
                column("Value #C", "Runs/s").unit("cps"),
                column("Value #D", "Time a run").unit("s"),
                column("Value #E", "Missed").steps(&[(1.0, "orange")]),
                // Always 1: its labels are what it tells.
                column("Value #B", ""),
            ],
        )
        .query("max by (instance, program) (ka_ebpf_program_attached{@node})", "")
        .query("max by (instance, program, hook, plan) (ka_ebpf_program_info{@node})", "")
        .query("sum by (instance, program) (rate(ka_ebpf_program_runs_total{@node}[$__rate_interval]))", "")
        .query(
            "sum by (instance, program) (rate(ka_ebpf_program_run_seconds_total{@node}[$__rate_interval])) \
             / (sum by (instance, program) (rate(ka_ebpf_program_runs_total{@node}[$__rate_interval])) > 0)",
            "",
        )
        .query(events_in_range("instance, program", "ka_ebpf_program_missed_total{@node}"), "")
        .size(24, 10)
}

fn daemons() -> Panel {
    table(
            "Daemons",
            "Each daemon: its version, what it has in its table, and its last sweep.",
            "several versions: a rollout that stopped half way. `Started` a moment ago, again and again: it crashes; \
             its log says why.",
            [
                column("instance", "Node").opens("ka-node", "instance"),
                column("version", "Version"),
                column("revision", "Revision"),
                column("Value #B", "Started").unit("dateTimeFromNow"),
                column("Value #C", "Tracked sockets"),
                column("Value #D", "Last sweep took").unit("s"),
                column("Value #E", "Last sweep").unit("dateTimeFromNow"),
                column("Value #A", ""),
            ],
        )
        .query("max by (instance, version, revision) (ka_build_info{@node})", "")
        .query(
            "1000 * max by (instance) (process_start_time_seconds{@node} and on (job, instance) ka_build_info{@node})",
            "",
        )
        .query("max by (instance) (ka_tracked_sockets{@node})", "")
        .query("max by (instance) (ka_inventory_duration_seconds{@node})", "")
        .query("1000 * max by (instance) (ka_inventory_last_success_timestamp_seconds{@node})", "")
        .size(24, 8)
}

fn costs() -> [Panel; 3] {
    [
        areas(
            "Time in the kernel, by program",
            "The share of one CPU that the BPF programs take, over all nodes chosen above.",
            "`ka_timer_*` on a node whose kernel takes only tracepoints: every timer of the machine runs through \
             them. Choose one node above before judging.",
        )
        .query(
            "topk(10, sum by (program) (rate(ka_ebpf_program_run_seconds_total{@node}[$__rate_interval])))",
            "{{program}}",
        )
        .unit("percentunit")
        .nothing("Only known with --bpf-stats")
        .size(8, 9),
        lines(
            "CPU of the daemon",
            "The share of one CPU that each daemon takes: the ten busiest. Sweeps are part of it.",
            "above a few per cent: see *Records received*, and how long a sweep takes; `--inventory-interval` makes \
             them rarer.",
        )
        .query(
            "topk(10, max by (instance) (rate(process_cpu_seconds_total{@node}[$__rate_interval]) \
             and on (job, instance) ka_build_info{@node}))",
            "{{instance}}",
        )
        .unit("percentunit")
        .size(8, 9),
        lines(
            "Memory of the daemon",
            "Resident memory of each daemon: the ten largest.",
            "it grows with tracked sockets, up to `--max-sockets`, and with owners; growth without either is a leak: \
             report it.",
        )
        .query(
            "topk(10, max by (instance) (process_resident_memory_bytes{@node} \
             and on (job, instance) ka_build_info{@node}))",
            "{{instance}}",
        )
        .unit("bytes")
        .size(8, 9),
    ]
}
