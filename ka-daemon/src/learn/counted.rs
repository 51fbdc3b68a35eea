//! What a connection was counted for: once for each longer silence, not for each probe. A connection that
//! answers a thousand probes shows no more than one that answers ten.

use super::Silence;

/// How long observations are told apart from older ones: limits change. What was observed is forgotten after
/// one to two of these.
pub const GENERATION_NS: u64 = 12 * 3_600 * 1_000_000_000;

/// A stretch of time from which observations are forgotten together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

impl Generation {
    /// That of a moment of `CLOCK_MONOTONIC`.
    #[must_use]
    pub const fn at(now_ns: u64) -> Self {
        Self(now_ns / GENERATION_NS)
    }

    /// Whether this is the one right after another.
    #[must_use]
    pub const fn follows(self, other: Self) -> bool {
        self.0 == other.0 + 1
    }
}

/// How a survival counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// One more connection that survived so long.
    Anew {
        /// Whether the silence was seen whole. Else the peer may have broken it unseen: that it was survived
        /// speaks against a limit, and for none.
        whole: bool,
    },
    /// A connection that counts already was silent for longer than before, seen whole.
    Longer,
}

/// What a connection was counted for; in two bytes, since there is one for each socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted(u16);

impl Counted {
    const LENGTH: u16 = (1 << Silence::BITS) - 1;
    /// The silence was seen whole.
    const WHOLE: u16 = 1 << Silence::BITS;
    /// Of the generations with odd numbers.
    const ODD: u16 = 1 << (Silence::BITS + 1);

    /// Takes a survived silence; none: it counts already.
    pub fn take(&mut self, silence: Silence, whole: bool, generation: Generation) -> Option<Counts> {
        let odd = if generation.0 % 2 == 1 { Self::ODD } else { 0 };
        let before = Silence::from_bits(self.0 & Self::LENGTH).filter(|_| self.0 & Self::ODD == odd);
        let was_whole = self.0 & Self::WHOLE != 0;
        let counts = match before {
            Some(before) if !silence.is_longer(before) => {
                (whole && (!was_whole || before < silence)).then_some(Counts::Longer)
            }
            Some(_) | None => Some(Counts::Anew { whole }),
        };
        if counts.is_some() {
            self.0 = silence.bits() | odd | if whole { Self::WHOLE } else { 0 };
        }
        counts
    }
}

const _: () = assert!(Silence::BITS + 2 <= 16);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn taken(steps: &[(u64, bool, u64)]) -> Vec<Option<Counts>> {
        let mut counted = Counted::default();
        let mut take = |&(ms, whole, generation): &_| {
            counted.take(Silence::of(Duration::from_millis(ms)).unwrap(), whole, Generation(generation))
        };
        steps.iter().map(&mut take).collect()
    }

    const WHOLE: Option<Counts> = Some(Counts::Anew { whole: true });
    const DOUBTFUL: Option<Counts> = Some(Counts::Anew { whole: false });
    const LONGER: Option<Counts> = Some(Counts::Longer);

    #[test]
    fn a_connection_counts_once_for_each_longer_silence() {
        assert_eq!(taken(&[(15_000, true, 0); 3]), [WHOLE, None, None]);
        assert_eq!(taken(&[(15_000, true, 0), (14_000, true, 0), (16_800, true, 0)]), [WHOLE, None, LONGER]);
        assert_eq!(taken(&[(15_000, true, 0), (16_900, true, 0)]), [WHOLE, WHOLE]);
        assert_eq!(taken(&[(15_000, true, 0), (30_000, true, 0), (15_000, true, 0)]), [WHOLE, WHOLE, None]);
    }

    #[test]
    fn a_first_silence_whose_begin_nobody_saw_is_told_again_once_one_was_seen_whole() {
        assert_eq!(taken(&[(15_000, false, 0); 2]), [DOUBTFUL, None]);
        assert_eq!(
            taken(&[(15_000, false, 0), (15_000, true, 0), (15_000, true, 0)]),
            [DOUBTFUL, LONGER, None]
        );
        assert_eq!(taken(&[(15_000, true, 0), (15_100, false, 0)]), [WHOLE, None]);
        assert_eq!(taken(&[(15_000, true, 0), (30_000, false, 0)]), [WHOLE, DOUBTFUL]);
    }

    #[test]
    fn it_counts_again_in_each_generation() {
        assert_eq!(
            taken(&[(15_000, true, 0), (15_000, true, 1), (15_000, true, 1), (9_000, true, 2)]),
            [WHOLE, WHOLE, None, WHOLE]
        );
        assert!(Generation::at(GENERATION_NS).follows(Generation::at(GENERATION_NS - 1)));
        assert!(!Generation::at(GENERATION_NS).follows(Generation::at(GENERATION_NS)));
    }
}
