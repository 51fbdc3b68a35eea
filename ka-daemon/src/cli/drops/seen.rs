//! Which drops were told already, across a daemon that restarts and counts from 1 again. Pure.

use crate::view::DropView;

/// The last one that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Of the daemon that answers now; 0: none yet.
    id: u64,
    time_seconds: f64,
}

impl Seen {
    /// Those of a list, oldest first, that were not seen; and remembers the last one.
    ///
    /// A list that holds the last one is of the same daemon. Any other is of one that restarted (or
    /// has dropped much meanwhile): what is later is new there.
    pub(super) fn new_of(&mut self, mut kept: Vec<DropView>) -> Vec<DropView> {
        let last = kept.last().map(|drop| (drop.id, drop.time_seconds));
        let same = kept
            .iter()
            .any(|drop| drop.id == self.id && drop.time_seconds.to_bits() == self.time_seconds.to_bits());
        kept.retain(|drop| if same { drop.id > self.id } else { drop.time_seconds > self.time_seconds });
        match last {
            Some((id, time_seconds)) => {
                *self = Self { id, time_seconds: time_seconds.max(self.time_seconds) }
            }
            None => self.id = 0,
        }
        kept
    }

    /// Whether an event's drop was not in the list that was taken after the events began.
    pub(super) fn is_new(&mut self, drop: &DropView) -> bool {
        let new = drop.id > self.id;
        if new {
            *self = Self { id: drop.id, time_seconds: drop.time_seconds };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::dropped;

    fn drops(ids_and_times: &[(u64, f64)]) -> Vec<DropView> {
        let one = |&(id, time_seconds)| DropView { id, time_seconds, ..dropped() };
        ids_and_times.iter().map(one).collect()
    }

    fn new(seen: &mut Seen, kept: &[(u64, f64)]) -> Vec<u64> {
        seen.new_of(drops(kept)).iter().map(|drop| drop.id).collect()
    }

    #[test]
    fn nothing_is_told_twice_or_left_out() {
        let mut seen = Seen::default();
        assert_eq!(new(&mut seen, &[(4, 10.0), (5, 11.0)]), [4, 5]);
        let events = drops(&[(5, 11.0), (6, 10.9), (7, 12.0)]);
        let told: Vec<bool> = events.iter().map(|drop| seen.is_new(drop)).collect();
        assert_eq!(told, [false, true, true], "the first one was in the list");
        assert_eq!(new(&mut seen, &[(6, 10.9), (7, 12.0), (8, 11.9)]), [8], "the same daemon");
        assert_eq!(new(&mut seen, &[(1, 20.0)]), [1], "restarted, with one drop since");
        assert_eq!(new(&mut seen, &[]), [0_u64; 0], "restarted, with none");
        assert!(seen.is_new(&drops(&[(1, 30.0)])[0]));
        assert_eq!(new(&mut seen, &[(900, 40.0), (901, 41.0)]), [900, 901], "far ahead");
    }
}
