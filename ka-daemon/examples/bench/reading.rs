//! Reads a ring buffer as the daemon does: its own reader, pump and owner's loop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ka_daemon::events::Pump;
use ka_daemon::events::ring::RingReader;
use ka_daemon::run::owner::{Owner, Reader};
use ka_daemon::table::{Clock, Limits, OwnerLabels, Snapshot, SocketTable};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The owner's loop, running.
pub(super) struct Reading {
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    owner: JoinHandle<io::Result<()>>,
    reader: Reader,
}

impl Reading {
    /// Starts on a source that is made within the runtime.
    pub(super) fn start(
        hz: u32,
        source: impl FnOnce() -> anyhow::Result<RingReader>,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let source = {
            let _within = runtime.enter();
            source()?
        };
        let limits = Limits {
            max_sockets: 1 << 18,
            idle_floor: Duration::from_secs(10),
            max_owners: 200,
            owner_labels: OwnerLabels::ALL,
        };
        let pump = Pump::new(SocketTable::new(Clock::new(hz), limits), None);
        let (owner, reader) = Owner::new(pump, source);
        let (stop, stopped) = oneshot::channel();
        let owner = runtime.spawn(owner.run(stopped));
        Ok(Self { runtime, stop, owner, reader })
    }

    /// Takes what still waits and tells everything that was counted.
    pub(super) fn finish(self) -> anyhow::Result<Arc<Snapshot>> {
        drop(self.stop);
        self.runtime.block_on(self.owner).context("the owner panicked")?.context("the owner failed")?;
        Ok(self.reader.snapshot())
    }
}
