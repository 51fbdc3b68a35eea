//! What is accepted and what each error says; to which connections policies apply, also against a plain
//! reading of the rules.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::matching::{Networks, Ranges};
use super::*;
use crate::config::Config;
use crate::owner::Owner;
use crate::view::parameter::Network;

fn parse(text: &str) -> Result<Arc<Policies>, String> {
    Config::parse(text, "ka.yaml").map(|config| config.policies).map_err(|error| error.to_string())
}

/// One policy with what is given besides its name and limit.
fn policy(more: &str) -> Arc<Policies> {
    parse(&format!("policies:\n- name: a\n  idle_limit: 350s\n{more}")).unwrap()
}

#[test]
fn a_full_policy_is_read() {
    let policies = policy(
        "  severity: critical
  remote: [10.0.0.0/8, \"2001:db8::1\"]
  local: [192.0.2.7]
  remote_ports: [443, 8000-8999]
  local_ports: [\"1024 - 65535\"]
  namespace: [shop*]
  pod: [cart-0]
  container: [web]
  service: [nginx]
  comm: [nginx]
  sources: [\"https://example.org/lb\"]
  read: 2026-11-25
  note: Counts data.
",
    );
    let policy = policies.get(0).unwrap();
    assert_eq!((&*policy.name, policy.idle_limit), ("a", Duration::from_secs(350)));
    assert_eq!((policy.severity, policy.read.as_deref()), (Severity::Critical, Some("2026-11-25")));
    assert_eq!(policy.sources, ["https://example.org/lb"]);
    assert_eq!(policy.note.as_deref(), Some("Counts data."));
    assert_eq!(
        policy.conditions.in_words(),
        "remote 10.0.0.0/8, 2001:db8::1; remote_ports 443, 8000-8999; local 192.0.2.7; local_ports 1024 - 65535; \
         namespace shop*; pod cart-0; container web; service nginx; comm nginx"
    );
    let all = "10.1.1.1:8080";
    let owner = Owner {
        namespace: "shop-eu".to_owned(),
        pod: "cart-0".to_owned(),
        container: "web".to_owned(),
        service: "nginx.service".to_owned(),
        comm: "nginx".to_owned(),
        ..Owner::default()
    };
    let hold = |local: &str, remote: &str, owner: &Owner| {
        policy.conditions.hold(local.parse().unwrap(), remote.parse().unwrap(), owner)
    };
    assert!(hold("192.0.2.7:40000", all, &owner));
    for (local, remote) in [
        ("192.0.2.8:40000", all),
        ("192.0.2.7:80", all),
        ("192.0.2.7:40000", "11.1.1.1:8080"),
        ("192.0.2.7:40000", "10.1.1.1:9000"),
    ] {
        assert!(!hold(local, remote, &owner), "{local} {remote}");
    }
    for change in [
        |owner: &mut Owner| owner.namespace = "other".to_owned(),
        |owner: &mut Owner| owner.namespace.clear(),
        |owner: &mut Owner| owner.pod = "cart-1".to_owned(),
        |owner: &mut Owner| owner.container.clear(),
        |owner: &mut Owner| owner.service = "nginx-debug.service".to_owned(),
        |owner: &mut Owner| owner.comm = "nginx2".to_owned(),
    ] {
        let mut other = owner.clone();
        change(&mut other);
        assert!(!hold("192.0.2.7:40000", all, &other), "{other:?}");
    }
}

#[test]
fn what_is_left_out_may_be_anything() {
    let policies = policy("");
    let policy = policies.get(0).unwrap();
    assert_eq!(
        (policy.severity, policy.conditions.in_words().as_str()),
        (Severity::Warning, "every connection")
    );
    for (local, remote) in [("0.0.0.0:0", "0.0.0.0:0"), ("[::1]:1", "[2001:db8::1]:65535")] {
        assert!(policy.conditions.hold(local.parse().unwrap(), remote.parse().unwrap(), &Owner::default()));
    }
    assert!(parse("").unwrap().is_empty() && parse("policies:\n").unwrap().is_empty());
}

#[test]
fn limits_are_durations() {
    for (text, seconds) in [("350s", 350.0), ("5d", 432_000.0), ("1h 30m", 5_400.0), ("1500ms", 1.5)] {
        let policies = parse(&format!("policies: [{{name: a, idle_limit: {text}}}]")).unwrap();
        let limit = policies.get(0).unwrap().idle_limit.as_secs_f64();
        assert!((limit - seconds).abs() < 1e-9, "{text}: {limit}");
    }
}

#[test]
fn each_error_names_place_field_and_what_is_accepted() {
    let limit = "expected a duration from 1s to 365days, such as 350s, 4m or 1h";
    let name = "is no name: expected lower-case letters, digits and `-`";
    let port = "is no port: expected a number from 1 to 65535, or a range of them such as 8000-8999";
    let network = "expected an IP address or a CIDR, such as 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32";
    let of = |more: &str| format!("policies:\n- name: a\n  idle_limit: 350s\n  {more}\n");
    let fields = "`name`, `idle_limit`, `severity`, `remote`, `local`, `remote_ports`, `local_ports`, `namespace`, \
                  `pod`, `container`, `service`, `comm`, `sources`, `read`, `note`";
    for (text, expected) in [
        ("policies: {}\n".to_owned(), "1:11: policies: expected a list".to_owned()),
        ("policies:\n- a\n".to_owned(), "2:3: policies[0]: expected a mapping, as in `key: value`".to_owned()),
        ("policies:\n- name: a\n".to_owned(), "2:3: policies[0]: `idle_limit` is missing".to_owned()),
        ("policies:\n- idle_limit: 350s\n".to_owned(), "2:3: policies[0]: `name` is missing".to_owned()),
        (
            "policies:\n- name: a\n  idle_limt: 350s\n".to_owned(),
            format!("3:3: policies[0].idle_limt: there is no such field (did you mean `idle_limit`?); accepted are {fields}"),
        ),
        (
            "policie: []\n".to_owned(),
            "1:1: policie: there is no such field (did you mean `policies`?); accepted are `builtin_presets`, \
             `presets`, `policies`"
                .to_owned(),
        ),
        (
            "policies:\n- {name: a, idle_limit: 1s}\n- {name: a, idle_limit: 2s}\n".to_owned(),
            "3:10: policies[1].name: `a` is the name of a policy at line 2 already".to_owned(),
        ),
        ("policies:\n- {name: \"\", idle_limit: 1s}\n".to_owned(), format!("2:10: policies[0].name: \"\" {name}")),
        ("policies:\n- {name: A b, idle_limit: 1s}\n".to_owned(), format!("2:10: policies[0].name: \"A b\" {name}")),
        (
            "policies:\n- name: a\n  idle_limit: 0s\n".to_owned(),
            format!("3:15: policies[0].idle_limit: \"0s\" is no idle limit: {limit}"),
        ),
        (
            "policies:\n- name: a\n  idle_limit: 0\n".to_owned(),
            format!("3:15: policies[0].idle_limit: \"0\" is no idle limit: {limit}"),
        ),
        (
            "policies:\n- name: a\n  idle_limit: 350\n".to_owned(),
            format!("3:15: policies[0].idle_limit: \"350\" is no idle limit: {limit}"),
        ),
        (
            "policies:\n- name: a\n  idle_limit: 366d\n".to_owned(),
            format!("3:15: policies[0].idle_limit: \"366d\" is no idle limit: {limit}"),
        ),
        (
            of("severity: high"),
            "4:13: policies[0].severity: \"high\" is no severity: expected info, warning or critical".to_owned(),
        ),
        (of("remote: 10.0.0.0/8"), "4:11: policies[0].remote: expected a list".to_owned()),
        (of("remote:"), "4:9: policies[0].remote: expected a list".to_owned()),
        (
            of("remote: []"),
            "4:11: policies[0].remote: nothing is in it; leave `remote` out where it does not matter".to_owned(),
        ),
        (
            of("remote: [10.0.0.1, 10.0.0.0/33]"),
            format!("4:22: policies[0].remote[1]: \"10.0.0.0/33\" is no address: {network}"),
        ),
        (of("local: [host]"), format!("4:11: policies[0].local[0]: \"host\" is no address: {network}")),
        (
            of("remote: [10.1.2.3/8]"),
            "4:12: policies[0].remote[0]: \"10.1.2.3/8\" has bits set beyond its prefix: expected 10.0.0.0/8 for the \
             network, or 10.1.2.3 for the address"
                .to_owned(),
        ),
        (
            of("remote: [\"2001:db8::1/32\"]"),
            "4:12: policies[0].remote[0]: \"2001:db8::1/32\" has bits set beyond its prefix: expected 2001:db8::/32 \
             for the network, or 2001:db8::1 for the address"
                .to_owned(),
        ),
        (of("remote_ports: [0]"), format!("4:18: policies[0].remote_ports[0]: \"0\" {port}")),
        (of("local_ports: [65536]"), format!("4:17: policies[0].local_ports[0]: \"65536\" {port}")),
        (of("local_ports: [http]"), format!("4:17: policies[0].local_ports[0]: \"http\" {port}")),
        (of("local_ports: [1-2-3]"), format!("4:17: policies[0].local_ports[0]: \"1-2-3\" {port}")),
        (
            of("local_ports: [80, 8999-8000]"),
            "4:21: policies[0].local_ports[1]: \"8999-8000\" is no range of ports: expected the smaller first, \
             8000-8999"
                .to_owned(),
        ),
        (
            of("pod: [\"\"]"),
            "4:9: policies[0].pod[0]: expected a name, or a glob such as `shop-*`".to_owned(),
        ),
        (
            of("pod: [\"[a\"]"),
            "4:9: policies[0].pod[0]: \"[a\" is no glob: invalid range pattern at character 1".to_owned(),
        ),
        (
            of("comm: [kube-controller-manager]"),
            "4:10: policies[0].comm[0]: \"kube-controller-manager\" never matches: /proc/PID/comm holds the first 15 \
             bytes of a name, here \"kube-controller\""
                .to_owned(),
        ),
    ] {
        assert_eq!(parse(&text).unwrap_err(), format!("ka.yaml:{expected}"), "{text}");
    }
}

#[test]
fn there_is_an_end_to_policies() {
    let of = |count: usize| {
        let each = (0..count).map(|number| format!("- {{name: p-{number}, idle_limit: 1s}}\n"));
        parse(&format!("policies:\n{}", each.collect::<String>()))
    };
    assert_eq!(of(POLICIES_MAX).unwrap().iter().len(), POLICIES_MAX);
    let error = of(POLICIES_MAX + 1).unwrap_err();
    assert!(error.starts_with("ka.yaml:66:10: policies[64]: there may be 64 policies at most"), "{error}");
}

#[test]
fn a_name_that_is_not_configured_is_told_with_those_that_are() {
    let policies = parse("policies: [{name: a, idle_limit: 1s}, {name: b, idle_limit: 1s}]").unwrap();
    assert_eq!(policies.check_name("b"), Ok(()));
    assert_eq!(policies.check_name("c").unwrap_err(), "expected one of the configured policies: a, b");
    assert!(Policies::default().check_name("a").unwrap_err().starts_with("no policy is configured"));
}

#[test]
fn a_mapped_address_is_the_one_it_stands_for() {
    let policies = policy("  remote: [10.0.0.0/8]\n");
    let conditions = &policies.get(0).unwrap().conditions;
    let hold = |remote: &str| {
        conditions.hold("[::1]:1".parse().unwrap(), remote.parse().unwrap(), &Owner::default())
    };
    assert!(hold("[::ffff:10.1.2.3]:1") && hold("10.1.2.3:1"));
    assert!(!hold("[::ffff:11.1.2.3]:1") && !hold("[::]:1"));
}

/// What the rules say, word for word.
fn lies_in(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

fn any_network() -> impl Strategy<Value = Network> {
    // Few bits that matter, so that networks overlap and addresses fall into them.
    let v4 =
        (0..4_u32, 0..4_u32, 26..=32_u8).prop_map(|(a, b, prefix)| format!("10.0.{a}.{}/{prefix}", b * 64));
    let v6 = (0..4_u32, 120..=128_u8).prop_map(|(a, prefix)| format!("2001:db8::{a:x}0/{prefix}"));
    let mapped = (0..4_u32).prop_map(|a| format!("::ffff:10.0.{a}.0/120"));
    prop_oneof![v4, v6, mapped].prop_map(|text| text.parse().unwrap())
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    let v4 = (0..5_u32, 0..=255_u32).prop_map(|(a, b)| format!("10.0.{a}.{b}"));
    let v6 = (0..0x60_u32).prop_map(|a| format!("2001:db8::{a:x}"));
    let mapped = (0..5_u32, 0..=255_u32).prop_map(|(a, b)| format!("::ffff:10.0.{a}.{b}"));
    prop_oneof![v4, v6, mapped].prop_map(|text| text.parse().unwrap())
}

proptest! {
    #[test]
    fn networks_hold_what_each_of_them_does(
        networks in prop::collection::vec(any_network(), 0..12),
        addresses in prop::collection::vec(any_address(), 1..40),
    ) {
        let sorted = Networks::new(&networks);
        for address in addresses {
            prop_assert_eq!(sorted.contains(address), lies_in(&networks, address), "{} in {:?}", address, networks);
        }
    }

    #[test]
    fn ranges_hold_what_each_of_them_does(
        ranges in prop::collection::vec((0..40_u16, 0..40_u16), 0..10),
        value in 0..42_u16,
    ) {
        let ranges: Vec<_> = ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
        let expected = ranges.iter().any(|(first, last)| (*first..=*last).contains(&value));
        prop_assert_eq!(Ranges::new(ranges).contains(value), expected);
    }

    /// More conditions never match more, and each that is given must hold.
    #[test]
    fn conditions_hold_together(
        remote in prop::option::of(prop::collection::vec(any_network(), 1..4)),
        port in prop::option::of((1..5_u16, 1..5_u16)),
        comm in prop::option::of(prop::sample::select(vec!["a", "a*", "*"])),
        end in (any_address(), 1..5_u16),
        name in prop::sample::select(vec!["", "a", "ab", "b"]),
    ) {
        let networks = remote.as_ref().map(|networks| {
            let all: Vec<_> = networks.iter().map(|network| format!("\"{network}\"")).collect();
            format!("  remote: [{}]\n", all.join(", "))
        });
        let ports = port.map(|(a, b)| format!("  remote_ports: [{}-{}]\n", a.min(b), a.max(b)));
        let comms = comm.map(|comm| format!("  comm: [\"{comm}\"]\n"));
        let policies = policy(&[networks, ports, comms].map(Option::unwrap_or_default).concat());
        let owner = Owner { comm: name.to_owned(), ..Owner::default() };
        let remote_end = SocketAddr::new(end.0, end.1);
        let expected = remote.is_none_or(|networks| lies_in(&networks, end.0))
            && port.is_none_or(|(a, b)| (a.min(b)..=a.max(b)).contains(&end.1))
            && comm.is_none_or(|comm| match comm {
                "a" => name == "a",
                "a*" => name.starts_with('a'),
                _ => !name.is_empty(),
            });
        let hold = policies.get(0).unwrap().conditions.hold("[::1]:1".parse().unwrap(), remote_end, &owner);
        prop_assert_eq!(hold, expected);
    }
}
