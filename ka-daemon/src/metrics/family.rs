//! From a metric of the catalogue and values to what the `prometheus` crate encodes.

use prometheus::proto;

use super::catalogue::{Metric, Type};
use crate::table::histogram::Histogram;

/// A metric with its samples so far.
pub(super) struct Family {
    metric: &'static Metric,
    names: Vec<&'static str>,
    samples: Vec<proto::Metric>,
}

impl Family {
    pub(super) fn new(metric: &'static Metric) -> Self {
        Self { metric, names: metric.label_names().collect(), samples: Vec::new() }
    }

    /// Adds a value of a counter or gauge.
    pub(super) fn value<'a>(&mut self, labels: impl IntoIterator<Item = &'a str>, value: f64) {
        let mut sample = self.sample(labels);
        match self.metric.kind {
            Type::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
            Type::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
            Type::Histogram(_) => unreachable!("{} is a histogram", self.metric.name),
        }
        self.samples.push(sample);
    }

    /// Adds a count. Above 2^53 the text format's doubles round it.
    #[expect(clippy::cast_precision_loss, reason = "the text format has doubles only")]
    pub(super) fn count<'a>(&mut self, labels: impl IntoIterator<Item = &'a str>, count: u64) {
        self.value(labels, count as f64);
    }

    /// Adds a histogram from the counts at or below each bound.
    pub(super) fn histogram<'a, const N: usize>(
        &mut self,
        labels: impl IntoIterator<Item = &'a str>,
        from: &Histogram<N>,
    ) {
        let Type::Histogram(bounds) = self.metric.kind else {
            unreachable!("{} is no histogram", self.metric.name)
        };
        assert_eq!(N, bounds.len(), "buckets of {}", self.metric.name);
        let mut sample = self.sample(labels);
        let buckets = bounds
            .iter()
            .zip(from.cumulative())
            .map(|(bound, count)| {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(count);
                bucket
            })
            .collect();
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(from.count());
        histogram.set_sample_sum(from.sum_seconds());
        sample.set_histogram(histogram);
        self.samples.push(sample);
    }

    /// The finished family; none where there is no sample.
    pub(super) fn finish(self) -> Option<proto::MetricFamily> {
        if self.samples.is_empty() {
            return None;
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(self.metric.name.to_owned());
        family.set_help(self.metric.help.to_owned());
        family.set_field_type(match self.metric.kind {
            Type::Counter => proto::MetricType::COUNTER,
            Type::Gauge => proto::MetricType::GAUGE,
            Type::Histogram(_) => proto::MetricType::HISTOGRAM,
        });
        family.set_metric(self.samples);
        Some(family)
    }

    fn sample<'a>(&self, labels: impl IntoIterator<Item = &'a str>) -> proto::Metric {
        let mut values = labels.into_iter();
        let mut pairs = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(
                values.next().unwrap_or_else(|| panic!("{}: no {name}", self.metric.name)).to_owned(),
            );
            pairs.push(pair);
        }
        assert!(values.next().is_none(), "more values than labels of {}", self.metric.name);
        proto::Metric::from_label(pairs)
    }
}
