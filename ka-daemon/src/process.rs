//! The daemon as a process: its allocator and its runtime around [`crate::run`].
//! `unsafe`: glibc's `mallopt` has no wrapper.

use std::time::Instant;

use anyhow::Context as _;

use crate::cli::settings::Settings;
use crate::run;

/// Runs the daemon until it is told to end.
///
/// # Errors
/// What kept it from starting, or ended it early.
pub fn serve(settings: Settings, started: Instant) -> anyhow::Result<()> {
    give_back_what_is_large();
    // One for the owner of the table, one for everything else.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(async {
        let shutdown = run::signals().context("cannot receive SIGTERM and SIGINT")?;
        Ok(run::start(settings, started, shutdown).await?)
    });
    // A request that hangs on a blocking thread must not keep the process.
    runtime.shutdown_background();
    result
}

/// What a burst of records or a sweep took goes back to the kernel at once, and does not stay with the allocator.
/// glibc raises this bound to the largest block that was ever freed unless it is set; the value is the one that it
/// begins with.
#[cfg(target_env = "gnu")]
fn give_back_what_is_large() {
    const BYTES: libc::c_int = 128 * 1024;
    // SAFETY: changes a setting of the allocator, takes no pointers, and no other thread runs yet.
    if unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, BYTES) } == 0 {
        tracing::debug!("the allocator keeps its own bound for large blocks");
    }
}

#[cfg(not(target_env = "gnu"))]
const fn give_back_what_is_large() {}
