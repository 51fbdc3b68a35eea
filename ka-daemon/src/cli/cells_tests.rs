//! What is shown of each kind of socket, word by word.

use super::*;
use crate::owner::Owner;
use crate::view::risk::{Risk, Warning, WarningKind};
use crate::view::socket::Origins;
use crate::view::testing::socket;

/// An established socket of a Go program, idle for 2.7 s.
fn go() -> SocketView {
    let set = Some(Origin::Socket);
    SocketView {
        keepalive: Some(true),
        keepidle_seconds: Some(15),
        keepintvl_seconds: Some(15),
        keepcnt: Some(9),
        origin: Origins { keepidle: set, keepintvl: set, keepcnt: Some(Origin::Sysctl) },
        preset: Some("go".to_owned()),
        user_timeout_ms: Some(0),
        timer: Some(TimerView { kind: TimerKind::Keepalive, expires_seconds: 12.3, probes_out: 0 }),
        next_probe_seconds: Some(12.3),
        drop_in_seconds: Some(147.3),
        last_received_seconds: Some(2.7),
        last_rtt_seconds: Some(0.000_045),
        recv_queue: Some(0),
        send_queue: Some(17),
        uid: Some(1000),
        owner: Owner {
            pid: Some(1234),
            comm: "server".to_owned(),
            exe: "/usr/bin/server".to_owned(),
            namespace: "shop".to_owned(),
            pod: "cart-7d4".to_owned(),
            container: "web".to_owned(),
            ..Owner::default()
        },
        ..socket("10.0.0.1:43210", "[2001:db8::1]:443")
    }
}

fn texts(cells: Vec<Cell>) -> Vec<String> {
    cells.into_iter().map(|cell| cell.text.into_owned()).collect()
}

#[test]
fn a_row_in_each_width() {
    let common =
        ["10.0.0.1:43210", "[2001:db8::1]:443", "ESTABLISHED", "15s*/15s* ×9", "probe in 12.3 s", "45.0 µs"];
    assert_eq!(texts(narrow(&go())), [&common[..], &["server[1234] shop/cart-7d4"]].concat());
    let more = [
        "server[1234]",
        "shop/cart-7d4",
        "web",
        "-",
        "go",
        "-",
        "2.7 s",
        "2 min 27 s",
        "0",
        "17",
        "4026531840",
        "12345",
        "1000",
        "/usr/bin/server",
        "-",
        "-",
    ];
    assert_eq!(texts(wide(&go())), [&common[..], &more].concat());
    let top_row = [
        "10.0.0.1:43210",
        "[2001:db8::1]:443",
        "15s*/15s* ×9",
        "probe in 12.3 s",
        "2 min 27 s",
        "45.0 µs",
        "-",
        "server[1234] shop/cart-7d4",
    ];
    assert_eq!(texts(top(&go())), top_row);
}

#[test]
fn what_is_not_known_is_no_zero() {
    let unknown = SocketView { inode: 0, ..socket("10.0.0.1:1", "10.0.0.2:2") };
    assert_eq!(texts(narrow(&unknown))[3..], ["-"; 4]);
    let mut expected = vec!["-"; 19];
    expected[13] = "4026531840";
    assert_eq!(texts(wide(&unknown))[3..], expected);
}

#[test]
fn rows_are_as_long_as_their_columns() {
    assert_eq!(narrow(&go()).len(), NARROW.len());
    assert_eq!(wide(&go()).len(), WIDE.len());
    assert_eq!(top(&go()).len(), TOP.len());
}

#[test]
fn policies_that_would_cut_it_are_named_by_their_severity() {
    let risk = |policy: &str, reason, severity| Risk {
        policy: policy.to_owned(),
        reason,
        idle_limit_seconds: 350.0,
        severity,
    };
    let (off, kept) = (Reason::KeepaliveOff, Reason::PeerKeepsAlive);
    for (risks, expected, tone) in [
        (vec![], "-", Tone::Plain),
        (vec![risk("lb", off, Severity::Info)], "lb", Tone::Plain),
        (vec![risk("lb", kept, Severity::Critical)], "lb (peer probes)", Tone::Plain),
        (
            vec![
                risk("a", off, Severity::Info),
                risk("b", off, Severity::Warning),
                risk("c", kept, Severity::Critical),
            ],
            "a, b, c (peer probes)",
            Tone::Warning,
        ),
        (vec![risk("x\u{1b}", Reason::IdleTooLong, Severity::Critical)], "x\u{fffd}", Tone::Alarm),
    ] {
        let this = SocketView { risks: Some(risks), ..go() };
        assert_eq!(risk_cell(&this), Cell::new(expected, tone));
    }
    let warning = Warning { kind: WarningKind::UserTimeoutKillsAfterOneProbe, text: "Raise it.".to_owned() };
    let this = SocketView { advice: Some("Turn it on.".to_owned()), warnings: Some(vec![warning]), ..go() };
    assert_eq!(texts(wide(&this)).last().unwrap(), "Turn it on. Raise it.");
}

#[test]
fn settings_are_exact_and_marked_by_origin() {
    let sysctl = Some(Origin::Sysctl);
    for (keepalive_on, settings, origin, expected) in [
        (Some(true), [Some(7200), Some(75), Some(9)], [sysctl; 3], "2h/75s ×9"),
        (Some(true), [Some(600), Some(90), Some(3)], [Some(Origin::Socket); 3], "10m*/90s* ×3*"),
        (Some(true), [Some(60), Some(60), Some(9)], [None; 3], "60s/60s ×9"),
        (Some(true), [Some(3601), Some(121), Some(1)], [sysctl; 3], "3601s/121s ×1"),
        (Some(true), [Some(15), None, Some(9)], [sysctl; 3], "15s/? ×9"),
        (Some(true), [None; 3], [None; 3], "on"),
        (Some(false), [Some(7200), Some(75), Some(9)], [sysctl; 3], "off"),
        (None, [None; 3], [None; 3], "-"),
    ] {
        let [keepidle, keepintvl, keepcnt] = origin;
        let [keepidle_seconds, keepintvl_seconds, count] = settings;
        let this = SocketView {
            keepalive: keepalive_on,
            keepidle_seconds,
            keepintvl_seconds,
            keepcnt: count,
            origin: Origins { keepidle, keepintvl, keepcnt },
            ..go()
        };
        assert_eq!(keepalive(&this), expected);
    }
}

#[test]
fn timers_tell_what_comes_next() {
    let armed = |kind, expires_seconds, probes_out| Some(TimerView { kind, expires_seconds, probes_out });
    let shown = |change: &dyn Fn(&mut SocketView)| {
        let mut this = go();
        change(&mut this);
        timer(&this)
    };
    for (change, expected, silent) in [
        (
            &(|this: &mut SocketView| this.next_probe_seconds = Some(9.0)) as &dyn Fn(&mut SocketView),
            "probe in 9 s",
            false,
        ),
        (&|this| this.next_probe_seconds = None, "probe in 12.3 s", false),
        (&|this| this.timer = None, "-", false),
        (
            &|this| {
                this.timer = armed(TimerKind::Keepalive, 4.0, 2);
                this.drop_in_seconds = Some(109.0);
            },
            "2 of 9 unanswered, next in 4 s",
            true,
        ),
        (
            &|this| {
                this.timer = armed(TimerKind::Keepalive, 4.0, 9);
                this.drop_in_seconds = Some(4.0);
            },
            "9 of 9 unanswered, drop in 4 s",
            true,
        ),
        (
            &|this| {
                this.timer = armed(TimerKind::Keepalive, 4.0, 2);
                (this.keepcnt, this.drop_in_seconds) = (None, None);
            },
            "2 unanswered, next in 4 s",
            true,
        ),
        (&|this| this.timer = armed(TimerKind::Retransmit, 0.2, 0), "retransmit in 0.2 s", false),
        (&|this| this.timer = armed(TimerKind::ZeroWindow, 3.0, 0), "window probe in 3 s", false),
        (
            &|this| this.timer = armed(TimerKind::ZeroWindow, 3.0, 2),
            "2 unanswered, window probe in 3 s",
            true,
        ),
        (&|this| this.timer = armed(TimerKind::TimeWait, 42.0, 0), "time-wait 42 s", false),
        (
            &|this| {
                this.timer = armed(TimerKind::Keepalive, 42.0, 0);
                (this.state, this.inode) = ("FIN_WAIT2".to_owned(), 0);
            },
            "fin-wait 42 s",
            false,
        ),
    ] {
        assert_eq!(shown(change), (expected.to_owned(), silent));
    }
}

#[test]
fn owners_are_the_process_and_where_it_runs() {
    let text = String::from;
    let this = Owner { pid: Some(7), comm: text("java"), ..Owner::default() };
    for (owner_is, expected) in [
        (Owner::default(), "-"),
        (Owner { pid: Some(7), ..Owner::default() }, "[7]"),
        (Owner { comm: text("~kernel"), ..Owner::default() }, "~kernel"),
        (this.clone(), "java[7]"),
        (Owner { service: text("nginx.service"), ..this.clone() }, "java[7] nginx.service"),
        (Owner { container: text("web"), service: text("x"), ..this.clone() }, "java[7] web"),
        (Owner { pod: text("cart-7d4"), container: text("web"), ..this.clone() }, "java[7] cart-7d4"),
        (Owner { comm: text("a\x1b[2J"), ..Owner::default() }, "a\u{fffd}[2J"),
    ] {
        assert_eq!(owner(&SocketView { owner: owner_is, ..go() }), expected);
    }
}

#[test]
fn a_listener_has_no_other_end() {
    for (ends, expected) in [
        (("0.0.0.0:80", "0.0.0.0:0"), ["0.0.0.0:80", "*"]),
        (("[::]:80", "[::]:0"), ["[::]:80", "*"]),
        (("[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.2]:9"), ["10.0.0.1:80", "10.0.0.2:9"]),
    ] {
        assert_eq!(texts(narrow(&socket(ends.0, ends.1)))[..2], expected);
    }
}

#[test]
fn what_needs_attention_stands_out() {
    let tones = |this: &SocketView| {
        let cells = narrow(this);
        [cells[2].tone, cells[3].tone, cells[4].tone]
    };
    assert_eq!(tones(&go()), [Tone::Plain; 3]);
    let off = SocketView { keepalive: Some(false), ..go() };
    assert_eq!(tones(&off), [Tone::Plain, Tone::Warning, Tone::Plain]);
    let listener = SocketView { keepalive: Some(false), state: "LISTEN".to_owned(), ..go() };
    assert_eq!(tones(&listener), [Tone::Dim, Tone::Plain, Tone::Plain]);
    let timer = Some(TimerView { kind: TimerKind::Keepalive, expires_seconds: 1.0, probes_out: 1 });
    assert_eq!(tones(&SocketView { timer, ..go() }), [Tone::Plain, Tone::Plain, Tone::Alarm]);
}
