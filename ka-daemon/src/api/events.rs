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
/// one JSON object of the schema `Event`. A `drop` has its `id`: a client that comes back with
/// `Last-Event-ID` first gets the kept drops that came after it. A client that falls more than 1,024
/// events behind gets `lost` with how many were left out for it, of all kinds.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    params(
        ("kinds" = Option<String>, Query, description = "Only these, comma separated: drop, probe_unanswered, totals. `lost` is always told"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last drop that was received"),
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
    let last = last_event(&headers)?;
    let place = Arc::clone(&shared.listeners).try_acquire_owned();
    let place = place.map_err(|_| ApiError::TooManyListeners { limit: LISTENERS })?;
    let feed = &shared.app.feed;
    // Before the kept drops are read, so that none falls between.
    let subscription = feed.subscribe();
    let missed = match last {
        Some(last) if kinds.contains(&"drop") => missed(feed, last),
        Some(_) | None => VecDeque::new(),
    };
    let telling = Telling { missed, told: 0, kinds, subscription, _place: place };
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

fn last_event(headers: &HeaderMap) -> Result<Option<u64>, ParameterError> {
    const NAME: &str = "Last-Event-ID";
    let Some(value) = headers.get(NAME) else { return Ok(None) };
    let value = String::from_utf8_lossy(value.as_bytes());
    let mut last = None;
    once(&mut last, NAME, &value, |text| {
        text.parse().map_err(|_| "expected the id of the last drop that was received".to_owned())
    })?;
    Ok(last)
}

/// Drops after the one of a number, oldest first. A number that none has yet was given by a daemon that
/// ran before this one: then all are new.
fn missed(feed: &Feed, last: u64) -> VecDeque<Arc<DropView>> {
    let drops = feed.drops();
    let newest = drops.first().map_or(0, |drop| drop.id);
    drops.into_iter().rev().filter(|drop| drop.id > last || last > newest).collect()
}

/// What one client is told.
struct Telling {
    missed: VecDeque<Arc<DropView>>,
    /// The last drop that was told.
    told: u64,
    kinds: Vec<&'static str>,
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
                    sent = sent.id(drop.id.to_string());
                }
                Event::Lost { .. } | Event::ProbeUnanswered(_) | Event::Totals(_) => {}
            }
            if matches!(event, Event::Lost { .. }) || self.kinds.contains(&event.name()) {
                return Some((Ok(sent.data(message.json())), self));
            }
        }
    }
}
