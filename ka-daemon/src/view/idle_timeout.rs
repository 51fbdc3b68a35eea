//! A suspected idle timeout in JSON: a contract, fields may be added, these stay.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::learn::{Bracket, Suspected};

/// An idle timeout on the way to some part of the network, as far as connections told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IdleTimeoutView {
    /// The part of the network: a /24 of IPv4, or a /48 of IPv6.
    #[schema(example = "10.0.3.0/24")]
    pub remote_prefix: String,
    /// The longest silence that was survived below it; null: too few connections survived a shorter one to say.
    pub min_seconds: Option<f64>,
    /// The shortest silence above it that connections died of.
    pub max_seconds: f64,
    /// Connections that survived a silence below it.
    pub survived_below: u32,
    /// Connections that died of a silence below it: these contradict.
    pub died_below: u32,
    /// Connections that died of a silence above it.
    pub died_above: u32,
    /// Connections that survived a silence above it: these contradict.
    pub survived_above: u32,
    /// Those of `died_above` that no restart of the peer explains, since the peer had been heard after the last
    /// death there.
    pub died_again: u32,
    /// That chance alone would not show this; at least 0.99.
    pub confidence: f64,
    /// What was found, in one sentence.
    pub summary: String,
    /// What to do.
    pub advice: String,
}

impl From<&Suspected> for IdleTimeoutView {
    fn from(suspected: &Suspected) -> Self {
        let Suspected { prefix, bracket } = suspected;
        Self {
            remote_prefix: prefix.to_string(),
            min_seconds: bracket.min.map(|min| min.as_secs_f64()),
            max_seconds: bracket.max.as_secs_f64(),
            survived_below: bracket.below.survived,
            died_below: bracket.below.died,
            died_above: bracket.above.died,
            survived_above: bracket.above.survived,
            died_again: bracket.again,
            // More digits would promise more than the method does.
            confidence: (bracket.confidence() * 1e6).floor() / 1e6,
            summary: format!("Connections to {prefix} {}.", found(bracket)),
            advice: advice(bracket),
        }
    }
}

fn found(bracket: &Bracket) -> String {
    let Bracket { below, above, .. } = bracket;
    let died = format!("{} of {} died above", above.died, above.total());
    let max = seconds(bracket.max);
    match bracket.min {
        Some(min) => {
            let min = seconds(min);
            let survived = format!("{} of {} survived below", below.survived, below.total());
            format!("die between {min} and {max} of silence: {died}, {survived}")
        }
        None => format!(
            "die of less than {max} of silence: {} of {} that were silent for so long died, and too few are known to \
             have survived less, to say from where on",
            above.died,
            above.total(),
        ),
    }
}

fn advice(bracket: &Bracket) -> String {
    let knobs = "net.ipv4.tcp_keepalive_time or TCP_KEEPIDLE";
    match bracket.min {
        Some(min) => format!(
            "Keep them from being silent for so long: SO_KEEPALIVE on, and {knobs} below {}.",
            seconds(min),
        ),
        None => format!(
            "Lower {knobs}, with SO_KEEPALIVE on, until they live: those that survive show where the limit lies.",
        ),
    }
}

/// To a thousandth or so, as exactly as silences are known.
fn seconds(length: Duration) -> String {
    let seconds = length.as_secs_f64();
    if seconds < 999.95 {
        format!("{} s", (seconds * 10.0).round() / 10.0)
    } else {
        format!("{seconds:.0} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{Prefix, Tally};

    fn view(min: Option<u64>, max: u64) -> IdleTimeoutView {
        let bracket = Bracket {
            min: min.map(Duration::from_millis),
            max: Duration::from_millis(max),
            below: Tally { survived: 40, died: 1 },
            above: Tally { survived: 0, died: 12 },
            again: 11,
            evidence: 20.0,
        };
        IdleTimeoutView::from(&Suspected { prefix: Prefix::of("10.0.3.9".parse().unwrap()), bracket })
    }

    #[test]
    fn a_bracket_is_told_with_its_counts() {
        let view = view(Some(339_968), 360_192);
        assert_eq!(
            view.summary,
            "Connections to 10.0.3.0/24 die between 340 s and 360.2 s of silence: 12 of 12 died above, 40 of 41 \
             survived below."
        );
        assert!(view.advice.ends_with("below 340 s."), "{}", view.advice);
        assert_eq!((view.min_seconds, view.max_seconds), (Some(339.968), 360.192));
        assert_eq!(
            [view.survived_below, view.died_below, view.survived_above, view.died_above],
            [40, 1, 0, 12]
        );
        assert!((view.confidence - 0.999_999).abs() < 1e-9, "{}", view.confidence);
    }

    #[test]
    fn without_survivors_below_it_says_that_it_can_say_no_more() {
        let view = view(None, 11_004);
        assert_eq!(
            view.summary,
            "Connections to 10.0.3.0/24 die of less than 11 s of silence: 12 of 12 that were silent for so long \
             died, and too few are known to have survived less, to say from where on."
        );
        assert_eq!(view.min_seconds, None);
        assert!(view.advice.contains("until they live"), "{}", view.advice);
    }

    #[test]
    fn seconds_are_written_as_exactly_as_they_are_known() {
        let of = |ms| seconds(Duration::from_millis(ms));
        assert_eq!([of(9_000), of(9_049), of(999_949)], ["9 s", "9 s", "999.9 s"]);
        assert_eq!([of(999_951), of(7_199_500)], ["1000 s", "7200 s"]);
    }
}
