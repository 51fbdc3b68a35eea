//! Sockets and drops for the tests of what is shown.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::risk::Risk;
use super::socket::{Origin, Origins, TimerKind, TimerView};
use super::{DropView, SocketView};
use crate::owner::Owner;
use crate::policy::{Reason, Severity};

/// An established socket of which little is known.
pub(crate) fn socket(local: &str, remote: &str) -> SocketView {
    SocketView {
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        state: "ESTABLISHED".to_owned(),
        netns: 4_026_531_840,
        inode: 12_345,
        keepalive: None,
        keepidle_seconds: None,
        keepintvl_seconds: None,
        keepcnt: None,
        origin: Origins::default(),
        preset: None,
        user_timeout_ms: None,
        timer: None,
        next_probe_seconds: None,
        drop_in_seconds: None,
        last_received_seconds: None,
        last_sent_seconds: None,
        last_acked_seconds: None,
        last_rtt_seconds: None,
        recv_queue: None,
        send_queue: None,
        uid: None,
        cgroup_id: 0,
        owner: Owner::default(),
        risks: None,
        advice: None,
        warnings: None,
    }
}

/// A drop of which little is known.
pub(crate) fn drop_view() -> DropView {
    DropView {
        id: 0,
        time_seconds: 0.0,
        cause: "keepalive_timeout".to_owned(),
        timer: "keepalive".to_owned(),
        local: "10.0.0.1:1".parse().unwrap(),
        remote: "10.0.0.2:2".parse().unwrap(),
        state: "ESTABLISHED".to_owned(),
        netns: 4_026_531_840,
        inode: 12_345,
        keepalive: true,
        keepidle_seconds: 15,
        keepintvl_seconds: 15,
        keepcnt: 9,
        origin: Origins::default(),
        preset: None,
        user_timeout_ms: 0,
        idle_seconds: 150.0,
        passed: None,
        probes_out: 9,
        retransmits: 0,
        unacked: 0,
        unsent: 0,
        error: 110,
        icmp_error: 0,
        owner: Owner::default(),
        summary: String::new(),
        advice: String::new(),
    }
}

/// Sockets that are often alike in some field, so that ties and near misses come up.
pub(crate) fn any_socket() -> impl Strategy<Value = SocketView> {
    let address = || {
        let ip = prop_oneof![
            any::<IpAddr>(),
            Just("10.0.0.1".parse().unwrap()),
            Just("::ffff:10.0.0.1".parse().unwrap()),
        ];
        (ip, 0..4_u16).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    };
    let seconds = || proptest::option::of((0..6_u8).prop_map(|tenths| f64::from(tenths) / 10.0));
    let state = prop_oneof![Just("ESTABLISHED"), Just("LISTEN"), Just("TIME_WAIT")];
    let timer = proptest::option::of((0..6_u8, 0..3_u8));
    let identity = (address(), address(), 0..2_u32, 0..4_u64);
    let known = (any::<Option<bool>>(), proptest::option::of(14..17_u32), seconds(), seconds(), seconds());
    let risk = prop::sample::select(Reason::ALL.to_vec()).prop_map(|reason| Risk {
        policy: "a".to_owned(),
        reason,
        idle_limit_seconds: 1.0,
        severity: Severity::Warning,
    });
    let risks = proptest::option::of(prop::collection::vec(risk, 0..2));
    let all = (identity, state, known, timer, "[ab~]{0,2}", risks);
    all.prop_map(|(identity, state, known, timer, comm, risks)| {
        let (local, remote, netns, inode) = identity;
        let (keepalive, keepidle_seconds, drop_in_seconds, last_received_seconds, last_rtt_seconds) = known;
        SocketView {
            local,
            remote,
            state: state.to_owned(),
            netns,
            inode,
            keepalive,
            keepidle_seconds,
            drop_in_seconds,
            last_received_seconds,
            last_rtt_seconds,
            timer: timer.map(|(tenths, probes_out)| TimerView {
                kind: TimerKind::Keepalive,
                expires_seconds: f64::from(tenths) / 10.0,
                probes_out,
            }),
            owner: Owner { comm, ..Owner::default() },
            risks,
            ..socket("0.0.0.0:0", "0.0.0.0:0")
        }
    })
}

/// A drop of an application that set Go's 15 s, 15 s, 9.
pub(crate) fn dropped() -> DropView {
    let set = Some(Origin::Socket);
    DropView {
        id: 1,
        time_seconds: 1.7e9,
        cause: "other".to_owned(),
        timer: "none".to_owned(),
        local: "10.0.0.1:43210".parse().unwrap(),
        remote: "10.0.0.2:5432".parse().unwrap(),
        origin: Origins { keepidle: set, keepintvl: set, keepcnt: set },
        preset: Some("go".to_owned()),
        idle_seconds: 0.0,
        passed: None,
        probes_out: 0,
        owner: Owner { pid: Some(1234), comm: "server".to_owned(), ..Owner::default() },
        ..drop_view()
    }
}
