//! The pieces that queries are made of, so that each stands once.
//!
//! In queries `@owner` and `@node` stand for the matchers of the dashboards' variables: the former where a
//! metric tells whose a socket is, the latter where it does not.

const NODE: &str = r#"job=~"$job", instance=~"$instance""#;
const OWNER: &str = r#"namespace=~"$namespace", service=~"$service", comm=~"$comm""#;

/// The labels that tell whose a socket is, as queries group by them.
pub(super) const OWNERS: &str = "namespace, pod, service, comm";
/// A query by these, with a name for processes that are not known.
pub(super) fn by_owner(query: &str) -> String {
    format!(r#"label_replace({query}, "comm", "(unknown)", "comm", "")"#)
}

/// How a series of these is named; what is empty vanishes.
pub(super) const OWNER_LEGEND: &str = "{{comm}} {{service}} {{namespace}} {{pod}}";

/// A query with the matchers written out.
pub(super) fn expand(query: &str) -> String {
    query.replace("@owner", &format!("{NODE}, {OWNER}")).replace("@node", NODE)
}

/// How many of a counter's events came in each step of the graph, in whole numbers, so that they add up.
///
/// `increase()` would miss what matters most: the first drop of a process, whose series begins with the value 1,
/// which it takes for the past; and what happens while scrapes fail, as they do when a node loses its network.
/// Here the last known value is compared with the last one a step before; what is new, or was reset, counts from
/// 0, unless the daemon itself is new to Prometheus. Every event is in exactly one step, however scrapes and
/// steps lie to each other, and wherever scrapes are missing.
pub(super) fn events(counter: &str) -> String {
    let now = format!("last_over_time({counter}[30m])");
    let before = |series: &str| format!("last_over_time({series}[30m] offset $__interval)");
    format!(
        "(({now} - {} >= 0) or ({now} and on (job, instance) {}))",
        before(counter),
        before("ka_build_info{@node}")
    )
}

/// The sum of a counter's events in each step by some labels (none: of all), without steps in which nothing was.
pub(super) fn events_by(labels: &str, counter: &str) -> String {
    format!("sum by ({labels}) {} > 0", events(counter))
}

/// The sum of all events in each step; 0 where nothing was, and where there is no such series.
pub(super) fn all_events(counter: &str) -> String {
    format!("sum{} or vector(0)", events(counter))
}

/// The sum of a counter's events over the whole time range by some labels.
pub(super) fn events_in_range(labels: &str, counter: &str) -> String {
    format!("sum_over_time((sum by ({labels}) {})[$__range:$__interval])", events(counter))
}

/// Causes of drops that something on the way makes by forgetting idle connections (docs/drop-causes.md).
pub(super) const FORGOTTEN: &str = "reset_by_probe|reset_after_idle|reset_while_idle|timeout_after_idle";
/// Causes of drops because nobody answered probes in time.
pub(super) const UNANSWERED: &str = "keepalive_timeout|user_timeout";
/// Causes of drops because nobody acknowledged or took data.
pub(super) const UNACKNOWLEDGED: &str = "retransmit_timeout|zero_window_timeout";
/// Resets of connections that were in use.
pub(super) const RESETS: &str = "reset|reset_after_close";
/// What somebody did on purpose, and the rest.
pub(super) const OTHERS: &str = "aborted|other";

/// Drops by these causes, each time the same colour: red for idle timeouts, orange for silence, purple for data,
/// blue for resets.
pub(super) const CAUSE_COLOURS: [(&str, &str); 12] = [
    ("reset_by_probe", "dark-red"),
    ("reset_after_idle", "red"),
    ("reset_while_idle", "light-red"),
    ("timeout_after_idle", "semi-dark-red"),
    ("keepalive_timeout", "orange"),
    ("user_timeout", "yellow"),
    ("retransmit_timeout", "purple"),
    ("zero_window_timeout", "light-purple"),
    ("reset", "blue"),
    ("reset_after_close", "light-blue"),
    ("aborted", "semi-dark-green"),
    ("other", "text"),
];

/// Drops of the causes that the expression matches.
pub(super) fn drops(causes: &str) -> String {
    format!(r#"ka_connections_dropped_total{{@owner, cause=~"{causes}"}}"#)
}

/// Drops of any cause.
pub(super) const DROPS: &str = "ka_connections_dropped_total{@owner}";

/// The share of probes that went unanswered, by some labels; nothing where none was sent.
pub(super) fn unanswered_share(by: &str) -> String {
    format!(
        "sum{by} (rate(ka_keepalive_probes_unanswered_total{{@owner}}[$__rate_interval])) / \
         (sum{by} (rate(ka_keepalive_probes_sent_total{{@owner}}[$__rate_interval])) > 0)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_written_out() {
        assert_eq!(expand("m{@node}"), r#"m{job=~"$job", instance=~"$instance"}"#);
        let owner = expand("m{@owner, x=\"y\"}");
        assert!(
            owner.starts_with(r#"m{job=~"$job", instance=~"$instance", namespace=~"$namespace""#),
            "{owner}"
        );
        assert!(owner.ends_with(r#"comm=~"$comm", x="y"}"#), "{owner}");
    }

    #[test]
    fn every_cause_is_in_one_group_and_has_a_colour() {
        let groups = [FORGOTTEN, UNANSWERED, UNACKNOWLEDGED, RESETS, OTHERS].join("|");
        let mut grouped: Vec<_> = groups.split('|').collect();
        let mut coloured = CAUSE_COLOURS.map(|(cause, _)| cause);
        grouped.sort_unstable();
        coloured.sort_unstable();
        assert_eq!(grouped, coloured);
    }
}
