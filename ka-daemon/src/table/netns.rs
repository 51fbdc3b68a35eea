//! Observed probes by network namespace, in a bounded table.

use super::snapshot::NetnsTotals;
use rustc_hash::FxHashMap;

/// How many namespaces are told apart. Their inode numbers are handed out lowest first and come
/// again, so this bounds about how many exist at once, not how many ever did.
pub(super) const MAX_NETNS: usize = 4096;

/// Place of a namespace; the first is for those that found none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NetnsSlot(u16);

/// Counters by namespace.
#[derive(Debug)]
pub(super) struct NetnsTable {
    slots: FxHashMap<u32, NetnsSlot>,
    totals: Vec<NetnsTotals>,
}

impl NetnsTable {
    pub(super) fn new() -> Self {
        Self { slots: FxHashMap::default(), totals: vec![NetnsTotals::default()] }
    }

    /// The slot of a namespace, a new one while there is room, else the shared first one.
    pub(super) fn find(&mut self, netns: u32) -> NetnsSlot {
        if netns == 0 {
            return NetnsSlot::default();
        }
        if let Some(&slot) = self.slots.get(&netns) {
            return slot;
        }
        if self.totals.len() > MAX_NETNS {
            return NetnsSlot::default();
        }
        let Ok(place) = u16::try_from(self.totals.len()) else {
            return NetnsSlot::default();
        };
        let slot = NetnsSlot(place);
        self.totals.push(NetnsTotals { netns, ..NetnsTotals::default() });
        self.slots.insert(netns, slot);
        slot
    }

    pub(super) fn at(&mut self, slot: NetnsSlot) -> &mut NetnsTotals {
        &mut self.totals[usize::from(slot.0)]
    }

    pub(super) fn totals(&self) -> &[NetnsTotals] {
        &self.totals
    }
}
