//! What is taken out of the ring buffer while the owner of the table is busy: it may have to look at every
//! open file of the node to tell whose a socket is, and the ring buffer does not hold more than a second of
//! a very busy node.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Records that are copied at once.
const CHUNK: usize = 1024;
/// What is put aside at most. Beyond it the ring buffer fills, and the kernel side counts what is lost.
const LIMIT_BYTES: usize = 64 << 20;

/// A queue of records: the ring buffer, or a fake in tests.
pub trait Items {
    /// Takes the oldest; false: there is none.
    fn take_next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool;
}

/// Copies of records.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Chunk {
    /// Fills an empty one.
    fn fill(&mut self, items: &mut impl Items) {
        let Self { bytes, ends } = self;
        while ends.len() < CHUNK
            && items.take_next(&mut |record| {
                bytes.extend_from_slice(record);
                ends.push(bytes.len());
            })
        {}
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// How many records.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Hands over each record, oldest first.
    pub fn for_each(&self, each: &mut dyn FnMut(&[u8])) {
        let mut begin = 0;
        for end in &self.ends {
            each(&self.bytes[begin..*end]);
            begin = *end;
        }
    }
}

/// A queue, and what was taken out of it before its turn.
#[derive(Debug)]
pub struct Aside<T> {
    inner: Mutex<Inner<T>>,
    /// How often the owner found the queue empty, or nearly so.
    caught_up: AtomicU64,
    /// That of the last relief.
    seen: AtomicU64,
    limit_bytes: usize,
}

#[derive(Debug)]
struct Inner<T> {
    items: T,
    aside: VecDeque<Chunk>,
    bytes: usize,
}

impl<T: Items> Aside<T> {
    /// Nothing is aside yet.
    pub fn new(items: T) -> Self {
        Self {
            inner: Mutex::new(Inner { items, aside: VecDeque::new(), bytes: 0 }),
            caught_up: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            limit_bytes: LIMIT_BYTES,
        }
    }

    /// Takes the oldest records; false: there are none.
    pub fn next(&self, chunk: &mut Chunk) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(oldest) = inner.aside.pop_front() {
            inner.bytes -= oldest.bytes.len();
            *chunk = oldest;
        } else {
            chunk.clear();
            chunk.fill(&mut inner.items);
            if chunk.len() < CHUNK {
                self.caught_up.fetch_add(1, Ordering::Relaxed);
            }
        }
        !chunk.is_empty()
    }

    /// Puts aside what waits, unless the owner has caught up since the last call: one that reads and looks
    /// for the owner of each socket meanwhile is too slow as well.
    pub fn relieve(&self) {
        let caught_up = self.caught_up.load(Ordering::Relaxed);
        if self.seen.swap(caught_up, Ordering::Relaxed) != caught_up {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        while inner.bytes < self.limit_bytes {
            let mut chunk = Chunk::default();
            chunk.fill(&mut inner.items);
            if chunk.is_empty() {
                return;
            }
            inner.bytes += chunk.bytes.len();
            inner.aside.push_back(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers, as records of different lengths.
    struct Numbers {
        next: usize,
        end: usize,
    }

    impl Items for Numbers {
        fn take_next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
            if self.next == self.end {
                return false;
            }
            let bytes = self.next.to_le_bytes();
            take(&bytes[..if self.next.is_multiple_of(2) { 8 } else { 4 }]);
            self.next += 1;
            true
        }
    }

    fn read(aside: &Aside<Numbers>) -> Vec<usize> {
        let (mut chunk, mut read) = (Chunk::default(), Vec::new());
        while aside.next(&mut chunk) {
            chunk.for_each(&mut |record| {
                let mut bytes = [0; 8];
                bytes[..record.len()].copy_from_slice(record);
                read.push(usize::from_le_bytes(bytes));
            });
        }
        read
    }

    fn more(aside: &Aside<Numbers>, count: usize) {
        aside.inner.lock().unwrap().items.end += count;
    }

    fn waiting(aside: &Aside<Numbers>) -> usize {
        let inner = aside.inner.lock().unwrap();
        inner.items.end - inner.items.next
    }

    #[test]
    fn what_was_put_aside_comes_first() {
        let aside = Aside::new(Numbers { next: 0, end: 3000 });
        aside.relieve();
        assert_eq!(waiting(&aside), 0, "nobody has ever read");
        more(&aside, 1500);
        assert_eq!(read(&aside), (0..4500).collect::<Vec<_>>());
        assert_eq!(aside.inner.lock().unwrap().bytes, 0);
    }

    #[test]
    fn a_reader_that_catches_up_is_left_alone() {
        let aside = Aside::new(Numbers { next: 0, end: 10 });
        read(&aside);
        more(&aside, 10);
        aside.relieve();
        assert_eq!(waiting(&aside), 10, "it has caught up since");
        aside.relieve();
        assert_eq!(waiting(&aside), 0, "and not since");
        assert_eq!(read(&aside), (10..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_lags_is_relieved() {
        let aside = Aside::new(Numbers { next: 0, end: 5000 });
        let mut chunk = Chunk::default();
        assert!(aside.next(&mut chunk), "it reads");
        aside.relieve();
        assert_eq!(waiting(&aside), 0, "and more waits than it took");
        assert_eq!(read(&aside), (CHUNK..5000).collect::<Vec<_>>());
        more(&aside, 1);
        aside.relieve();
        assert_eq!(waiting(&aside), 1, "it has caught up since");
    }

    #[test]
    fn what_finds_no_room_stays_where_it_is_counted() {
        let aside = Aside { limit_bytes: 4000, ..Aside::new(Numbers { next: 0, end: 3000 }) };
        aside.relieve();
        assert_eq!(waiting(&aside), 3000 - CHUNK);
        assert_eq!(read(&aside), (0..3000).collect::<Vec<_>>());
    }
}
