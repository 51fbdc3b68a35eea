//! Reads every TCP socket of the node: first who holds what, then each network namespace in turn, entered
//! by a thread of its own. What vanishes meanwhile is no error.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ka_common::SocketRow;

use super::diag;
use super::directory::{Directory, Lookup};
use super::namespace::{self, KernelCounts, Sysctls};
use super::netns::{self, Home, Places};
use super::source::{Iterators, rows};
use crate::status::Intent;

/// A network namespace as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Netns {
    /// Its inode.
    pub netns: u32,
    /// Its keepalive defaults; none: the kernel did not tell.
    pub sysctls: Option<Sysctls>,
    /// What the kernel counted in it.
    pub counts: Option<KernelCounts>,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Report {
    /// Namespaces that were read to the end.
    pub namespaces: Vec<Netns>,
    /// Namespaces that were there and could not be read, and why.
    pub skipped: Vec<(u32, String)>,
    /// Where each namespace can be found again.
    pub places: Places,
}

/// Reads sockets. Clones share what is known of owners.
#[derive(Clone)]
pub struct Reader {
    iterators: Arc<dyn Iterators>,
    directory: Arc<Mutex<Directory>>,
    hz: u32,
}

impl Reader {
    /// A reader.
    #[must_use]
    pub fn new(iterators: Arc<dyn Iterators>, directory: Arc<Mutex<Directory>>, hz: u32) -> Self {
        Self { iterators, directory, hz }
    }

    /// Whose every socket is.
    pub fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose every socket is, for the table.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        Lookup(Arc::clone(&self.directory))
    }

    /// Reads every socket of the node, until `each` has enough. Blocks; on a thread that may change its
    /// network namespace meanwhile.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn read(&self, each: &mut dyn FnMut(&Netns, &SocketRow) -> ControlFlow<()>) -> io::Result<Report> {
        let home = Home::here()?;
        let held = self.directory().look();
        let mut places = netns::discover(Path::new("/proc"));
        for (netns, more) in held {
            for place in more {
                netns::add(&mut places, netns, place);
            }
        }
        let by_diag = self.iterators.missing(Intent::Sockets).is_some();
        let mut report = Report::default();
        let mut block = Vec::new();
        home.visit_each(&mut places, |netns, visited| {
            let visit = visited.and_then(|()| self.namespace(netns, by_diag, &mut block, each));
            match visit {
                Ok((read, flow)) => {
                    report.namespaces.push(read);
                    return flow;
                }
                // It went while it was looked for.
                Err(error) if netns::gone(&error) => {}
                Err(error) => report.skipped.push((netns, error.to_string())),
            }
            ControlFlow::Continue(())
        });
        report.places = places;
        Ok(report)
    }

    /// The calling thread's namespace, through `sock_diag` where the kernel's iterators are missing.
    fn namespace(
        &self,
        netns: u32,
        by_diag: bool,
        block: &mut Vec<u8>,
        each: &mut dyn FnMut(&Netns, &SocketRow) -> ControlFlow<()>,
    ) -> io::Result<(Netns, ControlFlow<()>)> {
        let mut read = Netns { netns, sysctls: Sysctls::read().ok(), counts: None };
        let mut flow = ControlFlow::Continue(());
        let mut each = |row: &SocketRow| {
            flow = each(&read, row);
            flow
        };
        if namespace::has_no_sockets() {
            // Nothing to read.
        } else if by_diag {
            diag::rows(self.hz, &mut each)?;
        } else {
            rows(&mut self.iterators.sockets()?, block, each)?;
        }
        read.counts = KernelCounts::read().ok();
        Ok((read, flow))
    }

    /// What the kernel has counted by now in these namespaces; those that are gone are left out, and
    /// leave the places.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn counts(places: &mut Places) -> io::Result<Vec<(u32, KernelCounts)>> {
        let home = Home::here()?;
        let mut counted = Vec::new();
        home.visit_each(places, |netns, visited| {
            match visited.and_then(|()| KernelCounts::read()) {
                Ok(counts) => counted.push((netns, counts)),
                Err(error) => tracing::debug!("network namespace {netns} tells no counts: {error}"),
            }
            ControlFlow::Continue(())
        });
        Ok(counted)
    }
}
