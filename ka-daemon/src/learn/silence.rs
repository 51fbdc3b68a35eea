//! How long a connection was silent: in two bytes, to a thousandth.

use std::num::NonZeroU16;
use std::time::Duration;

/// Binary digits of a length behind the first.
const DIGITS: u32 = 10;
/// Digits that tell buckets apart: 32 of them in each doubling, of 3.1 % at most.
const BUCKET_DIGITS: u32 = 5;
/// The first digit of the shortest and of the longest length, in ms.
const LOW: u32 = 12;
const HIGH: u32 = 26;

/// A length of silence that is worth learning from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Silence(NonZeroU16);

impl Silence {
    /// What is shorter happens all the time and means nothing.
    pub const SHORTEST: Duration = Duration::from_secs(5);
    /// Buckets in which a [`Self::SHORTEST`] lies, or a longer one.
    pub const BUCKETS: u16 = Self::BUCKET_END - Self::FIRST_BUCKET;
    /// The bucket of [`Self::SHORTEST`].
    pub const FIRST_BUCKET: u16 = bits(1_000 * Self::SHORTEST.as_secs()) >> (DIGITS - BUCKET_DIGITS);
    const BUCKET_END: u16 = (bits(u64::MAX) >> (DIGITS - BUCKET_DIGITS)) + 1;
    /// Bits that one takes.
    pub const BITS: u32 = 14;

    /// A length; none: too short. What is longer than a day and a half is taken as that.
    #[must_use]
    pub fn of(length: Duration) -> Option<Self> {
        let ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        (length >= Self::SHORTEST).then(|| Self::from_bits(bits(ms))).flatten()
    }

    /// As a number of [`Self::BITS`] bits that is not 0.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0.get()
    }

    /// One from its number; none: 0.
    #[must_use]
    pub fn from_bits(bits: u16) -> Option<Self> {
        NonZeroU16::new(bits).map(Self)
    }

    /// The shortest length that this may stand for: what was survived.
    #[must_use]
    pub const fn at_least(self) -> Duration {
        Duration::from_millis(start(self.bits()))
    }

    /// What each length that this may stand for is below: what was not survived.
    #[must_use]
    pub const fn below(self) -> Duration {
        Duration::from_millis(start(self.bits() + 1))
    }

    /// Whether it is longer than another by more than the kernel's timers make it: they fire up to an eighth late.
    #[must_use]
    pub const fn is_longer(self, than: Self) -> bool {
        8 * start(self.bits()) > 9 * start(than.bits())
    }

    /// The bucket that it lies in.
    #[must_use]
    pub const fn bucket(self) -> u16 {
        self.bits() >> (DIGITS - BUCKET_DIGITS)
    }
}

/// A number of ms with its first digits only, in order of length.
#[expect(clippy::cast_possible_truncation, reason = "masked to ten bits, and 15 exponents take four")]
const fn bits(ms: u64) -> u16 {
    let longest = (1 << (HIGH + 1)) - 1;
    let ms = if ms > longest { longest } else { ms };
    let first = ms.ilog2();
    (((first - LOW) << DIGITS) as u16) | ((ms >> (first - DIGITS)) as u16 & ((1 << DIGITS) - 1))
}

/// The smallest number of ms with these digits.
const fn start(bits: u16) -> u64 {
    let digits = (bits as u64 & ((1 << DIGITS) - 1)) | (1 << DIGITS);
    digits << ((bits >> DIGITS) as u32 + LOW - DIGITS)
}

const _: () = assert!(size_of::<Option<Silence>>() == 2);
const _: () = assert!(((HIGH - LOW) << DIGITS) + (1 << DIGITS) <= 1 << Silence::BITS);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_too_short_is_nothing_and_what_is_too_long_the_longest() {
        assert_eq!(Silence::of(Duration::from_millis(4_999)), None);
        let shortest = Silence::of(Silence::SHORTEST).unwrap();
        assert_eq!(shortest.bucket(), Silence::FIRST_BUCKET);
        assert_eq!(shortest.at_least(), Silence::SHORTEST);
        let longest = Silence::of(Duration::MAX).unwrap();
        assert_eq!(longest, Silence::of(Duration::from_millis((1 << 27) - 1)).unwrap());
        assert_eq!(longest.below(), Duration::from_millis(1 << 27));
        assert_eq!(longest.bucket(), Silence::FIRST_BUCKET + Silence::BUCKETS - 1);
        assert_eq!(Silence::from_bits(longest.bits()), Some(longest));
    }

    proptest! {
        #[test]
        fn a_length_lies_between_its_ends_which_lie_close(ms in 5_000..(1_u64 << 27), more in 0..1_u64 << 20) {
            let length = Duration::from_millis(ms);
            let silence = Silence::of(length).unwrap();
            prop_assert!(silence.at_least() <= length && length < silence.below());
            prop_assert!(silence.below().saturating_sub(silence.at_least()) * 1024 <= length);
            let longer = Silence::of(length + Duration::from_millis(more)).unwrap();
            prop_assert!(silence <= longer && silence.bucket() <= longer.bucket());
        }
    }
}
