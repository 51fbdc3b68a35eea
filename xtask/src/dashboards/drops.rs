//! Forensics: what killed connections, whose, when, and after how long a silence.

use super::board::{
    Board, Panel, Reduce::Sum, bar_gauge, bars, column, heatmap, lines, owner_columns, row, stat, table, text,
};
use super::promql::{
    CAUSE_COLOURS, DROPS, FORGOTTEN, OTHERS, OWNER_LEGEND, OWNERS, RESETS, UNACKNOWLEDGED, UNANSWERED,
    all_events, by_owner, drops, events, events_by, events_in_range,
};

pub(super) fn board() -> Board {
    Board {
        uid: "ka-drops",
        title: "ka: drops",
        question: "What killed connections, whose were they, when, and after how long a silence?",
        by_owner: true,
        rows: vec![
            row("How many, of which kind", kinds()),
            row("When, and whose", when()),
            row("After how long a silence", silence()),
            row("What went before, and what else ended", around()),
            row("What each cause means", [text("Causes and what helps", causes())]),
        ],
    }
}

fn kinds() -> [Panel; 6] {
    let kind = |title, causes: &str, shows, then, colour| {
        stat(Sum, title, shows, then).query(all_events(&drops(causes)), "").steps(colour)
    };
    [
        stat(
            Sum,
            "All",
            "Connections that ended in an error while a program held them, in the time range: the sum of the \
             five beside it.",
            "the largest of the five tells which way to look.",
        )
        .query(all_events(DROPS), "")
        .steps(&[(1.0, "orange")]),
        kind(
            "Forgotten on the way",
            FORGOTTEN,
            "The first probe or data after a silence met a reset, or nothing, or a reset came out of the silence \
             (`reset_by_probe`, `reset_after_idle`, `reset_while_idle`, `timeout_after_idle`).",
            "a load balancer, NAT gateway or firewall forgets idle connections. *Idle time at the drop* below \
             names its limit: set keepalive below.",
            &[(1.0, "red")],
        ),
        kind(
            "Given up by keepalive",
            UNANSWERED,
            "Probes went unanswered until the limit (`keepalive_timeout`, `user_timeout`).",
            "the peer or the path was gone, and keepalive did its work. `user_timeout` after one lost probe: \
             TCP_USER_TIMEOUT is shorter than keepalive's own patience.",
            &[(1.0, "orange")],
        ),
        kind(
            "Data nobody took",
            UNACKNOWLEDGED,
            "Data was never acknowledged, or the peer stopped reading and then vanished (`retransmit_timeout`, \
             `zero_window_timeout`).",
            "keepalive cannot help, it rests while data is in flight: set TCP_USER_TIMEOUT, or lower \
             `net.ipv4.tcp_retries2`.",
            &[(1.0, "purple")],
        ),
        kind(
            "Reset while in use",
            RESETS,
            "The other end sent RST in the midst of use, or after it had closed (`reset`, `reset_after_close`).",
            "the other program crashed, closed with data unread, or was written to after its goodbye. Its log \
             tells.",
            &[(1.0, "blue")],
        ),
        kind(
            "Aborted, other",
            OTHERS,
            "Somebody ended them here (`ss -K`, a firewall's tool), or it was an error of none of these kinds.",
            "`ka-daemon drops --cause other` on the node shows the error number.",
            &[(1.0, "yellow")],
        ),
    ]
}

fn when() -> [Panel; 3] {
    [
        bars(
            "Drops by cause",
            "Dropped connections in each step. Red: forgotten on the way. Orange, yellow: silence. Purple: data \
             that nobody took. Blue: resets of connections in use.",
            "a fixed rhythm is an idle timeout; one tall bar is an event: compare its time with deploys and with \
             nodes that went away.",
        )
        .query(events_by("cause", DROPS), "{{cause}}")
        .colours(&CAUSE_COLOURS)
        .nothing("No connection was dropped"),
        bars(
            "Drops by owner",
            "The same by whose they were: in each step the ten with most.",
            "one owner: its settings or its peer. All at once: the node or the network.",
        )
        .query(by_owner(&format!("topk(10, {})", events_by(OWNERS, DROPS))), OWNER_LEGEND)
        .nothing("No connection was dropped"),
        table(
            "Who lost how many, of what",
            "All owners and causes of the time range. The timer tells in whose run the connection ended; `none`: \
             the network or somebody ended it.",
            "click a node or an owner to narrow down. `ka-daemon drops --process NAME` on the node tells each \
             drop with its remote end and what would have prevented it.",
            {
                let [namespace, pod, service, comm] = owner_columns();
                [
                    column("instance", "Node").opens("ka-node", "instance"),
                    namespace,
                    pod,
                    service,
                    comm,
                    column("cause", "Cause"),
                    column("timer", "Timer"),
                    column("Value", "Drops").unit("locale"),
                ]
            },
        )
        .query(
            format!("topk(200, {} > 0)", events_in_range(&format!("instance, {OWNERS}, cause, timer"), DROPS)),
            "",
        )
        .nothing("No connection was dropped")
        .size(24, 9),
    ]
}

/// By cause alone: this histogram has no owners.
const IDLE: &str = "ka_connection_idle_at_drop_seconds_bucket{@node}";

fn silence() -> [Panel; 2] {
    [
        bar_gauge(
            "Idle time at the drop (s, up to)",
            "How many connections had been silent for how long when they were dropped, of all causes and owners: \
             each bar is what lies above the bar over it, up to so many seconds.",
            "a peak is the idle limit of a box on the way: 60 AWS ALB, 240 Azure, 350 AWS NLB and NAT, 600 \
             Google Cloud, 900 IPVS, 7200 and above: Linux's own default was too long for whatever it was.",
        )
        .query(events_in_range("le", IDLE), "{{le}}")
        .unit("locale")
        .size(12, 13),
        heatmap(
            "Idle time at the drop, over time",
            "The same over time.",
            "a band at one height is a limit that somebody configured; when the band moves, somebody changed it.",
        )
        .query(format!("sum by (le) {}", events(IDLE)), "{{le}}")
        .unit("s")
        .size(12, 13),
    ]
}

fn around() -> [Panel; 4] {
    [
        lines(
            "Unanswered probes, by owner",
            "Probes without an answer go before a drop by keepalive: the ten owners with most.",
            "these connections are dying now. `ka-daemon sockets --sort nearest` on the node lists them.",
        )
        .query(
            by_owner(&format!(
                "topk(10, sum by ({OWNERS}) (rate(ka_keepalive_probes_unanswered_total{{@owner}}[$__rate_interval])) > 0)"
            )),
            OWNER_LEGEND,
        )
        .unit("cps")
        .nothing("Every probe was answered"),
        bars(
            "Resets received, by what they met",
            "`keepalive`: a probe was answered by it. `zero_window`: a window probe. `idle`: nothing was under way. \
             `data`: data was.",
            "`keepalive` and `idle` are the work of something that forgot the connection, `data` mostly of the \
             other program.",
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
        bars(
            "Drops by timer",
            "Which of the kernel's timers ended the connection; `none`: a reset or somebody did.",
            "`retransmit` or `zero_window` where you rely on keepalive: data was in flight, and keepalive rested.",
        )
        .query(events_by("timer", DROPS), "{{timer}}")
        .colours(&[("keepalive", "orange"), ("retransmit", "purple"), ("zero_window", "light-purple"), ("none", "red")])
        .nothing("No connection was dropped"),
        bars(
            "Ends that are no drops",
            "Connections that no program held any more (`orphan_*`), that were never established \
             (`connect_timeout`), or that the kernel gave up for want of memory, of all owners.",
            "`connect_timeout`: the peer cannot be reached at all. `no_memory`: net.ipv4.tcp_mem is too small.",
        )
        .query(events_by("how", "ka_connections_ended_total{@node}"), "{{how}}")
        .nothing("None"),
    ]
}

/// The short form of docs/drop-causes.md.
fn causes() -> String {
    let rows = [
        (
            "reset_by_probe",
            "a probe was answered by RST: forgotten by the peer or a box on the way",
            "keepalive below its idle limit",
        ),
        ("reset_after_idle", "RST for the first data after a silence", "the same"),
        (
            "reset_while_idle",
            "RST out of a silence: a load balancer that closes idle connections",
            "the same",
        ),
        (
            "timeout_after_idle",
            "the first data after a silence was never acknowledged: forgotten, and dropped silently",
            "the same",
        ),
        (
            "keepalive_timeout",
            "as many probes as allowed went unanswered",
            "look at peer and path; shorter settings only tell sooner",
        ),
        (
            "user_timeout",
            "TCP_USER_TIMEOUT ran out, whatever found it",
            "set it above idle + interval × probes, or one lost probe ends the connection",
        ),
        (
            "retransmit_timeout",
            "data was never acknowledged; keepalive rests meanwhile",
            "TCP_USER_TIMEOUT, or a lower `net.ipv4.tcp_retries2`",
        ),
        ("zero_window_timeout", "the peer stopped reading, then fell silent", "look at the reader"),
        ("reset", "RST in the midst of use", "the other program's log"),
        ("reset_after_close", "RST after the peer's goodbye (EPIPE)", "read the end of file before writing"),
        ("aborted", "ended on this node, as `ss -K` does", "ask who did"),
        ("other", "another error number", "`ka-daemon drops --cause other`"),
    ];
    let lines = rows.map(|(cause, what, helps)| format!("| `{cause}` | {what} | {helps} |\n")).concat();
    format!("| cause | what happened | what helps |\n| --- | --- | --- |\n{lines}")
}
