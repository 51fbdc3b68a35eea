//! Where sockets are read from for the API, and how many reads there may be: one at a time, for each
//! goes through all sockets of the node.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ApiError;
use super::feed::Feed;
use crate::view::{Filter, SocketView};

/// Reads that wait for their turn; beyond it they are refused.
const WAITING: usize = 4;
/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// The sockets of the node.
pub trait SocketSource: Send + Sync + 'static {
    /// Reads every socket of the node afresh and hands on each, until `each` breaks. Blocks.
    ///
    /// The filter lets a source leave out early what cannot match; what it hands on is filtered again.
    ///
    /// # Errors
    /// When the kernel cannot be read. What was handed on before is then not all.
    fn sockets(
        &self,
        filter: &Filter,
        each: &mut dyn FnMut(SocketView) -> ControlFlow<()>,
    ) -> Result<(), SourceError>;

    /// Checks that a policy of this name is configured. A source that does not know takes any.
    ///
    /// # Errors
    /// The names that there are.
    fn check_policy(&self, _name: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Why sockets cannot be read; says what to do where something can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the sockets of this node: {reason}")]
pub struct SourceError {
    reason: String,
}

impl SourceError {
    /// For a reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Gives out turns at a source.
pub(super) struct Reads {
    source: Option<Arc<dyn SocketSource>>,
    /// One for the read that runs, and one for each that waits.
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    feed: Feed,
}

/// The right to read, until it is dropped.
pub(super) struct Turn {
    source: Arc<dyn SocketSource>,
    feed: Feed,
    left: Arc<AtomicBool>,
    _permits: [OwnedSemaphorePermit; 2],
}

/// Stops a read once it is dropped: nobody waits for its answer any more.
pub(super) struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Reads {
    pub(super) fn new(source: Option<Arc<dyn SocketSource>>, feed: Feed) -> Self {
        let places = Arc::new(Semaphore::new(1 + WAITING));
        Self { source, places, turn: Arc::new(Semaphore::new(1)), feed }
    }

    /// Checks what of a filter the source alone can tell.
    pub(super) fn check(&self, filter: &Filter) -> Result<(), ApiError> {
        let source = self.source.as_ref().ok_or(ApiError::NoSource)?;
        Ok(filter.check_policy(|name| source.check_policy(name))?)
    }

    /// Waits for a turn. The second part belongs to whoever waits for the answer.
    pub(super) async fn turn(&self) -> Result<(Turn, Waiting), ApiError> {
        let source = Arc::clone(self.source.as_ref().ok_or(ApiError::NoSource)?);
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| ApiError::Busy)?;
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turn).acquire_owned());
        let turn = turn.await.map_err(|_| ApiError::Busy)?.expect("the semaphore is never closed");
        let left = Arc::new(AtomicBool::new(false));
        let waiting = Waiting(Arc::clone(&left));
        Ok((Turn { source, feed: self.feed.clone(), left, _permits: [place, turn] }, waiting))
    }
}

impl Turn {
    /// Reads what matches. Blocks.
    pub(super) fn read(
        self,
        filter: &Filter,
        each: &mut dyn FnMut(SocketView) -> ControlFlow<()>,
    ) -> Result<(), ApiError> {
        let stopped = || self.left.load(Ordering::Relaxed) || self.feed.is_closed();
        self.source.sockets(filter, &mut |socket| {
            if stopped() {
                ControlFlow::Break(())
            } else if filter.matches(&socket) {
                each(socket)
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if stopped() { Err(ApiError::Stopping) } else { Ok(()) }
    }
}
