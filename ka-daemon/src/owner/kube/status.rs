//! How the watch fares, for the status and the log.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use kube::core::Status;
use kube::runtime::watcher;
use serde::Serialize;

/// An error is news again after this long without one.
const QUIET: Duration = Duration::from_mins(2);
/// Longest message that is kept.
const MESSAGE_BYTES: usize = 400;

/// What went wrong, for who has to put it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// How to reach the API server cannot be found out.
    Config,
    /// It cannot be reached.
    Unreachable,
    /// It does not know who asks, or does not let them list and watch pods.
    Refused,
    /// It answered with an error, or with what is not understood.
    Answer,
    /// The connection of a watch broke.
    Interrupted,
}

impl ErrorKind {
    /// The name used in the status and the log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Answer => "answer",
            Self::Interrupted => "interrupted",
        }
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::Config => {
                "give --kubernetes.node, and --kubernetes.kubeconfig or a pod with a service account to run in"
            }
            Self::Unreachable => "is the address right, and is the API server up?",
            Self::Refused => "the service account needs list and watch on pods, see docs/owners.md",
            Self::Answer | Self::Interrupted => "it is tried again",
        }
    }
}

/// An error of the watch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Kubernetes API: {}: {message}; {}", kind.label(), kind.advice())]
pub(super) struct WatchError {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

impl WatchError {
    pub(super) fn new(kind: ErrorKind, error: &(dyn StdError + 'static)) -> Self {
        Self { kind, message: cut(told(error)) }
    }

    /// None for what belongs to the protocol: a watch that is told to begin anew.
    pub(super) fn of(error: &watcher::Error) -> Option<Self> {
        use watcher::Error::{InitialListFailed, NoResourceVersion, WatchFailed, WatchStartFailed};
        match error {
            watcher::Error::WatchError(status)
            | InitialListFailed(kube::Error::Api(status))
            | WatchStartFailed(kube::Error::Api(status))
            | WatchFailed(kube::Error::Api(status)) => Self::of_status(status),
            InitialListFailed(error) | WatchStartFailed(error) => {
                let unreachable = matches!(error, kube::Error::HyperError(_) | kube::Error::Service(_));
                let kind = if unreachable { ErrorKind::Unreachable } else { ErrorKind::Answer };
                Some(Self::new(kind, error))
            }
            WatchFailed(error) => {
                let parsed = !matches!(error, kube::Error::SerdeError(_));
                let kind = if parsed { ErrorKind::Interrupted } else { ErrorKind::Answer };
                Some(Self::new(kind, error))
            }
            NoResourceVersion => Some(Self::new(ErrorKind::Answer, error)),
        }
    }

    fn of_status(status: &Status) -> Option<Self> {
        let kind = match status.code {
            410 => return None,
            401 | 403 => ErrorKind::Refused,
            _ => ErrorKind::Answer,
        };
        let message = format!("{} {}: {}", status.code, status.reason, status.message);
        Some(Self { kind, message: cut(message) })
    }
}

fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
    message
}

/// The error and its causes, each once.
fn told(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

/// How the watch fares, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KubeStatus {
    /// The node whose pods are watched.
    pub node: String,
    /// Whether its pods were listed, so that names are known.
    pub synced: bool,
    /// UIDs of pods that are known; a static pod has two.
    pub pods: usize,
    /// Containers that are known.
    pub containers: usize,
    /// Since the API server last told of a pod.
    pub heard_seconds_ago: Option<f64>,
    /// Errors so far.
    pub errors: u64,
    /// The last of them. As long as there is no connection it is never older than a minute.
    pub last_error: Option<LastError>,
}

/// An error of the watch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LastError {
    /// Which kind.
    pub kind: ErrorKind,
    /// What was said.
    pub message: String,
    /// How long ago.
    pub seconds_ago: f64,
}

impl fmt::Display for KubeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, pods, containers, .. } = self;
        if self.synced {
            write!(f, "{pods} pods and {containers} containers of node {node}")?;
        } else {
            write!(f, "pods of node {node} not listed yet")?;
        }
        if let Some(LastError { kind, message, seconds_ago }) = &self.last_error {
            write!(f, "; last error {seconds_ago:.0} s ago, {}: {message}", kind.label())?;
        }
        Ok(())
    }
}

/// What one task writes and others read.
#[derive(Debug, Default)]
pub(super) struct Progress(ArcSwap<State>);

#[derive(Clone, Debug, Default)]
struct State {
    synced: bool,
    pods: usize,
    containers: usize,
    heard_at: Option<Instant>,
    errors: u64,
    last_error: Option<(WatchError, Instant)>,
}

impl Progress {
    /// Names were taken in.
    pub(super) fn heard(&self, (pods, containers): (usize, usize), now: Instant) {
        let state = State::clone(&self.0.load());
        if let (false, Some((error, _))) = (state.synced, &state.last_error) {
            tracing::info!("Kubernetes API: pods are listed; before, {}", error.kind.label());
        }
        let heard_at = Some(now);
        self.0.store(Arc::new(State { synced: true, pods, containers, heard_at, ..state }));
    }

    /// Keeps and, where it is news, logs an error.
    pub(super) fn failed(&self, error: WatchError, now: Instant) {
        let mut state = State::clone(&self.0.load());
        if state.is_news(&error, now) {
            tracing::warn!("{error}");
        } else {
            tracing::debug!("{error}");
        }
        state.errors += 1;
        state.last_error = Some((error, now));
        self.0.store(Arc::new(state));
    }

    pub(super) fn status(&self, node: &str, now: Instant) -> KubeStatus {
        let state = self.0.load();
        let ago = |then: Instant| now.saturating_duration_since(then).as_secs_f64();
        KubeStatus {
            node: node.to_owned(),
            synced: state.synced,
            pods: state.pods,
            containers: state.containers,
            heard_seconds_ago: state.heard_at.map(ago),
            errors: state.errors,
            last_error: state.last_error.as_ref().map(|(error, at)| LastError {
                kind: error.kind,
                message: error.message.clone(),
                seconds_ago: ago(*at),
            }),
        }
    }
}

impl State {
    /// Another kind than the last one, or the first after a quiet time.
    fn is_news(&self, error: &WatchError, now: Instant) -> bool {
        let last = self.last_error.as_ref();
        last.is_none_or(|(last, at)| last.kind != error.kind || now.saturating_duration_since(*at) > QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_who_has_to_act() {
        let kind = |error| WatchError::of(&error).map(|error| error.kind);
        let status = |code| Box::new(Status { code, ..Status::failure("said", "Reason") });
        let cut = || kube::Error::ReadEvents(std::io::Error::other("cut"));
        assert_eq!(kind(watcher::Error::WatchError(status(410))), None);
        assert_eq!(kind(watcher::Error::WatchStartFailed(kube::Error::Api(status(410)))), None);
        assert_eq!(kind(watcher::Error::WatchError(status(500))), Some(ErrorKind::Answer));
        assert_eq!(
            kind(watcher::Error::WatchFailed(kube::Error::Api(status(401)))),
            Some(ErrorKind::Refused)
        );
        assert_eq!(kind(watcher::Error::WatchFailed(cut())), Some(ErrorKind::Interrupted));
        assert_eq!(kind(watcher::Error::NoResourceVersion), Some(ErrorKind::Answer));
        let long = Status { code: 500, ..Status::failure(&"\u{e9}".repeat(MESSAGE_BYTES), "x") };
        let message = WatchError::of(&watcher::Error::WatchError(Box::new(long))).unwrap().message;
        assert!(message.starts_with("500 x: \u{e9}") && message.len() <= MESSAGE_BYTES, "{message}");
    }

    #[test]
    fn an_error_is_news_once_and_again_when_its_kind_changes_or_after_a_quiet_time() {
        let progress = Progress::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let error = |kind: ErrorKind| WatchError { kind, message: "x".to_owned() };
        let is_news = |kind, seconds| progress.0.load().is_news(&error(kind), at(seconds));
        assert!(is_news(ErrorKind::Refused, 0));
        progress.failed(error(ErrorKind::Refused), at(0));
        assert!(!is_news(ErrorKind::Refused, 30));
        assert!(is_news(ErrorKind::Unreachable, 30));
        progress.failed(error(ErrorKind::Refused), at(100));
        assert!(!is_news(ErrorKind::Refused, 220));
        assert!(is_news(ErrorKind::Refused, 221));
    }

    #[test]
    fn the_status_says_it_in_one_line() {
        let progress = Progress::default();
        let now = Instant::now();
        assert_eq!(progress.status("n", now).to_string(), "pods of node n not listed yet");
        let message = "403 Forbidden: pods is forbidden".to_owned();
        progress.failed(WatchError { kind: ErrorKind::Refused, message }, now);
        progress.heard((2, 3), now);
        assert_eq!(
            progress.status("n", now + Duration::from_secs(7)).to_string(),
            "2 pods and 3 containers of node n; last error 7 s ago, refused: 403 Forbidden: pods is forbidden"
        );
    }
}
