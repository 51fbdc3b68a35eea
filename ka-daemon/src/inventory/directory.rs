//! Whose a socket is, for whoever asks: the inventory for every socket, the table for the sockets of its
//! records. Joins who holds which socket ([`super::holders`]) with what those processes are
//! ([`crate::owner`]).

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ka_common::FileRow;

use super::holders::{Holders, Look};
use super::netns::{self, Places};
use super::source::{Iterators, rows};
use super::{files, monotonic, thread_time};
use crate::owner::{Held, Owner, Owners, Sources};
use crate::status::Intent;
use crate::table::Whose;

/// Looking at all open files may take this share of a CPU at most, for sockets that are asked for and not
/// known.
const LOOK_SHARE: u32 = 10;
/// The longest that a socket which surely exists waits for its turn. On a node whose files take longer to
/// look at, its control group tells where it lives until somebody has looked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whose every socket is.
pub struct Directory {
    iterators: Arc<dyn Iterators>,
    holders: Holders,
    owners: Owners,
    /// By place in the holders' list of processes, since the last look.
    resolved: Vec<Option<Arc<Owner>>>,
    kernel: Arc<Owner>,
    nobody: Arc<Owner>,
    block: Vec<u8>,
    looked: Option<Instant>,
    cost: Duration,
    /// A socket that exists was not found by the last look: others like it would not be either.
    fruitless: bool,
    failing: bool,
}

impl Directory {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(iterators: Arc<dyn Iterators>, sources: Sources) -> Self {
        Self {
            iterators,
            holders: Holders::default(),
            owners: Owners::new(sources),
            resolved: Vec::new(),
            kernel: Arc::new(Owners::kernel()),
            nobody: Arc::default(),
            block: Vec::new(),
            looked: None,
            cost: Duration::ZERO,
            fruitless: false,
            failing: false,
        }
    }

    /// Looks at all open files. Gives the namespaces that a descriptor names, or in which a socket is
    /// held: some are found in no other way.
    pub fn look(&mut self) -> Places {
        let begin = thread_time();
        let mut look = Look::default();
        let mut named = Named::default();
        let result = self.files(&mut |row| {
            if row.netns == 0 {
                named.namespace(row);
            } else {
                named.socket(row);
                look.row(row);
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = &result
            && !self.failing
        {
            tracing::warn!("cannot tell which process holds which socket: {error}");
        }
        self.failing = result.is_err();
        let now = monotonic();
        self.holders = self.holders.next(look, now.as_secs());
        self.resolved.clear();
        self.resolved.resize(self.holders.processes(), None);
        self.owners.expire(now);
        self.looked = Some(Instant::now());
        self.cost = thread_time().saturating_sub(begin);
        named.places
    }

    fn files(&mut self, each: &mut dyn FnMut(&FileRow) -> ControlFlow<()>) -> io::Result<()> {
        if self.iterators.missing(Intent::Holders).is_some() {
            return files::rows(Path::new("/proc"), each);
        }
        rows(&mut self.iterators.holders()?, &mut self.block, each)
    }

    /// The owner of a socket, from what is known.
    pub fn owner(&mut self, held: Held) -> Arc<Owner> {
        self.holder(held).unwrap_or_else(|| self.without_holder(held))
    }

    /// The same; one that is not known is looked for, unless that was done a moment ago.
    pub fn owner_now(&mut self, held: Held) -> Arc<Owner> {
        if let Some(owner) = self.holder(held) {
            return owner;
        }
        if held.inode != 0 && self.rest().is_zero() {
            self.look();
            let found = self.holder(held);
            self.fruitless = found.is_none();
            if let Some(owner) = found {
                return owner;
            }
        }
        self.without_holder(held)
    }

    /// What is left of the pause after the last look.
    fn rest(&self) -> Duration {
        let looked = self.looked.map_or(Duration::MAX, |looked| looked.elapsed());
        (self.cost * LOOK_SHARE).saturating_sub(looked)
    }

    /// How long to wait for the next look, for a socket that exists for certain.
    fn patience(&self, held: Held) -> Option<Duration> {
        let known = held.kernel || held.inode == 0 || self.holders.find(held.inode).is_some();
        let rest = self.rest();
        (!known && !self.fruitless && !rest.is_zero() && rest <= PATIENCE).then_some(rest)
    }

    fn holder(&mut self, held: Held) -> Option<Arc<Owner>> {
        if held.kernel {
            return Some(Arc::clone(&self.kernel));
        }
        let (place, process) = self.holders.find(held.inode)?;
        let owners = &mut self.owners;
        let now = monotonic();
        let resolved = self
            .resolved
            .get_mut(place)?
            .get_or_insert_with(|| owners.process(process.pid, process.start_ns, &process.comm, now));
        // It was gone before it could be looked at: the socket's own group tells where it lived.
        if resolved.exe.is_empty() && !resolved.has_place() && held.cgroup_id != 0 {
            return Some(Arc::new(resolved.at_place_of(&owners.cgroup(held.cgroup_id, now))));
        }
        Some(Arc::clone(resolved))
    }

    fn without_holder(&mut self, held: Held) -> Arc<Owner> {
        if held.cgroup_id == 0 {
            return Arc::clone(&self.nobody);
        }
        self.owners.cgroup(held.cgroup_id, monotonic())
    }

    /// The time on a CPU that the last look took.
    #[must_use]
    pub const fn cost(&self) -> Duration {
        self.cost
    }

    /// When the last look ended.
    #[must_use]
    pub const fn looked(&self) -> Option<Instant> {
        self.looked
    }
}

/// What the table asks.
pub struct Lookup(pub Arc<Mutex<Directory>>);

impl Whose for Lookup {
    fn owner(&mut self, held: Held, alive: bool) -> Arc<Owner> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = if alive { lock().patience(held) } else { None };
        if let Some(wait) = wait {
            // Others are served meanwhile.
            std::thread::sleep(wait);
        }
        lock().owner_now(held)
    }
}

/// Namespaces that descriptors lead to.
#[derive(Default)]
struct Named {
    places: Places,
}

impl Named {
    fn namespace(&mut self, row: &FileRow) {
        // Other namespaces have files of the same kind.
        if let Ok(netns) = u32::try_from(row.inode)
            && !self.places.get(&netns).is_some_and(|known| known.iter().any(netns::Place::is_named))
            && let Some((netns, path)) = netns::named_by(Path::new("/proc"), row.pid, row.fd)
        {
            netns::add(&mut self.places, netns, netns::Place::File(path));
        }
    }

    fn socket(&mut self, row: &FileRow) {
        // Not known where `/proc` had to be asked.
        if row.netns == files::UNKNOWN_NETNS {
            return;
        }
        let place = netns::Place::Socket { pid: row.pid, fd: row.fd };
        netns::add(&mut self.places, row.netns, place);
    }
}
