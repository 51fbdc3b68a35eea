//! Which sockets a policy would cut, and what a peer that probes changes.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::owner::Owner;

fn parse(text: &str) -> Result<Arc<Policies>, String> {
    Config::parse(text, "ka.yaml").map(|config| config.policies).map_err(|error| error.to_string())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn peer(after: u64, silent: u64) -> PeerProbes {
    PeerProbes { after: seconds(after), silent: seconds(silent), interval: seconds(15) }
}

#[test]
fn verdicts() {
    let (off, too_long, kept) = (Reason::KeepaliveOff, Reason::IdleTooLong, Reason::PeerKeepsAlive);
    for (keepidle, peer, expected) in [
        (None, None, Some(off)),
        (Some(7200), None, Some(too_long)),
        (Some(350), None, Some(too_long)),
        (Some(349), None, None),
        // What keeps itself needs no peer.
        (Some(15), Some(peer(60, 0)), None),
        (None, Some(peer(60, 0)), Some(kept)),
        (Some(7200), Some(peer(60, 0)), Some(kept)),
        (None, Some(peer(349, 364)), Some(kept)),
        // Too seldom; or no more: two are missing, or the limit is over.
        (None, Some(peer(350, 0)), Some(off)),
        (None, Some(peer(60, 179)), Some(kept)),
        (None, Some(peer(60, 180)), Some(off)),
        (None, Some(peer(0, 60)), Some(off)),
        (None, Some(peer(349, 365)), Some(off)),
        (Some(7200), Some(peer(7185, 0)), Some(too_long)),
    ] {
        assert_eq!(reason(keepidle.map(seconds), seconds(350), peer), expected, "{keepidle:?} {peer:?}");
    }
}

#[test]
fn half_of_the_limit_is_when_alerts_begin() {
    let policies = parse("policies: [{name: a, idle_limit: 351s}]").unwrap();
    let policy = policies.get(0).unwrap();
    for (idle, over) in [(None, false), (Some(175_499), false), (Some(175_500), true), (Some(u64::MAX), true)]
    {
        assert_eq!(policy.is_half_over(idle.map(Duration::from_millis)), over, "{idle:?}");
    }
}

#[test]
fn the_shortest_limit_that_a_silence_passed_is_found() {
    let policies =
        parse("policies: [{name: long, idle_limit: 350s}, {name: short, idle_limit: 60s}, {name: day, idle_limit: 1d}]")
            .unwrap();
    let owner = Owner::default();
    let passed = |keepidle: Option<u64>, idle| {
        let connection = Connection {
            local: "10.0.0.1:1".parse().unwrap(),
            remote: "10.0.0.2:2".parse().unwrap(),
            owner: &owner,
            keepidle: keepidle.map(seconds),
        };
        policies.passed(&connection, seconds(idle)).map(|policy| policy.name.to_string())
    };
    for (keepidle, idle, expected) in [
        (None, 59, None),
        (None, 60, Some("short")),
        (None, 400, Some("short")),
        // Its probes stayed below the one, and did not below the other.
        (Some(100), 400, Some("short")),
        (Some(59), 400, None),
        (Some(350), 349, Some("short")),
    ] {
        assert_eq!(passed(keepidle, idle).as_deref(), expected, "{keepidle:?} {idle}");
    }
    let only_long = parse("policies: [{name: long, idle_limit: 350s}]").unwrap();
    let connection = Connection {
        local: "10.0.0.1:1".parse().unwrap(),
        remote: "10.0.0.2:2".parse().unwrap(),
        owner: &owner,
        keepidle: Some(seconds(15)),
    };
    assert!(only_long.passed(&connection, seconds(400)).is_none(), "keepalive stayed below");
}

#[test]
fn policies_are_judged_in_order_and_the_peer_is_asked_once() {
    let policies = parse(
        "policies:
- {name: long, idle_limit: 5d}
- {name: short, idle_limit: 60s}
- {name: elsewhere, idle_limit: 60s, remote: [192.0.2.0/24]}
- {name: middle, idle_limit: 350s}
",
    )
    .unwrap();
    let judge = |keepidle: Option<u64>, probes: Option<PeerProbes>| {
        let (mut asked, mut told) = (0, Vec::new());
        let connection = Connection {
            local: "10.0.0.1:1".parse().unwrap(),
            remote: "10.0.0.2:2".parse().unwrap(),
            owner: &Owner::default(),
            keepidle: keepidle.map(seconds),
        };
        let ask = || {
            asked += 1;
            probes
        };
        policies.judge(&connection, ask, |place, reason| {
            told.push((&*policies.get(place).unwrap().name, reason));
        });
        (asked, told)
    };
    let (off, too_long, kept) = (Reason::KeepaliveOff, Reason::IdleTooLong, Reason::PeerKeepsAlive);
    assert_eq!(judge(None, None), (1, vec![("long", off), ("short", off), ("middle", off)]));
    assert_eq!(judge(None, Some(peer(100, 0))), (1, vec![("long", kept), ("short", off), ("middle", kept)]));
    assert_eq!(judge(Some(60), None), (1, vec![("short", too_long)]));
    assert_eq!(judge(Some(59), None), (0, vec![]));
}

proptest! {
    /// A shorter limit cuts whatever a longer one does, and a peer's probes only ever change why.
    #[test]
    fn a_stricter_limit_cuts_no_less(
        keepidle in prop::option::of(0..1_000_u64),
        limits in (1..1_000_u64, 1..1_000_u64),
        probes in prop::option::of((0..1_000_u64, 0..1_000_u64)),
    ) {
        let (short, long) = (limits.0.min(limits.1), limits.0.max(limits.1));
        let (keepidle, probes) = (keepidle.map(seconds), probes.map(|(after, silent)| peer(after, silent)));
        let of = |limit| reason(keepidle, seconds(limit), probes);
        prop_assert!(of(long).is_none() || of(short).is_some());
        prop_assert_eq!(of(long).is_some(), reason(keepidle, seconds(long), None).is_some());
        if of(short) == Some(Reason::PeerKeepsAlive) && of(long).is_some() {
            prop_assert_eq!(of(long), Some(Reason::PeerKeepsAlive));
        }
    }
}
