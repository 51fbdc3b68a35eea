//! Which configured idle limits would cut a socket, with what to set; and settings of it that are a risk
//! whatever lies on the way. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SocketView;
use super::socket::Origin;
use super::user_timeout::Limits;
use super::words::duration;
use crate::owner;
use crate::policy::{Connection, PeerProbes, Policies, Policy, Reason, Severity};

/// A policy whose idle limit would cut a socket when nobody uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Risk {
    /// The policy's name.
    pub policy: String,
    /// Why its limit would cut the socket.
    pub reason: Reason,
    /// Its limit.
    pub idle_limit_seconds: f64,
    /// How bad that is.
    pub severity: Severity,
}

/// What is wrong with the settings of a socket by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// `TCP_USER_TIMEOUT` is over when the first probe is found unanswered, whatever the probe count.
    UserTimeoutKillsAfterOneProbe,
}

/// A setting that is a risk by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// Which.
    pub kind: WarningKind,
    /// What it means, and what to set.
    pub text: String,
}

/// Fills in `risks` and `advice`. `peer` is asked, once, where a policy would cut the socket.
pub fn assess(socket: &mut SocketView, policies: &Policies, peer: impl FnOnce() -> Option<PeerProbes>) {
    if policies.is_empty() {
        return;
    }
    if socket.state != "ESTABLISHED" {
        socket.risks = Some(Vec::new());
        return;
    }
    let keepidle = match (socket.keepalive, socket.keepidle_seconds) {
        (Some(true), Some(seconds)) => Some(Duration::from_secs(seconds.into())),
        (Some(false), _) => None,
        (Some(true), None) | (None, _) => return,
    };
    let SocketView { local, remote, ref owner, .. } = *socket;
    let mut cut = Vec::new();
    policies.judge(&Connection { local, remote, owner, keepidle }, peer, |place, reason| {
        cut.extend(policies.get(place).map(|policy| (policy, reason)));
    });
    let risk = |(policy, reason): &(&Policy, Reason)| Risk {
        policy: policy.name.to_string(),
        reason: *reason,
        idle_limit_seconds: policy.idle_limit.as_secs_f64(),
        severity: policy.severity,
    };
    socket.risks = Some(cut.iter().map(risk).collect());
    // The strictest of those that the peer does not take care of.
    let strictest = cut.into_iter().min_by_key(|(policy, reason)| {
        (*reason == Reason::PeerKeepsAlive, policy.idle_limit, policy.name.clone())
    });
    socket.advice = strictest.map(|(policy, reason)| advice(socket, policy, reason));
}

/// What the settings of a socket risk by themselves; none: they are not known.
#[must_use]
pub fn warnings(socket: &SocketView) -> Option<Vec<Warning>> {
    let limits = Limits {
        keepidle_seconds: socket.keepidle_seconds?,
        keepintvl_seconds: socket.keepintvl_seconds?,
        keepcnt: socket.keepcnt?,
        user_timeout_ms: socket.user_timeout_ms?,
    };
    let probes = socket.keepalive? && socket.state == "ESTABLISHED";
    let fatal = probes && limits.user_timeout_ms > 0 && limits.one_probe_is_fatal();
    Some(if fatal {
        let kind = WarningKind::UserTimeoutKillsAfterOneProbe;
        vec![Warning { kind, text: format!("{} {}", limits.fatal(), limits.remedy()) }]
    } else {
        Vec::new()
    })
}

/// What would happen, and what to set so that it does not.
fn advice(socket: &SocketView, policy: &Policy, reason: Reason) -> String {
    let note = policy.note.as_ref().map_or_else(String::new, |note| format!(" {}", note.trim_end()));
    if reason != Reason::PeerKeepsAlive {
        return against(socket, &policy.name, policy.idle_limit) + &note;
    }
    format!(
        "Only the probes of the peer keep it below the idle limit of {} ({}): {}. To depend on nobody else, {}.{note}",
        policy.name,
        duration(policy.idle_limit.as_secs_f64()),
        fact(socket),
        what_to_set(socket, policy.idle_limit)
    )
}

/// What something of this name that forgets what is idle for so long would do to a socket, and what to set.
#[must_use]
pub fn against(socket: &SocketView, name: &str, limit: Duration) -> String {
    let idle = socket.idle_seconds().map(|idle| format!("this has been idle for {}", duration(idle)));
    let facts = idle.into_iter().chain([fact(socket)]).collect::<Vec<_>>().join(", and ");
    let (shown, then) = (duration(limit.as_secs_f64()), what_to_set(socket, limit));
    format!("{name} cuts what is idle for {shown}: {facts}. To keep it, {then}.")
}

fn fact(socket: &SocketView) -> String {
    match socket.keepalive {
        Some(true) => format!("the first probe comes after {}", keepidle(socket)),
        Some(false) | None => "keepalive is off".to_owned(),
    }
}

/// Half of a limit leaves room for a probe that is lost.
fn keepidle_for(limit: Duration) -> Option<u64> {
    let half = (limit.as_secs() / 2).max(1);
    (Duration::from_secs(half) < limit).then_some(half)
}

/// By what the program is known to be, where it is.
fn what_to_set(socket: &SocketView, limit: Duration) -> String {
    let Some(seconds) = keepidle_for(limit) else {
        return "let the application send something sooner: no keepalive is that fast".to_owned();
    };
    let user_timeout = socket.user_timeout_ms.unwrap_or(0);
    let is_off = socket.keepalive == Some(false);
    match (socket.owner.comm.as_str(), socket.preset.as_deref()) {
        (owner::KERNEL, _) => "raise the limit: the socket is the kernel's own (NFS, for one)".to_owned(),
        ("nginx", _) => format!(
            "give `listen` so_keepalive={seconds}s:: for clients, and proxy_socket_keepalive on for upstreams with \
             net.ipv4.tcp_keepalive_time at {seconds}"
        ),
        ("postgres", _) => format!("set tcp_keepalives_idle = {seconds} in postgresql.conf"),
        (_, Some("go")) => format!(
            "let the program set KeepAliveConfig{{Enable: true, Idle: {seconds} * time.Second}} on its net.Dialer \
             and net.ListenConfig"
        ),
        _ if is_off && user_timeout > 0 => format!(
            "let it ping: TCP_USER_TIMEOUT ({}) keeps nothing by itself, and gRPC, which sets it, pings at its \
             keepalive time, to be at most {seconds} s (GRPC_ARG_KEEPALIVE_TIME_MS, ClientParameters.Time); or \
             turn SO_KEEPALIVE on with TCP_KEEPIDLE of at most {seconds} s",
            duration(f64::from(user_timeout) / 1e3)
        ),
        _ if is_off => turn_on(socket, limit, seconds),
        _ if socket.origin.keepidle == Some(Origin::Sysctl) => format!(
            "set TCP_KEEPIDLE on the socket, or net.ipv4.tcp_keepalive_time in its network namespace, to at most \
             {seconds} s"
        ),
        _ => format!("let the application set TCP_KEEPIDLE to at most {seconds} s"),
    }
}

fn turn_on(socket: &SocketView, limit: Duration, seconds: u64) -> String {
    let inherited = socket.keepidle_seconds.map(|idle| Duration::from_secs(idle.into()));
    match inherited {
        Some(inherited) if inherited >= limit => format!(
            "turn keepalive on (SO_KEEPALIVE) with TCP_KEEPIDLE of at most {seconds} s: by itself it would first \
             probe after {}",
            keepidle(socket)
        ),
        Some(_) => {
            format!("turn keepalive on (SO_KEEPALIVE): it would first probe after {}", keepidle(socket))
        }
        None => format!("turn keepalive on (SO_KEEPALIVE) with TCP_KEEPIDLE of at most {seconds} s"),
    }
}

/// The idle setting in force and where it comes from.
fn keepidle(socket: &SocketView) -> String {
    let value = socket.keepidle_seconds.map_or_else(String::new, |seconds| duration(seconds.into()));
    match socket.origin.keepidle {
        Some(Origin::Sysctl) => format!("{value} (net.ipv4.tcp_keepalive_time)"),
        Some(Origin::Socket) => format!("{value} (set by the application)"),
        None => value,
    }
}
