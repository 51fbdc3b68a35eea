//! One page out of a stream of sockets: holds as many as the page has, however many there are.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::SocketView;
use super::sort::{Position, SortKey};

/// Takes sockets in any order and keeps those of one page.
#[derive(Debug)]
pub struct PageBuilder {
    key: SortKey,
    limit: usize,
    after: Option<Position>,
    /// The last of the page on top.
    kept: BinaryHeap<Entry>,
    total: u64,
    /// Those behind `after`.
    behind: u64,
}

/// A page of sockets in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// At most as many as asked for.
    pub sockets: Vec<SocketView>,
    /// All that came, on this page or not.
    pub total: u64,
    /// Where the next page begins; none: this is the last.
    pub next: Option<Position>,
}

impl PageBuilder {
    /// The page of `limit` sockets that comes after a position, or the first one.
    #[must_use]
    pub fn new(key: SortKey, limit: usize, after: Option<Position>) -> Self {
        Self { key, limit, after, kept: BinaryHeap::new(), total: 0, behind: 0 }
    }

    /// Takes one, read at `now`.
    pub fn add(&mut self, socket: SocketView, now: Duration) {
        self.total += 1;
        let position = self.key.position(&socket, now);
        if self.after.as_ref().is_some_and(|after| position <= *after) {
            return;
        }
        self.behind += 1;
        let entry = Entry { position, socket };
        if self.kept.len() < self.limit {
            self.kept.push(entry);
        } else if let Some(mut last) = self.kept.peek_mut()
            && entry < *last
        {
            *last = entry;
        }
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> Page {
        let entries = self.kept.into_sorted_vec();
        let more = self.behind > entries.len() as u64;
        let next = entries.last().filter(|_| more).map(|last| last.position.clone());
        Page { sockets: entries.into_iter().map(|entry| entry.socket).collect(), total: self.total, next }
    }
}

#[derive(Debug)]
struct Entry {
    position: Position,
    socket: SocketView,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.position.cmp(&other.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::any_socket;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn pages_hold_each_socket_once_and_in_order(
            mut sockets in proptest::collection::vec(any_socket(), 0..60),
            limit in 1..9_usize,
        ) {
            for (inode, socket) in sockets.iter_mut().enumerate() {
                socket.inode = inode as u64;
            }
            for key in SortKey::ALL {
                let mut shown = Vec::new();
                let mut after = None;
                loop {
                    let mut builder = PageBuilder::new(key, limit, after);
                    for socket in &sockets {
                        builder.add(socket.clone(), Duration::ZERO);
                        prop_assert!(builder.kept.len() <= limit);
                    }
                    let page = builder.finish();
                    prop_assert_eq!(page.total, sockets.len() as u64);
                    prop_assert!(page.next.is_none() || page.sockets.len() == limit);
                    shown.extend(page.sockets);
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                let mut expected = sockets.clone();
                key.sort(&mut expected);
                prop_assert_eq!(shown, expected);
            }
        }
    }
}
