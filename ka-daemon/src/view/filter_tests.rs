//! Tests of [`super::filter`].

use std::time::Duration;

use super::parameter::{AtRisk, ParameterError};
use super::risk::Risk;
use super::testing::{any_socket, socket};
use super::{Filter, SocketView};
use crate::owner::Owner;
use crate::policy::{Reason, Severity};
use proptest::prelude::*;

fn filter(query: &[(&str, &str)]) -> Filter {
    Filter::from_query(query.iter().copied()).unwrap()
}

#[track_caller]
fn assert_matches(query: &[(&str, &str)], socket: &SocketView, expected: bool) {
    assert_eq!(filter(query).matches(socket), expected, "{query:?}");
}

#[test]
fn each_parameter_selects_by_its_field() {
    let mut this = socket("[::ffff:10.1.2.3]:43210", "192.0.2.7:443");
    this.keepalive = Some(true);
    this.keepidle_seconds = Some(350);
    this.risks = Some(vec![risk("lb", Reason::IdleTooLong), risk("nat", Reason::PeerKeepsAlive)]);
    this.owner = Owner {
        pid: Some(12),
        comm: "a-very-long-nam".to_owned(),
        exe: "/usr/bin/a-very-long-name".to_owned(),
        service: "shop.service".to_owned(),
        namespace: "prod".to_owned(),
        pod: "cart-0".to_owned(),
        container: "cart".to_owned(),
        container_id: "0123456789abcdef".to_owned(),
        pod_uid: "aa-bb".to_owned(),
    };
    for (name, fits, fails) in [
        (
            "process",
            &["a-very-long-nam", "a-very-long-name", " a-very-long-nam "][..],
            &["a-very", "/usr"][..],
        ),
        ("pid", &["12"], &["1", "123"]),
        ("pod", &["cart-0"], &["cart", "CART-0"]),
        ("namespace", &["prod"], &["pro"]),
        ("container", &["cart", "0123456789abcdef", "012345"], &["car", "1234"]),
        ("service", &["shop", "shop.service"], &["sho", "shop.servic"]),
        ("port", &["443", "43210"], &["44", "4321"]),
        ("local", &["10.0.0.0/8", "::ffff:10.1.2.3", "0.0.0.0/0"], &["10.1.2.4", "192.0.2.0/24", "::/0"]),
        ("remote", &["192.0.2.0/24", "192.0.2.7"], &["10.0.0.0/8", "192.0.2.8"]),
        ("state", &["estab", "time-wait,ESTABLISHED"], &["TIME_WAIT", "listen,syn-sent"]),
        ("keepalive", &["on"], &["off"]),
        ("netns", &["4026531840", "net:[4026531840]"], &["4026531841"]),
        ("at_risk", &["350s", "349s", "1s", "policies"], &["351s", "1h"]),
        ("policy", &["lb", "nat"], &["l", "other"]),
        ("text", &["CART-0", "10.1.2.3:43210", "[::FFFF:10.1", "prod 443", "bb 12"], &["nope", "prod nope"]),
    ] {
        assert!(Filter::PARAMETERS.contains(&name));
        for value in fits {
            assert_matches(&[(name, value)], &this, true);
        }
        for value in fails {
            assert_matches(&[(name, value)], &this, false);
        }
    }
}

#[test]
fn what_is_at_risk() {
    let mut this = socket("10.0.0.1:1", "10.0.0.2:2");
    let risk = |this: &SocketView| filter(&[("at_risk", "350s")]).matches(this);
    this.keepalive = Some(false);
    this.keepidle_seconds = Some(15);
    assert!(risk(&this), "keepalive is off");
    this.state = "CLOSE_WAIT".to_owned();
    assert!(!risk(&this), "not established");
    this.state = "ESTABLISHED".to_owned();
    this.keepalive = None;
    assert!(!risk(&this), "unknown");
    this.keepalive = Some(true);
    assert!(!risk(&this));
    this.keepidle_seconds = None;
    assert!(!risk(&this), "unknown");
}

fn risk(policy: &str, reason: Reason) -> Risk {
    Risk { policy: policy.to_owned(), reason, idle_limit_seconds: 350.0, severity: Severity::Warning }
}

#[test]
fn without_policies_the_usual_limit_is_meant() {
    let mut this = socket("10.0.0.1:1", "10.0.0.2:2");
    (this.keepalive, this.keepidle_seconds) = (Some(true), Some(350));
    let at_risk = |this: &SocketView| filter(&[("at_risk", "policies")]).matches(this);
    assert!(at_risk(&this), "none is configured");
    this.keepidle_seconds = Some(349);
    assert!(!at_risk(&this));
    for (risks, expected) in [
        (vec![], false),
        (vec![risk("a", Reason::PeerKeepsAlive)], false),
        (vec![risk("a", Reason::PeerKeepsAlive), risk("b", Reason::KeepaliveOff)], true),
    ] {
        this.risks = Some(risks);
        assert_eq!(at_risk(&this), expected, "{:?}", this.risks);
    }
}

#[test]
fn a_policy_that_is_asked_for_is_checked() {
    let check =
        |query: &[(&str, &str)]| filter(query).check_policy(|name| Err(format!("expected b, not {name}")));
    assert_eq!(check(&[("port", "1")]), Ok(()));
    let error = check(&[("policy", "a")]).unwrap_err();
    assert_eq!(error.to_string(), "invalid value \"a\" for parameter \"policy\": expected b, not a");
}

#[test]
fn states_may_be_repeated_and_nothing_else() {
    let states = filter(&[("state", "estab,listen"), ("state", "ESTABLISHED")]).states;
    assert_eq!(states, ["ESTABLISHED", "LISTEN"]);
    for name in Filter::PARAMETERS.into_iter().filter(|name| *name != "state") {
        let value = match name {
            "local" | "remote" => "10.0.0.1",
            "keepalive" => "on",
            "at_risk" => "1s",
            _ => "1",
        };
        let error = Filter::from_query([(name, value), (name, value)]).unwrap_err();
        assert_eq!(error, ParameterError::Repeated { parameter: name.to_owned() });
    }
}

#[test]
fn errors_name_parameter_and_value() {
    for (name, value) in [
        ("process", ""),
        ("pid", "x"),
        ("port", "65536"),
        ("local", "10.0.0.0/33"),
        ("remote", "host"),
        ("state", "estab,wrong"),
        ("keepalive", "yes"),
        ("netns", "-1"),
        ("at_risk", "350"),
        ("policy", " "),
        ("text", "  "),
    ] {
        let error = Filter::from_query([(name, value)]).unwrap_err();
        let wrong = value.rsplit(',').next().unwrap();
        let expected = format!("invalid value {wrong:?} for parameter {name:?}: expected ");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(error.parameter(), name);
    }
    let error = Filter::from_query([("proces", "x")]).unwrap_err();
    assert!(error.to_string().starts_with("unknown parameter \"proces\"; known are process, pid"), "{error}");
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let name = || proptest::option::of("[a-zA-Z0-9&=%+ .~-]{0,8}[a-z]");
    let network = || {
        let v4 = (any::<std::net::Ipv4Addr>(), 0..=32_u8).prop_map(|(ip, len)| format!("{ip}/{len}"));
        let v6 = (any::<std::net::Ipv6Addr>(), 0..=128_u8).prop_map(|(ip, len)| format!("{ip}/{len}"));
        proptest::option::of(prop_oneof![v4, v6].prop_map(|text| text.parse().unwrap()))
    };
    let names = (name(), name(), name(), name(), name(), name(), name());
    let states = proptest::sample::subsequence(vec!["ESTABLISHED", "TIME_WAIT", "LISTEN"], 0..=3);
    let numbers = proptest::option::of(1..=u16::MAX);
    let limit = (1..9_999_999_u64, 0..1_000_000_000_u32);
    let limit = limit.prop_map(|(seconds, nanos)| AtRisk::Limit(Duration::new(seconds, nanos)));
    let at_risk = proptest::option::of(prop_oneof![Just(AtRisk::Policies), limit]);
    (names, network(), network(), states, any::<Option<bool>>(), any::<Option<u32>>(), numbers, at_risk)
        .prop_map(|(names, local, remote, states, keepalive, netns, port, at_risk)| {
            let trimmed = |name: Option<String>| name.map(|name| name.trim().to_owned());
            Filter {
                process: trimmed(names.0),
                pid: port.map(u32::from),
                pod: trimmed(names.1),
                namespace: trimmed(names.2),
                container: trimmed(names.3),
                service: trimmed(names.4),
                port,
                local,
                remote,
                states,
                keepalive,
                netns,
                at_risk,
                policy: trimmed(names.6),
                text: trimmed(names.5),
            }
        })
}

proptest! {
    #[test]
    fn a_query_says_the_whole_filter(filter in any_filter()) {
        let query = filter.to_query();
        let again = Filter::from_query(query.iter().map(|(name, value)| (*name, value.as_str())));
        prop_assert_eq!(again, Ok(filter));
    }

    #[test]
    fn more_parameters_never_match_more(filter in any_filter(), socket in any_socket()) {
        let query = filter.to_query();
        let each = query.iter().all(|(name, value)| {
            Filter::from_query([(*name, value.as_str())]).unwrap().matches(&socket)
        });
        prop_assert_eq!(filter.matches(&socket), each);
        prop_assert!(Filter::default().matches(&socket));
    }
}
