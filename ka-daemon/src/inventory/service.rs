//! The inventory at work: a thread that sweeps at its interval, keeps who holds what fresh, and reads the
//! kernel's counts when a page is asked for. A thread of its own, since it changes its network namespace.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use ka_common::SocketRow;
use tokio::sync::oneshot;

use super::list::Listing;
use super::netns::Places;
use super::peers::Peers;
use super::presets::Raw;
use super::read::{Netns, Reader};
use super::totals::{Sweep, Totals};
use super::{describe, monotonic, thread_time};
use crate::config::{self, Config};
use crate::learn::Survival;
use crate::learn::idle::IdleSockets;
use crate::owner::Owner;
use crate::run::owner::Table;
use crate::table::{Clock, Found, tcp};

/// How often it is looked who holds what, where that costs little.
const LOOK: Duration = Duration::from_secs(1);
/// Tracked sockets that are handed over at once.
const BATCH: usize = 1024;
/// Namespaces whose counts are read for a page. With more of them, the last sweep's are served.
const COUNTED: usize = 256;

/// What the thread is asked.
enum Request {
    /// Read the kernel's counts into the table, and say so.
    Counts(oneshot::Sender<()>),
}

/// The running thread.
#[derive(Clone)]
pub struct Inventory {
    requests: mpsc::Sender<Request>,
}

impl Inventory {
    /// Reads the kernel's own counts into the table, so that a page shows both of one moment. Not waited
    /// for longer than `limit`: a sweep may be under way.
    pub async fn counts(&self, limit: Duration) {
        let (done, wait) = oneshot::channel();
        if self.requests.send(Request::Counts(done)).is_ok()
            && tokio::time::timeout(limit, wait).await.is_err()
        {
            tracing::debug!("the inventory is busy: the last sweep's counts are served");
        }
    }
}

/// Completes when the thread has ended, which it does when every [`Inventory`] is dropped or the table's owner
/// has ended; never, where there is none.
#[derive(Debug)]
pub struct Ended(Option<oneshot::Receiver<()>>);

impl Ended {
    /// Waits for it.
    pub async fn wait(&mut self) {
        match &mut self.0 {
            // The thread drops its end, and sends nothing.
            Some(ended) => drop(ended.await),
            None => std::future::pending().await,
        }
    }
}

/// Starts the thread. Without a listing there is none: the inventory finds nothing. Sweeps take at most so many
/// percent of a CPU, and so do the looks at who holds what between them.
///
/// # Errors
/// No thread can be started.
pub fn start(
    listing: Option<Listing>,
    interval: Duration,
    max_cpu: f64,
) -> io::Result<(Option<Inventory>, Ended)> {
    let Some(Listing { reader, table: Some(table), config, peers, clock }) = listing else {
        return Ok((None, Ended(None)));
    };
    let (requests, asked) = mpsc::channel();
    let (lives, ended) = oneshot::channel();
    let (places, idle) = (Places::new(), IdleSockets::new(interval));
    let rest = 100.0 / max_cpu;
    let worker = Worker { reader, table, config, peers, clock, interval, rest, number: 0, places, idle };
    std::thread::Builder::new().name("inventory".into()).spawn(move || {
        let _lives: oneshot::Sender<()> = lives;
        worker.run(&asked);
    })?;
    Ok((Some(Inventory { requests }), Ended(Some(ended))))
}

struct Worker {
    reader: Reader,
    table: Table,
    config: Arc<config::Live>,
    peers: Peers,
    clock: Clock,
    interval: Duration,
    /// The next sweep comes after so many times what the last one cost.
    rest: f64,
    number: u64,
    /// The namespaces of the last sweep.
    places: Places,
    /// Sockets that were silent then.
    idle: IdleSockets,
}

impl Worker {
    fn run(mut self, asked: &mpsc::Receiver<Request>) {
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next {
                let Some(pause) = self.sweep() else { return };
                next = now + pause;
            }
            let look = self.next_look();
            let wait = next.min(look).saturating_duration_since(Instant::now());
            match asked.recv_timeout(wait) {
                Ok(Request::Counts(done)) => {
                    self.counts();
                    if done.send(()).is_err() {
                        tracing::debug!("a page did not wait for the kernel's counts");
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= look => {
                    self.reader.directory().look();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn next_look(&self) -> Instant {
        let directory = self.reader.directory();
        let pause = LOOK.max(directory.cost().mul_f64(self.rest));
        directory.looked().map_or_else(Instant::now, |looked| looked + pause)
    }

    /// From the begin of a sweep that cost so much time on a CPU to that of the next.
    fn pause(&self, cost: Duration) -> Duration {
        self.interval.max(cost.mul_f64(self.rest))
    }

    /// One sweep, and when the next one is due after its begin; none: the table's owner has ended.
    fn sweep(&mut self) -> Option<Duration> {
        let (begin, cpu) = (Instant::now(), thread_time());
        self.number += 1;
        self.table.sweep_begins(self.number)?;
        self.peers.memory().sweep_begins(monotonic());
        let config = self.config.load();
        let policies = Arc::clone(&config.policies);
        self.idle.begin();
        let mut work = Work {
            reader: &self.reader,
            table: &self.table,
            peers: &self.peers,
            clock: self.clock,
            idle: &mut self.idle,
            config,
            totals: Totals::default(),
            batch: Vec::new(),
            survivals: Vec::new(),
            open: true,
        };
        let report = self.reader.read(&mut |netns, row| work.row(netns, row));
        work.flush();
        let Work { totals, open, .. } = work;
        if !open {
            return None;
        }
        let unwatched = self.peers.memory().sweep_ends();
        let took = begin.elapsed();
        let pause = self.pause(thread_time().saturating_sub(cpu));
        match report {
            Ok(report) => {
                for (netns, why) in &report.skipped {
                    tracing::debug!("network namespace {netns} cannot be read: {why}");
                }
                let sweep = Sweep {
                    number: self.number,
                    took,
                    interval: pause,
                    ended_seconds: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64(),
                    namespaces: report.namespaces,
                    skipped: report.skipped.len(),
                    policies,
                    unwatched,
                    ..totals.finish()
                };
                self.places = report.places;
                self.idle.end();
                self.table.sweep_ends(sweep)?;
            }
            Err(error) => tracing::error!("sockets cannot be read: {error}"),
        }
        Some(pause)
    }

    fn counts(&mut self) {
        if self.places.len() > COUNTED {
            return;
        }
        match Reader::counts(&mut self.places) {
            Ok(counts) => {
                // Where the owner has ended, the next sweep ends this thread too.
                self.table.kernel_counts(counts).unwrap_or_default();
            }
            Err(error) => tracing::debug!("the kernel's counts cannot be read: {error}"),
        }
    }
}

/// One sweep while it goes on.
struct Work<'a> {
    reader: &'a Reader,
    table: &'a Table,
    peers: &'a Peers,
    clock: Clock,
    idle: &'a mut IdleSockets,
    config: Arc<Config>,
    totals: Totals,
    batch: Vec<Found>,
    survivals: Vec<Survival>,
    /// Whether the table's owner still takes what is found.
    open: bool,
}

impl Work<'_> {
    fn row(&mut self, netns: &Netns, row: &SocketRow) -> ControlFlow<()> {
        let (clock, now) = (self.clock, monotonic());
        let settings = describe::settings(row, netns.sysctls.as_ref(), clock);
        let owner = self.reader.directory().owner(row.into());
        let presets = &self.config.presets;
        self.totals.add(row, settings.as_ref(), &owner, || {
            Raw::from(row).preset(presets, clock, &owner.comm).unwrap_or_default()
        });
        if row.state == tcp::ESTABLISHED
            && let Some(settings) = &settings
            && !self.config.policies.is_empty()
        {
            self.judge(row, settings, &owner, now);
        }
        if row.first_seen_ns != 0 {
            self.batch.push(Found { netns: netns.netns, row: *row, sysctls: jiffies(netns, clock) });
        }
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.survivals.extend(self.idle.found(row, clock, now_ns));
        if self.batch.len() + self.survivals.len() >= BATCH {
            self.flush();
        }
        if self.open { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Which policies would cut a socket.
    fn judge(&mut self, row: &SocketRow, settings: &describe::Settings, owner: &Arc<Owner>, now: Duration) {
        let Self { peers, config, totals, clock, .. } = self;
        let clock = *clock;
        let idle = describe::idle(row, clock);
        let peer = || peers.memory().found(row, clock, now);
        config.policies.judge(&describe::connection(row, settings, owner), peer, |place, reason| {
            let half = config.policies.get(place).is_some_and(|policy| policy.is_half_over(idle));
            totals.add_risk(owner, place, reason, half);
        });
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.open &= self.table.sweep_found(batch).is_some();
        }
        let survivals = std::mem::take(&mut self.survivals);
        if !survivals.is_empty() {
            self.open &= self.table.survived(survivals).is_some();
        }
    }
}

/// A namespace's defaults as its sockets have them.
fn jiffies(netns: &Netns, clock: Clock) -> [u32; 3] {
    netns.sysctls.map_or([0; 3], |sysctls| {
        let jiffies = |seconds: u32| seconds.saturating_mul(clock.hz());
        [jiffies(sysctls.keepidle), jiffies(sysctls.keepintvl), sysctls.keepcnt]
    })
}
