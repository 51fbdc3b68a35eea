//! The reader's end of the ring buffer: the only place besides [`crate::bpf`] that touches aya.
//! `unsafe`: tokio asks for a promise about the descriptor.

use std::io;

use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

/// The most records that one drain hands over.
pub const BATCH: usize = 1 << 16;

/// Reads records as bytes. The kernel side wakes it by batch, so that whoever owns it also drains
/// at least every 100 ms.
pub struct RingReader {
    ring: AsyncFd<RingBuf<MapData>>,
    /// What the programs say of their own trouble: rare, and read along with the records.
    logger: EbpfLogger<&'static dyn log::Log>,
}

impl RingReader {
    /// Registers the ring buffer with the runtime.
    ///
    /// # Errors
    /// When the runtime cannot poll it.
    pub fn new(ring: RingBuf<MapData>, logger: EbpfLogger<&'static dyn log::Log>) -> io::Result<Self> {
        // SAFETY: the ring buffer owns its descriptor and keeps it until it is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self { ring, logger })
    }

    /// Hands over the records that wait, oldest first, and tells how many there were: at most
    /// [`BATCH`], so that an owner under load still gets to its other work.
    pub fn drain(&mut self, each: &mut dyn FnMut(&[u8])) -> usize {
        self.logger.flush();
        let ring = self.ring.get_mut();
        let mut count = 0;
        while count < BATCH
            && let Some(item) = ring.next()
        {
            each(&item);
            count += 1;
        }
        count
    }

    /// Waits until the kernel side wakes the reader.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.ring.readable_mut().await?.clear_ready();
        Ok(())
    }
}
