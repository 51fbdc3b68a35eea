//! The sockets of the node without a daemon: loads the iterators, reads once, and takes them out again.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thiserror::Error;

use super::directory::Directory;
use super::list::Listing;
use super::peers::Peers;
use super::read::{Reader, Report};
use super::source::Iterators;
use crate::bpf::{BpfError, KernelHooks, Options};
use crate::config;
use crate::kernel::{Kernel, KernelError};
use crate::owner::Sources;
use crate::table::Clock;
use crate::view::SocketView;
use crate::view::filter::Filter;
use crate::view::parameter::ParameterError;

/// Why the kernel cannot be read.
#[derive(Debug, Error)]
pub enum OnceError {
    /// It does not let us.
    #[error("cannot read the sockets from the kernel: {0}; or ask a running daemon (--daemon)")]
    Kernel(#[from] KernelError),
    /// The programs cannot be loaded.
    #[error("cannot read the sockets from the kernel: {0}; or ask a running daemon (--daemon)")]
    Bpf(#[from] BpfError),
    /// The filter asks for what the configuration does not have.
    #[error(transparent)]
    Filter(#[from] ParameterError),
    /// The reading failed.
    #[error("cannot read the sockets: {0}")]
    Read(#[from] std::io::Error),
}

/// Every socket that passes, by the presets and policies of a configuration.
///
/// # Errors
/// As [`read`].
pub fn all(filter: &Filter, config: config::Live) -> Result<Vec<SocketView>, OnceError> {
    let mut all = Vec::new();
    read(filter, Arc::new(config), None, &mut |socket| {
        all.push(socket);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// Hands over every socket that passes. One reading cannot tell whether peers probe.
///
/// # Errors
/// The kernel cannot be read (root is needed), or the filter names a policy that is not configured.
pub fn read(
    filter: &Filter,
    config: Arc<config::Live>,
    btf: Option<&Path>,
    each: &mut dyn FnMut(SocketView) -> ControlFlow<()>,
) -> Result<Report, OnceError> {
    filter.check_policy(|name| config.load().policies.check_name(name))?;
    let kernel = Kernel::inspect(btf)?;
    // The maps of the hooks, as small as they can be: nothing hangs on them.
    let options = Options {
        hooks: None,
        ring_bytes: u32::try_from(rustix::param::page_size()).unwrap_or(4096),
        max_sockets: 1,
        idle_floor: Duration::ZERO,
        rtt_exact: false,
        bpf_stats: false,
        iterators: true,
    };
    let iterators: Arc<dyn Iterators> = Arc::new(KernelHooks::iterators(&kernel, &options)?);
    let directory = Arc::new(Mutex::new(Directory::new(Arc::clone(&iterators), Sources::default())));
    let reader = Reader::new(iterators, directory, kernel.hz);
    let listing =
        Listing { reader, table: None, config, peers: Peers::default(), clock: Clock::new(kernel.hz) };
    Ok(listing.sockets(filter, each)?)
}
