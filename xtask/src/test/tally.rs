//! Counts of passed, failed and skipped, and how the runners' closing lines are read.

use std::fmt;
use std::ops::AddAssign;

/// What a stage, or everything, came to. Printed, it is the closing line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// One thing that failed as a whole.
    pub(crate) const FAILURE: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …` of cargo test.
    pub(crate) fn from_cargo(line: &str) -> Option<Self> {
        let counts = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
        let count = |word: &str| {
            counts.split(';').find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }

    /// Reads `3 passed, 0 failed, 1 skipped`, alone on its line.
    pub(crate) fn from_closing_line(line: &str) -> Option<Self> {
        let mut parts = line.trim().split(", ");
        let mut count = |word: &str| parts.next()?.strip_suffix(word)?.strip_suffix(' ')?.parse().ok();
        let tally = Self { passed: count("passed")?, failed: count("failed")?, skipped: count("skipped")? };
        parts.next().is_none().then_some(tally)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Tally = Tally { passed: 12, failed: 1, skipped: 3 };

    #[test]
    fn the_closing_line_is_read_back() {
        assert_eq!(Tally::from_closing_line(&SOME.to_string()), Some(SOME));
        for line in
            ["", "12 passed", "12 passed, 1 failed, 3 skipped, 4 lost", "x passed, 1 failed, 3 skipped"]
        {
            assert_eq!(Tally::from_closing_line(line), None, "{line}");
        }
    }

    #[test]
    fn cargo_test_is_read() {
        let line = "test result: FAILED. 12 passed; 1 failed; 3 ignored; 0 measured; 7 filtered out; finished in 0.1s";
        assert_eq!(Tally::from_cargo(line), Some(SOME));
        assert_eq!(Tally::from_cargo("test x ... ok"), None);
        assert_eq!(Tally::from_cargo("test result: ok. nothing"), None);
    }

    #[test]
    fn tallies_add_up() {
        let mut sum = SOME;
        sum += Tally::FAILURE;
        assert_eq!(sum, Tally { passed: 12, failed: 2, skipped: 3 });
    }
}
