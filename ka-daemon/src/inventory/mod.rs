//! Every TCP socket of the node, whether or not its timer ever fired: read by BPF iterators in each
//! network namespace. Joins the data path at the table.

pub mod describe;
pub mod diag;
pub mod directory;
mod files;
pub mod holders;
pub mod list;
pub mod netns;
pub mod once;
pub mod presets;
pub mod read;
pub mod service;
pub mod source;
pub mod totals;

use std::time::Duration;

/// `CLOCK_MONOTONIC`, the clock of the records.
#[must_use]
pub fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).expect("the clock starts at boot");
    Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
}
