//! The body of the owner's loop: record in, table changed, log written, snapshot published. The
//! loop around it (readiness, ticks, shutdown) is in [`crate::run`]; time comes from there.

use super::decode::decode;
use super::log::RecordLog;
use super::ring::RingReader;
use crate::table::{Snapshot, SocketTable};
use arc_swap::ArcSwap;
use std::future::Future;
use std::io;
use std::sync::Arc;

/// Fewest places looked at for expiry in one tick, and the share of the table above that: a
/// hundredth, so that a tick stays short and a table is walked within ten seconds.
const EXPIRY_MIN: usize = 4096;
const EXPIRY_SHARE: usize = 100;

/// Where records come from: the ring buffer, or a fake in tests.
pub trait RecordSource {
    /// Hands over each record that waits, oldest first, and tells how many there were.
    fn drain(&mut self, each: &mut dyn FnMut(&[u8])) -> usize;

    /// Waits until there may be more.
    ///
    /// # Errors
    /// When the source has failed for good.
    fn ready(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

impl RecordSource for RingReader {
    fn drain(&mut self, each: &mut dyn FnMut(&[u8])) -> usize {
        Self::drain(self, each)
    }

    fn ready(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        Self::ready(self)
    }
}

/// The one owner of the table.
pub struct Pump {
    table: SocketTable,
    log: Option<RecordLog>,
    publish: Arc<ArcSwap<Snapshot>>,
    changed: bool,
    undecodable_told: bool,
}

impl Pump {
    /// A pump over an empty or seeded table, with a record log where one is wanted.
    #[must_use]
    pub fn new(table: SocketTable, log: Option<RecordLog>) -> Self {
        let publish = Arc::new(ArcSwap::from_pointee(table.snapshot()));
        Self { table, log, publish, changed: false, undecodable_told: false }
    }

    /// Where readers find the last snapshot.
    #[must_use]
    pub fn snapshots(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.publish)
    }

    /// Takes one record from the ring buffer's bytes.
    pub fn record(&mut self, bytes: &[u8]) {
        self.changed = true;
        match decode(bytes) {
            Ok(record) => {
                let outcome = self.table.apply(&record);
                if let Some(log) = &mut self.log {
                    log.write(&record, &outcome, self.table.clock());
                }
            }
            Err(what) => {
                self.table.undecodable(what.kind);
                if !self.undecodable_told {
                    self.undecodable_told = true;
                    tracing::error!(
                        "a record from the kernel programs cannot be read: {what}; this and all \
                         further ones are counted in ka_records_lost_total; the programs and the \
                         daemon are probably not of the same build"
                    );
                }
            }
        }
    }

    /// Takes everything that waits in a source.
    pub fn drain(&mut self, source: &mut impl RecordSource) -> usize {
        source.drain(&mut |bytes| self.record(bytes))
    }

    /// To be called at least every 100 ms: forgets dead sockets, flushes the log, publishes.
    pub fn tick(&mut self, now_ns: u64) {
        let before = self.table.len();
        self.table.expire(now_ns, EXPIRY_MIN.max(self.table.places() / EXPIRY_SHARE));
        self.changed |= self.table.len() != before;
        if let Some(log) = &mut self.log {
            log.flush();
        }
        if std::mem::take(&mut self.changed) {
            self.publish.store(Arc::new(self.table.snapshot()));
        }
    }

    /// Records that the record log could not take.
    #[must_use]
    pub fn log_lost(&self) -> u64 {
        self.log.as_ref().map_or(0, RecordLog::lost)
    }
}
