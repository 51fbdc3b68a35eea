//! How fast the totals grow. Pure.

use std::collections::VecDeque;

use crate::view::event::Totals;

/// As many as a wide terminal has room for.
const KEPT: usize = 240;

/// The newest totals, and how fast those before grew.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    last: Option<(f64, Totals)>,
    /// Probes sent and unanswered, a second; the newest last.
    history: VecDeque<[f64; 2]>,
}

impl Rates {
    /// Takes the totals as they were at `now`.
    pub(super) fn take(&mut self, totals: Totals, now: f64) {
        if let Some((then, before)) = self.last
            && now > then
        {
            // Totals that shrink are those of a daemon that restarted.
            let grown = [(totals.sent, before.sent), (totals.unanswered, before.unanswered)];
            match grown.map(|(now, then)| now.checked_sub(then)) {
                [Some(sent), Some(unanswered)] => {
                    #[expect(
                        clippy::cast_precision_loss,
                        reason = "what comes in a second is far below 2^52"
                    )]
                    self.history.push_back([sent, unanswered].map(|count| count as f64 / (now - then)));
                    if self.history.len() > KEPT {
                        self.history.pop_front();
                    }
                }
                _ => self.history.clear(),
            }
        }
        self.last = Some((now, totals));
    }

    /// The newest totals.
    pub(super) fn totals(&self) -> Option<&Totals> {
        self.last.as_ref().map(|(_, totals)| totals)
    }

    /// Probes sent and unanswered, a second, now.
    pub(super) fn now(&self) -> Option<[f64; 2]> {
        self.history.back().copied()
    }

    /// The last `count` of probes sent a second, the oldest first.
    pub(super) fn sent(&self, count: usize) -> Vec<u64> {
        let from = self.history.len().saturating_sub(count);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative; saturates"
        )]
        self.history.range(from..).map(|[sent, _]| sent.round() as u64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(sent: u64, unanswered: u64) -> Totals {
        Totals { sent, unanswered, ..Totals::default() }
    }

    #[test]
    fn rates_are_by_the_second() {
        let mut rates = Rates::default();
        assert_eq!((rates.totals(), rates.now()), (None, None));
        rates.take(totals(100, 7), 1.0);
        assert_eq!((rates.totals(), rates.now()), (Some(&totals(100, 7)), None));
        rates.take(totals(130, 8), 3.0);
        assert_eq!(rates.now(), Some([15.0, 0.5]));
        rates.take(totals(130, 8), 4.0);
        assert_eq!((rates.sent(9), rates.sent(1)), (vec![15, 0], vec![0]));
        rates.take(totals(500, 8), 4.0);
        assert_eq!(rates.now(), Some([0.0, 0.0]), "no time went by");
    }

    #[test]
    fn a_restarted_daemon_begins_anew() {
        let mut rates = Rates::default();
        rates.take(totals(100, 7), 1.0);
        rates.take(totals(110, 7), 2.0);
        rates.take(totals(3, 0), 3.0);
        assert_eq!((rates.now(), rates.totals()), (None, Some(&totals(3, 0))));
        rates.take(totals(5, 1), 4.0);
        assert_eq!(rates.now(), Some([2.0, 1.0]));
    }

    #[test]
    fn the_history_is_bounded() {
        let mut rates = Rates::default();
        for second in 0..1_000_u32 {
            rates.take(totals(second.into(), 0), second.into());
        }
        assert_eq!(rates.sent(usize::MAX).len(), KEPT);
    }
}
