//! Places for connections, and who has to leave his when all are taken: the one who has kept it longest
//! without doing anything, so that clients that hang cannot keep others away.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Whoever did something so lately keeps his place.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon it is looked again for somebody who may have to leave.
const LOOK: Duration = Duration::from_millis(100);

/// All places and those who have them.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Arc<Taken>,
}

#[derive(Debug, Default)]
struct Taken(Mutex<(u64, HashMap<u64, Arc<Client>>)>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<u64, Arc<Client>>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), taken: Arc::default() }
    }

    /// A place for a client that is there. Where none is free, one is made free as soon as somebody may be
    /// sent away.
    pub(super) async fn take(&self) -> Place {
        loop {
            if self.free.available_permits() == 0 {
                self.send_away(Instant::now());
            }
            let free = Arc::clone(&self.free).acquire_owned();
            // The semaphore is never closed.
            if let Ok(Ok(permit)) = tokio::time::timeout(LOOK, free).await {
                return self.enter(permit);
            }
        }
    }

    fn enter(&self, permit: OwnedSemaphorePermit) -> Place {
        let client = Arc::new(Client::new(Instant::now()));
        let mut taken = self.taken.lock();
        taken.0 += 1;
        let number = taken.0;
        taken.1.insert(number, Arc::clone(&client));
        drop(taken);
        Place { client, number, taken: Arc::clone(&self.taken), _permit: permit }
    }

    /// Sends away whoever did nothing for longest, if anybody may be.
    fn send_away(&self, now: Instant) {
        let mut taken = self.taken.lock();
        let idle = |(number, client): (&u64, &Arc<Client>)| Some((client.idle_since(now)?, *number));
        // It is not to be found a second time.
        if let Some((_, number)) = taken.1.iter().filter_map(idle).min()
            && let Some(client) = taken.1.remove(&number)
        {
            client.leave.notify_one();
        }
    }
}

/// A client's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    client: Arc<Client>,
    number: u64,
    taken: Arc<Taken>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// What the client does.
    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// Completes when somebody else needs the place more.
    pub(super) async fn is_needed(&self) {
        self.client.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.lock().1.remove(&self.number);
    }
}

/// What a client does.
#[derive(Debug)]
pub(super) struct Client {
    does: Mutex<Does>,
    leave: Notify,
}

#[derive(Debug)]
struct Does {
    /// A request is answered, which may take as long as it likes.
    served: bool,
    /// It takes nothing of what is written.
    stuck: bool,
    /// When it last asked for something, got all of it, or took some of it.
    since: Instant,
}

impl Client {
    fn new(now: Instant) -> Self {
        Self { does: Mutex::new(Does { served: false, stuck: false, since: now }), leave: Notify::new() }
    }

    fn does(&self) -> MutexGuard<'_, Does> {
        self.does.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when it has been doing nothing, where that is long enough. An answer that has nothing to tell at
    /// the moment is not the client's fault.
    fn idle_since(&self, now: Instant) -> Option<Instant> {
        let does = self.does();
        let idle = does.stuck || !does.served;
        (idle && now.saturating_duration_since(does.since) >= PATIENCE).then_some(does.since)
    }

    /// It takes nothing at the moment, or it took something.
    pub(super) fn set_stuck(&self, stuck: bool) {
        let mut does = self.does();
        if !stuck || !does.stuck {
            *does = Does { stuck, since: Instant::now(), ..*does };
        }
    }

    fn set_served(&self, served: bool) {
        let mut does = self.does();
        *does = Does { served, since: Instant::now(), ..*does };
    }
}

/// A request that is answered, from its head to the end of the answer.
#[derive(Debug)]
pub(super) struct Request(Arc<Client>);

impl Request {
    pub(super) fn of(client: &Arc<Client>) -> Self {
        client.set_served(true);
        Self(Arc::clone(client))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.set_served(false);
    }
}

/// The body of an answer, which ends the request as it ends.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _request: Request,
}

impl Answer {
    pub(super) const fn new(body: Body, request: Request) -> Self {
        Self { body, _request: request }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_be_sent_away(client: &Client, after: Duration) -> bool {
        let since = client.does().since;
        client.idle_since(since + after).is_some()
    }

    #[test]
    fn only_a_client_that_does_nothing_may_be_sent_away() {
        let client = Arc::new(Client::new(Instant::now()));
        assert!(!may_be_sent_away(&client, PATIENCE / 2), "it only just came");
        assert!(may_be_sent_away(&client, PATIENCE), "it asks for nothing");
        let request = Request::of(&client);
        assert!(!may_be_sent_away(&client, PATIENCE * 3600), "a stream that has nothing to tell");
        client.set_stuck(true);
        assert!(may_be_sent_away(&client, PATIENCE), "it does not read");
        client.set_stuck(false);
        assert!(!may_be_sent_away(&client, PATIENCE * 3600), "it reads again");
        drop(request);
        assert!(may_be_sent_away(&client, PATIENCE), "it has its answer");
    }

    #[test]
    fn a_client_that_stays_stuck_has_been_so_since_it_began() {
        let client = Client::new(Instant::now());
        client.set_stuck(true);
        let began = client.does().since;
        client.set_stuck(true);
        assert_eq!(client.does().since, began);
    }

    #[tokio::test]
    async fn who_did_nothing_for_longest_makes_room_once() {
        let places = Places::new(2);
        let (first, second) = (places.take().await, places.take().await);
        let _served = Request::of(&first.client);
        second.client.set_served(false);
        let later = Instant::now() + PATIENCE;
        places.send_away(later);
        second.is_needed().await;
        places.send_away(later);
        assert!(
            tokio::time::timeout(LOOK, first.is_needed()).await.is_err(),
            "the first is served, and the second was sent away already"
        );
        drop(second);
        drop(places.take().await);
        assert_eq!((places.free.available_permits(), places.taken.lock().1.len()), (1, 1));
    }
}
