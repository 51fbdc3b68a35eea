//! The task that owns the table, and what readers hold of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::events::ring::BATCH;
use crate::events::{Pump, RecordSource};
use crate::table::Snapshot;

/// The longest time that records wait and a snapshot grows old.
const TICK: Duration = Duration::from_millis(100);
/// How long a reader waits for a newer snapshot before it takes the last one.
const REFRESH_LIMIT: Duration = Duration::from_millis(200);
/// Readers that wait for the same refresh; beyond it they take the last snapshot.
const ASKS: usize = 16;

/// Reads snapshots, and can ask for a newer one.
#[derive(Clone, Debug)]
pub struct Reader {
    snapshots: Arc<ArcSwap<Snapshot>>,
    asks: mpsc::Sender<oneshot::Sender<()>>,
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
        if self.asks.try_send(done).is_err() {
            return;
        }
        match tokio::time::timeout(REFRESH_LIMIT, wait).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::debug!("the table's owner has stopped"),
            Err(_) => tracing::debug!("the table's owner is busy, serving the last snapshot"),
        }
    }
}

/// Batches taken in one go: more than the largest ring buffer usually holds.
const BATCHES: usize = 16;

/// The loop around a pump.
pub struct Owner<S> {
    pump: Pump,
    source: S,
    asks: mpsc::Receiver<oneshot::Sender<()>>,
}

impl<S: RecordSource> Owner<S> {
    /// An owner and its reader.
    #[must_use]
    pub fn new(pump: Pump, source: S) -> (Self, Reader) {
        let (sender, asks) = mpsc::channel(ASKS);
        let reader = Reader { snapshots: pump.snapshots(), asks: sender };
        (Self { pump, source, asks }, reader)
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
                _ = tick.tick() => self.turn(),
                Some(done) = self.asks.recv() => {
                    self.turn();
                    if done.send(()).is_err() {
                        tracing::debug!("a reader did not wait for its snapshot");
                    }
                }
            }
        }
        self.turn();
        Ok(())
    }

    /// Takes what waits. Bounded, so that readers and expiry get their turn under any load; the
    /// next tick goes on.
    fn drain(&mut self) {
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
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).expect("the clock starts at boot");
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}
