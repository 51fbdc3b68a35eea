//! How much better a limit explains what was seen than chance does.
//!
//! Each is a bet against chance that starts with a stake of 1 and pays fairly: if chance is all there is, it
//! ever grows to a hundred with a probability of at most a hundredth, however often and whenever one looks
//! (Ville's inequality). So no correction for looking again and again is needed, and one may stop as soon as
//! there is enough. The bettor's probabilities are those of Krichevsky and Trofimov, which do well where
//! nearly all of something happens or nearly nothing. Logarithms throughout.
//!
//! Ville, J. (1939): Étude critique de la notion de collectif. Wasserman, L., Ramdas, A. and Balakrishnan, S.
//! (2020): Universal inference. PNAS 117(29), doi:10.1073/pnas.1922664117.

use super::bracket::Tally;
use std::f64::consts::{LN_2, PI};

/// For: below and above some length of silence, connections die at rates of their own. Against: wherever, they
/// die at the same rate, as likely as possible.
pub(super) fn of_limit(below: Tally, above: Tally) -> f64 {
    bettor(below) + bettor(above) - best(below.and(above))
}

/// For: connections die at some rate. Against: no more die than survive.
pub(super) fn of_deaths(above: Tally) -> f64 {
    let against = if above.died > above.survived { -LN_2 * f64::from(above.total()) } else { best(above) };
    bettor(above) - against
}

/// The probability that Krichevsky and Trofimov give to a sequence with these counts.
fn bettor(tally: Tally) -> f64 {
    let [survived, died] = [tally.survived, tally.died].map(f64::from);
    ln_gamma(survived + 0.5) + ln_gamma(died + 0.5) - ln_gamma(survived + died + 1.0) - PI.ln()
}

/// The probability of such a sequence under the rate that makes it most likely.
fn best(tally: Tally) -> f64 {
    let total = f64::from(tally.total());
    let part = |count: u32| match count {
        0 => 0.0,
        _ => f64::from(count) * (f64::from(count) / total).ln(),
    };
    part(tally.survived) + part(tally.died)
}

/// Logarithm of the gamma function, for what is above 0: Stirling's series, moved to where three of its terms
/// are exact to 1e-10.
fn ln_gamma(x: f64) -> f64 {
    const ENOUGH: f64 = 10.0;
    let (mut at, mut below) = (x, 1.0);
    while at < ENOUGH {
        below *= at;
        at += 1.0;
    }
    let square = at * at;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * square)) / square) / at;
    (at - 0.5).mul_add(at.ln(), 0.5 * (2.0 * PI).ln()) - at + series - below.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn tally(survived: u32, died: u32) -> Tally {
        Tally { survived, died }
    }

    #[test]
    fn the_gamma_function_is_right() {
        let mut ln_factorial = 0.0;
        let mut ln_half = 0.5 * PI.ln();
        for n in 1..3_000_u32 {
            let n = f64::from(n);
            assert!((ln_gamma(n) - ln_factorial).abs() < 1e-8, "{n}");
            assert!((ln_gamma(n - 0.5) - ln_half).abs() < 1e-8, "{n}");
            ln_factorial += n.ln();
            ln_half += (n - 0.5).ln();
        }
    }

    /// The bettor's stake stays one: over all sequences of a length, its probabilities sum to 1.
    #[test]
    fn the_bet_is_fair() {
        for length in 0..20_u32 {
            let mut ways = 1.0;
            let mut sum = 0.0;
            for died in 0..=length {
                sum += ways * bettor(tally(length - died, died)).exp();
                ways *= f64::from(length - died) / f64::from(died + 1);
            }
            assert!((sum - 1.0).abs() < 1e-9, "{length}: {sum}");
        }
    }

    #[test]
    fn evidence_grows_with_what_agrees_and_shrinks_with_what_does_not() {
        for n in 1..200 {
            let now = of_limit(tally(n, 0), tally(0, n));
            assert!(now < of_limit(tally(n + 1, 0), tally(0, n)));
            assert!(now < of_limit(tally(n, 0), tally(0, n + 1)));
            assert!(now > of_limit(tally(n, 0), tally(1, n)));
            assert!(now > of_limit(tally(n, 1), tally(0, n)));
            assert!(of_deaths(tally(0, n)) < of_deaths(tally(0, n + 1)));
            assert!(of_deaths(tally(0, n)) > of_deaths(tally(1, n)));
        }
        assert!(of_limit(tally(50, 50), tally(50, 50)) < 0.0);
        assert!(of_deaths(tally(50, 50)) < 0.0 && of_deaths(tally(90, 10)) < 0.0);
        assert!(of_limit(Tally::default(), Tally::default()).abs() < 1e-9);
    }
}
