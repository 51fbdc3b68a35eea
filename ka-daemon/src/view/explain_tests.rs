//! Every cause and its variants, each with the exact words.

use super::explain::explain;
use super::socket::{Origin, Origins};
use super::testing::dropped;
use super::{DropView, PassedLimit};
use crate::owner::Owner;
use crate::table::Cause;

/// A drop of an application that set Go's 15 s, 15 s, 9.
pub(super) fn case(
    cause: Cause,
    timer: &str,
    idle_seconds: f64,
    change: impl FnOnce(&mut DropView),
) -> DropView {
    let (cause, timer) = (cause.label().to_owned(), timer.to_owned());
    let mut drop = DropView { cause, timer, idle_seconds, ..dropped() };
    change(&mut drop);
    explain(&mut drop);
    drop
}

/// All from sysctl.
fn system_wide(drop: &mut DropView) {
    let sysctl = Some(Origin::Sysctl);
    drop.origin = Origins { keepidle: sysctl, keepintvl: sysctl, keepcnt: sysctl };
    drop.preset = None;
    (drop.keepidle_seconds, drop.keepintvl_seconds, drop.keepcnt) = (7200, 75, 9);
}

pub(super) fn off(drop: &mut DropView) {
    system_wide(drop);
    drop.keepalive = false;
}

/// Compares what follows the part that all sentences share.
#[track_caller]
pub(super) fn told(drop: &DropView, what: &str, advice: &str) {
    let who = "server (pid 1234) lost its connection to 10.0.0.2:5432 (local end 10.0.0.1:43210)";
    assert_eq!(drop.summary, format!("{who}{what}"));
    assert_eq!(drop.advice, advice);
}

#[test]
fn keepalive_timeout() {
    told(
        &case(Cause::KeepaliveTimeout, "keepalive", 150.3, |drop| drop.probes_out = 9),
        " after 2 min 30 s of silence: 9 of 9 keepalive probes went unanswered.",
        "The peer or the path to it was gone. Keepalive did what it is for; other settings would only have told \
         sooner or later.",
    );
    told(
        &case(Cause::KeepaliveTimeout, "keepalive", 7875.0, |drop| {
            system_wide(drop);
            drop.probes_out = 9;
            drop.icmp_error = libc::EHOSTUNREACH;
        }),
        " after 2 h 11 min of silence: 9 of 9 keepalive probes went unanswered; ICMP had said: host unreachable \
         (EHOSTUNREACH).",
        "The peer or the path to it was gone. If a middlebox forgot the connection, a keepidle below its limit \
         would have kept it; it was 2 h by net.ipv4.tcp_keepalive_time.",
    );
    told(
        &case(Cause::KeepaliveTimeout, "keepalive", 30.0, |drop| (drop.probes_out, drop.keepcnt) = (1, 1)),
        " after 30 s of silence: its only keepalive probe went unanswered.",
        "The peer or the path to it was gone. With TCP_KEEPCNT at 1 a single lost packet looks the same: allow \
         for more. Keepalive did what it is for; other settings would only have told sooner or later.",
    );
}

#[test]
fn zero_window_timeout() {
    let advice = "The reader at the other end stopped reading, then vanished: look there. Keepalive does not run \
                  while data waits for the window to open.";
    told(
        &case(Cause::ZeroWindowTimeout, "zero_window", 924.6, |drop| {
            (drop.probes_out, drop.unsent) = (15, 9);
        }),
        " after 15 min 25 s of silence: the peer's window stayed shut and 15 window probes in a row went unanswered.",
        advice,
    );
    told(
        &case(Cause::ZeroWindowTimeout, "retransmit", 120.0, |drop| drop.unacked = 9),
        " after 2 min of silence: the peer shut its window on data under way and never answered.",
        advice,
    );
}

#[test]
fn retransmit_timeout() {
    let advice = "Keepalive could not help: it does not run while data is in flight. The path or the peer was \
                  gone; a lower net.ipv4.tcp_retries2 or TCP_USER_TIMEOUT tells sooner.";
    told(
        &case(Cause::RetransmitTimeout, "retransmit", 924.6, |drop| {
            (drop.unacked, drop.retransmits) = (37, 15);
        }),
        " after 15 min 25 s of silence: 37 bytes went unacknowledged, sent again 15 times.",
        advice,
    );
    told(
        &case(Cause::RetransmitTimeout, "none", 3.0, |drop| drop.unacked = 1),
        " after 3 s of silence: 1 byte went unacknowledged.",
        advice,
    );
}

#[test]
fn timeout_after_idle() {
    let what =
        ": it had been idle for 5 min 52 s, and what was sent then went unacknowledged, sent again 15 times.";
    let limit = "A middlebox (firewall, NAT, load balancer) that drops the packets of what it forgot has an idle \
                 limit of at most 5 min 52 s.";
    let with = |change: fn(&mut DropView)| {
        case(Cause::TimeoutAfterIdle, "retransmit", 352.0, |drop| {
            drop.retransmits = 15;
            change(drop);
        })
    };
    told(
        &with(off),
        what,
        &format!(
            "{limit} Keepalive was off: turn it on (SO_KEEPALIVE), with TCP_KEEPIDLE below that limit. Turning it on \
             is not enough: keepidle would be 2 h by net.ipv4.tcp_keepalive_time."
        ),
    );
    told(
        &with(|drop| drop.keepalive = false),
        what,
        &format!("{limit} Keepalive was off: turn it on (SO_KEEPALIVE), with TCP_KEEPIDLE below that limit."),
    );
    told(
        &with(system_wide),
        what,
        &format!(
            "{limit} Keepalive was on, but its first probe came too late: keepidle was 2 h by \
             net.ipv4.tcp_keepalive_time. Set net.ipv4.tcp_keepalive_time or TCP_KEEPIDLE lower."
        ),
    );
    told(
        &with(|_| {}),
        what,
        &format!(
            "{limit} Keepalive was on (keepidle 15 s, set by the application) and had probed in vain meanwhile: the \
             path or the peer was gone."
        ),
    );
    told(
        &case(Cause::TimeoutAfterIdle, "retransmit", 12.0, |drop| drop.retransmits = 1),
        ": it had been idle for 12 s, and what was sent then went unacknowledged, sent again once.",
        "The peer or the path went away; 12 s is short for a middlebox's idle limit, and other keepalive settings \
         would hardly have helped.",
    );
}

#[test]
fn a_policy_that_knows_the_limit_is_named() {
    let nlb = |drop: &mut DropView| {
        let (policy, idle_limit_seconds) = ("aws-nlb".to_owned(), 350.0);
        drop.passed = Some(PassedLimit { policy, idle_limit_seconds });
    };
    let off = |drop: &mut DropView| {
        off(drop);
        nlb(drop);
    };
    let slow = |drop: &mut DropView| {
        (drop.keepidle_seconds, drop.probes_out) = (600, 1);
        nlb(drop);
    };
    let limit = "By the configuration, aws-nlb forgets what is idle for 5 min 50 s.";
    for (cause, timer, change, then) in [
        (
            Cause::ResetByProbe,
            "none",
            &slow as &dyn Fn(&mut DropView),
            "If it was not the peer that restarted, set TCP_KEEPIDLE below that limit: it was 10 min, set by the \
             application.",
        ),
        (
            Cause::ResetAfterIdle,
            "none",
            &off,
            "Keepalive was off: turn it on (SO_KEEPALIVE), with TCP_KEEPIDLE below that limit. Turning it on is not \
             enough: keepidle would be 2 h by net.ipv4.tcp_keepalive_time.",
        ),
        (
            Cause::ResetWhileIdle,
            "none",
            &slow,
            "Keepalive was on, but its first probe was still to come: keepidle was 10 min, set by the application. Set \
             TCP_KEEPIDLE lower. That helps if the limit counts packets; a limit that counts data is to be raised.",
        ),
        (
            Cause::KeepaliveTimeout,
            "keepalive",
            &slow,
            "Where it drops the packets of what it forgot, this is how that ends: set TCP_KEEPIDLE below that limit, it \
             was 10 min, set by the application. Otherwise the peer or the path to it was gone.",
        ),
    ] {
        assert_eq!(case(cause, timer, 600.0, change).advice, format!("{limit} {then}"), "{cause:?}");
    }
}

#[test]
fn reset_by_probe() {
    told(
        &case(Cause::ResetByProbe, "none", 7200.0, |drop| {
            system_wide(drop);
            drop.probes_out = 1;
        }),
        " after 2 h of silence: a keepalive probe was answered by a reset.",
        "A middlebox (firewall, NAT, load balancer) that resets what it forgot has an idle limit of at most 2 h. If \
         it was not the peer that restarted, set net.ipv4.tcp_keepalive_time or TCP_KEEPIDLE below that limit: it \
         was 2 h by net.ipv4.tcp_keepalive_time.",
    );
    told(
        &case(Cause::ResetByProbe, "none", 30.0, |drop| drop.probes_out = 2),
        " after 30 s of silence: keepalive probe 2 of 9 was answered by a reset.",
        "The peer or the path went away; 30 s is short for a middlebox's idle limit, and other keepalive settings \
         would hardly have helped.",
    );
    told(
        &case(Cause::ResetByProbe, "none", 3.0, |drop| (drop.probes_out, drop.unsent) = (2, 100)),
        " after 3 s of silence: a probe of the peer's shut window was answered by a reset.",
        "The peer restarted, or a middlebox forgot the connection while its window was shut. Keepalive does not run \
         then: look at why the reader at the other end had stopped.",
    );
}

#[test]
fn reset_after_idle() {
    told(
        &case(Cause::ResetAfterIdle, "none", 400.0, |drop| {
            drop.keepidle_seconds = 600;
            drop.unacked = 5;
        }),
        ": it had been idle for 6 min 40 s, and the first data after that was answered by a reset.",
        "A middlebox (firewall, NAT, load balancer) that resets what it forgot has an idle limit of at most 6 min \
         40 s. Keepalive was on, but its first probe came too late: keepidle was 10 min, set by the application. \
         Set TCP_KEEPIDLE lower.",
    );
}

#[test]
fn reset_while_idle() {
    let what = ": it was reset while idle, 4 min after the last data.";
    let who = "The peer, or a load balancer (Azure's does so), resets connections that are idle for 4 min.";
    let limit = "That helps if the limit counts packets; a limit that counts data is to be raised.";
    told(
        &case(Cause::ResetWhileIdle, "none", 240.0, off),
        what,
        &format!(
            "{who} Keepalive was off: turn it on (SO_KEEPALIVE), with TCP_KEEPIDLE below that limit. Turning it on is \
             not enough: keepidle would be 2 h by net.ipv4.tcp_keepalive_time. {limit}"
        ),
    );
    told(
        &case(Cause::ResetWhileIdle, "none", 240.0, system_wide),
        what,
        &format!(
            "{who} Keepalive was on, but its first probe was still to come: keepidle was 2 h by \
             net.ipv4.tcp_keepalive_time. Set net.ipv4.tcp_keepalive_time or TCP_KEEPIDLE lower. {limit}"
        ),
    );
    told(
        &case(Cause::ResetWhileIdle, "none", 240.0, |drop| drop.origin = Origins::default()),
        what,
        &format!(
            "{who} Keepalive was on (keepidle 15 s) and did not keep it: that limit counts data, not probes. Raise \
             the limit, or let the application send something within it."
        ),
    );
}

#[test]
fn causes_that_keepalive_has_no_part_in() {
    told(
        &case(Cause::Reset, "none", 0.31, |drop| drop.error = libc::ECONNRESET),
        ": it was reset while in use, 310 ms after the peer was last heard.",
        "Not a matter of keepalive: the application at the other end closed with data unread, crashed, or refused. \
         Its log says which.",
    );
    told(
        &case(Cause::ResetAfterClose, "none", 5.0, |drop| drop.state = "CLOSE_WAIT".to_owned()),
        ": the peer had closed it, and answered what was still written with a reset.",
        "Not a matter of keepalive: the application went on writing after the peer's end of file. Let it read until \
         the end of file, and close then.",
    );
    told(
        &case(Cause::Aborted, "none", 5.0, |drop| drop.error = libc::ECONNABORTED),
        ": it was ended by hand on this machine.",
        "Not a matter of keepalive: `ss -K`, or a program that destroys sockets as it does, ended it.",
    );
    told(
        &case(Cause::Other, "none", 5.0, |drop| drop.error = libc::EHOSTUNREACH),
        ": it ended with host unreachable (EHOSTUNREACH).",
        "Neither a timer nor a reset ended it: most likely the application closed it upon an error that it had asked \
         for (IP_RECVERR). `--record-log` keeps the details of the next one.",
    );
    told(&case(Cause::Other, "none", 5.0, |drop| drop.error = 5), ": it ended with error 5.", &{
        case(Cause::Other, "none", 5.0, |_| {}).advice
    });
}

#[test]
fn a_cause_of_a_newer_daemon_is_told_as_it_is() {
    told(
        &case(Cause::Other, "none", 5.0, |drop| drop.cause = "solar_flare".to_owned()),
        ": solar_flare.",
        "",
    );
}

#[test]
fn every_cause_has_words_of_its_own_and_some_advice() {
    let all: Vec<DropView> = Cause::ALL.iter().map(|cause| case(*cause, "none", 100.0, |_| {})).collect();
    for (place, drop) in all.iter().enumerate() {
        assert!(!drop.advice.is_empty(), "{}", drop.cause);
        assert!(all[..place].iter().all(|other| other.summary != drop.summary), "{}", drop.cause);
    }
}

#[test]
fn owners_are_named_by_what_is_known() {
    let text = String::from;
    let owner = Owner { pid: Some(7), comm: text("java"), ..Owner::default() };
    for (owner, who) in [
        (Owner::default(), "An unknown process"),
        (Owner { pid: Some(7), ..Owner::default() }, "Process 7"),
        (Owner { comm: text("java"), ..Owner::default() }, "java"),
        (Owner { comm: text("~kernel"), service: text("x"), ..Owner::default() }, "The kernel"),
        (Owner { service: text("nginx.service"), ..owner.clone() }, "java (pid 7, nginx.service)"),
        (Owner { container: text("web"), ..owner.clone() }, "java (pid 7, container web)"),
        (Owner { pod: text("cart-7d4"), ..Owner::default() }, "An unknown process (pod cart-7d4)"),
        (
            Owner { namespace: text("shop"), pod: text("cart-7d4"), container: text("web"), ..owner.clone() },
            "java (pid 7, pod shop/cart-7d4, container web)",
        ),
        (Owner { comm: text("a\x1b[2J"), ..Owner::default() }, "a\u{fffd}[2J"),
    ] {
        let drop = case(Cause::Reset, "none", 5.0, |drop| drop.owner = owner);
        assert_eq!(drop.summary.split_once(" lost ").unwrap().0, who);
    }
}

#[test]
fn an_ipv4_connection_of_an_ipv6_socket_is_shown_as_ipv4() {
    let drop = case(Cause::Reset, "none", 5.0, |drop| {
        drop.local = "[::ffff:10.0.0.1]:1".parse().unwrap();
        drop.remote = "[2001:db8::2]:443".parse().unwrap();
    });
    assert!(drop.summary.contains("to [2001:db8::2]:443 (local end 10.0.0.1:1)"), "{}", drop.summary);
}
