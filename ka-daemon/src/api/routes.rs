//! The routes and what they answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use axum::{Router, middleware};
use tokio::sync::Semaphore;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};

use super::access::{Access, guard};
use super::error::ErrorAnswer;
use super::events::LISTENERS;
use super::feed::Feed;
use super::source::{Reads, SocketSource};
use super::status::Status;
use super::{Health, Readiness, drops, events, idle_timeouts, openapi, page, sockets};
use crate::cli::settings::Settings;
use crate::inventory::service::Inventory;
use crate::metrics::{Build, Observed, Page};
use crate::owner::PodSource;
use crate::run::owner::Reader;

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the handlers share.
pub struct App {
    /// Whether the daemon does its work.
    pub health: Health,
    /// The newest totals, and how to ask for newer ones.
    pub reader: Reader,
    /// What page and status are made from.
    pub observed: Arc<dyn Observed>,
    /// The page of metrics.
    pub page: Page,
    /// The options in force.
    pub settings: Settings,
    /// When the daemon started.
    pub started: Instant,
    /// What happens.
    pub feed: Feed,
    /// Where sockets are read from; none: they cannot be.
    pub sockets: Option<Arc<dyn SocketSource>>,
    /// Reads the kernel's own counts for the page of metrics; none: it has none.
    pub inventory: Option<Inventory>,
    /// Names of pods from the Kubernetes API.
    pub pods: PodSource,
}

/// How long a page of metrics waits for the kernel's own counts.
const COUNTS_LIMIT: Duration = Duration::from_millis(100);

/// What the handlers share, with what bounds them.
pub(super) struct Shared {
    pub(super) app: App,
    pub(super) reads: Reads,
    pub(super) listeners: Arc<Semaphore>,
}

/// The routes of the API. Each is in the document that [`openapi`] makes.
fn api() -> [(&'static str, MethodRouter<Arc<Shared>>); 7] {
    [
        ("/api/v1/status", get(status)),
        ("/api/v1/sockets", get(sockets::sockets)),
        ("/api/v1/sockets.ndjson", get(sockets::ndjson)),
        ("/api/v1/drops", get(drops::drops)),
        ("/api/v1/idle-timeouts", get(idle_timeouts::idle_timeouts)),
        ("/api/v1/events", get(events::events)),
        ("/api/v1/openapi.json", get(openapi::serve)),
    ]
}

/// All routes.
pub fn router(app: App) -> Router {
    // Level 1: a page of many owners is mostly repetition, which it finds at a third of the cost.
    let gzip = CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest);
    // Lines are sent as they are read; a compressor would hold them back.
    let gzip =
        gzip.compress_when(DefaultPredicate::new().and(NotForContentType::new("application/x-ndjson")));
    let machine = rustix::system::uname();
    let access = Access::new(&app.settings, &machine.nodename().to_string_lossy());
    let reads = Reads::new(app.sockets.clone(), app.feed.clone());
    let shared = Shared { app, reads, listeners: Arc::new(Semaphore::new(LISTENERS)) };
    let routes = Router::new()
        .route("/", get(page::page))
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(async || "ok\n"))
        .route("/-/ready", get(ready));
    api()
        .into_iter()
        .fold(routes, |routes, (path, handler)| routes.route(path, handler))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(gzip)
        .layer(middleware::from_fn_with_state(Arc::new(access), guard))
        .with_state(Arc::new(shared))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    if let Some(inventory) = &shared.app.inventory {
        inventory.counts(COUNTS_LIMIT).await;
    }
    shared.app.reader.refresh().await;
    let rendered = tokio::task::spawn_blocking(move || shared.app.page.render()).await;
    match rendered {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Ok(Err(error)) => internal(&error),
        Err(error) => internal(&error),
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match &*shared.app.health.get() {
        Readiness::Ready => "ready\n".into_response(),
        Readiness::NotReady(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response()
        }
    }
}

/// What runs, how the kernel is hooked, what was lost.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    responses((status = 200, description = "The status", body = Status)),
)]
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Response {
    shared.app.reader.refresh().await;
    let rendered = tokio::task::spawn_blocking(move || {
        let app = &shared.app;
        let snapshot = app.observed.snapshot();
        let kernel = app.observed.kernel();
        let uptime = app.started.elapsed().as_secs_f64();
        let readiness = app.health.get();
        let pods = app.pods.status();
        let status = Status::new(Build::THIS, uptime, &readiness, &kernel, &snapshot, &app.settings);
        serde_json::to_vec(&status.with_kubernetes(pods))
    });
    match rendered.await {
        Ok(Ok(json)) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Ok(Err(error)) => internal(&error),
        Err(error) => internal(&error),
    }
}

fn internal(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "a request failed");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}

async fn not_found(uri: Uri) -> Response {
    failure(StatusCode::NOT_FOUND, uri.path(), &format!("nothing at {}; see /\n", uri.path()))
}

async fn not_allowed(method: Method, uri: Uri) -> Response {
    let text = format!("{method} is not allowed on {}; use GET\n", uri.path());
    failure(StatusCode::METHOD_NOT_ALLOWED, uri.path(), &text)
}

/// An error in the form that the path's readers expect: JSON below `/api`, else text.
pub(super) fn failure(code: StatusCode, path: &str, text: &str) -> Response {
    if path.starts_with("/api/") {
        let error = ErrorAnswer { error: text.trim_end().to_owned(), parameter: None };
        (code, axum::Json(error)).into_response()
    } else {
        (code, text.to_owned()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_holds_each_route_of_the_api_and_no_other() {
        let mut routes = api().map(|(path, _)| path.to_owned());
        routes.sort();
        let document = openapi::document();
        let mut paths: Vec<_> = document.paths.paths.keys().cloned().collect();
        paths.sort();
        assert_eq!(paths, routes);
    }
}
