//! How many connections survived and how many died, by the length of their silence, with the exact extremes of
//! each bucket. Holds the buckets that are in use, in order.

use super::{Counts, Silence, Tally};

/// What happened after silences of about one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Its number.
    pub(super) number: u16,
    survived: u16,
    died: u16,
    again: u16,
    /// The longest survived silence that was seen whole.
    pub(super) longest: Option<Silence>,
    /// The shortest silence that ended in death.
    pub(super) shortest: Option<Silence>,
}

// A prefix may have 473 of them in each of two generations.
const _: () = assert!(size_of::<Bucket>() == 12);

impl Bucket {
    /// How many survived and died.
    pub(super) fn tally(&self) -> Tally {
        Tally { survived: self.survived.into(), died: self.died.into() }
    }

    /// How many of those that died did so again ([`super::incidents`]).
    pub(super) fn again(&self) -> u32 {
        self.again.into()
    }

    /// This one and another of the same number.
    fn and(self, other: Self) -> Self {
        Self {
            number: self.number,
            survived: self.survived.saturating_add(other.survived),
            died: self.died.saturating_add(other.died),
            again: self.again.saturating_add(other.again),
            longest: self.longest.max(other.longest),
            shortest: shorter(self.shortest, other.shortest),
        }
    }
}

fn shorter(a: Option<Silence>, b: Option<Silence>) -> Option<Silence> {
    a.into_iter().chain(b).min()
}

/// The buckets in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    buckets: Vec<Bucket>,
}

impl Histogram {
    pub(super) fn survived(&mut self, silence: Silence, counts: Counts) {
        let bucket = self.bucket(silence);
        let whole = match counts {
            Counts::Anew { whole } => {
                bucket.survived = bucket.survived.saturating_add(1);
                whole
            }
            Counts::Longer => true,
        };
        if whole {
            bucket.longest = bucket.longest.max(Some(silence));
        }
    }

    pub(super) fn died(&mut self, silence: Silence, again: bool) {
        let bucket = self.bucket(silence);
        bucket.died = bucket.died.saturating_add(1);
        bucket.again = bucket.again.saturating_add(again.into());
        bucket.shortest = shorter(bucket.shortest, Some(silence));
    }

    fn bucket(&mut self, silence: Silence) -> &mut Bucket {
        let number = silence.bucket();
        let place = self.buckets.binary_search_by_key(&number, |bucket| bucket.number);
        let place = place.unwrap_or_else(|place| {
            let empty = Bucket { number, survived: 0, died: 0, again: 0, longest: None, shortest: None };
            self.buckets.insert(place, empty);
            place
        });
        &mut self.buckets[place]
    }

    /// This one and another.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for bucket in &other.buckets {
            match sum.buckets.binary_search_by_key(&bucket.number, |bucket| bucket.number) {
                Ok(place) => sum.buckets[place] = sum.buckets[place].and(*bucket),
                Err(place) => sum.buckets.insert(place, *bucket),
            }
        }
        sum
    }

    /// In order of length.
    pub(super) fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// All of them together.
    pub(super) fn tally(&self) -> Tally {
        self.buckets.iter().fold(Tally::default(), |sum, bucket| sum.and(bucket.tally()))
    }
}
