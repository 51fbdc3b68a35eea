//! Observed probes by network namespace, beside what the kernel counted, in a bounded table.

use super::snapshot::NetnsTotals;
use crate::inventory::namespace::KernelCounts;
use crate::inventory::read::Netns;
use rustc_hash::{FxHashMap, FxHashSet};

/// How many namespaces are told apart. Their inode numbers are handed out lowest first and come
/// again, so this bounds about how many exist at once, not how many ever did.
pub(super) const MAX_NETNS: usize = 4096;

/// Place of a namespace; the first is for those that found none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NetnsSlot(u16);

impl NetnsSlot {
    /// As a place in a list.
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Counters by namespace.
#[derive(Debug)]
pub(super) struct NetnsTable {
    slots: FxHashMap<u32, NetnsSlot>,
    totals: Vec<NetnsTotals>,
    /// Of each place: its sockets in the table, and the sweep under way when it was last heard of.
    places: Vec<Place>,
    free: Vec<NetnsSlot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    sockets: u32,
    sweep: u64,
}

impl NetnsTable {
    pub(super) fn new() -> Self {
        Self {
            slots: FxHashMap::default(),
            totals: vec![NetnsTotals::default()],
            places: vec![Place::default()],
            free: Vec::new(),
        }
    }

    /// The slot of a namespace, a new one while there is room, else the shared first one. `sweep`: the one
    /// under way, or the last.
    pub(super) fn find(&mut self, netns: u32, sweep: u64) -> NetnsSlot {
        if netns == 0 {
            return NetnsSlot::default();
        }
        let slot = match self.slots.get(&netns) {
            Some(slot) => *slot,
            None => self.enter(netns),
        };
        self.places[slot.index()].sweep = sweep;
        slot
    }

    fn enter(&mut self, netns: u32) -> NetnsSlot {
        let fresh = NetnsTotals { netns, ..NetnsTotals::default() };
        let slot = if let Some(slot) = self.free.pop() {
            self.totals[slot.index()] = fresh;
            self.places[slot.index()] = Place::default();
            slot
        } else {
            if self.totals.len() > MAX_NETNS {
                return NetnsSlot::default();
            }
            let Ok(place) = u16::try_from(self.totals.len()) else {
                return NetnsSlot::default();
            };
            self.totals.push(fresh);
            self.places.push(Place::default());
            NetnsSlot(place)
        };
        self.slots.insert(netns, slot);
        slot
    }

    pub(super) fn at(&mut self, slot: NetnsSlot) -> &mut NetnsTotals {
        &mut self.totals[slot.index()]
    }

    /// A socket of this namespace came into the table.
    pub(super) fn gain(&mut self, slot: NetnsSlot) {
        self.places[slot.index()].sockets += 1;
    }

    /// A socket of this namespace left it.
    pub(super) fn lose(&mut self, slot: NetnsSlot) {
        let place = &mut self.places[slot.index()];
        place.sockets = place.sockets.saturating_sub(1);
    }

    /// Takes what the kernel counted. A count that fell is a new namespace of an old number: what was
    /// observed of the old one is not the new one's.
    pub(super) fn kernel(&mut self, netns: u32, counts: KernelCounts, sweep: u64) {
        let slot = self.find(netns, sweep);
        if slot == NetnsSlot::default() {
            return;
        }
        let totals = self.at(slot);
        let fell = totals.kernel.is_some_and(|before| {
            counts.keepalive < before.keepalive || counts.zero_window < before.zero_window
        });
        if fell {
            totals.keepalive = counts.keepalive;
            totals.zero_window = counts.zero_window;
        }
        totals.kernel = Some(counts);
    }

    /// The places of namespaces, by their index, that are among these.
    pub(super) fn among(&self, found: &[Netns]) -> Vec<bool> {
        let mut among = vec![false; self.totals.len()];
        for slot in found.iter().filter_map(|netns| self.slots.get(&netns.netns)) {
            among[slot.index()] = true;
        }
        among
    }

    /// Takes what a sweep found, and forgets namespaces that neither it nor the one before found: those that
    /// no socket of the table is in, and of which nothing was heard since that one began. One sweep may miss a
    /// namespace: where a descriptor alone leads there, and a process that was just forked had a copy of it,
    /// the copy is gone by the time that it is followed. `skipped`: some could not be read, so that it does
    /// not tell which are gone.
    pub(super) fn swept(&mut self, found: &[Netns], skipped: bool, sweep: u64) {
        for netns in found {
            let slot = self.find(netns.netns, sweep);
            if slot != NetnsSlot::default() {
                self.at(slot).sysctls = netns.sysctls;
            }
            if let Some(counts) = netns.counts {
                self.kernel(netns.netns, counts, sweep);
            }
        }
        if skipped {
            return;
        }
        let found: FxHashSet<u32> = found.iter().map(|netns| netns.netns).collect();
        let Self { slots, totals, places, free } = self;
        slots.retain(|netns, slot| {
            let place = places[slot.index()];
            let stays = found.contains(netns) || place.sockets > 0 || place.sweep + 1 >= sweep;
            if !stays {
                totals[slot.index()] = NetnsTotals::default();
                free.push(*slot);
            }
            stays
        });
    }

    pub(super) fn totals(&self) -> &[NetnsTotals] {
        &self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(netns: u32, keepalive: u64) -> Netns {
        Netns { netns, sysctls: None, counts: Some(KernelCounts { keepalive, zero_window: 0 }) }
    }

    fn shown(table: &NetnsTable) -> Vec<(u32, u64)> {
        table.totals().iter().filter(|t| t.netns != 0).map(|t| (t.netns, t.keepalive)).collect()
    }

    #[test]
    fn a_namespace_that_is_gone_is_forgotten() {
        let mut table = NetnsTable::new();
        table.swept(&[found(1, 0), found(2, 0)], false, 1);
        let slot = table.find(1, 1);
        table.at(slot).keepalive = 5;
        table.gain(slot);
        // Its sockets are still in the table.
        table.swept(&[found(2, 0)], false, 2);
        assert_eq!(shown(&table), [(1, 5), (2, 0)]);
        table.lose(slot);
        // A sweep that could not read all of them tells nothing.
        table.swept(&[found(2, 0)], true, 3);
        assert_eq!(shown(&table), [(1, 5), (2, 0)]);
        // Heard of while the sweep went on.
        table.find(1, 4);
        table.swept(&[found(2, 0)], false, 4);
        assert_eq!(shown(&table), [(1, 5), (2, 0)]);
        // One sweep may miss it.
        table.swept(&[found(2, 0)], false, 5);
        assert_eq!(shown(&table), [(1, 5), (2, 0)]);
        table.swept(&[found(2, 0)], false, 6);
        assert_eq!(shown(&table), [(2, 0)]);
        // Its place and its number are another's, from 0.
        table.find(1, 6);
        assert_eq!(shown(&table), [(1, 0), (2, 0)]);
    }

    #[test]
    fn a_count_that_fell_is_a_new_namespace() {
        let mut table = NetnsTable::new();
        table.swept(&[found(1, 7)], false, 1);
        let slot = table.find(1, 1);
        table.at(slot).keepalive = 7;
        table.kernel(1, KernelCounts { keepalive: 8, zero_window: 0 }, 1);
        assert_eq!(shown(&table), [(1, 7)]);
        table.kernel(1, KernelCounts { keepalive: 2, zero_window: 0 }, 1);
        assert_eq!(shown(&table), [(1, 2)]);
    }
}
