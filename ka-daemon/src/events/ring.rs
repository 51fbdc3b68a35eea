//! The reader's end of the ring buffer: the only place besides [`crate::bpf`] that touches aya.
//! `unsafe`: tokio asks for a promise about the descriptor.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

use super::aside::{Aside, Chunk, Items};
use super::half;

/// The most records that one drain hands over.
pub const BATCH: usize = 1 << 16;
/// How often it is looked whether the owner of the table keeps up, who looks each 100 ms: with the same interval
/// half of the looks come before the owner's, and copy for nothing. The ring buffer of default size holds twice
/// what comes meanwhile at 200,000 reports a second.
const RELIEF: Duration = Duration::from_millis(250);

impl Items for RingBuf<MapData> {
    fn take_next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        self.next().is_some_and(|item| {
            take(&item);
            true
        })
    }
}

/// Reads records as bytes. The kernel side wakes it by batch, so that whoever owns it also drains
/// at least every 100 ms. While that is busy with something else, a thread of its own takes what comes
/// out of the ring buffer and puts it aside.
pub struct RingReader {
    ready: AsyncFd<OwnedFd>,
    aside: Arc<Aside<RingBuf<MapData>>>,
    chunk: Chunk,
    /// What the programs say of their own trouble: rare, and read along with the records.
    logger: EbpfLogger<&'static dyn log::Log>,
}

impl RingReader {
    /// Registers the ring buffer with the runtime.
    ///
    /// # Errors
    /// When the runtime cannot poll it, or no thread can be started.
    pub fn new(ring: RingBuf<MapData>, logger: EbpfLogger<&'static dyn log::Log>) -> io::Result<Self> {
        let descriptor = ring.as_fd().try_clone_to_owned()?;
        // SAFETY: whoever owns a descriptor keeps it until it is dropped.
        let ready = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        half::give_back(&ring);
        let aside = Arc::new(Aside::new(ring));
        let weak = Arc::downgrade(&aside);
        std::thread::Builder::new().name("relief".into()).spawn(move || relieve(&weak))?;
        Ok(Self { ready, aside, chunk: Chunk::default(), logger })
    }

    /// Hands over the records that wait, oldest first, and tells how many there were: at most about
    /// [`BATCH`], so that an owner under load still gets to its other work.
    pub fn drain(&mut self, each: &mut dyn FnMut(&[u8])) -> usize {
        self.logger.flush();
        let mut count = 0;
        while count < BATCH && self.aside.next(&mut self.chunk) {
            count += self.chunk.len();
            self.chunk.for_each(each);
        }
        count
    }

    /// Waits until the kernel side wakes the reader.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.ready.readable_mut().await?.clear_ready();
        Ok(())
    }
}

/// Until the reader is gone.
fn relieve(aside: &Weak<Aside<RingBuf<MapData>>>) {
    loop {
        std::thread::sleep(RELIEF);
        let Some(aside) = aside.upgrade() else { return };
        aside.relieve();
    }
}
