//! Where rows come from: the iterators, or a fake of them in tests. Reads them as bytes, in blocks.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::status::Intent;

/// Opens iterators of the kernel.
pub trait Iterators: Send + Sync + 'static {
    /// Every socket of the calling thread's network namespace, as [`ka_common::SocketRow`]s.
    ///
    /// # Errors
    /// The kernel refuses.
    fn sockets(&self) -> io::Result<File>;

    /// Every descriptor that names a TCP socket or a namespace, as [`ka_common::FileRow`]s.
    ///
    /// # Errors
    /// The kernel refuses.
    fn holders(&self) -> io::Result<File>;

    /// Why one of the two cannot be had on this kernel; none: it can.
    fn missing(&self, intent: Intent) -> Option<String>;
}

/// The kernel fills at most eight pages a read.
const BLOCK: usize = 64 * 1024;

/// Reads rows to the end, or until `each` has enough.
///
/// # Errors
/// The reading fails, or ends within a row.
pub(super) fn rows<T: FromBytes + Immutable + KnownLayout + Copy>(
    file: &mut impl Read,
    block: &mut Vec<u8>,
    mut each: impl FnMut(&T) -> ControlFlow<()>,
) -> io::Result<()> {
    block.resize(BLOCK, 0);
    let mut have = 0;
    loop {
        let read = match file.read(&mut block[have..]) {
            // The iterator stops for a moment where nothing of a full block was written yet.
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                continue;
            }
            result => result?,
        };
        if read == 0 {
            break;
        }
        have += read;
        let whole = have - have % size_of::<T>();
        for bytes in block[..whole].chunks_exact(size_of::<T>()) {
            let row = T::read_from_bytes(bytes).expect("a chunk is as long as a row");
            if each(&row).is_break() {
                return Ok(());
            }
        }
        block.copy_within(whole..have, 0);
        have -= whole;
    }
    if have == 0 { Ok(()) } else { Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a row was cut short")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes as _;

    /// Gives a few bytes a call, as it likes.
    struct Drops(Vec<u8>, usize);

    impl Read for Drops {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    #[test]
    fn rows_are_whole_wherever_a_read_ends() {
        let numbers: Vec<u64> = (0..1000).collect();
        for step in [1, 7, 8, 9, 4096] {
            let mut seen = Vec::new();
            let mut bytes = Drops(numbers.as_bytes().to_vec(), step);
            rows(&mut bytes, &mut Vec::new(), |number: &u64| {
                seen.push(*number);
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(seen, numbers, "{step}");
        }
    }

    #[test]
    fn a_row_that_is_cut_short_is_an_error() {
        let mut bytes = Drops(vec![0; 12], 100);
        let result = rows(&mut bytes, &mut Vec::new(), |_: &u64| ControlFlow::Continue(()));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn whoever_has_enough_reads_no_further() {
        let mut bytes = Drops(vec![0; 80], 8);
        let mut count = 0;
        rows(&mut bytes, &mut Vec::new(), |_: &u64| {
            count += 1;
            if count == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!((count, bytes.0.len()), (3, 56));
    }
}
