//! What is shown of a socket, column by column. Pure; `sockets` and `top` show the same words.

use super::table::{Cell, Column, Fit, Tone};
use crate::policy::{Reason, Severity};
use crate::view::SocketView;
use crate::view::socket::{Origin, TimerKind, TimerView};
use crate::view::words::{address, duration, printable, remaining, round_trip};

/// What stands where something is not known or does not apply.
pub(super) const NONE: &str = "-";

const fn column(title: &'static str, fit: Fit) -> Column {
    Column { title, right: false, fit }
}

const fn number(title: &'static str) -> Column {
    Column { title, right: true, fit: Fit::Whole }
}

/// The columns that are always there. Their order is a contract.
pub(super) const NARROW: [Column; 7] = [
    column("LOCAL", Fit::CutMiddleOrLeaveOut(21, 3)),
    column("REMOTE", Fit::CutMiddle(21)),
    column("STATE", Fit::LeaveOut(2)),
    column("KEEPALIVE", Fit::Whole),
    column("TIMER", Fit::CutEndLast(12)),
    Column { title: "RTT", right: true, fit: Fit::LeaveOut(1) },
    column("OWNER", Fit::CutEnd(16)),
];

/// Those of `--wide`; only the last ones are cut.
pub(super) const WIDE: [Column; 22] = [
    column("LOCAL", Fit::Whole),
    column("REMOTE", Fit::Whole),
    column("STATE", Fit::Whole),
    column("KEEPALIVE", Fit::Whole),
    column("TIMER", Fit::Whole),
    Column { title: "RTT", right: true, fit: Fit::Whole },
    column("OWNER", Fit::Whole),
    column("POD", Fit::Whole),
    column("CONTAINER", Fit::Whole),
    column("SERVICE", Fit::Whole),
    column("LOOKS LIKE", Fit::Whole),
    number("USER TIMEOUT"),
    number("IDLE"),
    number("DROP IN"),
    number("RECV-Q"),
    number("SEND-Q"),
    number("NETNS"),
    number("INODE"),
    number("UID"),
    column("EXE", Fit::CutEnd(12)),
    column("AT RISK", Fit::Whole),
    column("WHAT TO SET", Fit::CutEnd(12)),
];

/// The columns of `top`.
pub(super) const TOP: [Column; 8] = [
    column("LOCAL", Fit::CutMiddleOrLeaveOut(21, 2)),
    column("REMOTE", Fit::CutMiddle(14)),
    column("KEEPALIVE", Fit::LeaveOut(3)),
    column("TIMER", Fit::CutEndLast(12)),
    Column { title: "DROP IN", right: true, fit: Fit::Whole },
    Column { title: "RTT", right: true, fit: Fit::LeaveOut(1) },
    column("AT RISK", Fit::LeaveOut(0)),
    column("OWNER", Fit::CutEnd(16)),
];

/// The cells of [`TOP`].
pub(super) fn top(socket: &SocketView) -> Vec<Cell> {
    vec![
        Cell::plain(address(socket.local)),
        Cell::plain(remote(socket)),
        keepalive_cell(socket),
        timer_cell(socket),
        Cell::plain(socket.drop_in_seconds.map_or(NONE.into(), remaining)),
        Cell::plain(socket.last_rtt_seconds.map_or(NONE.into(), round_trip)),
        risk_cell(socket),
        Cell::plain(owner(socket)),
    ]
}

/// The cells of [`NARROW`].
pub(super) fn narrow(socket: &SocketView) -> Vec<Cell> {
    let mut cells = common(socket);
    cells.push(Cell::plain(owner(socket)));
    cells
}

/// The cells of [`WIDE`].
pub(super) fn wide(socket: &SocketView) -> Vec<Cell> {
    let owner = &socket.owner;
    let text =
        |text: &str| Cell::plain(if text.is_empty() { NONE.into() } else { printable(text).into_owned() });
    let number = |number: Option<u64>| Cell::plain(number.map_or(NONE.into(), |number| number.to_string()));
    let time = |seconds: Option<f64>| Cell::plain(seconds.map_or(NONE.into(), duration));
    let user_timeout = socket.user_timeout_ms.filter(|ms| *ms != 0).map(|ms| f64::from(ms) / 1e3);
    let mut cells = common(socket);
    cells.extend([
        text(&process(socket)),
        text(&pod(socket)),
        text(&owner.container),
        text(&owner.service),
        text(socket.preset.as_deref().unwrap_or_default()),
        time(user_timeout),
        time(socket.idle_seconds()),
        time(socket.drop_in_seconds),
        number(socket.recv_queue.map(u64::from)),
        number(socket.send_queue.map(u64::from)),
        number(Some(socket.netns.into())),
        number((socket.inode != 0).then_some(socket.inode)),
        number(socket.uid.map(u64::from)),
        text(&owner.exe),
        risk_cell(socket),
        text(&what_to_set(socket)),
    ]);
    cells
}

/// LOCAL to RTT.
fn common(socket: &SocketView) -> Vec<Cell> {
    let established = socket.state == "ESTABLISHED";
    let state =
        Cell::new(printable(&socket.state).into_owned(), if established { Tone::Plain } else { Tone::Dim });
    vec![
        Cell::plain(address(socket.local)),
        Cell::plain(remote(socket)),
        state,
        keepalive_cell(socket),
        timer_cell(socket),
        Cell::plain(socket.last_rtt_seconds.map_or(NONE.into(), round_trip)),
    ]
}

fn keepalive_cell(socket: &SocketView) -> Cell {
    let unprotected = socket.keepalive == Some(false) && socket.state == "ESTABLISHED";
    Cell::new(keepalive(socket), if unprotected { Tone::Warning } else { Tone::Plain })
}

fn timer_cell(socket: &SocketView) -> Cell {
    let (text, silent) = timer(socket);
    Cell::new(text, if silent { Tone::Alarm } else { Tone::Plain })
}

/// `aws-nlb, azure-lb (peer probes)`: the policies that would cut it.
fn risk_cell(socket: &SocketView) -> Cell {
    let risks = socket.risks.as_deref().unwrap_or_default();
    let each = risks.iter().map(|risk| match risk.reason {
        Reason::PeerKeepsAlive => format!("{} (peer probes)", risk.policy),
        Reason::KeepaliveOff | Reason::IdleTooLong => risk.policy.clone(),
    });
    let names = each.collect::<Vec<_>>().join(", ");
    let worst = risks.iter().filter(|risk| risk.reason != Reason::PeerKeepsAlive).map(|risk| risk.severity);
    let tone = match worst.max() {
        Some(Severity::Critical) => Tone::Alarm,
        Some(Severity::Warning) => Tone::Warning,
        Some(Severity::Info) | None => Tone::Plain,
    };
    Cell::new(if names.is_empty() { NONE.to_owned() } else { printable(&names).into_owned() }, tone)
}

/// Against the strictest policy, and against settings that are a risk by themselves.
pub(super) fn what_to_set(socket: &SocketView) -> String {
    let warnings = socket.warnings.iter().flatten().map(|warning| warning.text.as_str());
    socket.advice.as_deref().into_iter().chain(warnings).collect::<Vec<_>>().join(" ")
}

/// The other end; a listener has none.
fn remote(socket: &SocketView) -> String {
    let nobody = socket.remote.ip().to_canonical().is_unspecified() && socket.remote.port() == 0;
    if nobody { "*".to_owned() } else { address(socket.remote) }
}

/// `15s/15s* ×9`: idle, interval and count in force, each marked that the application set.
fn keepalive(socket: &SocketView) -> String {
    match socket.keepalive {
        None => return NONE.to_owned(),
        Some(false) => return "off".to_owned(),
        Some(true) => {}
    }
    let origin = &socket.origin;
    let shown = |value: Option<String>, origin: Option<Origin>| {
        let mark = match origin {
            Some(Origin::Socket) => "*",
            Some(Origin::Sysctl) | None => "",
        };
        value.map_or_else(|| "?".to_owned(), |value| value + mark)
    };
    if (socket.keepidle_seconds, socket.keepintvl_seconds, socket.keepcnt) == (None, None, None) {
        return "on".to_owned();
    }
    format!(
        "{}/{} ×{}",
        shown(socket.keepidle_seconds.map(setting), origin.keepidle),
        shown(socket.keepintvl_seconds.map(setting), origin.keepintvl),
        shown(socket.keepcnt.map(|count| count.to_string()), origin.keepcnt),
    )
}

/// Exact, and short: `75s`, `10m`, `2h`.
fn setting(seconds: u32) -> String {
    match seconds {
        3_600.. if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        120.. if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// What the kernel does next with the socket; true: the peer is silent.
fn timer(socket: &SocketView) -> (String, bool) {
    let Some(TimerView { kind, expires_seconds, probes_out: out }) = socket.timer else {
        return (NONE.to_owned(), false);
    };
    let left = remaining(expires_seconds);
    match kind {
        // What is left of it is no keepalive: an orphan waits for the peer's goodbye.
        TimerKind::Keepalive if socket.state == "FIN_WAIT2" && socket.inode == 0 => {
            (format!("fin-wait {left}"), false)
        }
        TimerKind::Keepalive if out == 0 => {
            let next = socket.next_probe_seconds.map_or(left, remaining);
            (format!("probe in {next}"), false)
        }
        TimerKind::Keepalive => {
            let of = socket.keepcnt.map(|count| format!(" of {count}")).unwrap_or_default();
            let (event, left) = match socket.drop_in_seconds {
                // The run to come is the last one.
                Some(drop) if drop <= expires_seconds + 0.05 => ("drop", remaining(drop)),
                Some(_) | None => ("next", left),
            };
            (format!("{out}{of} unanswered, {event} in {left}"), true)
        }
        TimerKind::Retransmit => (format!("retransmit in {left}"), false),
        TimerKind::ZeroWindow if out == 0 => (format!("window probe in {left}"), false),
        TimerKind::ZeroWindow => (format!("{out} unanswered, window probe in {left}"), true),
        TimerKind::TimeWait => (format!("time-wait {left}"), false),
    }
}

/// `server[1234] shop/cart-7d4`: the process, and where it runs.
pub(super) fn owner(socket: &SocketView) -> String {
    let owner = &socket.owner;
    let place = [pod(socket), owner.container.clone(), owner.service.clone()];
    let place = place.into_iter().find(|place| !place.is_empty());
    let parts: Vec<String> =
        [process(socket)].into_iter().filter(|text| !text.is_empty()).chain(place).collect();
    if parts.is_empty() { NONE.to_owned() } else { printable(&parts.join(" ")).into_owned() }
}

fn process(socket: &SocketView) -> String {
    match (socket.owner.comm.as_str(), socket.owner.pid) {
        ("", None) => String::new(),
        ("", Some(pid)) => format!("[{pid}]"),
        (comm, None) => comm.to_owned(),
        (comm, Some(pid)) => format!("{comm}[{pid}]"),
    }
}

fn pod(socket: &SocketView) -> String {
    let owner = &socket.owner;
    match (owner.namespace.as_str(), owner.pod.as_str()) {
        (_, "") => String::new(),
        ("", pod) => pod.to_owned(),
        (namespace, pod) => format!("{namespace}/{pod}"),
    }
}

#[cfg(test)]
#[path = "cells_tests.rs"]
mod tests;
