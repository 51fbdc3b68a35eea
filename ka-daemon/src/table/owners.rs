//! Owners, by the labels that are wanted: bounded, each with a place in the totals for as long as it has a
//! socket or had one lately.

use super::snapshot::{OwnerId, OwnerKey, OwnerTotals};
use crate::inventory::totals::{OwnerSockets, RiskCount};
use crate::owner::{Held, Owner};
use rustc_hash::FxBuildHasher;
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// Tells whose a socket is.
pub trait Whose {
    /// The owner of a socket. `alive`: it exists for certain, so that looking for it pays.
    fn owner(&mut self, held: Held, alive: bool) -> Arc<Owner>;
}

/// Nobody's: every owner is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Whose for Nobody {
    fn owner(&mut self, _: Held, _: bool) -> Arc<Owner> {
        Arc::default()
    }
}

/// Which of the owner labels are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of labels, independent of each other")]
pub struct OwnerLabels {
    /// Kubernetes namespace.
    pub namespace: bool,
    /// Kubernetes pod.
    pub pod: bool,
    /// Container.
    pub container: bool,
    /// systemd unit.
    pub service: bool,
    /// Name of the process.
    pub comm: bool,
}

impl OwnerLabels {
    /// All of them.
    pub const ALL: Self = Self { namespace: true, pod: true, container: true, service: true, comm: true };

    /// Reads a list such as `namespace,pod`; an empty one uses none.
    ///
    /// # Errors
    /// What is no label is named.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut labels = Self { namespace: false, pod: false, container: false, service: false, comm: false };
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let place = match name {
                "namespace" => &mut labels.namespace,
                "pod" => &mut labels.pod,
                "container" => &mut labels.container,
                "service" => &mut labels.service,
                "comm" => &mut labels.comm,
                other => {
                    return Err(format!(
                        "{other:?} is no owner label; expected some of namespace, pod, container, service, comm"
                    ));
                }
            };
            *place = true;
        }
        Ok(labels)
    }

    fn names(self) -> Vec<&'static str> {
        let all = [
            (self.namespace, "namespace"),
            (self.pod, "pod"),
            (self.container, "container"),
            (self.service, "service"),
            (self.comm, "comm"),
        ];
        all.into_iter().filter_map(|(used, name)| used.then_some(name)).collect()
    }

    fn of(self, owner: &Owner) -> OwnerKey {
        let text = |wanted: bool, text: &str| if wanted { text.into() } else { Arc::default() };
        OwnerKey {
            namespace: text(self.namespace, &owner.namespace),
            pod: text(self.pod, &owner.pod),
            container: text(self.container, &owner.container),
            service: text(self.service, &owner.service),
            comm: text(self.comm, &owner.comm),
        }
    }
}

impl Serialize for OwnerLabels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(serializer)
    }
}

/// An owner that nothing was heard of for this long is not shown any more.
const SHOWN_SECONDS: u32 = 600;
/// Owners that were folded and are told apart, so that each is counted once.
const MAX_FOLDED: usize = 1 << 16;

/// The places of owners in the totals.
#[derive(Debug)]
pub(super) struct Owners {
    index: HashMap<OwnerKey, OwnerId, FxBuildHasher>,
    /// Of each place: its sockets in the table, and when it was last heard of.
    places: Vec<Place>,
    free: Vec<OwnerId>,
    folded: HashSet<u64, FxBuildHasher>,
    labels: OwnerLabels,
    max: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    sockets: u32,
    active_s: u32,
}

impl Owners {
    pub(super) fn new(labels: OwnerLabels, max: usize) -> Self {
        Self {
            index: HashMap::default(),
            places: vec![Place::default(); 2],
            free: Vec::new(),
            folded: HashSet::default(),
            labels,
            max,
        }
    }

    /// The place of an owner; a new one while there is room. `overflow` counts owners that found none.
    pub(super) fn find(
        &mut self,
        owner: &Owner,
        totals: &mut Vec<OwnerTotals>,
        overflow: &mut u64,
        now_s: u32,
    ) -> OwnerId {
        let key = self.labels.of(owner);
        if key == OwnerKey::default() {
            return OwnerId::UNKNOWN;
        }
        let known = self.index.get(&key).copied();
        let id = known.or_else(|| (self.index.len() < self.max).then(|| self.enter(&key, totals)));
        let id = id.unwrap_or_else(|| {
            let is_new = self.folded.len() >= MAX_FOLDED || self.folded.insert(FxBuildHasher.hash_one(&key));
            *overflow += u64::from(is_new);
            totals[OwnerId::OTHER.index()].shown = true;
            OwnerId::OTHER
        });
        self.places[id.index()].active_s = now_s;
        id
    }

    fn enter(&mut self, key: &OwnerKey, totals: &mut Vec<OwnerTotals>) -> OwnerId {
        let fresh = OwnerTotals { owner: key.clone(), shown: true, ..OwnerTotals::default() };
        let id = if let Some(id) = self.free.pop() {
            totals[id.index()] = fresh;
            self.places[id.index()] = Place::default();
            id
        } else {
            let id = OwnerId(u32::try_from(totals.len()).expect("no more than were asked for"));
            totals.push(fresh);
            self.places.push(Place::default());
            id
        };
        self.index.insert(key.clone(), id);
        id
    }

    /// A socket of this owner came into the table.
    pub(super) fn gain(&mut self, id: OwnerId) {
        self.places[id.index()].sockets += 1;
    }

    /// A socket of this owner left it.
    pub(super) fn lose(&mut self, id: OwnerId, now_s: u32) {
        let place = &mut self.places[id.index()];
        place.sockets = place.sockets.saturating_sub(1);
        place.active_s = now_s;
    }

    /// Puts what a sweep found in place of what the last one did.
    pub(super) fn sockets(
        &mut self,
        found: &[(Arc<Owner>, OwnerSockets)],
        totals: &mut Vec<OwnerTotals>,
        overflow: &mut u64,
        now_s: u32,
    ) {
        for owner in totals.iter_mut() {
            owner.sockets = OwnerSockets::default();
        }
        for (owner, sockets) in found {
            let id = self.find(owner, totals, overflow, now_s);
            let sum = &mut totals[id.index()].sockets;
            *sum = sum.and(*sockets);
        }
    }

    /// The same for the sockets that policies would cut.
    pub(super) fn risks(
        &mut self,
        found: &[(Arc<Owner>, Vec<RiskCount>)],
        totals: &mut Vec<OwnerTotals>,
        overflow: &mut u64,
        now_s: u32,
    ) {
        for owner in totals.iter_mut() {
            owner.risks.clear();
        }
        for (owner, counts) in found {
            let id = self.find(owner, totals, overflow, now_s);
            let sum = &mut totals[id.index()].risks;
            for count in counts {
                count.add_to(sum);
            }
        }
    }

    /// Stops to show owners that have no socket and were not heard of for ten minutes.
    pub(super) fn expire(&mut self, totals: &mut [OwnerTotals], now_s: u32) {
        let Self { index, places, free, .. } = self;
        index.retain(|_, id| {
            let place = places[id.index()];
            let sockets = totals[id.index()].sockets;
            let stays = place.sockets > 0
                || sockets.on + sockets.off > 0
                || now_s.saturating_sub(place.active_s) < SHOWN_SECONDS;
            if !stays {
                totals[id.index()] = OwnerTotals::default();
                free.push(*id);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Reason;

    struct Fixture {
        owners: Owners,
        totals: Vec<OwnerTotals>,
        overflow: u64,
    }

    impl Fixture {
        fn new(labels: OwnerLabels, max: usize) -> Self {
            let totals = crate::table::Snapshot::default().owners;
            Self { owners: Owners::new(labels, max), totals, overflow: 0 }
        }

        fn find(&mut self, comm: &str, now_s: u32) -> OwnerId {
            let owner = Owner { comm: comm.to_owned(), pod: "p".to_owned(), ..Owner::default() };
            self.owners.find(&owner, &mut self.totals, &mut self.overflow, now_s)
        }

        fn shown(&self) -> Vec<&str> {
            self.totals.iter().filter(|totals| totals.shown).map(|totals| &*totals.owner.comm).collect()
        }
    }

    #[test]
    fn what_finds_no_place_is_folded_and_counted_once() {
        let mut fixture = Fixture::new(OwnerLabels::ALL, 2);
        let (a, b) = (fixture.find("a", 0), fixture.find("b", 0));
        assert_ne!(a, b);
        assert_eq!(fixture.find("a", 0), a);
        assert_eq!(fixture.shown(), ["", "a", "b"]);
        for comm in ["c", "d", "c"] {
            assert_eq!(fixture.find(comm, 0), OwnerId::OTHER);
        }
        assert_eq!(fixture.overflow, 2);
        assert_eq!(fixture.shown(), ["", "~other", "a", "b"]);
    }

    #[test]
    fn labels_that_are_not_wanted_make_no_owners() {
        let mut fixture = Fixture::new(OwnerLabels { comm: false, ..OwnerLabels::ALL }, 10);
        assert_eq!(fixture.find("a", 0), fixture.find("b", 0));
        assert_eq!(&*fixture.totals[2].owner.pod, "p");
        let none =
            OwnerLabels { namespace: false, pod: false, container: false, service: false, comm: false };
        let mut fixture = Fixture::new(none, 10);
        assert_eq!(fixture.find("a", 0), OwnerId::UNKNOWN);
    }

    #[test]
    fn labels_are_read_by_name() {
        assert_eq!(OwnerLabels::parse("namespace,pod,container,service,comm"), Ok(OwnerLabels::ALL));
        assert_eq!(OwnerLabels::parse(" pod, comm,").unwrap().names(), ["pod", "comm"]);
        assert_eq!(OwnerLabels::parse("").unwrap().names(), [""; 0]);
        assert!(OwnerLabels::parse("pod,pid").unwrap_err().contains("\"pid\" is no owner label"));
    }

    #[test]
    fn an_owner_is_shown_while_it_has_a_socket_and_ten_minutes_more() {
        let mut fixture = Fixture::new(OwnerLabels::ALL, 1);
        let a = fixture.find("a", 0);
        fixture.totals[a.index()].sent = 7;
        fixture.owners.gain(a);
        fixture.owners.expire(&mut fixture.totals, 10_000);
        assert_eq!(fixture.shown(), ["", "a"]);
        fixture.owners.lose(a, 10_000);
        fixture.owners.expire(&mut fixture.totals, 10_599);
        assert_eq!(fixture.shown(), ["", "a"]);
        fixture.owners.expire(&mut fixture.totals, 10_600);
        assert_eq!(fixture.shown(), [""]);
        // Its place is another's, from 0.
        let b = fixture.find("b", 10_601);
        assert_eq!((b, fixture.totals[b.index()].sent), (a, 0));
    }

    #[test]
    fn risks_are_summed_by_owner_and_go_with_their_sweep() {
        let mut fixture = Fixture::new(OwnerLabels::ALL, 1);
        let owner = |comm: &str| Arc::new(Owner { comm: comm.to_owned(), ..Owner::default() });
        let count = |policy, reason, sockets, idle| RiskCount { policy, reason, sockets, idle };
        let (off, kept) = (Reason::KeepaliveOff, Reason::PeerKeepsAlive);
        let found = [
            (owner("a"), vec![count(0, off, 3, 1)]),
            (owner("b"), vec![count(0, off, 1, 0), count(1, kept, 5, 5)]),
            (owner("c"), vec![count(0, off, 2, 2), count(0, kept, 1, 0)]),
        ];
        fixture.owners.risks(&found, &mut fixture.totals, &mut fixture.overflow, 0);
        assert_eq!(fixture.totals[2].risks, [count(0, off, 3, 1)]);
        assert_eq!(
            fixture.totals[OwnerId::OTHER.index()].risks,
            [count(0, off, 3, 2), count(1, kept, 5, 5), count(0, kept, 1, 0)],
            "those who found no place, together"
        );
        fixture.owners.risks(&[], &mut fixture.totals, &mut fixture.overflow, 0);
        assert!(fixture.totals.iter().all(|totals| totals.risks.is_empty()));
    }

    #[test]
    fn a_sweep_takes_the_place_of_the_last_one() {
        let mut fixture = Fixture::new(OwnerLabels::ALL, 1);
        let owner = |comm: &str| Arc::new(Owner { comm: comm.to_owned(), ..Owner::default() });
        let on = |on, keepidle| OwnerSockets {
            on,
            off: 0,
            keepidle_min: Some(keepidle),
            keepidle_max: Some(keepidle),
        };
        let found = [(owner("a"), on(1, 5)), (owner("b"), on(2, 7)), (owner("c"), on(3, 6))];
        fixture.owners.sockets(&found, &mut fixture.totals, &mut fixture.overflow, 0);
        let other = fixture.totals[OwnerId::OTHER.index()].sockets;
        assert_eq!((other.on, other.keepidle_min, other.keepidle_max), (5, Some(6), Some(7)));
        fixture.owners.sockets(&found[..1], &mut fixture.totals, &mut fixture.overflow, 0);
        assert_eq!(fixture.totals[OwnerId::OTHER.index()].sockets, OwnerSockets::default());
        assert_eq!(fixture.totals[2].sockets.on, 1);
        // What has sockets stays shown.
        fixture.owners.expire(&mut fixture.totals, 100_000);
        assert!(fixture.shown().contains(&"a"));
    }
}
