//! What would have prevented a drop, or would have told of it sooner. Pure.

use super::DropView;
use super::socket::Origin;
use super::user_timeout::{Limits, grpc};
use super::words::duration;
use crate::table::Cause;

/// Shorter than any idle limit that a middlebox is known for.
const SHORT_IDLE_SECONDS: f64 = 60.0;
/// The shortest idle limit of a common cloud load balancer or NAT is 4 minutes.
const LONG_KEEPIDLE_SECONDS: u32 = 240;

/// The advice for a drop of this cause.
pub(super) fn of(drop: &DropView, cause: Cause) -> String {
    match cause {
        Cause::KeepaliveTimeout => keepalive_timeout(drop),
        Cause::UserTimeout => user_timeout(drop),
        Cause::ZeroWindowTimeout => "The reader at the other end stopped reading, then vanished: look there. \
             Keepalive does not run while data waits for the window to open."
            .to_owned(),
        Cause::RetransmitTimeout => "Keepalive could not help: it does not run while data is in flight. The \
             path or the peer was gone; a lower net.ipv4.tcp_retries2 or TCP_USER_TIMEOUT tells sooner."
            .to_owned(),
        Cause::TimeoutAfterIdle => {
            forgotten(drop, "drops the packets of what it forgot", &keep_in_use(drop, drop.idle_seconds))
        }
        Cause::ResetByProbe if drop.unsent > 0 => {
            "The peer restarted, or a middlebox forgot the connection while its window was shut. Keepalive does \
             not run then: look at why the reader at the other end had stopped."
                .to_owned()
        }
        Cause::ResetByProbe => {
            forgotten(drop, "resets what it forgot", &probe_sooner(drop))
        }
        Cause::ResetAfterIdle => {
            forgotten(drop, "resets what it forgot", &keep_in_use(drop, drop.idle_seconds))
        }
        Cause::ResetWhileIdle => reset_while_idle(drop),
        Cause::Reset => "Not a matter of keepalive: the application at the other end closed with data unread, \
             crashed, or refused. Its log says which."
            .to_owned(),
        Cause::ResetAfterClose => "Not a matter of keepalive: the application went on writing after the peer's \
             end of file. Let it read until the end of file, and close then."
            .to_owned(),
        Cause::Aborted => "Not a matter of keepalive: `ss -K`, or a program that destroys sockets as it does, \
             ended it."
            .to_owned(),
        Cause::Other => "Neither a timer nor a reset ended it: most likely the application closed it upon an \
             error that it had asked for (IP_RECVERR). `--record-log` keeps the details of the next one."
            .to_owned(),
    }
}

fn keepalive_timeout(drop: &DropView) -> String {
    if let Some(limit) = passed(drop) {
        return format!(
            "{limit} Where it drops the packets of what it forgot, this is how that ends: set {} below that limit, it \
             was {}. Otherwise the peer or the path to it was gone.",
            knob(drop),
            keepidle(drop)
        );
    }
    let mut advice = "The peer or the path to it was gone.".to_owned();
    if drop.keepcnt == 1 {
        advice += " With TCP_KEEPCNT at 1 a single lost packet looks the same: allow for more.";
    }
    if drop.keepidle_seconds >= LONG_KEEPIDLE_SECONDS {
        advice +=
            " If a middlebox forgot the connection, a keepidle below its limit would have kept it; it was ";
        advice += &keepidle(drop);
        advice += ".";
    } else {
        advice += " Keepalive did what it is for; other settings would only have told sooner or later.";
    }
    advice
}

fn user_timeout(drop: &DropView) -> String {
    let limits = Limits {
        keepidle_seconds: drop.keepidle_seconds,
        keepintvl_seconds: drop.keepintvl_seconds,
        keepcnt: drop.keepcnt,
        user_timeout_ms: drop.user_timeout_ms,
    };
    let limit = f64::from(drop.user_timeout_ms) / 1e3;
    let shown = limits.shown();
    let one_probe = drop.timer == "keepalive" && drop.probes_out == 1;
    let grpc = grpc(drop.user_timeout_ms, one_probe);
    match drop.timer.as_str() {
        "keepalive" => {
            let why = if !one_probe {
                format!("TCP_USER_TIMEOUT ({shown}) takes the place of the probe count.")
            } else if limits.ends_after_one_probe() {
                limits.fatal()
            } else {
                // Keepalive was turned on late, or had to wait: the silence was older than its first probe.
                format!(
                    "TCP_USER_TIMEOUT ({shown}) was over at the run after the first probe, so that a single lost \
                     probe was fatal."
                )
            };
            format!("{why} {}{grpc}", limits.remedy())
        }
        "zero_window" => format!(
            "The reader at the other end stopped reading. TCP_USER_TIMEOUT ends such a connection even while the \
             peer still answers: raise it above {shown}, or look at the reader.{grpc}"
        ),
        _ if drop.idle_seconds >= limit + SHORT_IDLE_SECONDS => format!(
            "It had been idle for some {} before, so a middlebox may have forgotten it. {}{grpc}",
            duration(drop.idle_seconds - limit),
            keep_in_use(drop, drop.idle_seconds - limit),
        ),
        _ => format!(
            "Nothing was acknowledged for {shown}: the path or the peer was gone. Raise TCP_USER_TIMEOUT to live \
             through longer outages; keepalive does not run while data is in flight.{grpc}"
        ),
    }
}

/// Who may have forgotten the connection, what that says of its limit, and `then` what to do.
fn forgotten(drop: &DropView, how: &str, then: &str) -> String {
    let idle = duration(drop.idle_seconds);
    if let Some(limit) = passed(drop) {
        format!("{limit} {then}")
    } else if drop.idle_seconds < SHORT_IDLE_SECONDS {
        format!(
            "The peer or the path went away; {idle} is short for a middlebox's idle limit, and other keepalive \
             settings would hardly have helped."
        )
    } else {
        format!(
            "A middlebox (firewall, NAT, load balancer) that {how} has an idle limit of at most {idle}. {then}"
        )
    }
}

/// What the configuration knows of a limit on the way that keepalive did not stay below.
fn passed(drop: &DropView) -> Option<String> {
    let limit = drop.passed.as_ref()?;
    Some(format!(
        "By the configuration, {} forgets what is idle for {}.",
        limit.policy,
        duration(limit.idle_limit_seconds)
    ))
}

fn probe_sooner(drop: &DropView) -> String {
    format!(
        "If it was not the peer that restarted, set {} below that limit: it was {}.",
        knob(drop),
        keepidle(drop)
    )
}

/// What keepalive did during `idle` seconds, and should have done.
fn keep_in_use(drop: &DropView, idle: f64) -> String {
    let first_probe = f64::from(drop.keepidle_seconds);
    if !drop.keepalive {
        turn_on(drop, idle)
    } else if idle < first_probe + f64::from(drop.keepintvl_seconds) {
        format!(
            "Keepalive was on, but its first probe came too late: keepidle was {}. Set {} lower.",
            keepidle(drop),
            knob(drop)
        )
    } else {
        format!(
            "Keepalive was on (keepidle {}) and had probed in vain meanwhile: the path or the peer was gone.",
            keepidle(drop)
        )
    }
}

fn turn_on(drop: &DropView, idle: f64) -> String {
    let mut advice =
        "Keepalive was off: turn it on (SO_KEEPALIVE), with TCP_KEEPIDLE below that limit.".to_owned();
    if f64::from(drop.keepidle_seconds) >= idle {
        advice += " Turning it on is not enough: keepidle would be ";
        advice += &keepidle(drop);
        advice += ".";
    }
    advice
}

/// The measure here is the age of data; probes and their answers carry none.
fn reset_while_idle(drop: &DropView) -> String {
    let idle = duration(drop.idle_seconds);
    let who = passed(drop).unwrap_or_else(|| {
        format!(
            "The peer, or a load balancer (Azure's does so), resets connections that are idle for {idle}."
        )
    });
    let then = if !drop.keepalive {
        turn_on(drop, drop.idle_seconds)
    } else if f64::from(drop.keepidle_seconds) >= drop.idle_seconds {
        format!(
            "Keepalive was on, but its first probe was still to come: keepidle was {}. Set {} lower.",
            keepidle(drop),
            knob(drop)
        )
    } else {
        return format!(
            "{who} Keepalive was on (keepidle {}) and did not keep it: that limit counts data, not probes. Raise the \
             limit, or let the application send something within it.",
            keepidle(drop)
        );
    };
    format!("{who} {then} That helps if the limit counts packets; a limit that counts data is to be raised.")
}

/// The idle setting in force and where it comes from.
fn keepidle(drop: &DropView) -> String {
    let value = duration(f64::from(drop.keepidle_seconds));
    match drop.origin.keepidle {
        Some(Origin::Sysctl) => format!("{value} by net.ipv4.tcp_keepalive_time"),
        Some(Origin::Socket) => format!("{value}, set by the application"),
        None => value,
    }
}

/// What there is to be changed.
const fn knob(drop: &DropView) -> &'static str {
    match drop.origin.keepidle {
        Some(Origin::Sysctl) => "net.ipv4.tcp_keepalive_time or TCP_KEEPIDLE",
        Some(Origin::Socket) | None => "TCP_KEEPIDLE",
    }
}
