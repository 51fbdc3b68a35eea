//! Whether the peers of sockets that an idle limit would cut probe by themselves, remembered from sweep to
//! sweep. Pure.
//!
//! The kernel answers an incoming keepalive probe and tells nobody: it moves `segs_in`, and neither the time at
//! which data nor that at which an acknowledgement was last accepted. So a socket whose `segs_in` moved from one
//! sweep to the next, and that heard nothing in between, was probed. What else does so (a segment that comes
//! late or twice) is rare, and uses the connection all the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use ka_common::SocketRow;
use rustc_hash::FxBuildHasher;

use super::describe;
use crate::policy::PeerProbes;
use crate::table::Clock;

/// Sockets that are remembered: 24 bytes each, in a table that is half empty at worst.
const MAX: usize = 1 << 17;
/// A row is processed a moment after it was read. What was heard within so much of the last sweep may have been
/// heard after it.
const MARGIN: Duration = Duration::from_secs(2);

/// What is known of peers. Clones share it: sweeps write, whoever lists sockets reads.
#[derive(Clone, Debug, Default)]
pub struct Peers(Arc<Mutex<Memory>>);

impl Peers {
    /// What the sweeps saw.
    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory itself.
#[derive(Debug)]
pub struct Memory {
    seen: HashMap<u64, Seen, FxBuildHasher>,
    max: usize,
    /// When the sweep under way, or else the last one, began, and the one before.
    begun: [Ticks; 2],
    /// Sockets that found no place in this sweep.
    left_out: u64,
    /// Whether that was told.
    told: bool,
}

/// What is remembered of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    segs_in: u32,
    read: Ticks,
    /// When a probe was last seen; 0: never.
    probe: Ticks,
    /// For how long the connection had been idle then, at least.
    after: Ticks,
}

/// Time since boot, or a span of it, in eighths of a second: 17 years.
type Ticks = u32;

const _: () = assert!(size_of::<(u64, Seen)>() == 24);

impl Default for Memory {
    fn default() -> Self {
        Self::with_room_for(MAX)
    }
}

impl Memory {
    fn with_room_for(max: usize) -> Self {
        Self { seen: HashMap::default(), max, begun: [0; 2], left_out: 0, told: false }
    }

    /// A sweep begins.
    pub fn sweep_begins(&mut self, now: Duration) {
        self.begun = [ticks(now), self.begun[0]];
        self.left_out = 0;
    }

    /// A sweep found a socket that a policy would cut. Tells what is known of its peer's probes by now.
    pub fn found(&mut self, row: &SocketRow, clock: Clock, now: Duration) -> Option<PeerProbes> {
        let key = describe::identity(row);
        let now = ticks(now).max(1);
        if let Some(seen) = self.seen.get_mut(&key) {
            seen.is_read_again(row, clock, now);
        } else if self.seen.len() < self.max {
            self.seen.insert(key, Seen { segs_in: row.segs_in, read: now, probe: 0, after: 0 });
        } else {
            self.left_out += 1;
        }
        self.probes(row, clock)
    }

    /// A sweep ended: sockets that neither it nor the one before found are forgotten, and with them those that no
    /// policy would cut any more. Tells how many found no place.
    pub fn sweep_ends(&mut self) -> u64 {
        let [_, before] = self.begun;
        self.seen.retain(|_, seen| seen.read >= before);
        if self.seen.len() * 4 < self.seen.capacity() {
            self.seen.shrink_to(self.seen.len() * 2);
        }
        if self.left_out > 0 && !self.told {
            self.told = true;
            tracing::warn!(
                "policies would cut more than {} sockets: of {} it is not known whether their peers probe, and they \
                 are told as if none did",
                self.max,
                self.left_out
            );
        }
        self.left_out
    }

    /// What the sweeps saw of the probes of a socket's peer; none: no probe.
    #[must_use]
    pub fn probes(&self, row: &SocketRow, clock: Clock) -> Option<PeerProbes> {
        let seen = self.seen.get(&describe::identity(row)).filter(|seen| seen.probe != 0)?;
        let since = span(seen.read.saturating_sub(seen.probe));
        Some(PeerProbes {
            after: span(seen.after),
            // What else uses the connection makes the peer wait anew.
            silent: describe::idle(row, clock).map_or(since, |idle| idle.min(since)),
            interval: span(self.begun[0].saturating_sub(self.begun[1])),
        })
    }
}

impl Seen {
    fn is_read_again(&mut self, row: &SocketRow, clock: Clock, now: Ticks) {
        let heard = [(SocketRow::ACKED, row.acked_age), (SocketRow::RECEIVED, row.received_age)];
        let heard = heard.into_iter().filter(|(flag, _)| row.flags & flag != 0);
        let heard = heard.map(|(_, age)| clock.age(age)).min().map_or(Ticks::MAX, ticks);
        let since = now.saturating_sub(self.read).saturating_add(ticks(MARGIN));
        if row.segs_in != self.segs_in && heard >= since {
            let used = describe::idle(row, clock).map_or(0, |idle| now.saturating_sub(ticks(idle)));
            self.after = self.read.saturating_sub(used.max(self.probe));
            self.probe = now;
        }
        (self.segs_in, self.read) = (row.segs_in, now);
    }
}

fn ticks(time: Duration) -> Ticks {
    Ticks::try_from(time.as_millis() / 125).unwrap_or(Ticks::MAX)
}

fn span(ticks: Ticks) -> Duration {
    Duration::from_millis(u64::from(ticks) * 125)
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
