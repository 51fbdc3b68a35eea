//! What a drop means, in a sentence that a tired operator understands, and what would have prevented it.
//!
//! Everything is read from the drop's own facts: whoever holds a drop can explain it again.

use std::borrow::Cow;

use super::words::{address, count, duration, printable, times};
use super::{DropView, advice};
use crate::owner::{self, Owner};
use crate::table::Cause;

/// Fills in `summary` and `advice` from the facts. Pure.
pub fn explain(drop: &mut DropView) {
    let cause = Cause::ALL.iter().copied().find(|cause| cause.label() == drop.cause);
    let (what, advice) = match cause {
        Some(cause) => (what_happened(drop, cause), advice::of(drop, cause)),
        None => (format!(": {}", printable(&drop.cause)), String::new()),
    };
    drop.summary = format!(
        "{} lost its connection to {} (local end {}){what}{}.",
        who(&drop.owner),
        address(drop.remote),
        address(drop.local),
        icmp(drop),
    );
    drop.advice = advice;
}

/// Whose the connection was.
fn who(owner: &Owner) -> String {
    let known = |text: &str| (!text.is_empty()).then(|| printable(text).into_owned());
    let pod = match (known(&owner.namespace), known(&owner.pod)) {
        (Some(namespace), Some(pod)) => Some(format!("pod {namespace}/{pod}")),
        (None, Some(pod)) => Some(format!("pod {pod}")),
        (_, None) => None,
    };
    let container = known(&owner.container).map(|name| format!("container {name}"));
    let places = [pod, container, known(&owner.service)].into_iter().flatten();
    if owner.comm == owner::KERNEL {
        return "The kernel".to_owned();
    }
    let (subject, details): (_, Vec<_>) = match (known(&owner.comm), owner.pid) {
        (Some(comm), pid) => (comm, pid.map(|pid| format!("pid {pid}")).into_iter().chain(places).collect()),
        (None, Some(pid)) => (format!("Process {pid}"), places.collect()),
        (None, None) => ("An unknown process".to_owned(), places.collect()),
    };
    if details.is_empty() { subject } else { format!("{subject} ({})", details.join(", ")) }
}

/// The end of the sentence, after the addresses.
fn what_happened(drop: &DropView, cause: Cause) -> String {
    let idle = duration(drop.idle_seconds);
    match cause {
        Cause::KeepaliveTimeout if drop.keepcnt == 1 => {
            format!(" after {idle} of silence: its only keepalive probe went unanswered")
        }
        Cause::KeepaliveTimeout => {
            let (out, count) = (drop.probes_out, drop.keepcnt);
            format!(" after {idle} of silence: {out} of {count} keepalive probes went unanswered")
        }
        Cause::UserTimeout => user_timeout(drop, &idle),
        Cause::ZeroWindowTimeout if drop.timer == "retransmit" => {
            format!(" after {idle} of silence: the peer shut its window on data under way and never answered")
        }
        Cause::ZeroWindowTimeout => format!(
            " after {idle} of silence: the peer's window stayed shut and {} in a row went unanswered",
            count(drop.probes_out, "window probe", "window probes"),
        ),
        Cause::RetransmitTimeout => format!(
            " after {idle} of silence: {} went unacknowledged{}",
            bytes(drop.unacked),
            sent_again(drop),
        ),
        Cause::TimeoutAfterIdle => format!(
            ": it had been idle for {idle}, and what was sent then went unacknowledged{}",
            sent_again(drop),
        ),
        Cause::ResetByProbe => format!(" after {idle} of silence: {} was answered by a reset", probe(drop)),
        Cause::ResetAfterIdle => {
            format!(": it had been idle for {idle}, and the first data after that was answered by a reset")
        }
        Cause::ResetWhileIdle => format!(": it was reset while idle, {idle} after the last data"),
        Cause::Reset => format!(": it was reset while in use, {idle} after the peer was last heard"),
        Cause::ResetAfterClose => {
            ": the peer had closed it, and answered what was still written with a reset".to_owned()
        }
        Cause::Aborted => ": it was ended by hand on this machine".to_owned(),
        Cause::Other => format!(": it ended with {}", error_name(drop.error)),
    }
}

fn user_timeout(drop: &DropView, idle: &str) -> String {
    let limit = duration(f64::from(drop.user_timeout_ms) / 1e3);
    match drop.timer.as_str() {
        "keepalive" => format!(
            " after {idle} of silence: TCP_USER_TIMEOUT ({limit}) ended it with {} of {} keepalive probes unanswered",
            drop.probes_out, drop.keepcnt,
        ),
        "zero_window" => {
            format!(": the peer's window stayed shut for longer than TCP_USER_TIMEOUT allows ({limit})")
        }
        _ => format!(
            " after {idle} of silence: {} stayed unacknowledged for longer than TCP_USER_TIMEOUT allows ({limit})",
            bytes(drop.unacked),
        ),
    }
}

fn sent_again(drop: &DropView) -> String {
    match drop.retransmits {
        0 => String::new(),
        number => format!(", sent again {}", times(number)),
    }
}

fn bytes(number: u32) -> String {
    if number == 0 { "data".to_owned() } else { count(number, "byte", "bytes") }
}

/// Which probe met the reset; a window probe has unsent data behind it.
fn probe(drop: &DropView) -> String {
    match (drop.unsent > 0, drop.probes_out) {
        (true, _) => "a probe of the peer's shut window".to_owned(),
        (false, 0 | 1) => "a keepalive probe".to_owned(),
        (false, out) => format!("keepalive probe {out} of {}", drop.keepcnt),
    }
}

fn icmp(drop: &DropView) -> String {
    if drop.icmp_error == 0 {
        return String::new();
    }
    format!("; ICMP had said: {}", error_name(drop.icmp_error))
}

/// Errors that end a connection, by what they mean there; others by number.
pub(super) fn error_name(errno: i32) -> Cow<'static, str> {
    match errno {
        libc::EHOSTUNREACH => "host unreachable (EHOSTUNREACH)".into(),
        libc::ENETUNREACH => "network unreachable (ENETUNREACH)".into(),
        libc::ECONNREFUSED => "port unreachable (ECONNREFUSED)".into(),
        libc::ENOPROTOOPT => "protocol unreachable (ENOPROTOOPT)".into(),
        libc::EHOSTDOWN => "host unknown (EHOSTDOWN)".into(),
        libc::ENONET => "host isolated (ENONET)".into(),
        libc::EMSGSIZE => "packet too big (EMSGSIZE)".into(),
        libc::EACCES => "prohibited (EACCES)".into(),
        libc::EPROTO => "parameter problem (EPROTO)".into(),
        libc::EOPNOTSUPP => "source route failed (EOPNOTSUPP)".into(),
        libc::ETIMEDOUT => "a timeout (ETIMEDOUT)".into(),
        libc::ECONNRESET => "a reset (ECONNRESET)".into(),
        other => format!("error {other}").into(),
    }
}
