//! The fleet: is something dying, of what, whose, and where to look next.

use super::board::{
    Board, Panel,
    Reduce::{Last, Max, Sum},
    areas, bars, column, lines, owner_columns, row, stat, table,
};
use super::promql::{
    CAUSE_COLOURS, DROPS, FORGOTTEN, OWNERS, UNANSWERED, all_events, drops, events_by, events_in_range,
    unanswered_share,
};

pub(super) fn board() -> Board {
    Board {
        uid: "ka-overview",
        title: "ka: overview",
        question: "Are connections dying, of what, and whose? One look over all nodes.",
        by_owner: true,
        rows: vec![
            row("Is something dying?", now()),
            row("What connections die of, and whose they were", dying()),
            row("Before they die", early()),
            row("What could die", risk()),
            row("Node by node", [nodes()]),
        ],
    }
}

fn now() -> [Panel; 8] {
    [
        stat(
            Sum,
            "Dropped",
            "Connections that ended in an error while a program held them, in the time range.",
            "open *ka: drops*, which tells whose, of what, and after how long a silence.",
        )
        .query(all_events(DROPS), "")
        .steps(&[(1.0, "orange")])
        .size(3, 4),
        stat(
            Sum,
            "By idle limits",
            "Dropped connections that a load balancer, NAT gateway or firewall had most likely forgotten: the first \
             probe or data after a silence was answered by a reset, or by nothing.",
            "*ka: drops* shows how long they had been idle; a peak just above 60, 240, 350 or 600 s names the box. \
             Set keepalive below that limit in what *ka: settings and risk* lists.",
        )
        .query(all_events(&drops(FORGOTTEN)), "")
        .steps(&[(1.0, "red")])
        .size(3, 4),
        stat(
            Sum,
            "By keepalive",
            "Dropped connections whose probes went unanswered until the limit (`keepalive_timeout`, `user_timeout`).",
            "the peers or the path to them were gone. Many at once: look at the network and at nodes that went \
             away. Many `user_timeout`: TCP_USER_TIMEOUT is too short for a lost probe (docs/drop-causes.md).",
        )
        .query(all_events(&drops(UNANSWERED)), "")
        .steps(&[(1.0, "orange")])
        .size(3, 4),
        stat(
            Last,
            "Unanswered",
            "The share of keepalive probes without an answer, now. Answers stop before connections drop.",
            "*Unanswered probes, by node* below tells whether it is one node or all; then open that node.",
        )
        .query(format!("{} or vector(0)", unanswered_share("")), "")
        .unit("percentunit")
        .steps(&[(0.01, "orange"), (0.05, "red")])
        .size(3, 4),
        stat(
            Last,
            "At risk",
            "Established connections that an idle limit of the configured policies would cut, and whose peer does \
             not keep them alive either.",
            "*ka: settings and risk* lists whose they are, by which policy, and what to set.",
        )
        .query(r#"sum(ka_sockets_at_risk{@owner, reason!="peer_keeps_alive"}) or vector(0)"#, "")
        .steps(&[(1.0, "orange")])
        .size(3, 4),
        stat(
            Last,
            "Sockets",
            "TCP connections of all nodes, as of their last sweep.",
            "a sudden fall together with drops: connections were lost and not made again.",
        )
        .query("sum(ka_sockets{@owner}) or vector(0)", "")
        .size(3, 4),
        stat(
            Max,
            "Daemons down",
            "Nodes whose daemon Prometheus could not scrape, at worst in the time range. There everything here \
             is blind.",
            "`systemctl status ka-daemon` or the pod's log on that node; *ka: pipeline* lists the nodes.",
        )
        .query(DAEMONS_DOWN, "")
        .steps(&[(1.0, "red")])
        .size(3, 4),
        stat(
            Sum,
            "Records lost",
            "Observations of the kernel side that never reached the daemon: counts are too low by at most as many.",
            "*ka: pipeline* tells which kind and why; `ring_full` wants a larger `--ring-buffer-size`, \
             `tracked_full` a larger `--max-sockets`.",
        )
        .query(all_events("ka_records_lost_total{@node}"), "")
        .steps(&[(1.0, "red")])
        .size(3, 4),
    ]
}

fn dying() -> [Panel; 2] {
    [
        bars(
            "Drops by cause",
            "Dropped connections in each step, by cause. Red: forgotten on the way. Orange, yellow: silence. \
             Purple: data that nobody took. Blue: resets of connections in use.",
            "a bar that repeats in a fixed rhythm is an idle timeout; one tall bar is an event, such as a node \
             that went away. docs/drop-causes.md tells what helps against each.",
        )
        .query(events_by("cause", DROPS), "{{cause}}")
        .colours(&CAUSE_COLOURS)
        .nothing("No connection was dropped"),
        table(
            "Whose connections",
            "The owners that lost most in the time range, and the cause.",
            "click an owner for its drops, the times, and the idle times. On the node, `ka-daemon drops` tells \
             each one in a sentence, with what would have prevented it.",
            {
                let [namespace, pod, service, comm] = owner_columns();
                [namespace, pod, service, comm, column("cause", "Cause"), column("Value", "Drops").unit("locale")]
            },
        )
        .query(format!("topk(20, {} > 0)", events_in_range(&format!("{OWNERS}, cause"), DROPS)), "")
        .nothing("No connection was dropped"),
    ]
}

fn early() -> [Panel; 2] {
    [
        lines(
            "Unanswered probes, by node",
            "The share of keepalive probes without an answer: the ten worst nodes.",
            "one node: its network. All: something between them. Rising while drops are still few is the time \
             to act. Click a line for the node.",
        )
        .query(format!("topk(10, {})", unanswered_share(" by (instance)")), "{{instance}}")
        .unit("percentunit")
        .steps(&[(0.05, "red")])
        .opens("ka-node", "instance")
        .nothing("No probe was sent"),
        lines(
            "Round trip of probes",
            "Time from a keepalive probe to its answer, over all nodes: half of them, and 99 of 100, were \
             quicker.",
            "a step up that stays is a longer path or a loaded peer; compare with the unanswered share beside it.",
        )
        .query(rtt("0.5"), "50 %")
        .query(rtt("0.99"), "99 %")
        .unit("s")
        .nothing("No probe was answered with a clean round trip"),
    ]
}

/// Targets that were a daemon within a day.
pub(super) const DAEMONS_DOWN: &str =
    "sum((up{@node} == bool 0) and on (job, instance) last_over_time(ka_build_info{@node}[1d])) or vector(0)";

fn rtt(quantile: &str) -> String {
    format!(
        "histogram_quantile({quantile}, \
         sum by (le) (rate(ka_keepalive_probe_rtt_seconds_bucket{{@owner}}[$__rate_interval])))"
    )
}

fn risk() -> [Panel; 2] {
    [
        areas(
            "Established sockets, by keepalive",
            "Connections with keepalive on and off.",
            "`off` growing after a deploy: a program stopped setting SO_KEEPALIVE. What is off is not noticed to be \
             dead until it is used, and is cut by the first idle limit on the way.",
        )
        .query("sum by (keepalive) (ka_sockets{@owner})", "keepalive {{keepalive}}")
        .colours(&[("keepalive on", "green"), ("keepalive off", "orange")])
        .nothing("No sweep yet"),
        areas(
            "Sockets at risk, by policy",
            "Connections that each idle-timeout policy would cut when nobody uses them.",
            "*ka: settings and risk* has the owners. A step up is a deploy or a changed policy.",
        )
        .query(
            r#"sum by (policy) (ka_sockets_at_risk{@owner, reason!="peer_keeps_alive"})"#,
            "{{policy}}",
        )
        .nothing("No socket matches a policy"),
    ]
}

fn nodes() -> Panel {
    table(
        "Nodes",
        "What each node saw: now, and (drops, lost records) in the time range.",
        "sort by a column, and click the node.",
        [
            column("instance", "Node").opens("ka-node", "instance"),
            column("Value #A", "Sockets"),
            column("Value #B", "Probes/s").unit("cps"),
            column("Value #C", "Unanswered").unit("percentunit").steps(&[(0.01, "orange"), (0.05, "red")]),
            column("Value #D", "At risk").steps(&[(1.0, "orange")]),
            column("Value #E", "Records lost").unit("locale").steps(&[(1.0, "red")]),
            column("Value #F", "Drops").unit("locale").steps(&[(1.0, "orange")]),
        ],
    )
    .query("sum by (instance) (ka_sockets{@owner})", "")
    .query("sum by (instance) (rate(ka_keepalive_probes_sent_total{@owner}[$__rate_interval]))", "")
    .query(unanswered_share(" by (instance)"), "")
    .query(r#"sum by (instance) (ka_sockets_at_risk{@owner, reason!="peer_keeps_alive"})"#, "")
    .query(events_in_range("instance", "ka_records_lost_total{@node}"), "")
    .query(events_in_range("instance", DROPS), "")
    .nothing("No daemon in this time range")
    .size(24, 9)
}
