//! A real Prometheus that scrapes one daemon every second, and is asked as Grafana asks it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::servers::{Folder, Server, free_address};

/// A running Prometheus.
pub(crate) struct Prometheus(Server);

/// A graph's time range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Seconds since 1970.
    start: f64,
    pub(crate) end: f64,
    pub(crate) step: Duration,
}

impl Span {
    /// The last so many seconds. Steps lie at multiples of their length, as Grafana's do.
    pub(crate) fn last(length: Duration, step: Duration) -> Result<Self> {
        let aligned = |time: f64| (time / step.as_secs_f64()).floor() * step.as_secs_f64();
        let now = now()?;
        Ok(Self { start: aligned(now - length.as_secs_f64()), end: aligned(now), step })
    }

    /// The step that the first one is compared with, where the first scrape was at this time.
    pub(crate) fn base(&self, first_scrape: f64) -> f64 {
        let step = self.step.as_secs_f64();
        ((first_scrape / step).ceil() * step).max(self.start - step)
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.end - self.start
    }
}

/// A series and its values by time.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Value,
    pub(crate) values: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }
}

impl Prometheus {
    pub(crate) fn start(daemon: SocketAddr, folder: &Folder) -> Result<Self> {
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: ka\n    \
             static_configs: [{{targets: ['{daemon}'], labels: {{instance: node-1}}}}]\n"
        );
        folder.write("prometheus.yaml", &config)?;
        let address = free_address()?;
        let args = [
            "--config.file=prometheus.yaml".to_owned(),
            "--storage.tsdb.path=prometheus".to_owned(),
            format!("--web.listen-address={address}"),
        ];
        Ok(Self(Server::start(&["prometheus"], &args, address, folder)?))
    }

    /// A query at a moment.
    pub(crate) fn at(&self, query: &str, time: f64) -> Result<Vec<Series>> {
        self.query("query", &[("query", query), ("time", &time.to_string())])
    }

    /// A query at each step of a graph.
    pub(crate) fn over(&self, query: &str, span: &Span) -> Result<Vec<Series>> {
        let [start, end, step] =
            [span.start, span.end, span.step.as_secs_f64()].map(|seconds| seconds.to_string());
        let form = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
        self.query("query_range", &form)
    }

    fn query(&self, kind: &str, form: &[(&str, &str)]) -> Result<Vec<Series>> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let answer = self.0.json(&format!("/api/v1/{kind}?{form}"))?;
        ensure!(answer["status"] == "success", "{}", answer["error"]);
        let result = answer["data"]["result"].as_array().with_context(|| format!("no series: {answer}"))?;
        result.iter().map(series).collect()
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> Result<f64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("a clock before 1970")?;
    Ok(since.as_secs_f64())
}

fn series(result: &Value) -> Result<Series> {
    let pairs = match (result.get("values"), result.get("value")) {
        (Some(values), _) => values.as_array().cloned().unwrap_or_default(),
        (None, Some(value)) => vec![value.clone()],
        (None, None) => bail!("a series without values: {result}"),
    };
    let pair = |pair: &Value| {
        let value = pair[1].as_str().and_then(|text| text.parse().ok());
        Ok((pair[0].as_f64().context("a time")?, value.with_context(|| format!("a value: {pair}"))?))
    };
    Ok(Series { labels: result["metric"].clone(), values: pairs.iter().map(pair).collect::<Result<_>>()? })
}
