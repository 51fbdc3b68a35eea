//! From a process or a control group to its [`Owner`], remembered: a sweep asks for the same ones again
//! and again. Used from one thread; the time is an argument.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::cgroup;
use super::cgroupfs::{CgroupFs, Lookup};
use super::names::PodNames;
use super::naming::Naming;
use super::process::{self, Reading};
use super::{KERNEL, Owner};

/// How long what nobody asks for stays known, dead processes among them.
const FORGET_AFTER: Duration = Duration::from_mins(1);
/// A process is read again when it is asked for and this has passed since it was first read: what starts a
/// container moves the process after the fork. Then after twice as long, and so on.
const FIRST_REFRESH: Duration = Duration::from_secs(1);
/// The longest time between two readings of a process that goes on being asked for.
const LAST_REFRESH: Duration = Duration::from_mins(5);
/// Processes that are remembered at most. More are answered for all the same, only slower.
const MAX_PROCESSES: usize = 32_768;
/// Control groups that are remembered at most.
const MAX_CGROUPS: usize = 16_384;

/// Where owners are looked up.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `/proc`, with the process ids of the initial namespace, as the kernel's programs give them.
    pub proc: PathBuf,
    /// kubelet's folder of a pod's logs.
    pub pod_logs: PathBuf,
    /// kubelet's folder of links to containers' logs.
    pub container_logs: PathBuf,
    /// Names from the Kubernetes API, where that is asked.
    pub pods: Option<PodNames>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            pod_logs: "/var/log/pods".into(),
            container_logs: "/var/log/containers".into(),
            pods: None,
        }
    }
}

/// Owners by process and by control group.
#[derive(Debug)]
pub struct Owners {
    proc: PathBuf,
    ticks_per_second: u64,
    cgroupfs: Option<CgroupFs>,
    naming: Naming,
    processes: FxHashMap<(u32, u64), Known>,
    cgroups: FxHashMap<u64, Known>,
    failing: bool,
}

/// An owner that was found out.
#[derive(Debug)]
struct Known {
    owner: Arc<Owner>,
    /// Whether its names are complete, or never will be.
    named: bool,
    /// The name by which it was asked for when it was last read.
    asked_comm: Box<str>,
    asked_at: Duration,
    read_at: Duration,
    /// Until the next reading.
    keep_for: Duration,
}

impl Known {
    fn new((owner, named): (Owner, bool), comm: &str, now: Duration) -> Self {
        let owner = Arc::new(owner);
        Self { owner, named, asked_comm: comm.into(), asked_at: now, read_at: now, keep_for: FIRST_REFRESH }
    }

    fn is_due(&self, comm: &str, now: Duration) -> bool {
        *self.asked_comm != *comm || now.saturating_sub(self.read_at) >= self.keep_for
    }

    /// It was read at `now`: with the same result the next reading can wait longer.
    fn was_read(&mut self, again: Option<(Owner, bool)>, comm: &str, now: Duration) {
        self.asked_comm = comm.into();
        self.read_at = now;
        self.keep_for = (self.keep_for * 2).min(LAST_REFRESH);
        if let Some((owner, named)) = again {
            self.named = named;
            if owner != *self.owner {
                self.owner = Arc::new(owner);
                self.keep_for = FIRST_REFRESH;
            }
        }
    }

    /// Names may have come to be known since.
    fn complete(&mut self, naming: &mut Naming, now: Duration) {
        if !self.named {
            let mut owner = Owner::clone(&self.owner);
            self.named = naming.name(&mut owner, now);
            if owner != *self.owner {
                self.owner = Arc::new(owner);
            }
        }
    }
}

impl Owners {
    /// Opens what it needs; what cannot be had is logged, and leaves owners partly unknown.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        let cgroupfs = CgroupFs::open();
        if let Err(error) = &cgroupfs {
            tracing::warn!("owners of sockets that no process holds stay unknown: {error}");
        }
        Self {
            proc: sources.proc,
            ticks_per_second: procfs::ticks_per_second(),
            cgroupfs: cgroupfs.ok(),
            naming: Naming::new(sources.pod_logs, sources.container_logs, sources.pods),
            processes: FxHashMap::default(),
            cgroups: FxHashMap::default(),
            failing: false,
        }
    }

    /// The owner of what the kernel itself holds.
    #[must_use]
    pub fn kernel() -> Owner {
        Owner { comm: KERNEL.to_owned(), ..Owner::default() }
    }

    /// The owner of a process that an iterator named. `start_boottime_ns` tells two processes of one id
    /// apart; `comm` is what the iterator saw, and all that is told where the process is already gone.
    /// `now` counts from any one moment.
    pub fn process(&mut self, pid: u32, start_boottime_ns: u64, comm: &str, now: Duration) -> Arc<Owner> {
        let key = (pid, start_boottime_ns);
        if let Some(known) = self.processes.get_mut(&key) {
            known.asked_at = now;
            if !known.is_due(comm, now) {
                known.complete(&mut self.naming, now);
                return Arc::clone(&known.owner);
            }
        }
        let reading = process::read(&self.proc, pid, start_boottime_ns, self.ticks_per_second);
        self.report(&reading);
        let is_reused = reading == Reading::Reused;
        let found = match reading {
            Reading::Found(facts) => {
                let (owner, named) = self.naming.owner_at(facts.place, now);
                Some((Owner { pid: Some(pid), comm: facts.comm, exe: facts.exe, ..owner }, named))
            }
            Reading::Gone | Reading::Reused | Reading::Failed(_) => None,
        };
        // The dead stay known as what they were.
        if let Some(known) = self.processes.get_mut(&key) {
            known.was_read(found, comm, now);
            known.complete(&mut self.naming, now);
            return Arc::clone(&known.owner);
        }
        // Of those that were never seen alive there is only what the iterator saw.
        let found = found.unwrap_or_else(|| {
            let pid = (!is_reused).then_some(pid);
            (Owner { pid, comm: process::comm(comm), ..Owner::default() }, true)
        });
        let known = Known::new(found, comm, now);
        let owner = Arc::clone(&known.owner);
        if self.processes.len() < MAX_PROCESSES {
            self.processes.insert(key, known);
        }
        owner
    }

    /// The owner by the socket's own control group (its id in cgroup v2), for sockets that no process
    /// holds any more: container, pod and unit; no process.
    pub fn cgroup(&mut self, id: u64, now: Duration) -> Arc<Owner> {
        if let Some(known) = self.cgroups.get_mut(&id) {
            known.asked_at = now;
            known.complete(&mut self.naming, now);
            return Arc::clone(&known.owner);
        }
        let lookup = self.cgroupfs.as_mut().map_or(Lookup::Gone, |cgroupfs| cgroupfs.path(id, now));
        let (place, is_final) = match lookup {
            Lookup::Found(path) => (cgroup::parse(&path), true),
            Lookup::Gone => (cgroup::Place::default(), true),
            Lookup::NotYet => (cgroup::Place::default(), false),
        };
        // An id never means another group.
        let known = Known::new(self.naming.owner_at(place, now), "", now);
        let owner = Arc::clone(&known.owner);
        if is_final && self.cgroups.len() < MAX_CGROUPS {
            self.cgroups.insert(id, known);
        }
        owner
    }

    /// Forgets what was not asked for in the last minute.
    pub fn expire(&mut self, now: Duration) {
        let stays = |known: &Known| now.saturating_sub(known.asked_at) < FORGET_AFTER;
        self.processes.retain(|_, known| stays(known));
        self.cgroups.retain(|_, known| stays(known));
    }

    /// Once for each time that it begins.
    fn report(&mut self, reading: &Reading) {
        let failing = matches!(reading, Reading::Failed(_));
        if let (Reading::Failed(reason), false) = (reading, self.failing) {
            tracing::warn!("a process's owner stays unknown: {reason}");
        }
        self.failing = failing;
    }
}

#[cfg(test)]
#[path = "owners_tests.rs"]
mod tests;
