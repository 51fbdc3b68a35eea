//! One node, or some: what its programs' connections do.

use super::board::{
    Board, Panel,
    Reduce::{Last, Sum},
    areas, bars, column, heatmap, lines, row, stat, table,
};
use super::promql::{
    CAUSE_COLOURS, DROPS, OWNER_LEGEND, OWNERS, all_events, by_owner, events_by, unanswered_share,
};

pub(super) fn board() -> Board {
    Board {
        uid: "ka-node",
        title: "ka: node",
        question: "What do keepalive and its connections do on this node, and which program stands out?",
        by_owner: true,
        rows: vec![
            row("Now", now()),
            row("Probes", probes()),
            row("Connections", connections()),
            row("Where no program sets anything", defaults()),
        ],
    }
}

fn now() -> [Panel; 6] {
    [
        stat(
            Last,
            "Established sockets",
            "TCP connections, as of the last sweep.",
            "a fall to few: what runs here was restarted or cut off; see the drops beside it.",
        )
        .query("sum(ka_sockets{@owner}) or vector(0)", ""),
        stat(
            Last,
            "Without keepalive",
            "The share of established connections that never probe.",
            "*Sockets, by process* below tells whose; *ka: settings and risk* tells which of them an idle limit \
             would cut.",
        )
        .query(
            r#"sum(ka_sockets{@owner, keepalive="off"}) / (sum(ka_sockets{@owner}) > 0) or vector(0)"#,
            "",
        )
        .unit("percentunit"),
        stat(
            Last,
            "Probes per second",
            "Keepalive probes sent.",
            "0 on a node with keepalive sockets: nothing was idle for long enough, or the hooks are not attached \
             (*ka: pipeline*). A jump: a program set a very short idle time.",
        )
        .query("sum(rate(ka_keepalive_probes_sent_total{@owner}[$__rate_interval])) or vector(0)", "")
        .unit("cps"),
        stat(
            Last,
            "Probes unanswered",
            "The share of probes without an answer.",
            "*Probes by outcome* tells since when. `ka-daemon sockets --sort nearest` on the node lists the \
             connections that are nearest to being dropped, with their remote ends.",
        )
        .query(format!("{} or vector(0)", unanswered_share("")), "")
        .unit("percentunit")
        .steps(&[(0.01, "orange"), (0.05, "red")]),
        stat(
            Sum,
            "Connections dropped",
            "Connections that ended in an error while a program held them, in the time range.",
            "open *ka: drops* by the link above: it keeps node and time.",
        )
        .query(all_events(DROPS), "")
        .steps(&[(1.0, "orange")]),
        stat(
            Sum,
            "Resets received",
            "RST segments that met a connection which was idle, probed, or tracked.",
            "*Resets received* below tells what they met: `keepalive` and `idle` are the work of something on \
             the way that forgot, `data` of a peer that closed.",
        )
        .query(all_events("ka_resets_received_total{@owner}"), ""),
    ]
}

fn probes() -> [Panel; 4] {
    let rate =
        |outcome: &str| format!("sum(rate(ka_keepalive_probes_{outcome}_total{{@owner}}[$__rate_interval]))");
    [
        lines(
            "Probes by outcome",
            "Keepalive probes sent, and what came of them. Unsettled: the outcome is unknown, since records were \
             lost or the socket was not tracked.",
            "`unanswered` that rises to `sent`: the path is cut. `unsettled`: see *ka: pipeline*.",
        )
        .query(rate("sent"), "sent")
        .query(rate("answered"), "answered")
        .query(rate("unanswered"), "unanswered")
        .query(rate("unsettled"), "unsettled")
        .colours(&[("sent", "blue"), ("answered", "green"), ("unanswered", "red"), ("unsettled", "purple")])
        .unit("cps")
        .nothing("No probe was sent"),
        lines(
            "Probes by process",
            "The ten owners that probe most.",
            "thousands per second of one owner: many idle connections with a short idle time. That is cheap here, and \
             may not be for phones or for metered links at the other end.",
        )
        .query(
            by_owner(&format!(
                "topk(10, sum by ({OWNERS}) (rate(ka_keepalive_probes_sent_total{{@owner}}[$__rate_interval])) > 0)"
            )),
            OWNER_LEGEND,
        )
        .unit("cps")
        .nothing("No probe was sent"),
        heatmap(
            "Round trip of probes",
            "How many answers took how long. Only clean samples: nothing else was under way meanwhile.",
            "a second band above the first: one of several paths or peers is slow. All of it moving up: the \
             node, or its link, is loaded.",
        )
        .query("sum by (le) (rate(ka_keepalive_probe_rtt_seconds_bucket{@owner}[$__rate_interval]))", "{{le}}")
        .unit("s")
        .nothing("No probe was answered with a clean round trip"),
        bars(
            "Probes that were due and not sent",
            "By reason: data was in flight (keepalive does not run then), the socket was locked, or this node's \
             own queues were full.",
            "`data_in_flight` that goes on: data is not acknowledged, and only the retransmission limit ends that \
             connection. `local_congestion`: this node's network queue.",
        )
        .query(events_by("reason", "ka_keepalive_probes_suppressed_total{@owner}"), "{{reason}}")
        .nothing("Every probe that was due was sent"),
    ]
}

fn connections() -> [Panel; 4] {
    [
        bars(
            "Drops by cause",
            "Dropped connections in each step. Red: forgotten on the way. Orange, yellow: silence. Purple: data \
             that nobody took. Blue: resets of connections in use.",
            "*ka: drops* has the rest. On the node, `ka-daemon drops` tells each in a sentence.",
        )
        .query(events_by("cause", DROPS), "{{cause}}")
        .colours(&CAUSE_COLOURS)
        .nothing("No connection was dropped"),
        bars(
            "Resets received, by what they met",
            "`keepalive`: a probe was answered by it. `zero_window`: a window probe. `idle`: nothing was under way. \
             `data`: data was.",
            "`keepalive` and `idle`: the other end, or a box on the way, had forgotten the connection; set keepalive \
             below its limit.",
        )
        .query(events_by("phase", "ka_resets_received_total{@owner}"), "{{phase}}")
        .colours(&[
            ("keepalive", "red"),
            ("idle", "light-red"),
            ("zero_window", "purple"),
            ("data", "blue"),
            ("other", "text"),
        ])
        .nothing("No reset was received"),
        areas(
            "Sockets, by process",
            "The ten owners with most established connections.",
            "a line that only rises is a leak of connections; one that falls to 0 lost all of them at once.",
        )
        .query(by_owner(&format!("topk(10, sum by ({OWNERS}) (ka_sockets{{@owner}}) > 0)")), OWNER_LEGEND)
        .nothing("No established connection"),
        lines(
            "Zero-window probes, by process",
            "Probes of a peer that has stopped reading: its window is shut. The ten owners with most.",
            "the peer is alive and does not read: look there. Such a connection never ends by itself, and keepalive \
             does not run meanwhile.",
        )
        .query(
            by_owner(&format!(
                "topk(10, sum by ({OWNERS}) (rate(ka_zero_window_probes_sent_total{{@owner}}[$__rate_interval])) > 0)"
            )),
            OWNER_LEGEND,
        )
        .unit("cps")
        .nothing("No window was shut"),
    ]
}

fn defaults() -> [Panel; 2] {
    let table = |title, shows, then, column_title, expr: &str| {
        table(
            title,
            shows,
            then,
            [
                column("instance", "Node").opens("ka-node", "instance"),
                column("seconds", column_title),
                column("Value", "Network namespaces"),
            ],
        )
        .query(format!("count_values by (instance) (\"seconds\", {expr})"), "")
        .size(12, 7)
    };
    [
        table(
            "Default idle time",
            "How long a socket with a bare SO_KEEPALIVE waits before its first probe, and in how many network \
             namespaces (each container may have its own) that is so: `net.ipv4.tcp_keepalive_time`.",
            "7200 s is Linux's default, and longer than any load balancer waits. Containers do not inherit the host's \
             value: set it in the pod (`securityContext.sysctls`) or in the program.",
            "Idle time (s)",
            "ka_sysctl_tcp_keepalive_time_seconds{@node}",
        ),
        table(
            "Default time until a drop",
            "How long the peer of such a socket may be gone before the connection is dropped: idle time + interval × \
             probes.",
            "7875 s is Linux's default: for more than two hours nobody notices.",
            "Until a drop (s)",
            "ka_sysctl_tcp_keepalive_time_seconds{@node} \
             + ka_sysctl_tcp_keepalive_intvl_seconds{@node} * ka_sysctl_tcp_keepalive_probes{@node}",
        ),
    ]
}
