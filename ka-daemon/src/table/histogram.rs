//! Histograms over fixed bounds: whole µs inside, so that an observation costs no floating point.

use std::time::Duration;

/// Upper bounds in µs, ascending; what lies above the last goes to a bucket of its own.
#[derive(Debug)]
pub struct Bounds<const N: usize>([u64; N]);

impl<const N: usize> Bounds<N> {
    /// The upper bounds in seconds.
    pub fn seconds(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|&us| Duration::from_micros(us).as_secs_f64())
    }
}

/// Bounds of `ka_keepalive_probe_rtt_seconds`: 50 µs to 5 s.
pub const RTT_BOUNDS: Bounds<15> = Bounds([
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
]);

/// Bounds of `ka_connection_idle_at_drop_seconds`: 1 s to a day, dense around the idle limits of
/// well-known middleboxes.
pub const IDLE_BOUNDS: Bounds<17> = Bounds([
    1_000_000,
    15_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    180_000_000,
    240_000_000,
    300_000_000,
    350_000_000,
    400_000_000,
    600_000_000,
    900_000_000,
    1_800_000_000,
    3_600_000_000,
    7_200_000_000,
    8_000_000_000,
    86_400_000_000,
]);

/// Round trips of answered probes.
pub type RttHistogram = Histogram<15>;
/// Idle ages of dropped connections.
pub type IdleHistogram = Histogram<17>;

/// Observations counted by bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<const N: usize> {
    buckets: [u64; N],
    count: u64,
    sum_us: u64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: [0; N], count: 0, sum_us: 0 }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts one observation; one that equals a bound lies within it.
    pub fn observe(&mut self, bounds: &Bounds<N>, value: Duration) {
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        let place = bounds.0.partition_point(|&bound| bound < us);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many observations there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_micros(self.sum_us).as_secs_f64()
    }

    /// For each bound, how many observations lie at or below it, as Prometheus wants them.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().scan(0, |sum, &bucket| {
            *sum += bucket;
            Some(*sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{IDLE_BOUNDS, IdleHistogram, RTT_BOUNDS, RttHistogram};
    use std::time::Duration;

    #[test]
    fn bounds_ascend() {
        assert!(RTT_BOUNDS.0.is_sorted_by(|a, b| a < b));
        assert!(IDLE_BOUNDS.0.is_sorted_by(|a, b| a < b));
        assert_eq!(RTT_BOUNDS.seconds().next(), Some(0.000_05));
        assert_eq!(IDLE_BOUNDS.seconds().last(), Some(86_400.0));
    }

    #[test]
    fn a_value_on_a_bound_lies_within_it() {
        let mut histogram = RttHistogram::default();
        histogram.observe(&RTT_BOUNDS, Duration::from_micros(50));
        histogram.observe(&RTT_BOUNDS, Duration::from_micros(51));
        histogram.observe(&RTT_BOUNDS, Duration::ZERO);
        assert_eq!(histogram.cumulative().take(3).collect::<Vec<_>>(), [2, 3, 3]);
        assert!((histogram.sum_seconds() - 0.000_101).abs() < 1e-12);
    }

    #[test]
    fn what_lies_above_the_last_bound_is_counted_and_in_no_bucket() {
        let mut histogram = IdleHistogram::default();
        histogram.observe(&IDLE_BOUNDS, Duration::from_secs(86_401));
        histogram.observe(&IDLE_BOUNDS, Duration::MAX);
        assert_eq!(histogram.cumulative().last(), Some(0));
        assert_eq!(histogram.count(), 2);
    }
}
