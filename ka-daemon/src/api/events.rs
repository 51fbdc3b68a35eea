//! `/api/v1/events`: what happens, as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::ApiError;
use super::error::ErrorAnswer;
use super::feed::{Feed, Message, Subscription};
use super::query::{each, known};
use super::routes::Shared;
use crate::view::parameter::{ParameterError, once};
use crate::view::{DropView, Event};

/// Clients that listen at once: they must leave connections for everybody else.
pub(super) const LISTENERS: usize = 16;
/// A comment goes out when nothing else did for so long, to keep the connection and to notice its end.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What happens, as it happens.
///
/// Server-sent events named `drop`, `probe_unanswered`, `totals` (each second) and `lost`. Their data is
/// one JSON object of the schema `Event`. A `drop` has an `id:`: a client that comes back with it as
/// `Last-Event-ID` first gets the kept drops that came after. A client that falls more than 1,024
/// events behind gets `lost` with how many were left out for it, of all kinds.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    params(
        ("kinds" = Option<String>, Query, description = "Only these, comma separated: drop, probe_unanswered, totals. `lost` is always told"),
        ("Last-Event-ID" = Option<String>, Header, description = "The `id:` of the last drop that was received"),
    ),
    responses(
        (status = 200, description = "A stream of events", body = Event, content_type = "text/event-stream"),
        (status = 503, description = "Too many clients listen", body = ErrorAnswer),
    ),
)]
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let kinds = kinds(query.as_deref().unwrap_or_default())?;
    let place = Arc::clone(&shared.listeners).try_acquire_owned();
    let place = place.map_err(|_| ApiError::TooManyListeners { limit: LISTENERS })?;
    let feed = &shared.app.feed;
    // Before the kept drops are read, so that none falls between.
    let subscription = feed.subscribe();
    let mut missed = missed(feed, &headers)?;
    if !kinds.contains(&"drop") {
        missed.clear();
    }
    let feed = feed.clone();
    let telling = Telling { missed, told: 0, kinds, feed, subscription, _place: place };
    let events = Sse::new(stream::unfold(telling, Telling::next));
    Ok(events.keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn kinds(query: &str) -> Result<Vec<&'static str>, ParameterError> {
    const KINDS: [&str; 3] = ["drop", "probe_unanswered", "totals"];
    let mut kinds = None;
    each(query, |name, value| {
        if name != "kinds" {
            return Ok(false);
        }
        once(&mut kinds, name, value, |text| {
            let kind = |part| KINDS.into_iter().find(|kind| *kind == part);
            let found: Option<Vec<_>> = text.split(',').map(kind).collect();
            found.ok_or_else(|| format!("expected some of {}, comma separated", KINDS.join(", ")))
        })?;
        Ok(true)
    })
    .map_err(|error| known(error, &["kinds"]))?;
    Ok(kinds.unwrap_or_else(|| KINDS.to_vec()))
}

/// The drops that a client missed that comes back, oldest first.
fn missed(feed: &Feed, headers: &HeaderMap) -> Result<VecDeque<Arc<DropView>>, ParameterError> {
    const NAME: &str = "Last-Event-ID";
    let Some(value) = headers.get(NAME) else { return Ok(VecDeque::new()) };
    let value = String::from_utf8_lossy(value.as_bytes());
    let mut missed = None;
    once(&mut missed, NAME, &value, |mark| {
        feed.since(mark).ok_or_else(|| "expected the id: of an event, unchanged".to_owned())
    })?;
    Ok(missed.unwrap_or_default().into())
}

/// What one client is told.
struct Telling {
    missed: VecDeque<Arc<DropView>>,
    /// The last drop that was told.
    told: u64,
    kinds: Vec<&'static str>,
    feed: Feed,
    subscription: Subscription,
    _place: OwnedSemaphorePermit,
}

impl Telling {
    async fn next(mut self) -> Option<(Result<sse::Event, Infallible>, Self)> {
        loop {
            let message = match self.missed.pop_front() {
                Some(drop) => Arc::new(Message::new(Event::Drop(Box::new(DropView::clone(&drop))))),
                None => self.subscription.next().await?,
            };
            let event = message.event();
            let mut sent = sse::Event::default().event(event.name());
            match event {
                Event::Drop(drop) if drop.id <= self.told => continue,
                Event::Drop(drop) => {
                    self.told = drop.id;
                    sent = sent.id(self.feed.mark(drop.id));
                }
                Event::Lost { .. } | Event::ProbeUnanswered(_) | Event::Totals(_) => {}
            }
            if matches!(event, Event::Lost { .. }) || self.kinds.contains(&event.name()) {
                return Some((Ok(sent.data(message.json())), self));
            }
        }
    }
}
