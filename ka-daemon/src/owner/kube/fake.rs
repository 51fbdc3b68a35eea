//! A small API server, over HTTP or HTTPS, that answers as a test tells it to.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use axum::{Json, Router, routing};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;

use super::KubeSource;
use crate::owner::KubeOptions;
use crate::owner::testing::Folder;

pub(super) const TOKEN: &str = "a-token";
/// Within this, what is waited for has to happen.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

pub(super) type Parameters = HashMap<String, String>;

/// Answers lists in the order in which they were put in, and hands each watch to the test.
pub(super) struct Fake {
    pub(super) lists: Mutex<VecDeque<(StatusCode, Value)>>,
    asked: mpsc::UnboundedSender<Parameters>,
    watches: mpsc::UnboundedSender<Watch>,
}

/// A watch that was begun: what was asked for, and the way to answer.
pub(super) struct Watch {
    pub(super) parameters: Parameters,
    answer: mpsc::UnboundedSender<io::Result<String>>,
}

impl Watch {
    pub(super) fn send(&self, kind: &str, object: &Value) {
        self.answer.send(Ok(format!("{}\n", json!({"type": kind, "object": object})))).unwrap();
    }

    /// Breaks the connection in the middle of the answer.
    pub(super) fn cut(&self) {
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

pub(super) struct Server {
    pub(super) fake: Arc<Fake>,
    asked: mpsc::UnboundedReceiver<Parameters>,
    pub(super) watches: mpsc::UnboundedReceiver<Watch>,
    pub(super) address: SocketAddr,
    folder: Folder,
    /// Where the certificate of the authority is that clients are to trust.
    authority: Option<String>,
}

impl Server {
    pub(super) async fn start(lists: impl IntoIterator<Item = (StatusCode, Value)>) -> Self {
        let (asked_sender, asked) = mpsc::unbounded_channel();
        let (watch_sender, watches) = mpsc::unbounded_channel();
        let lists = Mutex::new(lists.into_iter().collect());
        let fake = Arc::new(Fake { lists, asked: asked_sender, watches: watch_sender });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        serve(listener, &fake);
        Self { fake, asked, watches, address, folder: Folder::new("kube"), authority: None }
    }

    /// The same behind a certificate.
    pub(super) async fn with_tls(mut self) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.address = tcp.local_addr().unwrap();
        serve(Tls { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) }, &self.fake);
        self.trust(&made.cert.pem());
        self
    }

    /// From now on clients are told to trust the certificate of somebody else.
    pub(super) fn trusts_another(&mut self) {
        let another = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        self.trust(&another.cert.pem());
    }

    fn trust(&mut self, certificate: &str) {
        let path = self.folder.path("ca.pem");
        std::fs::write(&path, certificate).unwrap();
        self.authority = Some(path.to_str().unwrap().to_owned());
    }

    /// A watch of this server, by a kubeconfig with this token.
    pub(super) fn source(&self, token: &str) -> KubeSource {
        let kubeconfig = self.folder.path("kubeconfig");
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        let cluster = json!({
            "server": format!("{scheme}://{}", self.address), "certificate-authority": self.authority,
        });
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        KubeSource::start(KubeOptions { node: "node-a".to_owned(), kubeconfig: Some(kubeconfig) })
    }

    pub(super) async fn list_asked(&mut self) -> Parameters {
        tokio::time::timeout(LIMIT, self.asked.recv()).await.expect("no list was asked for").unwrap()
    }

    pub(super) async fn watch(&mut self) -> Watch {
        tokio::time::timeout(LIMIT, self.watches.recv()).await.expect("no watch was begun").unwrap()
    }
}

fn serve<L: Listener<Addr = SocketAddr>>(listener: L, fake: &Arc<Fake>) {
    let app = Router::new().route("/api/v1/pods", routing::get(pods)).with_state(Arc::clone(fake));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            // A client that does not trust this server ends the handshake.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

pub(super) fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
           "message": format!("said {reason}"), "reason": reason, "code": code})
}

pub(super) fn list(version: &str, next: &str, items: &[Value]) -> (StatusCode, Value) {
    let metadata = json!({"resourceVersion": version, "continue": next});
    (StatusCode::OK, json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}))
}

/// A pod `uid` whose name is `pod-UID`, with one container where `container` is its id.
pub(super) fn pod(uid: &str, version: &str, container: Option<&str>) -> Value {
    let status = container.map(|id| json!({"name": "app", "containerID": format!("containerd://{id}")}));
    json!({
        "apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "node-a"},
        "metadata": {"uid": uid, "namespace": "ns", "name": format!("pod-{uid}"), "resourceVersion": version},
        "status": {"containerStatuses": status.into_iter().collect::<Vec<_>>()},
    })
}
