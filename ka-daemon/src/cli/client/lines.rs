//! Cuts what arrives in parts into lines. Pure.

use bytes::{Buf as _, Bytes, BytesMut};

/// A socket or a drop takes about a kilobyte.
const LONGEST: usize = 1 << 20;

/// A line has no end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {LONGEST} bytes")]
pub(super) struct TooLong;

/// What arrived and was not taken yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// How far there is no end of a line.
    searched: usize,
}

impl Lines {
    /// Takes what arrived.
    pub(super) fn push(&mut self, part: &[u8]) -> Result<(), TooLong> {
        if self.searched > LONGEST {
            return Err(TooLong);
        }
        self.buffer.extend_from_slice(part);
        Ok(())
    }

    /// The next whole line, without its end (LF or CR LF).
    pub(super) fn next_line(&mut self) -> Option<Bytes> {
        let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + end);
        self.buffer.advance(1);
        self.searched = 0;
        Some(without_return(line))
    }

    /// What came after the last line's end, if anything did.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        self.searched = 0;
        (!self.buffer.is_empty()).then(|| without_return(self.buffer.split()))
    }
}

fn without_return(mut line: BytesMut) -> Bytes {
    if line.ends_with(b"\r") {
        line.truncate(line.len() - 1);
    }
    line.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_parts_are_cut() {
        let text = b"one\ntwo\r\n\nlast";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for part in text.chunks(size) {
                lines.push(part).unwrap();
                found.extend(std::iter::from_fn(|| lines.next_line()));
            }
            found.extend(lines.rest());
            assert_eq!(found, ["one", "two", "", "last"], "parts of {size}");
            assert_eq!(lines.rest(), None);
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; LONGEST + 1]).unwrap();
        assert_eq!(lines.next_line(), None);
        assert_eq!(lines.push(b"x"), Err(TooLong));
    }
}
