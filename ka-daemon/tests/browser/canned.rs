//! The sockets and drops of a node that does not exist, of every kind that the page must show.

use std::time::{SystemTime, UNIX_EPOCH};

use ka_daemon::owner::Owner;
use ka_daemon::policy::{Reason, Severity};
use ka_daemon::view::event::{ProbeUnanswered, Totals};
use ka_daemon::view::risk::{Risk, Warning, WarningKind};
use ka_daemon::view::socket::{Origin, Origins, TimerKind, TimerView};
use ka_daemon::view::{DropView, IdleTimeoutView, SocketView};

/// What a page must never take for anything but a name.
pub(crate) const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\">";

const ALL_SOCKET: Origins = Origins {
    keepidle: Some(Origin::Socket),
    keepintvl: Some(Origin::Socket),
    keepcnt: Some(Origin::Socket),
};
const ALL_SYSCTL: Origins = Origins {
    keepidle: Some(Origin::Sysctl),
    keepintvl: Some(Origin::Sysctl),
    keepcnt: Some(Origin::Sysctl),
};
const UNKNOWN: Origins = Origins { keepidle: None, keepintvl: None, keepcnt: None };

/// A connection of a Go program, that was idle for 2.7 s.
pub(crate) fn socket(local: &str, remote: &str, change: impl FnOnce(&mut SocketView)) -> SocketView {
    let mut socket = SocketView {
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        state: "ESTABLISHED".to_owned(),
        netns: 4_026_531_840,
        inode: 12_345,
        keepalive: Some(true),
        keepidle_seconds: Some(15),
        keepintvl_seconds: Some(15),
        keepcnt: Some(9),
        origin: ALL_SOCKET,
        preset: Some("go".to_owned()),
        user_timeout_ms: Some(0),
        timer: Some(timer(TimerKind::Keepalive, 12.3, 0)),
        next_probe_seconds: Some(12.3),
        drop_in_seconds: Some(147.3),
        last_received_seconds: Some(2.7),
        last_sent_seconds: Some(2.7),
        last_acked_seconds: Some(2.7),
        last_rtt_seconds: Some(0.000_412),
        recv_queue: Some(0),
        send_queue: Some(0),
        uid: Some(1000),
        cgroup_id: 5_311,
        owner: owner("api-gateway", 48_211),
        risks: Some(Vec::new()),
        advice: None,
        warnings: Some(Vec::new()),
    };
    change(&mut socket);
    socket
}

fn timer(kind: TimerKind, expires_seconds: f64, probes_out: u8) -> TimerView {
    TimerView { kind, expires_seconds, probes_out }
}

fn owner(comm: &str, pid: u32) -> Owner {
    Owner { pid: Some(pid), comm: comm.to_owned(), exe: format!("/usr/bin/{comm}"), ..Owner::default() }
}

fn pod(namespace: &str, pod: &str, container: &str) -> impl Fn(&mut Owner) {
    move |owner| {
        (owner.namespace, owner.pod, owner.container) = (namespace.into(), pod.into(), container.into());
    }
}

/// `so_keepalive=on` and the like: all of it from the system.
fn system_wide(socket: &mut SocketView) {
    settings(socket, 7200, 75, 9);
    socket.origin = ALL_SYSCTL;
    socket.preset = None;
}

fn settings(socket: &mut SocketView, idle: u32, interval: u32, count: u32) {
    (socket.keepidle_seconds, socket.keepintvl_seconds, socket.keepcnt) =
        (Some(idle), Some(interval), Some(count));
}

/// Idle for so long, all healthy.
fn idle(socket: &mut SocketView, seconds: f64) {
    let next = f64::from(socket.keepidle_seconds.unwrap()) - seconds;
    let (interval, count) = (socket.keepintvl_seconds.unwrap(), socket.keepcnt.unwrap());
    socket.timer = Some(timer(TimerKind::Keepalive, next, 0));
    socket.next_probe_seconds = Some(next);
    socket.drop_in_seconds = Some(next + f64::from(interval * count));
    (socket.last_received_seconds, socket.last_sent_seconds) = (Some(seconds), Some(seconds));
    socket.last_acked_seconds = Some(seconds);
}

/// So many probes unanswered, and the next one due.
fn silent(socket: &mut SocketView, probes_out: u8, next: f64) {
    let left = socket.keepcnt.unwrap() - u32::from(probes_out);
    socket.timer = Some(timer(TimerKind::Keepalive, next, probes_out));
    socket.next_probe_seconds = Some(next);
    socket.drop_in_seconds = Some(next + f64::from(socket.keepintvl_seconds.unwrap() * left));
    let since = f64::from(socket.keepidle_seconds.unwrap() + u32::from(probes_out) * 15) - next;
    (socket.last_received_seconds, socket.last_acked_seconds) = (Some(since), Some(since));
    socket.last_sent_seconds = Some(since);
}

/// Not full sockets, or without keepalive: nothing is known of the settings.
fn bare(socket: &mut SocketView, state: &str, armed: Option<TimerView>) {
    state.clone_into(&mut socket.state);
    socket.timer = armed;
    socket.preset = None;
    (socket.next_probe_seconds, socket.drop_in_seconds, socket.last_rtt_seconds) = (None, None, None);
}

/// What is told of the one socket that is at risk.
pub(crate) const ADVICE: &str = "aws-nlb cuts what is idle for 5 min 50 s: this has been idle for 2.7 s, and keepalive \
     is off. To keep it, turn keepalive on (SO_KEEPALIVE) with TCP_KEEPIDLE of at most 175 s: by itself it would first \
     probe after 2 h (net.ipv4.tcp_keepalive_time).";

fn risk(policy: &str, idle_limit_seconds: f64, reason: Reason) -> Risk {
    Risk { policy: policy.to_owned(), reason, idle_limit_seconds, severity: Severity::Warning }
}

/// A time-wait socket: hardly anything is known.
fn time_wait(socket: &mut SocketView) {
    bare(socket, "TIME_WAIT", Some(timer(TimerKind::TimeWait, 41.6, 0)));
    (socket.keepalive, socket.keepidle_seconds, socket.keepintvl_seconds, socket.keepcnt) =
        (None, None, None, None);
    (socket.origin, socket.user_timeout_ms, socket.inode, socket.uid) = (UNKNOWN, None, 0, None);
    (socket.last_received_seconds, socket.last_sent_seconds, socket.last_acked_seconds) = (None, None, None);
    (socket.recv_queue, socket.send_queue, socket.cgroup_id) = (None, None, 0);
    socket.owner = Owner::default();
}

/// The node's sockets.
pub(crate) fn sockets() -> Vec<SocketView> {
    let gateway = pod("shop", "api-gateway-7d9c5b4f6-x2kqp", "server");
    let orders = pod("shop", "orders-5f6d8c9b7-m4tzw", "orders");
    vec![
        socket("10.42.3.17:50912", "10.96.12.8:5432", |s| {
            silent(s, 6, 4.2);
            s.inode = 2_001;
            gateway(&mut s.owner);
        }),
        socket("[2001:db8:42:3::11]:41830", "[2001:db8:9a:1f00:c0de:77ff:fe31:9]:6379", |s| {
            settings(s, 60, 15, 5);
            s.preset = None;
            silent(s, 2, 11.8);
            s.last_rtt_seconds = Some(0.018_34);
            s.inode = 2_002;
            s.owner = owner("orders", 51_877);
            orders(&mut s.owner);
        }),
        socket("10.42.3.17:50914", "10.96.12.8:5432", |s| {
            gateway(&mut s.owner);
            s.inode = 2_003;
        }),
        socket("[::ffff:10.0.0.5]:8443", "[::ffff:198.51.100.23]:61544", |s| {
            s.owner = owner("api-gateway", 48_211);
            idle(s, 9.4);
            s.last_rtt_seconds = Some(0.031_8);
            s.inode = 2_004;
            gateway(&mut s.owner);
        }),
        socket("10.0.0.5:443", "203.0.113.80:52210", |s| {
            system_wide(s);
            idle(s, 353.0);
            s.last_rtt_seconds = None;
            s.inode = 2_005;
            s.owner = owner("nginx", 1_204);
            s.owner.service = "nginx.service".into();
        }),
        socket("10.0.0.5:5432", "10.42.7.90:38120", |s| {
            settings(s, 60, 10, 6);
            s.origin = Origins { keepcnt: Some(Origin::Sysctl), ..ALL_SOCKET };
            s.preset = None;
            idle(s, 21.0);
            s.last_rtt_seconds = Some(0.000_087);
            s.inode = 2_006;
            s.owner = owner("postgres", 2_318);
            s.owner.service = "postgresql@15-main.service".into();
        }),
        socket("10.0.0.5:34566", "192.0.2.144:443", |s| {
            bare(s, "ESTABLISHED", Some(timer(TimerKind::Retransmit, 1.6, 0)));
            s.keepalive = Some(false);
            s.origin = ALL_SYSCTL;
            (s.last_sent_seconds, s.last_acked_seconds, s.last_received_seconds) =
                (Some(3.2), Some(6.1), Some(6.1));
            s.send_queue = Some(1_448);
            s.inode = 2_007;
            s.owner = owner("backup-agent", 3_911);
            s.owner.service = "backup-agent.service".into();
        }),
        socket("10.0.0.5:9092", "10.42.9.4:44102", |s| {
            bare(s, "ESTABLISHED", Some(timer(TimerKind::ZeroWindow, 6.4, 3)));
            s.keepalive = Some(false);
            s.origin = ALL_SYSCTL;
            s.send_queue = Some(65_160);
            s.inode = 2_008;
            s.risks = Some(vec![risk("aws-nlb", 350.0, Reason::KeepaliveOff)]);
            s.advice = Some(ADVICE.to_owned());
            s.owner = owner("java", 6_060);
            s.owner.container = "kafka".into();
        }),
        socket("[fe80::5054:ff:fe12:3456]:22", "[fe80::a00:27ff:fe4e:66a1]:50022", |s| {
            system_wide(s);
            idle(s, 4_830.0);
            s.risks = Some(vec![risk("aws-nlb", 350.0, Reason::PeerKeepsAlive)]);
            s.user_timeout_ms = Some(20_000);
            let kind = WarningKind::UserTimeoutKillsAfterOneProbe;
            s.warnings = Some(vec![Warning { kind, text: "A single lost probe is fatal.".to_owned() }]);
            s.last_rtt_seconds = Some(0.001_27);
            s.inode = 2_009;
            s.owner = owner("sshd", 901);
            s.owner.service = "ssh.service".into();
        }),
        socket("10.0.0.5:871", "10.0.0.40:2049", |s| {
            settings(s, 60, 60, 3);
            s.preset = None;
            idle(s, 33.1);
            s.inode = 0;
            s.owner = Owner { comm: "~kernel".into(), ..Owner::default() };
        }),
        socket("10.0.0.5:443", "203.0.113.9:40001", time_wait),
        socket("[::]:443", "[::]:0", |s| {
            bare(s, "LISTEN", None);
            (s.keepalive, s.origin) = (Some(false), ALL_SYSCTL);
            (s.last_received_seconds, s.last_sent_seconds, s.last_acked_seconds) = (None, None, None);
            s.inode = 2_010;
            s.owner = owner("nginx", 1_204);
            s.owner.service = "nginx.service".into();
        }),
    ]
}

/// A socket whose process names itself as it likes.
pub(crate) fn hostile() -> SocketView {
    socket("192.0.2.66:666", "192.0.2.67:667", |s| {
        s.inode = 666;
        s.owner = owner(HOSTILE, 666);
        s.preset = Some(HOSTILE.to_owned());
        s.advice = Some(HOSTILE.to_owned());
        s.risks = Some(vec![risk(HOSTILE, 60.0, Reason::KeepaliveOff)]);
    })
}

/// A drop `ago` seconds ago.
pub(crate) fn dropped(id: u64, ago: f64, cause: &str, words: [&str; 2]) -> DropView {
    let of = socket("10.42.3.17:50910", "10.96.12.8:5432", |_| {});
    DropView {
        id,
        time_seconds: now() - ago,
        cause: cause.to_owned(),
        timer: "keepalive".to_owned(),
        local: of.local,
        remote: of.remote,
        state: of.state,
        netns: of.netns,
        inode: of.inode,
        keepalive: true,
        keepidle_seconds: 15,
        keepintvl_seconds: 15,
        keepcnt: 9,
        origin: of.origin,
        preset: of.preset,
        user_timeout_ms: 0,
        idle_seconds: 150.0,
        passed: None,
        probes_out: 9,
        retransmits: 0,
        unacked: 0,
        unsent: 0,
        error: libc::ETIMEDOUT,
        icmp_error: 0,
        owner: of.owner,
        summary: words[0].to_owned(),
        advice: words[1].to_owned(),
    }
}

/// The node's drops, newest first.
pub(crate) fn drops() -> Vec<DropView> {
    vec![
        dropped(
            2,
            48.0,
            "keepalive_timeout",
            [
                "api-gateway (pid 48211, pod shop/api-gateway-7d9c5b4f6-x2kqp, container server) lost its connection to \
             10.96.12.8:5432 (local end 10.42.3.17:50910) after 2 min 30 s of silence: 9 of 9 keepalive probes went \
             unanswered.",
                "The peer or the path to it was gone. Keepalive did what it is for; other settings would only have told \
             sooner or later.",
            ],
        ),
        dropped(
            1,
            1_312.0,
            "reset_after_idle",
            [
                "java (pid 6060, container kafka) lost its connection to [2001:db8:9a:1f00:c0de:77ff:fe31:9]:9093 (local end \
             [2001:db8:42:3::11]:52044): it had been idle for 5 min 52 s, and the first data after that was answered by \
             a reset.",
                "Something on the way, or the peer, had forgotten it: let keepalive probe before that, with a keepidle below \
             5 min 52 s; it was off.",
            ],
        ),
    ]
}

/// A limit of an AWS Network Load Balancer, as connections show it.
pub(crate) fn idle_timeout(words: [&str; 2]) -> IdleTimeoutView {
    IdleTimeoutView {
        remote_prefix: "10.96.12.0/24".to_owned(),
        min_seconds: Some(340.0),
        max_seconds: 360.0,
        survived_below: 40,
        died_below: 0,
        died_above: 12,
        survived_above: 0,
        died_again: 11,
        confidence: 0.999_999,
        summary: words[0].to_owned(),
        advice: words[1].to_owned(),
    }
}

/// Totals, of which the probes sent so far make the rate.
pub(crate) fn totals(sent: u64) -> Totals {
    Totals {
        sockets: 1_284,
        keepalive_on: 1_033,
        tracked: 1_041,
        sent,
        answered: sent - 29,
        unanswered: 27,
        zero_window: 311,
        resets: 4,
        dropped: 2,
        lost: 0,
    }
}

/// The warning of a socket's second probe in a row that went unanswered.
pub(crate) fn unanswered() -> ProbeUnanswered {
    let of = &sockets()[1];
    ProbeUnanswered {
        time_seconds: now(),
        local: of.local,
        remote: of.remote,
        netns: of.netns,
        probes_out: 2,
        keepcnt: 5,
        owner: of.owner.clone(),
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
