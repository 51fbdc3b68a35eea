//! `/api/v1/sockets` and `/api/v1/sockets.ndjson`: the sockets of the node, read for each request.
//! Neither holds more than it is about to send, however many sockets there are.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::ApiError;
use super::error::ErrorAnswer;
use super::query::{self, PageQuery, to_cursor};
use super::routes::Shared;
use super::source::{Turn, Waiting};
use crate::view::page::PageBuilder;
use crate::view::{Filter, SocketView, SortKey};

/// A page of sockets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SocketsAnswer {
    /// In the order asked for.
    pub sockets: Vec<SocketView>,
    /// How many match, on all pages.
    pub total: u64,
    /// The `cursor` of the next page; null: this is the last.
    pub next_cursor: Option<String>,
}

/// A page of sockets.
///
/// Every page reads the node afresh: a socket that ends or begins meanwhile is on none or on one of
/// them. `total` counts all that match.
#[utoipa::path(
    get,
    path = "/api/v1/sockets",
    params(
        Filter,
        ("sort" = inline(Option<SortKey>), Query, description = "The order; unknown values come last. Default: local"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10_000, description = "Sockets on the page. Default: 100"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "The page", body = SocketsAnswer),
        (status = 500, description = "The kernel could not be read", body = ErrorAnswer),
        (status = 503, description = "Too many ask at once, or sockets cannot be read here", body = ErrorAnswer),
    ),
)]
pub(super) async fn sockets(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let asked = PageQuery::parse(query.as_deref().unwrap_or_default())?;
    shared.reads.check(&asked.filter)?;
    let (turn, waiting) = shared.reads.turn().await?;
    let read = tokio::task::spawn_blocking(move || page(turn, asked));
    let json = read.await.map_err(|error| ApiError::Internal(error.to_string()))??;
    drop(waiting);
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

fn page(turn: Turn, asked: PageQuery) -> Result<Vec<u8>, ApiError> {
    let mut builder = PageBuilder::new(asked.sort, asked.limit, asked.after);
    turn.read(&asked.filter, &mut |socket| {
        builder.add(socket, monotonic());
        ControlFlow::Continue(())
    })?;
    let page = builder.finish();
    let next_cursor = page.next.as_ref().map(|position| to_cursor(asked.sort, position));
    let answer = SocketsAnswer { sockets: page.sockets, total: page.total, next_cursor };
    serde_json::to_vec(&answer).map_err(|error| ApiError::Internal(error.to_string()))
}

/// A clock that cursors may hold: it goes on when the daemon is restarted.
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).expect("the clock starts at boot")
}

/// Bytes that are sent in one piece.
const CHUNK: usize = 32 * 1024;
/// Pieces that wait for the client.
const CHUNKS: usize = 4;
/// How long a line waits for others to go with it.
const LINGER: Duration = Duration::from_millis(50);
/// How long a client may take nothing, and the whole reading may take: others wait for their turn.
const STALL: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(1);

/// All sockets that match, a line each.
///
/// In no order, sent while they are read. A last line `{"error": ...}` says that the reading failed
/// and that lines are missing; so does a body that is cut short, which happens to a client that takes
/// nothing for 5 s or needs more than a minute.
#[utoipa::path(
    get,
    path = "/api/v1/sockets.ndjson",
    params(Filter),
    responses(
        (status = 200, description = "A socket on each line", body = SocketView, content_type = "application/x-ndjson"),
        (status = 500, description = "The kernel could not be read", body = ErrorAnswer),
        (status = 503, description = "Too many ask at once, or sockets cannot be read here", body = ErrorAnswer),
    ),
)]
pub(super) async fn ndjson(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let filter = query::filter(query.as_deref().unwrap_or_default())?;
    shared.reads.check(&filter)?;
    let (turn, waiting) = shared.reads.turn().await?;
    let (sender, mut parts) = mpsc::channel(CHUNKS);
    let lines = Lines::new(sender, Handle::current());
    tokio::task::spawn_blocking(move || lines.write(turn, &filter));
    // A reading that fails at once still gets a status of its own.
    let first = match parts.recv().await {
        Some(Part::Failed(error)) => return Err(error),
        None => return Err(ApiError::Internal("the reading ended early".to_owned())),
        Some(part) => part,
    };
    let body = Sending { first: Some(first), parts, ended: false, _waiting: waiting };
    let body = Body::from_stream(stream::unfold(body, Sending::next));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// What the reading thread hands to the body.
enum Part {
    Lines(Bytes),
    Failed(ApiError),
    /// All was sent. Without it, the body is cut short.
    End,
}

/// The writing side, on the thread that reads.
struct Lines {
    parts: mpsc::Sender<Part>,
    runtime: Handle,
    buffer: Vec<u8>,
    begun: Instant,
    flushed: Instant,
    /// The client is gone, or too slow.
    cut: bool,
}

impl Lines {
    fn new(parts: mpsc::Sender<Part>, runtime: Handle) -> Self {
        let now = Instant::now();
        Self { parts, runtime, buffer: Vec::new(), begun: now, flushed: now, cut: false }
    }

    fn write(mut self, turn: Turn, filter: &Filter) {
        let read = turn.read(filter, &mut |socket| self.push(&socket));
        let last = read.map_or_else(Part::Failed, |()| Part::End);
        if self.cut || self.flush().is_break() || self.send(last).is_break() {
            tracing::debug!("a reader of sockets left or was too slow");
        }
    }

    fn push(&mut self, socket: &SocketView) -> ControlFlow<()> {
        serde_json::to_writer(&mut self.buffer, socket).expect("a socket has a JSON form");
        self.buffer.push(b'\n');
        if self.buffer.len() >= CHUNK || self.flushed.elapsed() >= LINGER {
            return self.flush();
        }
        ControlFlow::Continue(())
    }

    fn flush(&mut self) -> ControlFlow<()> {
        if self.buffer.is_empty() {
            return ControlFlow::Continue(());
        }
        let lines = Bytes::from(std::mem::take(&mut self.buffer));
        let sent = self.send(Part::Lines(lines));
        self.flushed = Instant::now();
        sent
    }

    fn send(&mut self, part: Part) -> ControlFlow<()> {
        let sent = match self.parts.try_send(part) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(part)) => self.runtime.block_on(async {
                let left = LONGEST.saturating_sub(self.begun.elapsed()).min(STALL);
                matches!(tokio::time::timeout(left, self.parts.send(part)).await, Ok(Ok(())))
            }),
        };
        self.cut = !sent;
        if sent { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// The body's side.
struct Sending {
    first: Option<Part>,
    parts: mpsc::Receiver<Part>,
    ended: bool,
    /// The reading ends with the body.
    _waiting: Waiting,
}

impl Sending {
    async fn next(mut self) -> Option<(std::io::Result<Bytes>, Self)> {
        if self.ended {
            return None;
        }
        let part = match self.first.take() {
            Some(part) => Some(part),
            None => self.parts.recv().await,
        };
        match part {
            Some(Part::Lines(lines)) => Some((Ok(lines), self)),
            Some(Part::End) => None,
            Some(Part::Failed(error)) => {
                tracing::error!(%error, "the reading of sockets failed on its way");
                self.ended = true;
                let told = serde_json::json!({ "error": error.to_string() });
                Some((Ok(Bytes::from(format!("{told}\n"))), self))
            }
            None => {
                self.ended = true;
                Some((Err(std::io::Error::other("the client is too slow, or the reading ended early")), self))
            }
        }
    }
}
