//! A limit, as far as observations tell it: the longest silence survived below it, and the shortest one above it
//! that connections died of. Or nothing, for as long as too little agrees.

use super::Silence;
use super::evidence;
use super::histogram::{Bucket, Histogram};
use std::time::Duration;

/// A report without a limit behind it is at most so likely.
pub const CHANCE: f64 = 0.01;
/// Of the observations on either side at most one in so many may contradict: peers restart whatever the silence.
pub const NOISE: u32 = 10;
/// At least so many deaths above must have come again, so that no restart before explains them.
pub const AGAIN: u32 = 2;

/// How many connections survived a silence, and how many died of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// They were heard of after it.
    pub survived: u32,
    /// They were not, or only by a reset.
    pub died: u32,
}

impl Tally {
    /// Both.
    #[must_use]
    pub const fn total(self) -> u32 {
        self.survived + self.died
    }

    /// These and others.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { survived: self.survived + other.survived, died: self.died + other.died }
    }

    const fn without(self, other: Self) -> Self {
        Self { survived: self.survived - other.survived, died: self.died - other.died }
    }
}

/// Where a limit must lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bracket {
    /// The longest silence below it that was survived; none: too few survived a shorter one to say from where on
    /// connections die.
    pub min: Option<Duration>,
    /// The shortest silence above it that was not.
    pub max: Duration,
    /// What happened after silences up to `min`; those who died contradict.
    pub below: Tally,
    /// What happened after silences from `max` on; those who survived contradict.
    pub above: Tally,
    /// How many of those who died above did so after an incident that could have explained them.
    pub again: u32,
    /// Logarithm of how many times better a limit explains this than chance.
    pub evidence: f64,
}

impl Bracket {
    /// That chance alone would not show this: at least 1 - [`CHANCE`].
    #[must_use]
    pub fn confidence(&self) -> f64 {
        1.0 - (-self.evidence).exp()
    }
}

/// What a histogram tells of a limit; none: nothing yet.
pub(super) fn bracket(histogram: &Histogram) -> Option<Bracket> {
    let enough = -CHANCE.ln();
    let splits = || splits(histogram).filter(Split::is_pure);
    let both = splits().filter(|split| split.min.is_some() && split.limit >= enough);
    // The one that explains most; how wide it is says only how likely it was before anything was seen.
    let best = both.max_by(|a, b| (a.limit - a.prior).total_cmp(&(b.limit - b.prior)));
    best.map(|split| split.bracket(split.min, split.limit)).or_else(|| {
        let one = splits().filter(|split| split.deaths >= enough);
        let best = one.max_by(|a, b| a.deaths.total_cmp(&b.deaths));
        best.map(|split| split.bracket(None, split.deaths))
    })
}

/// The observations, parted between two buckets.
struct Split {
    below: Tally,
    above: Tally,
    again: u32,
    min: Option<Silence>,
    max: Silence,
    /// How likely it is that a limit lies here, before anything was seen: any bound between two buckets is as
    /// likely as any other. Makes up for all the bounds that are tried.
    prior: f64,
    /// Evidence for a limit here.
    limit: f64,
    /// Evidence that above this more die than survive, whatever happens below.
    deaths: f64,
}

impl Split {
    /// Whether what contradicts may be noise, and what agrees none.
    const fn is_pure(&self) -> bool {
        self.below.died * NOISE <= self.below.total()
            && self.above.survived * NOISE <= self.above.total()
            && self.again >= AGAIN
    }

    fn bracket(&self, min: Option<Silence>, evidence: f64) -> Bracket {
        Bracket {
            min: min.map(Silence::at_least),
            max: self.max.below(),
            below: self.below,
            above: self.above,
            again: self.again,
            evidence,
        }
    }
}

/// Every way to part them at a bound between buckets that differs in what lies on either side, and has a death
/// above.
fn splits(histogram: &Histogram) -> impl Iterator<Item = Split> {
    let buckets = histogram.buckets();
    let all = histogram.tally();
    let mut again: u32 = buckets.iter().map(Bucket::again).sum();
    let mut below = Tally::default();
    let mut longest = None;
    let mut last = Silence::FIRST_BUCKET - 1;
    buckets.iter().enumerate().filter_map(move |(place, bucket)| {
        let above = all.without(below);
        let prior = (f64::from(bucket.number - last) / f64::from(Silence::BUCKETS)).ln();
        let shortest = buckets[place..].iter().find_map(|bucket| bucket.shortest);
        let split = shortest.map(|max| Split {
            below,
            above,
            again,
            min: longest,
            max,
            prior,
            limit: evidence::of_limit(below, above) + prior,
            deaths: evidence::of_deaths(above) + prior,
        });
        below = below.and(bucket.tally());
        again -= bucket.again();
        longest = longest.max(bucket.longest);
        last = bucket.number;
        split
    })
}
