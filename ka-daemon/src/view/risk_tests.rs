//! Each verdict with the exact words.

use std::time::Duration;

use super::risk::{Risk, WarningKind, assess, warnings};
use super::socket::{Origin, Origins};
use super::testing::socket;
use super::{Filter, SocketView};
use crate::config::Config;
use crate::policy::{PeerProbes, Policies, Reason, Severity};

fn policies() -> std::sync::Arc<Policies> {
    let text = "policies:
- {name: lb, idle_limit: 350s}
- {name: proxy, idle_limit: 60s, severity: critical, remote_ports: [443], note: It counts data.}
- {name: tick, idle_limit: 1s, remote_ports: [9]}
";
    Config::parse(text, "f").unwrap().policies
}

/// A connection without keepalive that has been idle for three minutes.
fn off() -> SocketView {
    let sysctl = Some(Origin::Sysctl);
    SocketView {
        keepalive: Some(false),
        keepidle_seconds: Some(7200),
        keepintvl_seconds: Some(75),
        keepcnt: Some(9),
        origin: Origins { keepidle: sysctl, keepintvl: sysctl, keepcnt: sysctl },
        user_timeout_ms: Some(0),
        last_received_seconds: Some(180.0),
        last_sent_seconds: Some(200.0),
        ..socket("10.0.0.1:40000", "10.0.0.2:80")
    }
}

fn judged(change: impl FnOnce(&mut SocketView), peer: Option<PeerProbes>) -> SocketView {
    let mut this = off();
    change(&mut this);
    assess(&mut this, &policies(), || peer);
    this
}

#[track_caller]
fn advised(change: impl FnOnce(&mut SocketView), expected: &str) {
    assert_eq!(judged(change, None).advice.as_deref(), Some(expected));
}

const IDLE: &str = "lb cuts what is idle for 5 min 50 s: this has been idle for 3 min, and";

#[test]
fn what_to_set_is_told_by_what_is_known() {
    advised(
        |_| {},
        &format!(
            "{IDLE} keepalive is off. To keep it, turn keepalive on (SO_KEEPALIVE) with TCP_KEEPIDLE of at most \
             175 s: by itself it would first probe after 2 h (net.ipv4.tcp_keepalive_time)."
        ),
    );
    advised(
        |this| this.keepidle_seconds = Some(60),
        &format!(
            "{IDLE} keepalive is off. To keep it, turn keepalive on (SO_KEEPALIVE): it would first probe after 1 min \
             (net.ipv4.tcp_keepalive_time)."
        ),
    );
    advised(
        |this| this.keepalive = Some(true),
        &format!(
            "{IDLE} the first probe comes after 2 h (net.ipv4.tcp_keepalive_time). To keep it, set TCP_KEEPIDLE on \
             the socket, or net.ipv4.tcp_keepalive_time in its network namespace, to at most 175 s."
        ),
    );
    advised(
        |this| {
            this.keepalive = Some(true);
            (this.keepidle_seconds, this.origin.keepidle) = (Some(600), Some(Origin::Socket));
        },
        &format!(
            "{IDLE} the first probe comes after 10 min (set by the application). To keep it, let the application set \
             TCP_KEEPIDLE to at most 175 s."
        ),
    );
    advised(
        |this| {
            this.keepalive = Some(true);
            (this.keepidle_seconds, this.origin.keepidle) = (Some(600), Some(Origin::Socket));
            this.preset = Some("go".to_owned());
        },
        &format!(
            "{IDLE} the first probe comes after 10 min (set by the application). To keep it, let the program set \
             KeepAliveConfig{{Enable: true, Idle: 175 * time.Second}} on its net.Dialer and net.ListenConfig."
        ),
    );
}

#[test]
fn programs_that_are_known_are_told_in_their_words() {
    let of = |comm: &'static str| move |this: &mut SocketView| comm.clone_into(&mut this.owner.comm);
    advised(
        of("nginx"),
        &format!(
            "{IDLE} keepalive is off. To keep it, give `listen` so_keepalive=175s:: for clients, and \
             proxy_socket_keepalive on for upstreams with net.ipv4.tcp_keepalive_time at 175."
        ),
    );
    advised(
        of("postgres"),
        &format!("{IDLE} keepalive is off. To keep it, set tcp_keepalives_idle = 175 in postgresql.conf."),
    );
    advised(
        of("~kernel"),
        &format!(
            "{IDLE} keepalive is off. To keep it, raise the limit: the socket is the kernel's own (NFS, for one)."
        ),
    );
    advised(
        |this| this.user_timeout_ms = Some(20_000),
        &format!(
            "{IDLE} keepalive is off. To keep it, let it ping: TCP_USER_TIMEOUT (20 s) keeps nothing by itself, and \
             gRPC, which sets it, pings at its keepalive time, to be at most 175 s (GRPC_ARG_KEEPALIVE_TIME_MS, \
             ClientParameters.Time); or turn SO_KEEPALIVE on with TCP_KEEPIDLE of at most 175 s."
        ),
    );
}

#[test]
fn the_strictest_limit_is_the_one_to_meet() {
    let this = judged(|this| this.remote = "10.0.0.2:443".parse().unwrap(), None);
    let risk = |policy: &str, idle_limit_seconds, severity| Risk {
        policy: policy.to_owned(),
        reason: Reason::KeepaliveOff,
        idle_limit_seconds,
        severity,
    };
    let expected = [risk("lb", 350.0, Severity::Warning), risk("proxy", 60.0, Severity::Critical)];
    assert_eq!(this.risks.as_deref(), Some(&expected[..]));
    let advice = this.advice.unwrap();
    assert!(
        advice.starts_with("proxy cuts what is idle for 1 min: ") && advice.contains("at most 30 s"),
        "{advice}"
    );
    assert!(advice.ends_with(". It counts data."), "{advice}");

    advised(
        |this| {
            this.remote = "10.0.0.2:9".parse().unwrap();
            (this.last_received_seconds, this.last_sent_seconds) = (None, None);
        },
        "tick cuts what is idle for 1 s: keepalive is off. To keep it, let the application send something sooner: no \
         keepalive is that fast.",
    );
}

#[test]
fn a_peer_that_probes_is_told_apart() {
    let probes = |after| {
        let [after, interval] = [after, 15].map(Duration::from_secs);
        Some(PeerProbes { after, silent: Duration::ZERO, interval })
    };
    let this = judged(|_| {}, probes(100));
    assert_eq!(this.risks.as_ref().unwrap()[0].reason, Reason::PeerKeepsAlive);
    assert_eq!(
        this.advice.as_deref(),
        Some(
            "Only the probes of the peer keep it below the idle limit of lb (5 min 50 s): keepalive is off. To depend \
             on nobody else, turn keepalive on (SO_KEEPALIVE) with TCP_KEEPIDLE of at most 175 s: by itself it would \
             first probe after 2 h (net.ipv4.tcp_keepalive_time)."
        )
    );
    // Of two, the one that the peer does not take care of.
    let this = judged(|this| this.remote = "10.0.0.2:443".parse().unwrap(), probes(100));
    assert!(this.advice.unwrap().starts_with("proxy cuts"));
    let asked = |query: &[(&str, &str)], socket: &SocketView| {
        Filter::from_query(query.iter().copied()).unwrap().matches(socket)
    };
    let kept = judged(|_| {}, probes(100));
    assert!(!asked(&[("at_risk", "policies")], &kept) && asked(&[("policy", "lb")], &kept));
    assert!(asked(&[("at_risk", "350s")], &kept), "by its settings alone");
}

#[test]
fn what_is_not_known_or_does_not_apply() {
    let healthy = judged(|this| (this.keepalive, this.keepidle_seconds) = (Some(true), Some(15)), None);
    assert_eq!((healthy.risks, healthy.advice), (Some(vec![]), None));
    let closing = judged(|this| this.state = "CLOSE_WAIT".to_owned(), None);
    assert_eq!((closing.risks, closing.advice), (Some(vec![]), None));
    for change in [
        |this: &mut SocketView| this.keepalive = None,
        |this: &mut SocketView| (this.keepalive, this.keepidle_seconds) = (Some(true), None),
    ] {
        assert_eq!(judged(change, None).risks, None);
    }
    let mut this = off();
    assess(&mut this, &Policies::default(), || unreachable!("nobody is asked"));
    assert_eq!(this.risks, None, "no policy is configured");
}

#[test]
fn a_timeout_that_one_lost_probe_is_enough_for() {
    let of = |user_timeout_ms, on| SocketView {
        keepalive: Some(on),
        keepidle_seconds: Some(15),
        keepintvl_seconds: Some(15),
        user_timeout_ms,
        ..off()
    };
    let [warning] = &warnings(&of(Some(20_000), true)).unwrap()[..] else { panic!("expected a warning") };
    assert_eq!(warning.kind, WarningKind::UserTimeoutKillsAfterOneProbe);
    assert_eq!(
        warning.text,
        "With TCP_USER_TIMEOUT (20 s) not above keepidle + keepintvl (30 s), a single lost probe is fatal. Set it \
         above keepidle + keepintvl × 9 = 2 min 30 s, or not at all, for 9 probes to count."
    );
    for harmless in [of(Some(0), true), of(Some(30_001), true), of(Some(20_000), false)] {
        assert_eq!(warnings(&harmless), Some(vec![]));
    }
    assert_eq!(warnings(&of(None, true)), None);
    let kinds = serde_json::to_value(WarningKind::UserTimeoutKillsAfterOneProbe).unwrap();
    assert_eq!(kinds, "user_timeout_kills_after_one_probe");
}
