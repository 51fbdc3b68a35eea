//! What to set, told once for all sockets of a process that the same would help. Pure.

use std::collections::BTreeMap;

use super::cells;
use crate::view::parameter::AtRisk;
use crate::view::words::count;
use crate::view::{Filter, SocketView, risk};

/// Who stands for an idle limit that was given by its length alone.
const UNNAMED: &str = "A load balancer, NAT or firewall with that limit";

/// Lines for those who asked which sockets are at risk; none for all others.
pub(super) fn remedies<'a>(
    sockets: impl IntoIterator<Item = &'a SocketView>,
    filter: &Filter,
) -> Vec<String> {
    if filter.at_risk.is_none() && filter.policy.is_none() {
        return Vec::new();
    }
    let mut groups: BTreeMap<_, (u64, &SocketView)> = BTreeMap::new();
    for socket in sockets {
        let policies = socket.risks.iter().flatten().map(|risk| (risk.policy.as_str(), risk.reason));
        let settings = (socket.keepalive, socket.keepidle_seconds, socket.user_timeout_ms);
        let key = (cells::owner(socket), policies.collect::<Vec<_>>(), settings);
        let (number, longest) = groups.entry(key).or_insert((0, socket));
        *number += 1;
        if socket.idle_seconds().unwrap_or_default() > longest.idle_seconds().unwrap_or_default() {
            *longest = socket;
        }
    }
    let lines = groups.into_iter().map(|((owner, ..), (number, socket))| {
        let whose = if owner == cells::NONE { "of nobody known".to_owned() } else { owner };
        let number = count(number, "connection", "connections");
        format!("{whose}, {number}: {}", remedy(socket, filter.at_risk))
    });
    lines.collect()
}

/// Against the limit that was asked for, or against the policies.
fn remedy(socket: &SocketView, asked: Option<AtRisk>) -> String {
    let limit = match asked {
        Some(AtRisk::Limit(limit)) => limit,
        _ if socket.risks.is_some() => return cells::what_to_set(socket),
        _ => AtRisk::DEFAULT_LIMIT,
    };
    risk::against(socket, UNNAMED, limit)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::view::testing::socket;

    fn at_risk(comm: &str, idle: f64) -> SocketView {
        let mut this = socket("10.0.0.1:9", "10.0.0.3:2");
        this.owner.comm = comm.to_owned();
        this.keepalive = Some(false);
        (this.last_received_seconds, this.last_sent_seconds) = (Some(idle), Some(idle));
        this.last_acked_seconds = Some(idle);
        this
    }

    fn filter(at_risk: AtRisk) -> Filter {
        Filter { at_risk: Some(at_risk), ..Filter::default() }
    }

    #[test]
    fn a_process_is_told_once_with_the_longest_silence() {
        let sockets = [at_risk("cart", 3.0), at_risk("cart", 60.0), at_risk("cache", 5.0)];
        assert_eq!(remedies(&sockets, &Filter::default()), [""; 0]);
        let then =
            "and keepalive is off. To keep it, turn keepalive on (SO_KEEPALIVE) with TCP_KEEPIDLE of at most";
        for (asked, limit, half) in
            [(AtRisk::Limit(Duration::from_mins(4)), "4 min", 120), (AtRisk::Policies, "5 min 50 s", 175)]
        {
            let line = |who: &str, idle: &str| {
                format!(
                    "{who}: {UNNAMED} cuts what is idle for {limit}: this has been idle for {idle}, {then} {half} s."
                )
            };
            assert_eq!(
                remedies(&sockets, &filter(asked)),
                [line("cache, 1 connection", "5 s"), line("cart, 2 connections", "1 min")]
            );
        }
    }

    #[test]
    fn a_policy_s_own_advice_is_told() {
        let mut this = at_risk("cart", 3.0);
        this.risks = Some(Vec::new());
        this.advice = Some("Do this.".to_owned());
        assert_eq!(remedies(&[this], &filter(AtRisk::Policies)), ["cart, 1 connection: Do this."]);
    }
}
