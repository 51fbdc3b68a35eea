//! Sockets and drops for the tests.

use std::net::{Ipv4Addr, SocketAddr};

use ka_daemon::owner::Owner;
use ka_daemon::policy::{Reason, Severity};
use ka_daemon::view::risk::{Risk, Warning, WarningKind};
use ka_daemon::view::socket::{Origin, Origins, TimerKind, TimerView};
use ka_daemon::view::{DropView, SocketView};

pub(crate) const NETNS: u32 = 4_026_531_840;

/// The socket of a number: all fields known, many of them shared with others.
pub(crate) fn socket(number: u32) -> SocketView {
    let end = |high: u8, port: u16| {
        let [.., b, c] = number.to_be_bytes();
        SocketAddr::new(Ipv4Addr::new(10, high, b, c).into(), port)
    };
    let tenths = f64::from(number % 40) / 10.0;
    let origin = Some(Origin::Socket);
    SocketView {
        local: end(0, 443),
        remote: end(1, u16::try_from(number % 1000).unwrap() + 1),
        state: ["ESTABLISHED", "CLOSE_WAIT", "TIME_WAIT"][number as usize % 3].to_owned(),
        netns: NETNS + number % 2,
        inode: u64::from(number),
        keepalive: Some(number.is_multiple_of(2)),
        keepidle_seconds: Some(15 + number % 5),
        keepintvl_seconds: Some(15),
        keepcnt: Some(9),
        origin: Origins { keepidle: origin, keepintvl: origin, keepcnt: Some(Origin::Sysctl) },
        preset: Some("go".to_owned()),
        user_timeout_ms: Some(0),
        timer: Some(TimerView {
            kind: TimerKind::Keepalive,
            expires_seconds: 100.0 + tenths,
            probes_out: u8::from(number.is_multiple_of(7)),
        }),
        next_probe_seconds: Some(100.0 + tenths),
        drop_in_seconds: Some(200.0 + tenths),
        last_received_seconds: Some(1000.0 + tenths),
        last_sent_seconds: Some(1000.0 + tenths),
        last_acked_seconds: Some(1000.0 + tenths),
        last_rtt_seconds: Some(tenths / 1000.0),
        recv_queue: Some(0),
        send_queue: Some(0),
        uid: Some(1000),
        cgroup_id: 7,
        owner: owner(number),
        risks: Some((0..number % 3).map(risk).collect()),
        advice: (!number.is_multiple_of(3)).then(|| "Turn it on.".to_owned()),
        warnings: Some(if number.is_multiple_of(5) { vec![warning()] } else { Vec::new() }),
    }
}

/// A socket of which only the identity is known.
pub(crate) fn unknown(number: u32) -> SocketView {
    SocketView {
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
        ..socket(number)
    }
}

fn risk(number: u32) -> Risk {
    Risk {
        policy: format!("policy-{number}"),
        reason: Reason::ALL[number as usize % 3],
        idle_limit_seconds: 350.0,
        severity: Severity::Critical,
    }
}

fn warning() -> Warning {
    Warning { kind: WarningKind::UserTimeoutKillsAfterOneProbe, text: "Raise it.".to_owned() }
}

pub(crate) fn owner(number: u32) -> Owner {
    Owner {
        pid: Some(100 + number),
        comm: format!("server-{}", number % 4),
        exe: format!("/usr/bin/server-{}", number % 4),
        service: String::new(),
        namespace: "shop".to_owned(),
        pod: format!("cart-{}", number % 3),
        container: "cart".to_owned(),
        container_id: "0123456789ab".to_owned(),
        pod_uid: "a-b-c".to_owned(),
    }
}

pub(crate) fn drop_view(number: u32) -> DropView {
    DropView {
        id: 0,
        time_seconds: 1_700_000_000.5,
        cause: ["keepalive_timeout", "reset_by_probe"][number as usize % 2].to_owned(),
        timer: "keepalive".to_owned(),
        local: socket(number).local,
        remote: socket(number).remote,
        state: "ESTABLISHED".to_owned(),
        netns: NETNS,
        inode: u64::from(number),
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
        owner: owner(number),
        summary: "It was dropped.".to_owned(),
        advice: "None.".to_owned(),
    }
}
