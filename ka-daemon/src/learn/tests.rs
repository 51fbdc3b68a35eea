//! Whether limits are found where there are some, and only there.

use super::bracket::{AGAIN, CHANCE, NOISE, bracket};
use super::counted::GENERATION_NS;
use super::histogram::Histogram;
use super::learner::MAX_PREFIXES;
use super::{Bracket, Counted, Counts, Generation, Learner, Silence, Survival};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;
const WHOLE: Counts = Counts::Anew { whole: true };

/// Numbers that look random and are the same in each run (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// As many in each doubling.
    fn spread(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }
}

fn silence(seconds: f64) -> Silence {
    Silence::of(Duration::from_secs_f64(seconds)).expect("long enough")
}

fn seen(histogram: &mut Histogram, seconds: f64, died: bool) {
    if died {
        histogram.died(silence(seconds), true);
    } else {
        histogram.survived(silence(seconds), WHOLE);
    }
}

/// The share of runs in which something ever looked like a limit; looked at after each observation.
fn false_reports(
    runs: u32,
    lengths: fn(&mut Random) -> f64,
    rate: impl Fn(&mut Random) -> f64,
    counts: fn(&Bracket) -> bool,
) -> f64 {
    let mut random = Random(1);
    let mut found = 0;
    for _ in 0..runs {
        let rate = rate(&mut random);
        let mut histogram = Histogram::default();
        let ever = (0..60).any(|_| {
            let died = random.unit() < rate;
            seen(&mut histogram, lengths(&mut random), died);
            bracket(&histogram).is_some_and(|bracket| counts(&bracket))
        });
        found += u32::from(ever);
    }
    f64::from(found) / f64::from(runs)
}

#[test]
fn chance_is_not_taken_for_a_limit_however_often_one_looks() {
    let lengths: [fn(&mut Random) -> f64; 3] = [
        |random| random.spread(5.0, 7200.0),
        |random| random.between(300.0, 400.0),
        // Two settings: any difference between them may look like a limit somewhere in between.
        |random| if random.unit() < 0.5 { 15.0 } else { 7200.0 },
    ];
    for lengths in lengths {
        let both = false_reports(200, lengths, Random::unit, |bracket| bracket.min.is_some());
        assert!(both <= CHANCE, "a bracket in {both} of all runs");
        let half = false_reports(200, lengths, |random| random.between(0.0, 0.5), |_| true);
        assert!(half <= CHANCE, "anything, where no more die than survive, in {half} of all runs");
    }
}

/// What became of limits: found, contained, closed to within 10 %.
fn found(observations: u32, noise: f64) -> [f64; 3] {
    const RUNS: u32 = 200;
    let mut random = Random(2);
    let mut counts = [0_u32; 3];
    for _ in 0..RUNS {
        let limit = random.spread(10.0, 7200.0);
        let mut histogram = Histogram::default();
        for _ in 0..observations {
            let length = limit * random.between(0.5, 1.5);
            let died = length > limit || random.unit() < noise;
            seen(&mut histogram, length, died);
        }
        let Some(Bracket { min: Some(min), max, .. }) = bracket(&histogram) else { continue };
        let (min, max) = (min.as_secs_f64(), max.as_secs_f64());
        counts[0] += 1;
        counts[1] += u32::from(min <= limit && limit <= max);
        counts[2] += u32::from(limit * 0.9 <= min && max <= limit * 1.1);
    }
    counts.map(|count| f64::from(count) / f64::from(RUNS))
}

#[test]
fn a_few_tens_of_silences_around_a_limit_close_its_bracket_to_within_a_tenth() {
    let [reported, contains, _] = found(30, 0.0);
    assert!(reported > 0.95 && contains >= reported, "30: {reported} {contains}");
    let [reported, contains, close] = found(60, 0.0);
    assert!(reported >= 0.99 && contains >= reported && close > 0.95, "60: {reported} {contains} {close}");
}

#[test]
fn a_few_that_die_of_something_else_do_no_harm() {
    let [reported, contains, close] = found(80, 0.03);
    assert!(reported > 0.95 && close > 0.9, "{reported} {close}");
    // One of them may lie between the last survivor and the limit.
    assert!(contains > 0.9 * reported, "{contains} of {reported}");
}

proptest! {
    #[test]
    fn what_is_reported_is_what_was_seen(
        observations in vec((5_000..100_000_u64, any::<bool>(), any::<[bool; 2]>()), 0..120),
        limit in 5_000..100_000_u64,
        order in 0..4_u8,
    ) {
        let mut histogram = Histogram::default();
        let (mut survived, mut died) = (Vec::new(), Vec::new());
        for (ms, random, [whole, again]) in &observations {
            // Some of them follow the limit, so that there are brackets at all.
            let dies = if order == 0 { *random } else { *ms > limit };
            let silence = Silence::of(Duration::from_millis(*ms)).unwrap();
            if dies {
                histogram.died(silence, *again || order == 3);
                died.push(silence);
            } else {
                histogram.survived(silence, Counts::Anew { whole: *whole });
                survived.push((silence, *whole));
            }
        }
        let Some(found) = bracket(&histogram) else { return Ok(()) };
        let Bracket { min, max, below, above, again, .. } = found;
        prop_assert!(min.is_none_or(|min| min < max));
        prop_assert_eq!((below.total() + above.total()) as usize, observations.len());
        prop_assert!(below.died * NOISE <= below.total() && above.survived * NOISE <= above.total());
        prop_assert!(again >= AGAIN && again <= above.died);
        prop_assert!(found.confidence() >= 1.0 - CHANCE);
        prop_assert!(died.iter().any(|silence| silence.below() == max));
        let lived = |min: Duration| survived.iter().any(|(silence, whole)| *whole && silence.at_least() == min);
        prop_assert!(min.is_none_or(lived));
        if order > 0 {
            let limit = Duration::from_millis(limit);
            prop_assert!(min.is_none_or(|min| min <= limit) && limit < max);
        }
    }
}

fn constant(observations: &[(f64, u32, u32)]) -> Option<(Option<f64>, f64)> {
    let mut histogram = Histogram::default();
    for (seconds, survived, died) in observations {
        (0..*survived).for_each(|_| seen(&mut histogram, *seconds, false));
        (0..*died).for_each(|_| seen(&mut histogram, *seconds, true));
    }
    bracket(&histogram)
        .map(|found| (found.min.map(|min| min.as_secs_f64().round()), found.max.as_secs_f64().round()))
}

#[test]
fn one_setting_above_the_limit_tells_only_that_it_lies_below() {
    assert_eq!(constant(&[(360.0, 0, 20)]), Some((None, 360.0)));
    assert_eq!(constant(&[(360.0, 1, 20)]), Some((None, 360.0)));
    assert_eq!(constant(&[(360.0, 4, 20)]), None, "too many survived");
    for (seconds, enough) in [(350.0, 11), (11.0, 14)] {
        assert_eq!(constant(&[(seconds, 0, enough - 1)]), None, "too few died");
        assert_eq!(constant(&[(seconds, 0, enough)]), Some((None, seconds)));
    }
    assert_eq!(constant(&[(15.0, 1000, 0), (300.0, 30, 3)]), None, "survivors alone tell nothing");
}

#[test]
fn two_settings_tell_between_which_it_lies() {
    assert_eq!(constant(&[(15.0, 40, 0), (360.0, 0, 4)]), Some((Some(15.0), 360.0)));
    assert_eq!(constant(&[(15.0, 40, 0), (360.0, 0, 2)]), None, "too few died");
    assert_eq!(constant(&[(340.0, 10, 0), (360.0, 0, 10)]), Some((Some(340.0), 360.0)));
    assert_eq!(constant(&[(15.0, 40, 2), (340.0, 9, 0), (360.0, 1, 12)]), Some((Some(340.0), 360.0)));
    assert_eq!(constant(&[(15.0, 40, 40), (360.0, 0, 40)]), None, "the peer restarts");
}

#[test]
fn a_survivor_whose_silence_may_have_been_broken_speaks_only_against() {
    let mut histogram = Histogram::default();
    for _ in 0..20 {
        histogram.survived(silence(340.0), Counts::Anew { whole: false });
        histogram.died(silence(360.0), true);
    }
    assert_eq!(
        bracket(&histogram).map(|found| found.min),
        Some(None),
        "nothing is known to have been survived"
    );
    histogram.survived(silence(15.0), WHOLE);
    let found = bracket(&histogram).unwrap();
    assert_eq!((found.min, found.below.survived), (Some(silence(15.0).at_least()), 21));
    histogram.survived(silence(340.0), Counts::Longer);
    let found = bracket(&histogram).unwrap();
    assert_eq!((found.min, found.below.survived), (Some(silence(340.0).at_least()), 21));
}

fn host(prefix: u32, host: u8) -> IpAddr {
    Ipv4Addr::from_bits((10 << 24) + (prefix << 8) + u32::from(host)).into()
}

fn die(learner: &mut Learner, remote: IpAddr, seconds: u64, at_s: u64) {
    let silence = Silence::of(Duration::from_secs(seconds)).unwrap();
    learner.died(remote, silence, (at_s - seconds) * SECOND_NS..=at_s * SECOND_NS);
}

fn live(learner: &mut Learner, remote: IpAddr, seconds: u64) {
    let silence = Silence::of(Duration::from_secs(seconds)).unwrap();
    learner.survived(Survival { remote, silence, counts: WHOLE });
}

fn suspected(learner: &mut Learner, now_s: u64) -> Vec<String> {
    learner.turn(now_s * SECOND_NS);
    learner.learned().suspected.iter().map(|suspected| suspected.prefix.to_string()).collect()
}

#[test]
fn one_restart_is_no_limit_and_neither_is_one_of_each_peer() {
    let mut learner = Learner::default();
    let nothing = [""; 0];
    assert_eq!(suspected(&mut learner, 1), nothing);
    (0..40).for_each(|n| live(&mut learner, host(0, n), 15));
    // Each connection finds out at its next probe.
    (0..40).for_each(|n| die(&mut learner, host(0, 1), 300, 1000 + n * 7));
    assert_eq!(suspected(&mut learner, 2000), nothing, "one restart");
    (0..40).for_each(|n| die(&mut learner, host(0, 100 + n), 300, 2000 + u64::from(n) * 400));
    assert_eq!(suspected(&mut learner, 20_000), nothing, "a rolling update");
    // The first one again: alive after its restart, and dead again, twice.
    for (at_s, known) in [(20_000, 0), (21_000, 0), (22_000, 1)] {
        die(&mut learner, host(0, 101), 300, at_s);
        assert_eq!(suspected(&mut learner, at_s + 1).len(), known, "at {at_s} s");
    }
}

/// A peer that restarts about each hour, with connections that probe each 15 s and each 5 min.
#[test]
fn restarts_again_and_again_are_no_limit() {
    let mut random = Random(3);
    let mut learner = Learner::default();
    learner.turn(0);
    let mut now_s = 0.0;
    let mut counted = [Counted::default(); 40];
    while now_s < 11.0 * 3600.0 {
        let up = -random.unit().ln() * 3600.0;
        let mut deaths = Vec::new();
        for (n, counted) in counted.iter_mut().enumerate() {
            let setting = if n < 20 { 15.0 } else { 300.0 };
            // The first silence of a connection is never seen whole.
            for probe in 1..=2 {
                if f64::from(probe) * setting < up
                    && let Some(counts) = counted.take(silence(setting), probe > 1, Generation::at(0))
                {
                    learner.survived(Survival { remote: host(0, 1), silence: silence(setting), counts });
                }
            }
            // Each finds out at its next probe.
            let at = Duration::from_secs_f64(now_s + up + setting * random.unit());
            deaths.push((at, Duration::from_secs_f64(setting)));
            *counted = Counted::default();
        }
        deaths.sort();
        for (at, setting) in deaths {
            let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
            learner.died(host(0, 1), Silence::of(setting).unwrap(), ns(at.saturating_sub(setting))..=ns(at));
        }
        now_s += up + 300.0;
        assert_eq!(suspected(&mut learner, 100), [""; 0], "after {now_s} s");
    }
    assert!(learner.learned().silent.died >= 200, "{:?}", learner.learned());
}

fn limited(learner: &mut Learner, prefix: u32, more: u64, from_s: u64) {
    (0..40).for_each(|_| live(learner, host(prefix, 1), 300));
    (0..10 + more).for_each(|n| die(learner, host(prefix, 1), 360, from_s + 400 * (n + 1)));
}

#[test]
fn the_limit_with_the_most_evidence_comes_first() {
    let mut learner = Learner::default();
    limited(&mut learner, 1, 0, 0);
    limited(&mut learner, 2, 5, 0);
    limited(&mut learner, 3, 2, 0);
    assert_eq!(suspected(&mut learner, 8_000), ["10.0.2.0/24", "10.0.3.0/24", "10.0.1.0/24"]);
    let known = learner.learned();
    assert_eq!((known.prefixes, known.silent.survived, known.silent.died), (3, 120, 37));
    assert_eq!(known.longest.map(|longest| longest.as_secs()), Some(299), "rounded down");
    assert!(!learner.turn(8_001 * SECOND_NS), "nothing changed");
}

#[test]
fn what_is_old_is_forgotten() {
    let hours = |hours: u64| hours * 3_600;
    let mut learner = Learner::default();
    learner.turn(hours(1) * SECOND_NS);
    limited(&mut learner, 1, 0, hours(1));
    for (hour, known) in [(2, 1), (11, 1), (13, 1), (23, 1), (25, 0)] {
        assert_eq!(suspected(&mut learner, hours(hour)).len(), known, "hour {hour}");
    }
    assert_eq!(learner.learned().prefixes, 0);
    limited(&mut learner, 1, 0, hours(25));
    assert_eq!(suspected(&mut learner, hours(26)).len(), 1);
    assert_eq!(suspected(&mut learner, hours(26) + 2 * GENERATION_NS / SECOND_NS).len(), 0, "a day asleep");
}

#[test]
fn there_is_room_for_so_many_and_those_with_deaths_stay() {
    let mut learner = Learner::default();
    limited(&mut learner, 0, 0, 0);
    for prefix in 1..10 * u32::try_from(MAX_PREFIXES).unwrap() {
        live(&mut learner, host(prefix, 1), 15);
    }
    assert_eq!(suspected(&mut learner, 5_000), ["10.0.0.0/24"]);
    assert_eq!(learner.learned().prefixes, MAX_PREFIXES);
    // Where all have deaths, one with few makes room.
    for prefix in 1..2 * u32::try_from(MAX_PREFIXES).unwrap() {
        die(&mut learner, host(prefix, 1), 15, 6_000);
    }
    assert_eq!(suspected(&mut learner, 7_000), ["10.0.0.0/24"]);
    assert_eq!(learner.learned().prefixes, MAX_PREFIXES);
}
