//! The watch against a small API server over real HTTP.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router, routing};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

use super::*;
use crate::owner::testing::Folder;

const TOKEN: &str = "a-token";
const LIMIT: Duration = Duration::from_secs(20);

type Parameters = HashMap<String, String>;

/// Answers lists in the order in which they were put in, and hands each watch to the test.
struct Fake {
    lists: Mutex<VecDeque<(StatusCode, Value)>>,
    asked: mpsc::UnboundedSender<Parameters>,
    watches: mpsc::UnboundedSender<Watch>,
}

/// A watch that was begun: what was asked for, and the way to answer.
struct Watch {
    parameters: Parameters,
    answer: mpsc::UnboundedSender<io::Result<String>>,
}

impl Watch {
    fn send(&self, kind: &str, object: &Value) {
        self.answer.send(Ok(format!("{}\n", json!({"type": kind, "object": object})))).unwrap();
    }

    /// Breaks the connection in the middle of the answer.
    fn cut(&self) {
        self.answer.send(Err(io::Error::other("cut"))).unwrap();
    }
}

async fn pods(
    State(fake): State<Arc<Fake>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some("Bearer a-token") {
        return (StatusCode::UNAUTHORIZED, Json(failure(401, "Unauthorized"))).into_response();
    }
    if parameters.contains_key("watch") {
        let (answer, mut lines) = mpsc::unbounded_channel();
        fake.watches.send(Watch { parameters, answer }).unwrap();
        return Body::from_stream(stream::poll_fn(move |context| lines.poll_recv(context))).into_response();
    }
    fake.asked.send(parameters).unwrap();
    let (status, list) = fake.lists.lock().await.pop_front().expect("a list that the test does not expect");
    (status, Json(list)).into_response()
}

struct Server {
    fake: Arc<Fake>,
    asked: mpsc::UnboundedReceiver<Parameters>,
    watches: mpsc::UnboundedReceiver<Watch>,
    address: SocketAddr,
    folder: Folder,
}

impl Server {
    async fn start(lists: impl IntoIterator<Item = (StatusCode, Value)>) -> Self {
        let (asked_sender, asked) = mpsc::unbounded_channel();
        let (watch_sender, watches) = mpsc::unbounded_channel();
        let lists = Mutex::new(lists.into_iter().collect());
        let fake = Arc::new(Fake { lists, asked: asked_sender, watches: watch_sender });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/api/v1/pods", routing::get(pods)).with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { fake, asked, watches, address, folder: Folder::new("kube") }
    }

    fn source(&self, token: &str) -> KubeSource {
        let kubeconfig = self.folder.path("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        KubeSource::start(KubeOptions { node: "node-a".to_owned(), kubeconfig: Some(kubeconfig) })
    }

    async fn list_asked(&mut self) -> Parameters {
        tokio::time::timeout(LIMIT, self.asked.recv()).await.expect("no list was asked for").unwrap()
    }

    async fn watch(&mut self) -> Watch {
        tokio::time::timeout(LIMIT, self.watches.recv()).await.expect("no watch was begun").unwrap()
    }
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
           "message": format!("said {reason}"), "reason": reason, "code": code})
}

fn list(version: &str, next: &str, items: &[Value]) -> (StatusCode, Value) {
    let metadata = json!({"resourceVersion": version, "continue": next});
    (StatusCode::OK, json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}))
}

/// A pod `uid` whose name is `pod-UID`, with one container where `container` is its id.
fn pod(uid: &str, version: &str, container: Option<&str>) -> Value {
    let status = container.map(|id| json!({"name": "app", "containerID": format!("containerd://{id}")}));
    json!({
        "apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "node-a"},
        "metadata": {"uid": uid, "namespace": "ns", "name": format!("pod-{uid}"), "resourceVersion": version},
        "status": {"containerStatuses": status.into_iter().collect::<Vec<_>>()},
    })
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until exactly these pods are known.
async fn known(source: &KubeSource, uids: &[&str]) {
    until(&format!("{uids:?}"), || {
        let names = source.names().load();
        names.len().0 == uids.len() && uids.iter().all(|uid| names.pod(uid).is_some())
    })
    .await;
}

#[tokio::test]
async fn names_follow_what_the_server_tells() {
    let first = list("9", "more", &[pod("a", "5", Some("id-a"))]);
    let second = list("10", "", &[pod("b", "6", None)]);
    let mut server = Server::start([first, second]).await;
    let source = server.source(TOKEN);

    let asked = server.list_asked().await;
    assert_eq!(asked["fieldSelector"], "spec.nodeName=node-a");
    assert_eq!(server.list_asked().await["continue"], "more");
    let watch = server.watch().await;
    assert_eq!(watch.parameters["fieldSelector"], "spec.nodeName=node-a");
    assert_eq!(watch.parameters["resourceVersion"], "10");
    assert_eq!(watch.parameters["allowWatchBookmarks"], "true");
    known(&source, &["a", "b"]).await;
    assert_eq!(&*source.names().load().container("id-a").unwrap().name, "app");

    watch.send("ADDED", &pod("c", "11", None));
    known(&source, &["a", "b", "c"]).await;
    watch.send("MODIFIED", &pod("b", "12", Some("id-b")));
    until("the container", || source.names().load().container("id-b").is_some()).await;
    let bookmark = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": "20"}});
    watch.send("BOOKMARK", &bookmark);
    watch.send("DELETED", &pod("a", "21", Some("id-a")));
    known(&source, &["b", "c"]).await;
    assert!(source.names().load().container("id-a").is_none());
    watch
        .send("BOOKMARK", &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": "30"}}));
    let status = source.status();
    assert_eq!((status.synced, status.pods, status.containers, status.errors), (true, 2, 1, 0));

    // A watch that ends in order goes on from the bookmark, with what is known; so does a broken one.
    drop(watch);
    let watch = server.watch().await;
    assert_eq!(watch.parameters["resourceVersion"], "30");
    watch.cut();
    let watch = server.watch().await;
    assert_eq!(watch.parameters["resourceVersion"], "30");
    known(&source, &["b", "c"]).await;

    // What was missed is gone for the server: a new list replaces everything. That is no error.
    server.fake.lists.lock().await.push_back(list("40", "", &[pod("c", "11", None), pod("d", "33", None)]));
    watch.send("ERROR", &failure(410, "Expired"));
    assert_eq!(server.watch().await.parameters["resourceVersion"], "40");
    known(&source, &["c", "d"]).await;
    assert_eq!(source.status().errors, 0);
}

#[tokio::test]
async fn a_server_that_ends_each_watch_is_not_asked_without_end() {
    let mut server = Server::start([list("1", "", &[])]).await;
    let source = server.source(TOKEN);
    let (requests, per) = watch::REQUESTS;
    let end = Instant::now() + per / 4;
    let mut watches = 0;
    while let Ok(Some(watch)) = tokio::time::timeout_at(end.into(), server.watches.recv()).await {
        drop(watch);
        watches += 1;
    }
    assert_eq!(watches, requests - 1, "the list is a request as well");
    assert!(source.status().synced);
}

#[tokio::test]
async fn a_refusal_is_shown_and_tried_again() {
    let refused = (StatusCode::FORBIDDEN, failure(403, "Forbidden"));
    let mut server = Server::start([refused, list("1", "", &[pod("a", "1", None)])]).await;
    let source = server.source(TOKEN);
    server.list_asked().await;
    until("the error", || source.status().errors == 1).await;
    let status = source.status();
    let error = status.last_error.unwrap();
    assert_eq!((error.kind, status.synced), (ErrorKind::Refused, false));
    assert_eq!(error.message, "403 Forbidden: said Forbidden");
    known(&source, &["a"]).await;
    assert!(source.status().synced);
}

#[tokio::test]
async fn a_wrong_token_is_a_refusal() {
    let server = Server::start([]).await;
    let source = server.source("another");
    until("the error", || source.status().errors >= 1).await;
    assert_eq!(source.status().last_error.unwrap().kind, ErrorKind::Refused);
}

#[tokio::test]
async fn an_answer_that_is_no_list_is_told_apart() {
    let server = Server::start([(StatusCode::OK, json!({"items": 7}))]).await;
    let source = server.source(TOKEN);
    until("the error", || source.status().errors >= 1).await;
    assert_eq!(source.status().last_error.unwrap().kind, ErrorKind::Answer);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_the_reason() {
    let mut server = Server::start([]).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    server.address = free.local_addr().unwrap();
    drop(free);
    let source = server.source(TOKEN);
    until("the error", || source.status().errors >= 1).await;
    let error = source.status().last_error.unwrap();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.contains("onnection refused"), "{}", error.message);
}

#[tokio::test]
async fn an_empty_name_of_the_node_is_told() {
    let source = KubeSource::start(KubeOptions { node: String::new(), kubeconfig: None });
    until("the error", || source.status().errors >= 1).await;
    let error = source.status().last_error.unwrap();
    assert_eq!((error.kind, &*error.message), (ErrorKind::Config, "the node's name is empty"));
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_read_is_named() {
    let kubeconfig = Some(PathBuf::from("/nowhere/kubeconfig"));
    let source = KubeSource::start(KubeOptions { node: "node-a".to_owned(), kubeconfig });
    until("the error", || source.status().errors >= 1).await;
    let error = source.status().last_error.unwrap();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("/nowhere/kubeconfig"), "{}", error.message);
}
