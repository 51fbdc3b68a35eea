//! The routes and what they answer.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use super::status::Status;
use super::{Health, Readiness, page};
use crate::cli::settings::Settings;
use crate::metrics::{Build, Observed, Page};
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
}

/// All routes.
pub fn router(app: App) -> Router {
    // Level 1: a page of many owners is mostly repetition, which it finds at a third of the cost.
    let gzip = CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest);
    Router::new()
        .route("/", get(page::page))
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(async || "ok\n"))
        .route("/-/ready", get(ready))
        .route("/api/v1/status", get(status))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(gzip)
        .with_state(Arc::new(app))
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    app.reader.refresh().await;
    let rendered = tokio::task::spawn_blocking(move || app.page.render()).await;
    match rendered {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Ok(Err(error)) => internal(&error),
        Err(error) => internal(&error),
    }
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    match &*app.health.get() {
        Readiness::Ready => "ready\n".into_response(),
        Readiness::NotReady(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response()
        }
    }
}

async fn status(State(app): State<Arc<App>>) -> Response {
    app.reader.refresh().await;
    let rendered = tokio::task::spawn_blocking(move || {
        let snapshot = app.observed.snapshot();
        let kernel = app.observed.kernel();
        let uptime = app.started.elapsed().as_secs_f64();
        let readiness = app.health.get();
        serde_json::to_vec(&Status::new(Build::THIS, uptime, &readiness, &kernel, &snapshot, &app.settings))
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
fn failure(code: StatusCode, path: &str, text: &str) -> Response {
    if path.starts_with("/api/") {
        (code, axum::Json(serde_json::json!({ "error": text.trim_end() }))).into_response()
    } else {
        (code, text.to_owned()).into_response()
    }
}
