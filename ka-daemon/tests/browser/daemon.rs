//! A daemon without a kernel: the real page, and the API answering with canned sockets and drops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::sse::{self, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream;
use ka_daemon::view::filter::Filter;
use ka_daemon::view::page::{Page, PageBuilder};
use ka_daemon::view::sort::SortKey;
use ka_daemon::view::{DropView, Event, IdleTimeoutView, SocketView};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

/// What the API knows; tests change it.
pub(crate) struct Known {
    pub(crate) sockets: Vec<SocketView>,
    pub(crate) drops: Vec<DropView>,
    pub(crate) idle_timeouts: Vec<IdleTimeoutView>,
    /// Paths and queries that were asked for.
    pub(crate) asked: Vec<String>,
}

struct App {
    known: Mutex<Known>,
    events: broadcast::Sender<Event>,
}

/// A running one. Its connections end with it.
pub(crate) struct Daemon {
    runtime: Option<Runtime>,
    app: Arc<App>,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    pub(crate) fn start(sockets: Vec<SocketView>, drops: Vec<DropView>) -> Self {
        let known = Mutex::new(Known { sockets, drops, idle_timeouts: Vec::new(), asked: Vec::new() });
        let app = Arc::new(App { known, events: broadcast::Sender::new(64) });
        let mut daemon = Self { runtime: None, app, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        daemon.begin();
        daemon
    }

    /// Begins to serve, at the address of before if there was one.
    pub(crate) fn begin(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(self.address)).unwrap();
        self.address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(ka_daemon::api::page::page))
            .route("/api/v1/status", get(status))
            .route("/api/v1/sockets", get(sockets))
            .route("/api/v1/drops", get(drops))
            .route("/api/v1/idle-timeouts", get(idle_timeouts))
            .route("/api/v1/events", get(events))
            .with_state(Arc::clone(&self.app));
        runtime.spawn(async { axum::serve(listener, router).await.unwrap() });
        self.runtime = Some(runtime);
    }

    /// Ends at once, as a daemon that is killed.
    pub(crate) fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn tell(&self, event: Event) {
        self.app.events.send(event).expect("a page listens");
    }

    /// Pages that listen to events.
    pub(crate) fn listeners(&self) -> usize {
        self.app.events.receiver_count()
    }

    pub(crate) fn known<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.app.known.lock().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

async fn sockets(
    State(app): State<Arc<App>>,
    uri: Uri,
    Query(asked): Query<Vec<(String, String)>>,
) -> Response {
    let mut known = app.known.lock().unwrap();
    known.asked.push(uri.to_string());
    match page(&known.sockets, &asked) {
        Ok(page) => {
            let next = page.next.map(|_| "next");
            Json(json!({ "sockets": page.sockets, "total": page.total, "next_cursor": next })).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    }
}

/// Filtered and sorted as by the real API; a parameter that it would not take is refused here too.
fn page(sockets: &[SocketView], asked: &[(String, String)]) -> Result<Page, String> {
    let mut filter = Filter::default();
    let (mut sort, mut limit) = (SortKey::default(), 100);
    for (name, value) in asked {
        match name.as_str() {
            "sort" => sort = value.parse::<SortKey>()?,
            "limit" => limit = value.parse().map_err(|error| format!("limit: {error}"))?,
            _ if filter.set(name, value).map_err(|error| error.to_string())? => {}
            _ => return Err(format!("unknown parameter {name:?}")),
        }
    }
    let mut page = PageBuilder::new(sort, limit, None);
    for socket in sockets.iter().filter(|socket| filter.matches(socket)) {
        page.add(socket.clone(), Duration::ZERO);
    }
    Ok(page.finish())
}

/// As much of the real one as the page reads.
async fn status(State(app): State<Arc<App>>, uri: Uri) -> Response {
    app.known.lock().unwrap().asked.push(uri.to_string());
    let policy = json!({ "name": "aws-nlb", "idle_limit_seconds": 350.0, "severity": "warning" });
    Json(json!({ "policies": [policy] })).into_response()
}

async fn drops(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let mut known = app.known.lock().unwrap();
    known.asked.push(uri.to_string());
    Json(json!({ "drops": known.drops })).into_response()
}

async fn idle_timeouts(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let mut known = app.known.lock().unwrap();
    known.asked.push(uri.to_string());
    Json(json!({ "idle_timeouts": known.idle_timeouts })).into_response()
}

async fn events(State(app): State<Arc<App>>) -> Response {
    let told = stream::unfold(app.events.subscribe(), |mut events| async {
        let event = events.recv().await.ok()?;
        let value = serde_json::to_value(&event).unwrap();
        let name = value["event"].as_str().unwrap().to_owned();
        Some((Ok::<_, Infallible>(sse::Event::default().event(name).data(value.to_string())), events))
    });
    Sse::new(told).into_response()
}
