//! Wrong parameters: each gets 400 and is named, before anything is read.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::daemon::{Ageing, Daemon};
use crate::http::{get, get_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_parameter_is_named() {
    let source = Arc::new(Ageing::new(vec![]));
    let daemon = Daemon::start(Some(source.clone())).await;
    for (path, query, parameter, said) in [
        ("sockets", "limit=0", "limit", "expected a whole number from 1 to 10000"),
        ("sockets", "limit=10001", "limit", "invalid value \"10001\""),
        ("sockets", "limit=ten", "limit", "invalid value \"ten\""),
        ("sockets", "limit=1&limit=2", "limit", "more than once"),
        ("sockets", "sort=size", "sort", "expected one of local, remote, state"),
        ("sockets", "sort=idle&sort=idle", "sort", "more than once"),
        ("sockets", "cursor=xyz", "cursor", "expected the next_cursor of an answer"),
        ("sockets", "cursor=", "cursor", "expected the next_cursor of an answer"),
        ("sockets", "proces=x", "proces", "known are process, pid"),
        ("sockets", "process=", "process", "expected a name"),
        ("sockets", "pid=-1", "pid", "expected the id of a process"),
        ("sockets", "port=70000", "port", "expected a port from 1 to 65535"),
        ("sockets", "local=10.0.0.0/40", "local", "invalid value \"10.0.0.0/40\""),
        ("sockets", "remote=example.org", "remote", "expected an IP address or a CIDR"),
        ("sockets", "state=estab,broken", "state", "invalid value \"broken\""),
        ("sockets", "keepalive=1", "keepalive", "expected on or off"),
        ("sockets", "netns=x", "netns", "expected the inode of a network namespace"),
        ("sockets", "at_risk=350", "at_risk", "expected a duration from 1s to 365days"),
        ("sockets", "at_risk=policy", "at_risk", "or `policies` for the configured ones"),
        ("sockets", "policy=", "policy", "expected a name"),
        ("sockets", "pid=1&pid=1", "pid", "more than once"),
        ("sockets.ndjson", "limit=1", "limit", "unknown parameter"),
        ("sockets.ndjson", "port=0", "port", "expected a port"),
        ("drops", "limit=1001", "limit", "expected a whole number from 1 to 1000"),
        ("drops", "after=x", "after", "expected the id of a drop"),
        ("drops", "cause=bad_luck", "cause", "expected one of keepalive_timeout, user_timeout"),
        ("drops", "pod=", "pod", "expected a name"),
        ("drops", "cause=reset&cause=reset", "cause", "more than once"),
        ("drops", "sort=id", "sort", "known are limit, after, cause, process, namespace, pod"),
        ("events", "kinds=drops", "kinds", "expected some of drop, probe_unanswered, totals"),
        ("events", "kinds=drop&kinds=totals", "kinds", "more than once"),
        ("events", "kind=drop", "kind", "known are kinds"),
    ] {
        let answer = get(daemon.address, &format!("/api/v1/{path}?{query}")).await;
        assert_eq!(answer.status, 400, "{path}?{query}: {answer:?}");
        let (error, named) = answer.error();
        assert_eq!(named.as_deref(), Some(parameter), "{path}?{query}");
        assert!(error.contains(said) && error.contains(parameter), "{path}?{query}: {error}");
    }
    let answer = get_with(daemon.address, "/api/v1/events", "\r\nLast-Event-ID: x").await;
    assert_eq!((answer.status, answer.error().1.as_deref()), (400, Some("Last-Event-ID")));
    assert_eq!(source.reads.load(Ordering::Relaxed), 0, "nothing was read for any of them");
}
