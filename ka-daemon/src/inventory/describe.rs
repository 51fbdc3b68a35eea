//! A row as people and programs are shown it: jiffies become seconds, raw settings become what is in
//! force and who chose it. Pure.

use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ka_common::{RowTimer, SocketRow};
use rustc_hash::FxBuildHasher;

use super::namespace::Sysctls;
use super::presets::Raw;
use crate::owner::Owner;
use crate::policy::Connection;
use crate::table::{Clock, tcp};
use crate::view::socket::{Origin, Origins, TimerKind, TimerView};
use crate::view::{SocketView, risk};

const AF_INET: u16 = 2;

/// Keepalive settings in force, and who chose each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `TCP_KEEPIDLE` in seconds.
    pub keepidle: u32,
    /// `TCP_KEEPINTVL` in seconds.
    pub keepintvl: u32,
    /// `TCP_KEEPCNT`
    pub keepcnt: u32,
    /// Who chose these.
    pub origin: Origins,
}

/// The settings in force of a full socket; none where they are not known.
#[must_use]
pub fn settings(row: &SocketRow, sysctls: Option<&Sysctls>, clock: Clock) -> Option<Settings> {
    if row.flags & SocketRow::FULL == 0 {
        return None;
    }
    Some(in_force(row.into(), sysctls?, clock))
}

/// The settings in force where these are set on the socket, and those are its namespace's.
#[must_use]
pub fn in_force(own: Raw, inherited: &Sysctls, clock: Clock) -> Settings {
    let choose = |own: Option<u32>, inherited| match own {
        None => (inherited, Some(Origin::Sysctl)),
        Some(own) => (own, Some(Origin::Socket)),
    };
    let own = own.settings(clock);
    let (keepidle, idle_origin) = choose(own.keepidle, inherited.keepidle);
    let (keepintvl, interval_origin) = choose(own.keepintvl, inherited.keepintvl);
    let (keepcnt, count_origin) = choose(own.keepcnt, inherited.keepcnt);
    let origin = Origins { keepidle: idle_origin, keepintvl: interval_origin, keepcnt: count_origin };
    Settings { keepidle, keepintvl, keepcnt, origin }
}

/// One end of a connection.
#[must_use]
pub fn end(family: u16, address: [u8; 16], port: u16) -> SocketAddr {
    let ip = if family == AF_INET {
        let [a, b, c, d, ..] = address;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        IpAddr::V6(Ipv6Addr::from(address))
    };
    SocketAddr::new(ip, port)
}

/// What is shown of a row.
#[must_use]
pub fn view(
    row: &SocketRow,
    netns: u32,
    sysctls: Option<&Sysctls>,
    clock: Clock,
    owner: &Owner,
) -> SocketView {
    let settings = settings(row, sysctls, clock);
    let full = row.flags & SocketRow::FULL != 0;
    let age = |flag: u16, age: u32| (row.flags & flag != 0).then(|| clock.age(age).as_secs_f64());
    let has_ages = !matches!(row.state, tcp::LISTEN | tcp::SYN_SENT);
    let queues = full || row.inode != 0;
    let mut view = SocketView {
        local: end(row.family, row.local, row.local_port),
        remote: end(row.family, row.remote, row.remote_port),
        state: tcp::state_name(row.state).to_owned(),
        netns,
        inode: row.inode,
        keepalive: keepalive(row),
        keepidle_seconds: settings.map(|s| s.keepidle),
        keepintvl_seconds: settings.map(|s| s.keepintvl),
        keepcnt: settings.map(|s| s.keepcnt),
        origin: settings.map_or_else(Origins::default, |s| s.origin),
        preset: None,
        user_timeout_ms: full.then_some(row.user_timeout_ms),
        timer: timer(row, clock),
        next_probe_seconds: None,
        drop_in_seconds: None,
        last_received_seconds: age(SocketRow::RECEIVED, row.received_age).filter(|_| has_ages),
        last_sent_seconds: age(SocketRow::SENT, row.sent_age).filter(|_| has_ages),
        last_acked_seconds: age(SocketRow::ACKED, row.acked_age).filter(|_| has_ages),
        last_rtt_seconds: None,
        recv_queue: queues.then_some(row.recv_queue),
        send_queue: queues.then_some(row.send_queue),
        uid: (full || row.inode != 0).then_some(row.uid),
        cgroup_id: row.cgroup_id,
        owner: owner.clone(),
        risks: None,
        advice: None,
        warnings: None,
    };
    view.warnings = risk::warnings(&view);
    if let Some(settings) = settings
        && let Some(next) = next_probe(row, settings, clock)
    {
        view.next_probe_seconds = Some(next.as_secs_f64());
        view.drop_in_seconds = Some(drop_in(row, settings, clock, next).as_secs_f64());
    }
    view
}

/// A socket with these settings, as policies look at it.
#[must_use]
pub fn connection<'a>(row: &SocketRow, settings: &Settings, owner: &'a Owner) -> Connection<'a> {
    let on = row.flags & SocketRow::KEEPALIVE != 0;
    Connection {
        local: end(row.family, row.local, row.local_port),
        remote: end(row.family, row.remote, row.remote_port),
        owner,
        keepidle: on.then(|| Duration::from_secs(settings.keepidle.into())),
    }
}

/// How long nothing was heard or sent, as [`SocketView::idle_seconds`] tells it; none: not known.
#[must_use]
pub fn idle(row: &SocketRow, clock: Clock) -> Option<Duration> {
    let ages = [
        (SocketRow::RECEIVED, row.received_age),
        (SocketRow::SENT, row.sent_age),
        (SocketRow::ACKED, row.acked_age),
    ];
    ages.into_iter().filter(|(flag, _)| row.flags & flag != 0).map(|(_, age)| clock.age(age)).min()
}

/// Names a socket, apart from others that get its address in the kernel later.
#[must_use]
pub fn identity(row: &SocketRow) -> u64 {
    let ends = (row.local, row.local_port, row.remote, row.remote_port);
    FxBuildHasher.hash_one((row.sock, row.inode, ends))
}

/// Without the flags of a full socket an armed keepalive timer still tells that it is on.
fn keepalive(row: &SocketRow) -> Option<bool> {
    if row.flags & SocketRow::FULL != 0 {
        Some(row.flags & SocketRow::KEEPALIVE != 0)
    } else if row.timer == RowTimer::Keepalive as u8 && row.state == tcp::ESTABLISHED {
        Some(true)
    } else {
        None
    }
}

fn timer(row: &SocketRow, clock: Clock) -> Option<TimerView> {
    let kind = match RowTimer::from_byte(row.timer)? {
        RowTimer::None => return None,
        RowTimer::Retransmit => TimerKind::Retransmit,
        RowTimer::Keepalive => TimerKind::Keepalive,
        RowTimer::TimeWait => TimerKind::TimeWait,
        RowTimer::ZeroWindow => TimerKind::ZeroWindow,
    };
    Some(TimerView {
        kind,
        expires_seconds: left(row.expires, clock).as_secs_f64(),
        probes_out: row.probes_out,
    })
}

/// A timer that is due by now fires now.
fn left(jiffies: i32, clock: Clock) -> Duration {
    clock.duration(u32::try_from(jiffies).unwrap_or(0))
}

/// Until the next keepalive probe, if nothing is heard before. None where keepalive does not probe: it is
/// off, the connection is not established or nobody's any more, or data is under way, which the
/// retransmission timer watches over.
fn next_probe(row: &SocketRow, settings: Settings, clock: Clock) -> Option<Duration> {
    let wanted = SocketRow::KEEPALIVE | SocketRow::KEEPALIVE_ARMED;
    let orphan_waits = row.flags & SocketRow::ORPHAN != 0 && row.state == tcp::FIN_WAIT2;
    if row.flags & wanted != wanted || orphan_waits || row.send_queue != 0 {
        return None;
    }
    // A run that comes before the idle time is over only starts the timer again for the rest.
    let rest = Duration::from_secs(settings.keepidle.into()).saturating_sub(heard(row, clock));
    Some(left(row.keepalive_expires, clock).max(rest))
}

/// Since anything was heard, as the keepalive timer counts it.
fn heard(row: &SocketRow, clock: Clock) -> Duration {
    clock.age(row.acked_age).min(clock.age(row.received_age))
}

/// Until keepalive ends the connection, if nothing is heard any more: after the probe count, or with
/// `TCP_USER_TIMEOUT` set at the first run that finds it over and a probe out.
fn drop_in(row: &SocketRow, settings: Settings, clock: Clock, next: Duration) -> Duration {
    let out = u32::from(row.probes_out);
    let interval = Duration::from_secs(settings.keepintvl.into());
    if row.user_timeout_ms == 0 {
        return next + interval * settings.keepcnt.saturating_sub(out);
    }
    let limit = Duration::from_millis(row.user_timeout_ms.into());
    let over_in = limit.saturating_sub(heard(row, clock));
    let first = if out > 0 { next } else { next + interval };
    let missing = over_in.saturating_sub(first);
    let runs = missing.as_nanos().div_ceil(interval.as_nanos().max(1));
    first + interval * u32::try_from(runs).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: Clock = Clock::new(250);
    const SYSCTLS: Sysctls = Sysctls { keepidle: 7200, keepintvl: 75, keepcnt: 9 };

    fn established() -> SocketRow {
        SocketRow {
            local: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            remote: [127, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            local_port: 1,
            remote_port: 2,
            family: AF_INET,
            state: tcp::ESTABLISHED,
            inode: 7,
            flags: SocketRow::FULL
                | SocketRow::KEEPALIVE
                | SocketRow::KEEPALIVE_ARMED
                | SocketRow::ACKED
                | SocketRow::RECEIVED
                | SocketRow::SENT,
            timer: RowTimer::Keepalive as u8,
            keepidle: 15 * 250,
            keepintvl: 10 * 250,
            ..SocketRow::default()
        }
    }

    fn shown(row: &SocketRow) -> SocketView {
        view(row, 1, Some(&SYSCTLS), HZ, &Owner::default())
    }

    #[test]
    fn settings_in_force_name_who_chose_them() {
        let shown = shown(&established());
        let values = (shown.keepidle_seconds, shown.keepintvl_seconds, shown.keepcnt);
        assert_eq!(values, (Some(15), Some(10), Some(9)));
        let (socket, sysctl) = (Some(Origin::Socket), Some(Origin::Sysctl));
        assert_eq!(shown.origin, Origins { keepidle: socket, keepintvl: socket, keepcnt: sysctl });
        assert_eq!(shown.keepalive, Some(true));
        assert_eq!(shown.local.to_string(), "127.0.0.1:1");
    }

    #[test]
    fn what_is_no_full_socket_has_no_settings() {
        let row =
            SocketRow { flags: 0, inode: 0, state: 6, timer: RowTimer::TimeWait as u8, ..established() };
        let shown = shown(&row);
        assert_eq!((shown.keepalive, shown.keepidle_seconds, shown.user_timeout_ms), (None, None, None));
        assert_eq!((shown.last_sent_seconds, shown.recv_queue, shown.uid), (None, None, None));
        assert_eq!(shown.origin, Origins::default());
        assert_eq!(shown.timer.map(|timer| timer.kind), Some(TimerKind::TimeWait));
        assert_eq!(shown.next_probe_seconds, None);
    }

    #[test]
    fn the_next_probe_waits_for_the_idle_time() {
        // The timer was armed before data came: it fires in 2 s and starts again.
        let used = SocketRow { keepalive_expires: 500, acked_age: 250, received_age: 500, ..established() };
        assert_eq!(shown(&used).next_probe_seconds, Some(14.0));
        let idle =
            SocketRow { keepalive_expires: 500, acked_age: 13 * 250, received_age: 9999, ..established() };
        assert_eq!(shown(&idle).next_probe_seconds, Some(2.0));
        let unanswered =
            SocketRow { keepalive_expires: 500, acked_age: 30 * 250, received_age: 9999, ..established() };
        assert_eq!(shown(&unanswered).next_probe_seconds, Some(2.0));
        for none in [
            SocketRow { send_queue: 1, ..idle },
            SocketRow { flags: idle.flags & !SocketRow::KEEPALIVE, ..idle },
            SocketRow { flags: idle.flags | SocketRow::ORPHAN, state: tcp::FIN_WAIT2, ..idle },
        ] {
            assert_eq!(shown(&none).next_probe_seconds, None);
            assert_eq!(shown(&none).drop_in_seconds, None);
        }
    }

    #[test]
    fn the_end_comes_after_the_probes_that_are_left() {
        let idle = SocketRow {
            keepalive_expires: 500,
            acked_age: 13 * 250,
            received_age: 9999,
            keepcnt: 3,
            ..established()
        };
        assert_eq!(shown(&idle).drop_in_seconds, Some(32.0));
        let two_out = SocketRow { probes_out: 2, acked_age: 33 * 250, ..idle };
        assert_eq!(shown(&two_out).drop_in_seconds, Some(12.0));
        // More than there should be: the next run ends it.
        assert_eq!(shown(&SocketRow { probes_out: 9, ..two_out }).drop_in_seconds, Some(2.0));
    }

    #[test]
    fn a_user_timeout_takes_the_place_of_the_count() {
        let idle = SocketRow {
            keepalive_expires: 500,
            acked_age: 13 * 250,
            received_age: 9999,
            user_timeout_ms: 2_000,
            ..established()
        };
        // Over long before, yet a probe must be out first: one lost probe is fatal.
        assert_eq!(shown(&idle).drop_in_seconds, Some(12.0));
        let longer = SocketRow { user_timeout_ms: 60_000, ..idle };
        // At 15 s a probe, then every 10 s: the first run at or after 60 s is that at 65 s.
        assert_eq!(shown(&longer).drop_in_seconds, Some(52.0));
        let out = SocketRow { probes_out: 1, acked_age: 23 * 250, ..idle };
        assert_eq!(shown(&out).drop_in_seconds, Some(2.0));
    }

    #[test]
    fn a_timer_that_is_due_fires_now() {
        let late = SocketRow { expires: -3, ..established() };
        assert_eq!(shown(&late).timer.map(|timer| timer.expires_seconds), Some(0.0));
    }

    #[test]
    fn without_settings_an_armed_timer_tells_that_keepalive_is_on() {
        let diag = SocketRow { flags: 0, ..established() };
        assert_eq!(shown(&diag).keepalive, Some(true));
        assert_eq!(shown(&SocketRow { timer: 1, ..diag }).keepalive, None);
        assert_eq!(shown(&SocketRow { state: tcp::FIN_WAIT2, ..diag }).keepalive, None);
    }
}
