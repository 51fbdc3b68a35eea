//! What is known of each part of the network: bounded, and forgotten as it grows old.

use super::bracket::{AGAIN, bracket};
use super::counted::Generation;
use super::histogram::Histogram;
use super::incidents::Incidents;
use super::{Bracket, Prefix, Silence, Survival, Tally};
use rustc_hash::FxBuildHasher;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Parts of the network that are told apart at once.
pub const MAX_PREFIXES: usize = 1024;

/// A limit on the way to a part of the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suspected {
    /// That part.
    pub prefix: Prefix,
    /// Where the limit lies.
    pub bracket: Bracket,
}

/// What was learned, and from how much.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned {
    /// The suspected limits; that with the most evidence first.
    pub suspected: Vec<Suspected>,
    /// Parts of the network that something is known of.
    pub prefixes: usize,
    /// Connections that were silent for so long that it matters.
    pub silent: Tally,
    /// The longest silence that was survived, seen whole.
    pub longest: Option<Duration>,
}

/// Observations of silent connections, by the part of the network at their other end.
#[derive(Debug, Default)]
pub struct Learner {
    places: Vec<Place>,
    index: HashMap<Prefix, u16, FxBuildHasher>,
    /// The place that is looked at next when room is needed.
    hand: usize,
    /// None before the first turn.
    generation: Option<Generation>,
    changed: bool,
    learned: Arc<Learned>,
}

#[derive(Debug)]
struct Place {
    prefix: Prefix,
    /// Of this generation, and of the one before.
    histograms: [Histogram; 2],
    incidents: Incidents,
    bracket: Option<Bracket>,
    /// Of both histograms.
    silent: Tally,
    longest: Option<Silence>,
    /// Heard of since the hand came by.
    fresh: bool,
    changed: bool,
}

impl Place {
    fn new(prefix: Prefix) -> Self {
        Self {
            prefix,
            histograms: Default::default(),
            incidents: Incidents::default(),
            bracket: None,
            silent: Tally::default(),
            longest: None,
            fresh: true,
            changed: true,
        }
    }

    fn turn(&mut self) {
        let [now, before] = &self.histograms;
        let both = now.and(before);
        self.silent = both.tally();
        self.longest = both.buckets().iter().filter_map(|bucket| bucket.longest).max();
        self.bracket = if self.silent.died > AGAIN { bracket(&both) } else { None };
        self.changed = false;
    }
}

impl Learner {
    /// A connection was silent, and lived.
    pub fn survived(&mut self, survival: Survival) {
        let place = self.place(survival.remote);
        place.histograms[0].survived(survival.silence, survival.counts);
    }

    /// A connection to an address died of a silence, between the moment when it was last heard and that of its
    /// end, in ns.
    pub fn died(&mut self, remote: IpAddr, silence: Silence, between: RangeInclusive<u64>) {
        let place = self.place(remote);
        let again = place.incidents.again(remote, between);
        place.histograms[0].died(silence, again);
        place.silent.died += 1;
    }

    /// Forgets what is old, and weighs what is new; whether anything changed.
    pub fn turn(&mut self, now_ns: u64) -> bool {
        let generation = Generation::at(now_ns);
        if let Some(before) = self.generation.replace(generation)
            && generation != before
        {
            self.age(generation.follows(before));
        }
        if !std::mem::take(&mut self.changed) {
            return false;
        }
        for place in self.places.iter_mut().filter(|place| place.changed) {
            place.turn();
        }
        self.learned = Arc::new(self.sum());
        true
    }

    /// What was learned, as of the last [`Self::turn`].
    #[must_use]
    pub fn learned(&self) -> Arc<Learned> {
        Arc::clone(&self.learned)
    }

    /// Another generation begins; `next`: the one right after the last.
    fn age(&mut self, next: bool) {
        self.changed = !self.places.is_empty();
        self.places.retain_mut(|place| {
            let now = std::mem::take(&mut place.histograms[0]);
            place.histograms[1] = if next { now } else { Histogram::default() };
            place.changed = true;
            !place.histograms[1].buckets().is_empty()
        });
        self.hand = 0;
        let number = |place| u16::try_from(place).expect("fewer places than MAX_PREFIXES");
        self.index = self.places.iter().enumerate().map(|(at, place)| (place.prefix, number(at))).collect();
    }

    fn sum(&self) -> Learned {
        let suspected = self.places.iter().filter_map(|place| {
            let bracket = place.bracket?;
            Some(Suspected { prefix: place.prefix, bracket })
        });
        let mut suspected: Vec<_> = suspected.collect();
        suspected.sort_by(|a, b| {
            b.bracket.evidence.total_cmp(&a.bracket.evidence).then_with(|| a.prefix.cmp(&b.prefix))
        });
        let silent = self.places.iter().fold(Tally::default(), |sum, place| sum.and(place.silent));
        let longest = self.places.iter().filter_map(|place| place.longest).max();
        Learned { suspected, prefixes: self.places.len(), silent, longest: longest.map(Silence::at_least) }
    }

    /// The place of an address's part of the network, a new one where it has none.
    fn place(&mut self, address: IpAddr) -> &mut Place {
        self.changed = true;
        let prefix = Prefix::of(address);
        let at = match self.index.get(&prefix) {
            Some(at) => usize::from(*at),
            None => self.enter(prefix),
        };
        let place = &mut self.places[at];
        place.fresh = true;
        place.changed = true;
        place
    }

    fn enter(&mut self, prefix: Prefix) -> usize {
        let at = if self.places.len() < MAX_PREFIXES {
            self.places.push(Place::new(prefix));
            self.places.len() - 1
        } else {
            let at = self.weakest();
            self.index.remove(&self.places[at].prefix);
            self.places[at] = Place::new(prefix);
            at
        };
        self.index.insert(prefix, u16::try_from(at).expect("fewer places than MAX_PREFIXES"));
        at
    }

    /// The place that makes room: one without deaths that was not heard of for a while. Where all have deaths,
    /// the one with the fewest.
    fn weakest(&mut self) -> usize {
        // Twice around: the first time all may be fresh.
        for _ in 0..2 * self.places.len() {
            let at = self.hand;
            self.hand = (at + 1) % self.places.len();
            let place = &mut self.places[at];
            if place.silent.died == 0 && !std::mem::take(&mut place.fresh) {
                return at;
            }
        }
        let died = |(_, place): &(usize, &Place)| place.silent.died;
        self.places.iter().enumerate().min_by_key(died).map_or(0, |(at, _)| at)
    }
}
