//! In which order sockets are shown. The order is total, so that pages join without gap or overlap,
//! and a position in it outlives the reading that it was taken from: times are kept as moments, not
//! as spans that shrink while somebody reads.

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SocketView;

/// What sockets are ordered by. What is not known comes last, and ties are broken by network
/// namespace, local end, remote end and inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortKey {
    /// Local end: IPv4 (v4-mapped too) before IPv6, then by number, then port.
    #[default]
    Local,
    /// Remote end, likewise.
    Remote,
    /// TCP state, by name.
    State,
    /// Name of the process.
    Process,
    /// Idle time before the first probe, shortest first.
    Keepidle,
    /// The armed timer, soonest first.
    Timer,
    /// How long nothing was heard or sent, longest first.
    Idle,
    /// Last round trip, longest first.
    Rtt,
    /// Those that keepalive would drop soonest, unanswered probes before all others.
    Nearest,
}

impl SortKey {
    /// Every key.
    pub const ALL: [Self; 9] = [
        Self::Local,
        Self::Remote,
        Self::State,
        Self::Process,
        Self::Keepidle,
        Self::Timer,
        Self::Idle,
        Self::Rtt,
        Self::Nearest,
    ];

    /// The name in parameters and options.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::State => "state",
            Self::Process => "process",
            Self::Keepidle => "keepidle",
            Self::Timer => "timer",
            Self::Idle => "idle",
            Self::Rtt => "rtt",
            Self::Nearest => "nearest",
        }
    }

    /// Where a socket stands that was read at `now`, on any clock that does not jump. Positions by
    /// different keys, or from different clocks, have no order among each other.
    #[must_use]
    pub fn position(self, socket: &SocketView, now: Duration) -> Position {
        let moment = |seconds: f64| tenths(now.as_secs_f64() + seconds);
        let rank = match self {
            Self::Local => Rank::End(end(socket.local)),
            Self::Remote => Rank::End(end(socket.remote)),
            Self::State => Rank::Text(socket.state.clone()),
            Self::Process if socket.owner.comm.is_empty() => Rank::Unknown,
            Self::Process => Rank::Text(socket.owner.comm.clone()),
            Self::Keepidle => socket.keepidle_seconds.map_or(Rank::Unknown, |s| Rank::Up(s.into())),
            Self::Timer => {
                socket.timer.map_or(Rank::Unknown, |timer| Rank::Up(moment(timer.expires_seconds)))
            }
            // Longest idle is used least lately.
            Self::Idle => socket.idle_seconds().map_or(Rank::Unknown, |idle| Rank::Up(moment(-idle))),
            Self::Rtt => {
                socket.last_rtt_seconds.map_or(Rank::Unknown, |rtt| Rank::Down(Reverse(nanoseconds(rtt))))
            }
            Self::Nearest => {
                let unanswered = socket.timer.is_some_and(|timer| timer.probes_out > 0);
                match socket.drop_in_seconds.map(moment) {
                    Some(moment) if unanswered => Rank::First(moment),
                    // Probes of a shut window: nobody knows until when.
                    None if unanswered => Rank::First(i64::MAX),
                    Some(moment) => Rank::Up(moment),
                    None => Rank::Unknown,
                }
            }
        };
        Position { rank, tie: (socket.netns, socket.local, socket.remote, socket.inode) }
    }

    /// Orders sockets that were read at one time.
    pub fn sort(self, sockets: &mut [SocketView]) {
        sockets.sort_by_cached_key(|socket| self.position(socket, Duration::ZERO));
    }
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for SortKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|key| key.label() == text);
        found.ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::label).join(", ")))
    }
}

/// A place in the order by one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    rank: Rank,
    tie: (u32, SocketAddr, SocketAddr, u64),
}

/// What the key says; in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rank {
    /// Before all others, the smallest first.
    First(i64),
    /// The smallest first.
    Up(i64),
    /// The largest first.
    Down(Reverse<i64>),
    Text(String),
    End((IpAddr, u16)),
    Unknown,
}

fn end(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

/// Moments are told apart to 0.1 s: the kernel's own clock moves in steps of up to 10 ms, and those that
/// share a moment must keep their order from one reading to the next.
#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn tenths(seconds: f64) -> i64 {
    (seconds * 10.0).round() as i64
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn nanoseconds(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::socket::{TimerKind, TimerView};
    use crate::view::testing::{any_socket, socket};

    fn timer(expires_seconds: f64, probes_out: u8) -> TimerView {
        TimerView { kind: TimerKind::Keepalive, expires_seconds, probes_out }
    }

    /// Sockets in the order that is expected, told apart by the inode.
    #[track_caller]
    fn assert_order(key: SortKey, changes: &[&dyn Fn(&mut SocketView)]) {
        let mut sockets: Vec<_> = changes
            .iter()
            .zip(0..)
            .map(|(change, inode)| {
                let mut socket = socket("10.0.0.1:1", "10.0.0.2:2");
                socket.inode = inode;
                change(&mut socket);
                socket
            })
            .collect();
        sockets.reverse();
        key.sort(&mut sockets);
        let order: Vec<_> = sockets.iter().map(|socket| socket.inode).collect();
        assert_eq!(order, (0..changes.len() as u64).collect::<Vec<_>>(), "{key}");
    }

    #[test]
    fn each_key_orders_by_its_field_and_unknown_is_last() {
        let local = |text: &'static str| move |socket: &mut SocketView| socket.local = text.parse().unwrap();
        assert_order(
            SortKey::Local,
            &[&local("9.0.0.1:9"), &local("10.0.0.1:5"), &local("[::ffff:10.0.0.1]:80"), &local("[::1]:1")],
        );
        let remote =
            |text: &'static str| move |socket: &mut SocketView| socket.remote = text.parse().unwrap();
        assert_order(SortKey::Remote, &[&remote("9.0.0.1:9"), &remote("10.0.0.1:5"), &remote("10.0.0.1:40")]);
        let state = |text: &'static str| move |socket: &mut SocketView| text.clone_into(&mut socket.state);
        assert_order(SortKey::State, &[&state("CLOSE_WAIT"), &state("ESTABLISHED"), &state("LISTEN")]);
        let comm =
            |text: &'static str| move |socket: &mut SocketView| text.clone_into(&mut socket.owner.comm);
        assert_order(SortKey::Process, &[&comm("a"), &comm("ab"), &comm("b"), &comm("")]);
        let keepidle = |seconds| move |socket: &mut SocketView| socket.keepidle_seconds = seconds;
        assert_order(SortKey::Keepidle, &[&keepidle(Some(9)), &keepidle(Some(75)), &keepidle(None)]);
        let expires = |seconds| move |socket: &mut SocketView| socket.timer = Some(timer(seconds, 0));
        assert_order(SortKey::Timer, &[&expires(0.5), &expires(12.0), &|_| {}]);
        let idle = |seconds| move |socket: &mut SocketView| socket.last_acked_seconds = seconds;
        assert_order(SortKey::Idle, &[&idle(Some(100.0)), &idle(Some(0.1)), &idle(None)]);
        let rtt = |seconds| move |socket: &mut SocketView| socket.last_rtt_seconds = seconds;
        assert_order(SortKey::Rtt, &[&rtt(Some(0.2)), &rtt(Some(0.000_045)), &rtt(None)]);
    }

    #[test]
    fn the_nearest_are_those_with_unanswered_probes() {
        let near = |probes_out, seconds| {
            move |socket: &mut SocketView| {
                socket.timer = Some(timer(1.0, probes_out));
                socket.drop_in_seconds = seconds;
            }
        };
        assert_order(
            SortKey::Nearest,
            &[
                &near(3, Some(9.0)),
                &near(1, Some(100.0)),
                &near(1, None),
                &near(0, Some(2.0)),
                &near(0, Some(50.0)),
                &near(0, None),
            ],
        );
    }

    #[test]
    fn names_are_read_as_written() {
        for key in SortKey::ALL {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        let error = "RTT".parse::<SortKey>().unwrap_err();
        assert_eq!(
            error,
            "expected one of local, remote, state, process, keepidle, timer, idle, rtt, nearest"
        );
    }

    proptest::proptest! {
        #[test]
        fn a_socket_keeps_its_place_while_time_passes(socket in any_socket(), later in 1..1_000_u32) {
            let later = f64::from(later) / 10.0;
            let mut aged = socket.clone();
            if let Some(timer) = &mut aged.timer {
                timer.expires_seconds -= later;
            }
            aged.drop_in_seconds = socket.drop_in_seconds.map(|seconds| seconds - later);
            aged.last_received_seconds = socket.last_received_seconds.map(|seconds| seconds + later);
            for key in SortKey::ALL {
                let (now, then) = (Duration::from_secs(1_000), Duration::from_secs_f64(1_000.0 + later));
                proptest::prop_assert_eq!(key.position(&aged, then), key.position(&socket, now), "{}", key);
            }
        }

        #[test]
        fn positions_survive_json(socket in any_socket()) {
            for key in SortKey::ALL {
                let position = key.position(&socket, Duration::from_millis(1_234_567));
                let json = serde_json::to_string(&position).unwrap();
                proptest::prop_assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
            }
        }
    }
}
