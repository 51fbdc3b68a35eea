//! The task that owns the table, and what readers and the inventory hold of it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::events::ring::BATCH;
use crate::events::{Pump, RecordSource};
use crate::inventory::monotonic;
use crate::inventory::namespace::KernelCounts;
use crate::inventory::totals::Sweep;
use crate::learn::Survival;
use crate::table::{Found, Snapshot};

/// The longest time that records wait and a snapshot grows old.
const TICK: Duration = Duration::from_millis(100);
/// Ticks from one telling of the totals to the next.
const TOTALS: u32 = 10;
/// How long a reader waits for a newer snapshot before it takes the last one.
const REFRESH_LIMIT: Duration = Duration::from_millis(200);
/// Messages that wait; readers beyond it take the last snapshot, the inventory waits.
const ASKS: usize = 16;

/// What the task is asked or told.
#[derive(Debug)]
enum Ask {
    /// Take what waits, publish, and say so.
    Refresh(oneshot::Sender<()>),
    /// A sweep begins.
    SweepBegins(u64),
    /// It found tracked sockets.
    SweepFound(Vec<Found>),
    /// It saw that connections survived a silence.
    Survived(Vec<Survival>),
    /// It ended.
    SweepEnds(Box<Sweep>),
    /// What the kernel has counted by now.
    KernelCounts(Vec<(u32, KernelCounts)>),
    /// The last round trips of these sockets.
    RoundTrips(Vec<(u64, u64)>, oneshot::Sender<Vec<Option<Duration>>>),
}

/// Reads snapshots, and can ask for a newer one.
#[derive(Clone, Debug)]
pub struct Reader {
    snapshots: Arc<ArcSwap<Snapshot>>,
    asks: mpsc::Sender<Ask>,
}

impl Reader {
    /// The last snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.load_full()
    }

    /// Has everything that waits in the ring buffer counted and published, so that a reader at a
    /// quiet moment finds received and emitted equal. Gives up after 200 ms: the last snapshot is
    /// at most a tick older.
    pub async fn refresh(&self) {
        let (done, wait) = oneshot::channel();
        if self.asks.try_send(Ask::Refresh(done)).is_err() {
            return;
        }
        match tokio::time::timeout(REFRESH_LIMIT, wait).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::debug!("the table's owner has stopped"),
            Err(_) => tracing::debug!("the table's owner is busy, serving the last snapshot"),
        }
    }

    /// The table, for the inventory.
    #[must_use]
    pub fn table(&self) -> Table {
        Table { asks: self.asks.clone() }
    }
}

/// The table, as the inventory's thread sees it. Every call may block; none: the table's owner has ended.
#[derive(Clone, Debug)]
pub struct Table {
    asks: mpsc::Sender<Ask>,
}

impl Table {
    fn tell(&self, ask: Ask) -> Option<()> {
        self.asks.blocking_send(ask).ok()
    }

    /// A sweep begins.
    #[must_use]
    pub fn sweep_begins(&self, number: u64) -> Option<()> {
        self.tell(Ask::SweepBegins(number))
    }

    /// It found tracked sockets.
    #[must_use]
    pub fn sweep_found(&self, found: Vec<Found>) -> Option<()> {
        self.tell(Ask::SweepFound(found))
    }

    /// It saw that connections survived a silence.
    #[must_use]
    pub fn survived(&self, survivals: Vec<Survival>) -> Option<()> {
        self.tell(Ask::Survived(survivals))
    }

    /// It ended.
    #[must_use]
    pub fn sweep_ends(&self, sweep: Sweep) -> Option<()> {
        self.tell(Ask::SweepEnds(Box::new(sweep)))
    }

    /// What the kernel has counted by now.
    #[must_use]
    pub fn kernel_counts(&self, counts: Vec<(u32, KernelCounts)>) -> Option<()> {
        self.tell(Ask::KernelCounts(counts))
    }

    /// The last clean round trips of probes, by address and first-seen time of the sockets.
    #[must_use]
    pub fn round_trips(&self, sockets: Vec<(u64, u64)>) -> Option<Vec<Option<Duration>>> {
        let (answer, wait) = oneshot::channel();
        self.tell(Ask::RoundTrips(sockets, answer))?;
        wait.blocking_recv().ok()
    }
}

/// Batches taken in one go: more than the largest ring buffer usually holds.
const BATCHES: usize = 16;

/// The loop around a pump.
pub struct Owner<S> {
    pump: Pump,
    source: S,
    asks: mpsc::Receiver<Ask>,
    ticks: u32,
}

impl<S: RecordSource> Owner<S> {
    /// An owner and its reader.
    #[must_use]
    pub fn new(pump: Pump, source: S) -> (Self, Reader) {
        let (sender, asks) = mpsc::channel(ASKS);
        let reader = Reader { snapshots: pump.snapshots(), asks: sender };
        (Self { pump, source, asks, ticks: 0 }, reader)
    }

    /// Runs until `stop`, then takes what still waits.
    ///
    /// # Errors
    /// When the source fails.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) -> io::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A dropped sender means the same: nobody needs the table any more.
                _ = &mut stop => break,
                result = self.source.ready() => {
                    result?;
                    self.drain();
                }
                _ = tick.tick() => {
                    self.turn();
                    self.ticks += 1;
                    if self.ticks.is_multiple_of(TOTALS) {
                        self.pump.tell_totals();
                    }
                }
                Some(ask) = self.asks.recv() => self.answer(ask),
            }
        }
        self.turn();
        Ok(())
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Refresh(done) => {
                self.turn();
                if done.send(()).is_err() {
                    tracing::debug!("a reader did not wait for its snapshot");
                }
            }
            Ask::SweepBegins(number) => self.pump.sweep_begins(number),
            // Records of before come first: a socket that was found may have the address of one whose end
            // still waits.
            Ask::SweepFound(found) => {
                self.drain();
                self.pump.sweep_found(&found, monotonic_ns());
            }
            Ask::Survived(survivals) => self.pump.survived(&survivals),
            // What was counted before is counted here too, so that both can be compared.
            Ask::SweepEnds(sweep) => {
                self.drain();
                self.pump.sweep_ends(Arc::new(*sweep), monotonic_ns());
            }
            Ask::KernelCounts(counts) => {
                self.drain();
                self.pump.kernel_counts(&counts);
            }
            Ask::RoundTrips(sockets, answer) => {
                // Whoever asked may not wait any more.
                drop(answer.send(self.pump.round_trips(&sockets)));
            }
        }
    }

    /// Takes what waits. Bounded, so that readers and expiry get their turn under any load; the
    /// next tick goes on.
    fn drain(&mut self) {
        let realtime = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.pump.set_boot(realtime.saturating_sub(monotonic()));
        for _ in 0..BATCHES {
            if self.pump.drain(&mut self.source) < BATCH {
                break;
            }
        }
    }

    fn turn(&mut self) {
        self.drain();
        self.pump.tick(monotonic_ns());
    }
}

/// `CLOCK_MONOTONIC` in ns, the clock of the records.
fn monotonic_ns() -> u64 {
    u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX)
}
