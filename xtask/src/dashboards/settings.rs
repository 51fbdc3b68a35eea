//! Settings and risk: what an idle limit would cut, and what to set.

use super::board::{
    Board, Column, Panel,
    Reduce::{Last, Max},
    areas, column, lines, owner_columns, row, stat, table,
};
use super::promql::{OWNER_LEGEND, OWNERS, by_owner};

pub(super) fn board() -> Board {
    Board {
        uid: "ka-settings",
        title: "ka: settings and risk",
        question: "Which connections would an idle limit cut, whose are they, and what must be set?",
        by_owner: true,
        rows: vec![
            row("What would be cut", now()),
            row("Whose, and by which limit", risk()),
            row("Limits: configured, and found by watching", limits()),
            row("Settings in force", settings()),
        ],
    }
}

fn now() -> [Panel; 6] {
    [
        stat(
            Last,
            "At risk",
            "Established sockets that a policy's idle limit would cut when nobody uses them: keepalive is off, or \
             its first probe comes too late, and the peer does not probe either.",
            "*Sockets at risk* below lists whose they are and the limit: set TCP_KEEPIDLE, or \
             `net.ipv4.tcp_keepalive_time` where the program sets nothing, below it.",
        )
        .query(r#"sum(ka_sockets_at_risk{@owner, reason!="peer_keeps_alive"}) or vector(0)"#, "")
        .steps(&[(1.0, "orange")]),
        stat(
            Last,
            "At risk and half way",
            "Those that have been idle for at least half of the limit already.",
            "they are cut soon. `ka-daemon sockets --at-risk --sort idle` on the node lists them.",
        )
        .query(r#"sum(ka_sockets_at_risk_idle{@owner, reason!="peer_keeps_alive"}) or vector(0)"#, "")
        .steps(&[(1.0, "red")]),
        stat(
            Last,
            "Kept alive by the peer alone",
            "Sockets that would be at risk if their peer did not probe.",
            "nothing is wrong yet. They depend on a setting at the other end that somebody else may change.",
        )
        .query(r#"sum(ka_sockets_at_risk{@owner, reason="peer_keeps_alive"}) or vector(0)"#, ""),
        stat(
            Last,
            "Without keepalive",
            "The share of established connections that never probe.",
            "*Established sockets* below tells since when. Many programs turn it on with one option.",
        )
        .query(
            r#"sum(ka_sockets{@owner, keepalive="off"}) / (sum(ka_sockets{@owner}) > 0) or vector(0)"#,
            "",
        )
        .unit("percentunit"),
        stat(
            Max,
            "Longest idle setting (s)",
            "The longest time that any socket with keepalive on waits before its first probe.",
            "7200 s is Linux's default: that program turned keepalive on and set no time. *Longest idle setting, \
             by owner* tells which.",
        )
        .query("max(ka_keepidle_max_seconds{@owner}) or vector(0)", "")
        .unit("none")
        .steps(&[(350.0, "orange"), (7200.0, "red")]),
        stat(
            Last,
            "Limits suspected",
            "Remote prefixes whose connections die after a silence that others do not reach: something on the \
             way there has an idle limit.",
            "*Suspected idle limits* below gives the range; make it a policy (docs/policies.md), so that \
             sockets at risk of it are counted.",
        )
        .query("count(ka_suspected_idle_timeout_max_seconds{@node}) or vector(0)", "")
        .steps(&[(1.0, "orange")]),
    ]
}

const AT_RISK_BY: &str = "instance, namespace, pod, service, comm, policy, reason";

fn risk() -> [Panel; 3] {
    let columns: [Column; 10] = {
        let [namespace, pod, service, comm] = owner_columns();
        [
            column("instance", "Node").opens("ka-node", "instance"),
            namespace,
            pod,
            service,
            comm,
            column("policy", "Policy"),
            column("reason", "Why"),
            column("Value #C", "Idle limit (s)").unit("none"),
            column("Value #B", "Half way").steps(&[(1.0, "red")]),
            column("Value #A", "At risk").steps(&[(1.0, "orange")]),
        ]
    };
    let limit = "max by (job, instance, policy) (ka_policy_idle_limit_seconds{@node})";
    [
        table(
            "Sockets at risk",
            "Whose sockets which policy would cut, why, its limit, and how many have been idle for half of it.",
            "`keepalive_off`: turn it on. `idle_too_long`: shorten TCP_KEEPIDLE to below the limit. The node's \
             `ka-daemon sockets --at-risk` says for each what to set.",
            columns,
        )
        .query(format!("sum by ({AT_RISK_BY}) (ka_sockets_at_risk{{@owner}}) > 0"), "")
        .query(format!("sum by ({AT_RISK_BY}) (ka_sockets_at_risk_idle{{@owner}})"), "")
        .query(
            format!(
                "max by ({AT_RISK_BY}) (0 * (ka_sockets_at_risk{{@owner}} > 0) \
                 + on (job, instance, policy) group_left {limit})"
            ),
            "",
        )
        .nothing("No socket matches a policy, or there is none (docs/policies.md)")
        .size(24, 9),
        areas(
            "Sockets at risk, by policy and reason",
            "The same over time; `peer_keeps_alive` are those that their peer keeps alive.",
            "a step is a deploy, a changed policy, or a peer that stopped probing.",
        )
        .query("sum by (policy, reason) (ka_sockets_at_risk{@owner})", "{{policy}}: {{reason}}")
        .nothing("No socket matches a policy"),
        lines(
            "At risk and half way, by owner",
            "Sockets at risk that have been idle for at least half of the limit: the ten owners with most.",
            "a saw-tooth as long as the limit is connections being cut and made anew: compare with *ka: drops*.",
        )
        .query(
            by_owner(&format!(
                "topk(10, sum by ({OWNERS}) (ka_sockets_at_risk_idle{{@owner, reason!=\"peer_keeps_alive\"}}) > 0)"
            )),
            OWNER_LEGEND,
        )
        .nothing("No socket matches a policy"),
    ]
}

fn limits() -> [Panel; 2] {
    [
        table(
            "Policies in force",
            "The idle limits that the nodes' configurations name, and how many sockets each would cut.",
            "a limit that differs from node to node shows twice: the configurations do.",
            [
                column("policy", "Policy"),
                column("severity", "Severity"),
                column("Value #A", "Idle limit (s)").unit("none"),
                column("Value #B", "Nodes"),
            ],
        )
        .query("max by (policy, severity) (ka_policy_idle_limit_seconds{@node})", "")
        .query("count by (policy, severity) (ka_policy_idle_limit_seconds{@node})", "")
        .nothing("No policy is configured (docs/policies.md)"),
        table(
            "Suspected idle limits",
            "For each remote prefix: connections lived through silences of up to *at least* seconds, and died of \
             those of *at most* seconds and more.",
            "an unknown box on the way there forgets idle connections: keep keepalive below *at least*. Where the \
             two are far apart, connections with other idle times would narrow it down.",
            [
                column("instance", "Node").opens("ka-node", "instance"),
                column("remote_prefix", "Remote prefix"),
                column("Value #A", "At least (s)").unit("none"),
                column("Value #B", "At most (s)").unit("none"),
            ],
        )
        .query("max by (instance, remote_prefix) (ka_suspected_idle_timeout_min_seconds{@node})", "")
        .query("max by (instance, remote_prefix) (ka_suspected_idle_timeout_max_seconds{@node})", "")
        .nothing("None is suspected"),
    ]
}

fn settings() -> [Panel; 5] {
    [
        areas(
            "Established sockets",
            "Connections with keepalive on and off.",
            "`off` growing after a deploy: a program stopped setting SO_KEEPALIVE.",
        )
        .query("sum by (keepalive) (ka_sockets{@owner})", "keepalive {{keepalive}}")
        .colours(&[("keepalive on", "green"), ("keepalive off", "orange")])
        .nothing("No sweep yet"),
        lines(
            "Longest idle setting (s), by owner",
            "How long each owner's most patient socket waits before its first probe: the ten longest.",
            "a line that jumps to 7200 s after a deploy: the program lost its setting, and Linux's default is in \
             force. The dashed line is AWS NLB's 350 s.",
        )
        .query(by_owner(&format!("topk(10, max by ({OWNERS}) (ka_keepidle_max_seconds{{@owner}}))")), OWNER_LEGEND)
        .unit("none")
        .steps(&[(350.0, "red")])
        .nothing("No socket with keepalive on"),
        table(
            "Combinations of settings",
            "Sockets with keepalive on, of all owners, by the settings in force, who set them (`socket`: the program; \
             `sysctl`: the namespace's default; `mixed`), and whose they look like.",
            "7200 / 75 / 9 by `sysctl` is a bare SO_KEEPALIVE: longer than any load balancer waits.",
            [
                column("keepidle_seconds", "Idle (s)"),
                column("keepintvl_seconds", "Interval (s)"),
                column("keepcnt", "Probes"),
                column("origin", "Set by"),
                column("preset", "Looks like"),
                column("Value", "Sockets"),
            ],
        )
        .query(
            "sum by (keepidle_seconds, keepintvl_seconds, keepcnt, origin, preset) (ka_socket_settings{@node}) > 0",
            "",
        )
        .nothing("No socket with keepalive on"),
        areas(
            "Idle settings over time",
            "Sockets with keepalive on, of all owners, by idle time and who set it.",
            "a colour that takes over from another in one step is a deploy that changed settings.",
        )
        .query(
            "topk(10, sum by (keepidle_seconds, origin) (ka_socket_settings{@node}))",
            "{{keepidle_seconds}} s by {{origin}}",
        )
        .nothing("No socket with keepalive on"),
        table(
            "Shortest and longest idle setting, by owner",
            "The range of idle times in force among an owner's sockets with keepalive on.",
            "a wide range in one program: some of its connections take another way to be made, without the setting.",
            {
                let [namespace, pod, service, comm] = owner_columns();
                [
                    namespace,
                    pod,
                    service,
                    comm,
                    column("Value #A", "Shortest (s)").unit("none"),
                    column("Value #B", "Longest (s)").unit("none").steps(&[(350.0, "orange"), (7200.0, "red")]),
                ]
            },
        )
        .query(format!("min by ({OWNERS}) (ka_keepidle_min_seconds{{@owner}})"), "")
        .query(format!("max by ({OWNERS}) (ka_keepidle_max_seconds{{@owner}})"), "")
        .nothing("No socket with keepalive on")
        .size(24, 8),
    ]
}
