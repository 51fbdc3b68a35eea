//! The watch against a small API server over real HTTP.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;

use super::fake::{LIMIT, Server, TOKEN, failure, list, pod};
use super::*;

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
async fn over_tls_the_server_must_be_the_one_that_the_kubeconfig_trusts() {
    let mut server = Server::start([list("1", "", &[pod("a", "1", None)])]).await.with_tls().await;
    let source = server.source(TOKEN);
    known(&source, &["a"]).await;
    drop(source);
    server.trusts_another();
    let source = server.source(TOKEN);
    until("the error", || source.status().errors >= 1).await;
    let error = source.status().last_error.unwrap();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.contains("certificate"), "{}", error.message);
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
