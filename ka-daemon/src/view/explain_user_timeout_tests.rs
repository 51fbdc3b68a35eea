//! The variants of `TCP_USER_TIMEOUT`, each with the exact words.

use super::explain_tests::{case, off, told};
use crate::table::Cause;

#[test]
fn user_timeout_found_by_keepalive() {
    let sum = "Set it above keepidle + keepintvl × 9 = 2 min 30 s, or not at all, for 9 probes to count.";
    told(
        &case(Cause::UserTimeout, "keepalive", 30.02, |drop| {
            (drop.user_timeout_ms, drop.probes_out) = (20_000, 1);
        }),
        " after 30 s of silence: TCP_USER_TIMEOUT (20 s) ended it with 1 of 9 keepalive probes unanswered.",
        &format!(
            "With TCP_USER_TIMEOUT (20 s) not above keepidle + keepintvl (30 s), a single lost probe is fatal. {sum} \
             gRPC sets it to its own keepalive timeout, 20 s unless told otherwise."
        ),
    );
    told(
        &case(Cause::UserTimeout, "keepalive", 60.1, |drop| {
            (drop.user_timeout_ms, drop.probes_out) = (60_000, 3);
        }),
        " after 1 min of silence: TCP_USER_TIMEOUT (1 min) ended it with 3 of 9 keepalive probes unanswered.",
        &format!("TCP_USER_TIMEOUT (1 min) takes the place of the probe count. {sum}"),
    );
    // Keepalive was turned on after a minute of silence.
    told(
        &case(Cause::UserTimeout, "keepalive", 75.0, |drop| {
            (drop.user_timeout_ms, drop.probes_out) = (60_000, 1);
        }),
        " after 1 min 15 s of silence: TCP_USER_TIMEOUT (1 min) ended it with 1 of 9 keepalive probes unanswered.",
        &format!(
            "TCP_USER_TIMEOUT (1 min) was over at the run after the first probe, so that a single lost probe was \
             fatal. {sum} gRPC sets it to its own keepalive timeout, 20 s unless told otherwise."
        ),
    );
}

#[test]
fn user_timeout_of_data() {
    told(
        &case(Cause::UserTimeout, "retransmit", 21.0, |drop| {
            off(drop);
            (drop.user_timeout_ms, drop.unacked) = (20_000, 17);
        }),
        " after 21 s of silence: 17 bytes stayed unacknowledged for longer than TCP_USER_TIMEOUT allows (20 s).",
        "Nothing was acknowledged for 20 s: the path or the peer was gone. Raise TCP_USER_TIMEOUT to live through \
         longer outages; keepalive does not run while data is in flight. gRPC sets it to its own keepalive \
         timeout, 20 s unless told otherwise.",
    );
    told(
        &case(Cause::UserTimeout, "retransmit", 400.0, |drop| {
            off(drop);
            (drop.user_timeout_ms, drop.unacked) = (30_000, 1);
        }),
        " after 6 min 40 s of silence: 1 byte stayed unacknowledged for longer than TCP_USER_TIMEOUT allows (30 s).",
        "It had been idle for some 6 min 10 s before, so a middlebox may have forgotten it. Keepalive was off: \
         turn it on (SO_KEEPALIVE), with TCP_KEEPIDLE below that limit. Turning it on is not enough: keepidle \
         would be 2 h by net.ipv4.tcp_keepalive_time.",
    );
    told(
        &case(Cause::UserTimeout, "none", 5.0, |drop| drop.user_timeout_ms = 4_000),
        " after 5 s of silence: data stayed unacknowledged for longer than TCP_USER_TIMEOUT allows (4 s).",
        "Nothing was acknowledged for 4 s: the path or the peer was gone. Raise TCP_USER_TIMEOUT to live through \
         longer outages; keepalive does not run while data is in flight.",
    );
}

#[test]
fn user_timeout_of_a_shut_window() {
    told(
        &case(Cause::UserTimeout, "zero_window", 0.4, |drop| {
            (drop.user_timeout_ms, drop.unsent) = (30_000, 9);
        }),
        ": the peer's window stayed shut for longer than TCP_USER_TIMEOUT allows (30 s).",
        "The reader at the other end stopped reading. TCP_USER_TIMEOUT ends such a connection even while the peer \
         still answers: raise it above 30 s, or look at the reader.",
    );
}
