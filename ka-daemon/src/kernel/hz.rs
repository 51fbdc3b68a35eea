//! Jiffies per second. Every time that a socket holds is in jiffies, and the kernel tells nobody
//! how long one is: `sysconf(_SC_CLK_TCK)` is the constant 100 of user space.
//!
//! The resolution of the coarse clock is one tick: `posix_get_coarse_res` answers `TICK_NSEC`,
//! which is 1e9 / HZ rounded to the nearest integer. See docs/decisions/0001.

use rustix::time::{ClockId, clock_getres};
use thiserror::Error;

/// Why the length of a jiffy is not known.
#[derive(Debug, Error)]
pub enum HzError {
    /// The answer is not the length of a tick.
    #[error(
        "clock_getres(CLOCK_MONOTONIC_COARSE) answers {sec} s {nsec} ns, which is no length of a kernel tick; \
         does a sandbox or an emulator answer in the kernel's place?"
    )]
    NotATick {
        /// Seconds of the answer.
        sec: i64,
        /// Nanoseconds of the answer.
        nsec: i64,
    },
}

const NSEC_PER_SEC: u32 = 1_000_000_000;

/// What `include/linux/jiffies.h` accepts; the usual values are 100, 250, 300 and 1000.
const HZ_RANGE: std::ops::Range<u32> = 12..12_288;

/// Jiffies per second of the running kernel.
///
/// # Errors
/// The clock's answer is not a tick.
pub fn hz() -> Result<u32, HzError> {
    let resolution = clock_getres(ClockId::MonotonicCoarse);
    from_resolution(resolution.tv_sec, resolution.tv_nsec)
}

/// Jiffies per second from the resolution of the coarse clock. Only a value that gives back the
/// same resolution by the kernel's own rounding is believed.
///
/// # Errors
/// The resolution is not that of a tick.
pub fn from_resolution(sec: i64, nsec: i64) -> Result<u32, HzError> {
    let error = || HzError::NotATick { sec, nsec };
    let tick = u32::try_from(nsec).ok().filter(|tick| sec == 0 && (1..NSEC_PER_SEC).contains(tick));
    let tick = tick.ok_or_else(error)?;
    let hz = (NSEC_PER_SEC + tick / 2) / tick;
    let exact = HZ_RANGE.contains(&hz) && (NSEC_PER_SEC + hz / 2) / hz == tick;
    if exact { Ok(hz) } else { Err(error()) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// `TICK_NSEC` of `include/linux/jiffies.h`.
    fn tick_nsec(hz: u32) -> i64 {
        i64::from((NSEC_PER_SEC + hz / 2) / hz)
    }

    #[test]
    fn every_hz_that_the_kernel_accepts_comes_back() {
        for hz in HZ_RANGE {
            assert_eq!(from_resolution(0, tick_nsec(hz)).unwrap(), hz, "HZ={hz}");
        }
    }

    #[test]
    fn what_is_no_tick_is_refused_by_name() {
        for (sec, nsec) in [(0, 0), (0, 1), (0, -4_000_000), (1, 0), (1, 4_000_000), (0, 4_000_100)] {
            let error = from_resolution(sec, nsec).unwrap_err().to_string();
            assert!(error.contains(&format!("{sec} s {nsec} ns")), "{error}");
        }
    }

    /// The coarse clock stands still between ticks. Its smallest step is one tick; a busy machine
    /// often shows several at once, so this looks until it has seen a single one.
    #[test]
    fn the_coarse_clock_moves_by_the_tick_that_it_tells() {
        let tick = i64::from(NSEC_PER_SEC / hz().unwrap());
        // Clock discipline stretches a tick by far less.
        let slack = tick / 8;
        let start = Instant::now();
        let mut last = coarse_ns();
        loop {
            let now = coarse_ns();
            let step = now - last;
            last = now;
            assert!(step == 0 || step > tick - slack, "a step of {step} ns, less than a tick of {tick} ns");
            if step != 0 && step < tick + slack {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "no step of one tick of {tick} ns in 20 s");
        }
    }

    fn coarse_ns() -> i64 {
        let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
        now.tv_sec * i64::from(NSEC_PER_SEC) + now.tv_nsec
    }
}
