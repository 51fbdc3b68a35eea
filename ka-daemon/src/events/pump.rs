//! The body of the owner's loop: record in, table changed, log written, snapshot published. The
//! loop around it (readiness, ticks, shutdown) is in [`crate::run`]; time comes from there.

use super::decode::decode;
use super::log::RecordLog;
use super::ring::RingReader;
use super::tell::{Dropped, Teller};
use crate::inventory::namespace::KernelCounts;
use crate::inventory::totals::Sweep;
use crate::learn::Survival;
use crate::owner::Held;
use crate::table::{Found, Nobody, Outcome, Snapshot, SocketTable, Whose};
use arc_swap::ArcSwap;
use ka_common::{Kind, Record};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Fewest places looked at for expiry in one tick, and the share of the table above that: a
/// hundredth, so that a tick stays short and a table is walked within ten seconds.
const EXPIRY_MIN: usize = 4096;
const EXPIRY_SHARE: usize = 100;

/// Where records come from: the ring buffer, or a fake in tests.
pub trait RecordSource {
    /// Hands over each report that waits, oldest first, and tells how many there were.
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
    whose: Box<dyn Whose + Send>,
    teller: Option<Teller>,
    publish: Arc<ArcSwap<Snapshot>>,
    changed: bool,
    undecodable_told: bool,
}

impl Pump {
    /// A pump over an empty or seeded table, with a record log where one is wanted.
    #[must_use]
    pub fn new(table: SocketTable, log: Option<RecordLog>) -> Self {
        let publish = Arc::new(ArcSwap::from_pointee(table.snapshot()));
        Self {
            table,
            log,
            whose: Box::new(Nobody),
            teller: None,
            publish,
            changed: false,
            undecodable_told: false,
        }
    }

    /// Asks this for the owners of sockets.
    #[must_use]
    pub fn with_owners(self, whose: impl Whose + Send + 'static) -> Self {
        Self { whose: Box::new(whose), ..self }
    }

    /// Tells drops and unanswered probes.
    #[must_use]
    pub fn with_teller(self, teller: Teller) -> Self {
        Self { teller: Some(teller), ..self }
    }

    /// Where readers find the last snapshot.
    #[must_use]
    pub fn snapshots(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.publish)
    }

    /// Takes what the ring buffer's bytes tell: a record, and the settlement before it where one rides along.
    pub fn report(&mut self, bytes: &[u8]) {
        self.changed = true;
        match decode(bytes) {
            Ok(report) => {
                if let Some(settlement) = report.settlement() {
                    self.record(&settlement);
                }
                self.record(&report.record);
            }
            Err(what) => {
                self.table.undecodable(what.kind);
                if what.settled {
                    self.table.undecodable(Some(Kind::ProbeSettled));
                }
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

    fn record(&mut self, record: &Record) {
        let outcome = self.table.apply_owned(record, &mut *self.whose);
        self.tell(record, outcome);
        if let Some(log) = &mut self.log {
            log.write(record, &outcome, self.table.clock());
        }
    }

    fn tell(&mut self, record: &Record, outcome: Outcome) {
        let Some(teller) = &self.teller else { return };
        match outcome {
            Outcome::Dropped { cause, timer, idle } => {
                let owner = self.whose.owner(Held::from(record), false);
                teller.dropped(record, Dropped { cause, timer, idle }, &owner, self.table.clock());
            }
            Outcome::Settled { answered: false, .. } if teller.wanted() => {
                let owner = self.whose.owner(Held::from(record), false);
                teller.unanswered(record, &owner);
            }
            Outcome::Sent { .. }
            | Outcome::Duplicate
            | Outcome::Settled { .. }
            | Outcome::Unmatched
            | Outcome::Suppressed(_)
            | Outcome::ZeroWindow
            | Outcome::Reset { .. }
            | Outcome::Closed { .. }
            | Outcome::Undecodable => {}
        }
    }

    /// Tells the totals so far to those who listen.
    pub fn tell_totals(&self) {
        if let Some(teller) = &self.teller {
            teller.totals(&self.publish.load());
        }
    }

    /// Sets what the realtime clock showed when the monotonic one showed 0.
    pub fn set_boot(&mut self, boot: Duration) {
        if let Some(teller) = &mut self.teller {
            teller.set_boot(boot);
        }
    }

    /// A sweep begins.
    pub fn sweep_begins(&mut self, number: u64) {
        self.table.sweep_begins(number);
    }

    /// It found tracked sockets.
    pub fn sweep_found(&mut self, found: &[Found], now_ns: u64) {
        self.changed = true;
        for one in found {
            self.table.sweep_found(one, &mut *self.whose, now_ns);
        }
    }

    /// It saw that connections survived a silence.
    pub fn survived(&mut self, survivals: &[Survival]) {
        self.table.survived(survivals);
    }

    /// It ended.
    pub fn sweep_ends(&mut self, sweep: Arc<Sweep>, now_ns: u64) {
        self.changed = true;
        self.table.sweep_ends(sweep, now_ns);
    }

    /// What the kernel has counted by now.
    pub fn kernel_counts(&mut self, counts: &[(u32, KernelCounts)]) {
        self.changed = true;
        self.table.kernel_counts(counts);
    }

    /// The last clean round trips of sockets, by address and first-seen time.
    #[must_use]
    pub fn round_trips(&self, sockets: &[(u64, u64)]) -> Vec<Option<Duration>> {
        self.table.round_trips(sockets)
    }

    /// Takes everything that waits in a source.
    pub fn drain(&mut self, source: &mut impl RecordSource) -> usize {
        source.drain(&mut |bytes| self.report(bytes))
    }

    /// To be called at least every 100 ms: forgets dead sockets, flushes the log, publishes.
    pub fn tick(&mut self, now_ns: u64) {
        let before = self.table.len();
        self.table.expire(now_ns, EXPIRY_MIN.max(self.table.places() / EXPIRY_SHARE));
        self.changed |= self.table.len() != before;
        self.changed |= self.table.learn(now_ns);
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
