//! Renders the page, from whatever can be observed now.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder as _, Registry, TextEncoder, proto};

use super::{catalogue, collect};
use crate::status::KernelSide;
use crate::table::Snapshot;

/// What the page is made from.
pub trait Observed: Send + Sync + 'static {
    /// The newest totals.
    fn snapshot(&self) -> Arc<Snapshot>;
    /// The kernel side now.
    fn kernel(&self) -> KernelSide;
}

/// What the daemon was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// Its version.
    pub version: &'static str,
    /// The commit.
    pub revision: &'static str,
    /// The compiler.
    pub rustc: &'static str,
}

impl Build {
    /// This very build.
    pub const THIS: Self =
        Self { version: env!("CARGO_PKG_VERSION"), revision: env!("KA_REVISION"), rustc: env!("KA_RUSTC") };
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[error("cannot render the metrics: {0}")]
pub struct PageError(#[from] prometheus::Error);

/// The page; rendering it takes a few ms, so that it belongs on a blocking thread.
#[derive(Clone, Debug)]
pub struct Page {
    registry: Registry,
}

impl Page {
    /// The page of a process.
    ///
    /// # Errors
    /// Two metrics of the same name, which the catalogue's tests rule out.
    pub fn new(observed: Arc<dyn Observed>, build: Build) -> Result<Self, PageError> {
        let page = Self::without_process(observed, build)?;
        page.registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(page)
    }

    /// The page without `process_*`, which differ from run to run.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn without_process(observed: Arc<dyn Observed>, build: Build) -> Result<Self, PageError> {
        let registry = Registry::new();
        let descs = catalogue::ALL
            .iter()
            .map(|metric| {
                let labels = metric.label_names().map(str::to_owned).collect();
                Desc::new(
                    metric.name.to_owned(),
                    metric.help.to_owned(),
                    labels,
                    std::collections::HashMap::new(),
                )
            })
            .collect::<Result<_, _>>()?;
        registry.register(Box::new(TableCollector { descs, observed, build }))?;
        Ok(Self { registry })
    }

    /// The page in text format 0.0.4.
    ///
    /// # Errors
    /// A family without samples, which the collector never makes.
    pub fn render(&self) -> Result<Vec<u8>, PageError> {
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

struct TableCollector {
    descs: Vec<Desc>,
    observed: Arc<dyn Observed>,
    build: Build,
}

impl Collector for TableCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        // The snapshot first: what was received of it is then among what the kernel side emitted.
        let snapshot = self.observed.snapshot();
        let kernel = self.observed.kernel();
        collect::families(&snapshot, &kernel, self.build)
    }
}
