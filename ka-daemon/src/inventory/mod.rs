//! Every TCP socket of the node, whether or not its timer ever fired: read by BPF iterators in each
//! network namespace. Joins the data path at the table.

pub mod describe;
pub mod diag;
pub mod directory;
mod files;
pub mod holders;
pub mod list;
pub mod namespace;
pub mod netns;
pub mod once;
pub mod peers;
pub mod presets;
pub mod read;
pub mod service;
pub mod source;
pub mod totals;

use std::time::Duration;

/// Time that the calling thread has spent on a CPU.
#[must_use]
pub fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::from_secs(now.tv_sec.unsigned_abs()) + Duration::from_nanos(now.tv_nsec.unsigned_abs())
}

/// `CLOCK_MONOTONIC`, the clock of the records.
#[must_use]
pub fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The clock starts at boot: neither part is ever negative.
    Duration::from_secs(now.tv_sec.unsigned_abs()) + Duration::from_nanos(now.tv_nsec.unsigned_abs())
}
