//! What happens, for those who want to hear of it: the last drops, and a broadcast of events. The
//! task that owns the table writes here; no reader makes it wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use tokio::sync::{broadcast, watch};

use crate::view::{DropView, Event};

/// Drops that are kept.
pub const DROPS: usize = 1000;
/// Events that wait for the slowest reader; what is older is lost to it.
pub const QUEUE: usize = 1024;

/// The feed of this process; clones share it.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The drop of number `id` lies at `id % DROPS`, so that a reader and the writer share no lock.
    drops: Box<[ArcSwapOption<DropView>]>,
    /// Number of the newest drop that is stored.
    newest: AtomicU64,
    /// Tells the numbers of this process from those of the one before: when it began, in ms since 1970.
    run: u128,
    /// Held while a number is given out; by writers only.
    writing: Mutex<()>,
    events: broadcast::Sender<Arc<Message>>,
    closed: watch::Sender<bool>,
}

impl Default for Feed {
    fn default() -> Self {
        // A clock before 1970 is wrong, and as good as any for telling runs apart.
        let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        Self(Arc::new(Shared {
            run,
            drops: std::iter::repeat_with(ArcSwapOption::empty).take(DROPS).collect(),
            newest: AtomicU64::new(0),
            writing: Mutex::new(()),
            events: broadcast::Sender::new(QUEUE),
            closed: watch::Sender::new(false),
        }))
    }
}

impl Feed {
    /// Gives a drop its number, keeps it and tells of it. Returns the number: 1 for the first.
    pub fn dropped(&self, mut drop: DropView) -> u64 {
        let shared = &*self.0;
        let writing = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let id = shared.newest.load(Ordering::Relaxed) + 1;
        drop.id = id;
        let event = self.wanted().then(|| Event::Drop(Box::new(drop.clone())));
        shared.slot(id).store(Some(Arc::new(drop)));
        // After the drop itself: who reads the number finds the drop.
        shared.newest.store(id, Ordering::Release);
        // Before the lock is left, so that drops are told in the order of their numbers.
        if let Some(event) = event {
            self.publish(event);
        }
        std::mem::drop(writing);
        id
    }

    /// Tells of an event; nobody may be there to hear it.
    pub fn publish(&self, event: Event) {
        // An error says that nobody listens.
        drop(self.0.events.send(Arc::new(Message::new(event))));
    }

    /// Whether anybody listens: for nobody, no event need be made.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.0.events.receiver_count() > 0
    }

    /// The kept drops, newest first.
    #[must_use]
    pub fn drops(&self) -> Vec<Arc<DropView>> {
        let newest = self.newest();
        let oldest = newest.saturating_sub(DROPS as u64) + 1;
        // The writer may meanwhile have put newer ones in the place of the oldest.
        let read = |id| self.0.slot(id).load_full().filter(|drop| drop.id == id);
        (oldest..=newest).rev().filter_map(read).collect()
    }

    /// The number of the newest drop; 0: none yet.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.0.newest.load(Ordering::Acquire)
    }

    /// What a listener is given along with a drop, to say later where it was.
    #[must_use]
    pub fn mark(&self, id: u64) -> String {
        format!("{:x}-{id}", self.0.run)
    }

    /// The kept drops after a mark, oldest first: all of them, where the mark is from a process before
    /// this one. None: it is no mark.
    #[must_use]
    pub fn since(&self, mark: &str) -> Option<Vec<Arc<DropView>>> {
        let (run, id) = mark.split_once('-')?;
        let (run, id) = (u128::from_str_radix(run, 16).ok()?, id.parse::<u64>().ok()?);
        let id = if run == self.0.run { id } else { 0 };
        Some(self.drops().into_iter().rev().filter(|drop| drop.id > id).collect())
    }

    /// Hears of all events from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription { events: self.0.events.subscribe(), closed: self.0.closed.subscribe() }
    }

    /// Ends all subscriptions, for good: the daemon stops.
    pub fn close(&self) {
        self.0.closed.send_replace(true);
    }

    /// Whether [`Self::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self.0.closed.borrow()
    }
}

impl Shared {
    fn slot(&self, id: u64) -> &ArcSwapOption<DropView> {
        let place = usize::try_from(id % DROPS as u64).expect("less than DROPS");
        &self.drops[place]
    }
}

/// An event, brought to JSON once for all who hear it, and not by the one who tells it.
#[derive(Debug)]
pub struct Message {
    event: Event,
    json: OnceLock<String>,
}

impl Message {
    /// A message of an event.
    #[must_use]
    pub fn new(event: Event) -> Self {
        Self { event, json: OnceLock::new() }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The event in JSON, on one line.
    ///
    /// # Panics
    /// Never: every event has a JSON form.
    #[must_use]
    pub fn json(&self) -> &str {
        self.json.get_or_init(|| serde_json::to_string(&self.event).expect("an event has a JSON form"))
    }
}

/// One who listens. Not listening for long loses events, never holds up the writer.
#[derive(Debug)]
pub struct Subscription {
    events: broadcast::Receiver<Arc<Message>>,
    closed: watch::Receiver<bool>,
}

impl Subscription {
    /// The next event, or how many were lost; none: the feed was closed. May be cancelled.
    pub async fn next(&mut self) -> Option<Arc<Message>> {
        tokio::select! {
            biased;
            // An error says that the feed is gone, which means the same.
            _ = self.closed.wait_for(|closed| *closed) => None,
            received = self.events.recv() => match received {
                Ok(message) => Some(message),
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    Some(Arc::new(Message::new(Event::Lost { count })))
                }
                Err(broadcast::error::RecvError::Closed) => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::drop_view;
    use std::sync::atomic::AtomicBool;

    fn ids(feed: &Feed) -> Vec<u64> {
        feed.drops().iter().map(|drop| drop.id).collect()
    }

    #[test]
    fn the_last_drops_are_kept_newest_first() {
        let feed = Feed::default();
        assert_eq!((ids(&feed), feed.newest()), (vec![], 0));
        for id in 1..=3 {
            assert_eq!(feed.dropped(drop_view()), id);
        }
        assert_eq!(ids(&feed), [3, 2, 1]);
        for _ in 0..DROPS {
            feed.dropped(drop_view());
        }
        let newest = DROPS as u64 + 3;
        assert_eq!(ids(&feed), (4..=newest).rev().collect::<Vec<_>>());
        assert_eq!(feed.newest(), newest);
    }

    #[test]
    fn a_reader_finds_all_but_those_overwritten_meanwhile() {
        let feed = Feed::default();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    feed.dropped(drop_view());
                }
                ended.store(true, Ordering::Relaxed);
            });
            while !ended.load(Ordering::Relaxed) {
                let before = feed.newest();
                let ids = ids(&feed);
                assert!(ids.first().is_none_or(|newest| *newest >= before));
                assert!(ids.windows(2).all(|pair| pair[0] == pair[1] + 1), "a gap: {ids:?}");
            }
        });
    }

    #[test]
    fn a_mark_says_where_a_listener_was() {
        let feed = Feed::default();
        for _ in 0..5 {
            feed.dropped(drop_view());
        }
        let since = |mark: &str| feed.since(mark).map(|drops| drops.iter().map(|d| d.id).collect::<Vec<_>>());
        assert_eq!(since(&feed.mark(3)), Some(vec![4, 5]));
        assert_eq!(since(&feed.mark(5)), Some(vec![]));
        assert_eq!(since("1-3"), Some(vec![1, 2, 3, 4, 5]), "of another process");
        for wrong in ["", "3", "x-3", "1-x", "1-3-"] {
            assert_eq!(since(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_what_it_lost() {
        let feed = Feed::default();
        assert!(!feed.wanted());
        feed.publish(Event::Lost { count: 1 });
        let (mut slow, mut quick) = (feed.subscribe(), feed.subscribe());
        assert!(feed.wanted());
        for _ in 0..QUEUE + 7 {
            feed.dropped(drop_view());
            assert!(matches!(quick.next().await.unwrap().event(), Event::Drop(_)));
        }
        assert_eq!(slow.next().await.unwrap().event(), &Event::Lost { count: 7 });
        let next = slow.next().await.unwrap();
        assert!(matches!(next.event(), Event::Drop(drop) if drop.id == 8));
        assert!(next.json().starts_with("{\"event\":\"drop\",\"id\":8,"), "{}", next.json());
    }

    #[tokio::test]
    async fn closing_ends_listeners_of_before_and_after() {
        let feed = Feed::default();
        let mut before = feed.subscribe();
        feed.publish(Event::Lost { count: 1 });
        feed.close();
        assert!(feed.is_closed());
        assert!(before.next().await.is_none());
        assert!(feed.subscribe().next().await.is_none());
    }
}
