//! The one place where the kernel's jiffies become time.

use std::time::Duration;

/// How much an age may lie below zero and still be a race: another CPU wrote the timestamp after
/// the record took its own time.
const RACE_SECONDS: u32 = 60;

/// The kernel's tick rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    hz: u32,
}

impl Clock {
    /// A clock of `hz` jiffies per second; 0, which no kernel has, is taken as 1.
    #[must_use]
    pub const fn new(hz: u32) -> Self {
        Self { hz: if hz == 0 { 1 } else { hz } }
    }

    /// Jiffies per second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        self.hz
    }

    /// A setting in jiffies as time.
    #[must_use]
    pub const fn duration(self, jiffies: u32) -> Duration {
        Duration::from_micros(jiffies as u64 * 1_000_000 / self.hz as u64)
    }

    /// An age in jiffies as time. Ages are differences of wrapping counters: one that lies just
    /// below zero belongs to a timestamp younger than the record, and is 0.
    #[must_use]
    pub const fn age(self, jiffies: u32) -> Duration {
        self.duration(self.age_jiffies(jiffies))
    }

    /// The same in jiffies: of several ages only the least need be converted.
    #[must_use]
    pub const fn age_jiffies(self, jiffies: u32) -> u32 {
        let race = RACE_SECONDS.saturating_mul(self.hz);
        if jiffies > u32::MAX - race { 0 } else { jiffies }
    }

    /// A setting in jiffies as the whole seconds that it was set to.
    #[must_use]
    pub const fn whole_seconds(self, jiffies: u32) -> u32 {
        let half = self.hz / 2;
        jiffies.saturating_add(half) / self.hz
    }

    /// Whole seconds in this many jiffies, rounded up.
    #[must_use]
    pub const fn seconds_up(self, jiffies: u64) -> u64 {
        jiffies.div_ceil(self.hz as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use std::time::Duration;

    #[test]
    fn converts_settings() {
        assert_eq!(Clock::new(250).duration(250), Duration::from_secs(1));
        assert_eq!(Clock::new(1000).duration(1), Duration::from_millis(1));
        assert_eq!(Clock::new(300).duration(1), Duration::from_micros(3333));
        assert_eq!(Clock::new(100).duration(u32::MAX), Duration::from_millis(42_949_672_950));
    }

    #[test]
    fn an_age_just_below_zero_is_zero() {
        let clock = Clock::new(250);
        assert_eq!(clock.age(u32::MAX), Duration::ZERO);
        assert_eq!(clock.age(250u32.wrapping_neg()), Duration::ZERO);
        assert_eq!(clock.age(1 << 31), clock.duration(1 << 31));
        assert_eq!(clock.age(500), Duration::from_secs(2));
    }

    #[test]
    fn a_rate_of_zero_divides_nothing_by_zero() {
        assert_eq!(Clock::new(0).duration(3), Duration::from_secs(3));
    }

    #[test]
    fn rounds_seconds_up() {
        assert_eq!(Clock::new(250).seconds_up(251), 2);
        assert_eq!(Clock::new(250).seconds_up(250), 1);
        assert_eq!(Clock::new(1).seconds_up(u64::MAX), u64::MAX);
    }
}
