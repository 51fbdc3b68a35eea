//! Pages and lines of sockets.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ka_daemon::api::sockets::SocketsAnswer;
use ka_daemon::api::{SocketSource, SourceError};
use ka_daemon::view::{Filter, SocketView, SortKey};

use crate::daemon::{Ageing, Daemon};
use crate::http::{Answer, get, get_with};
use crate::views::{socket, unknown};

fn many() -> Vec<SocketView> {
    // Not in any of the orders, and some of which little is known.
    (0..300_u32).map(|n| n * 37 % 300).map(|n| if n % 50 == 49 { unknown(n) } else { socket(n) }).collect()
}

async fn daemon() -> Daemon {
    let source: Arc<dyn SocketSource> = Arc::new(Ageing::new(many()));
    Daemon::start(Some(source)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_every_socket_once_under_every_order() {
    let daemon = daemon().await;
    for sort in SortKey::ALL {
        let mut expected = many();
        sort.sort(&mut expected);
        let expected: Vec<_> = expected.iter().map(|socket| socket.inode).collect();
        let mut shown = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/sockets?sort={sort}&limit=23{cursor}");
            let page: SocketsAnswer = get(daemon.address, &path).await.json();
            assert_eq!(page.total, 300);
            assert!(page.sockets.len() == 23 || page.next_cursor.is_none());
            shown.extend(page.sockets.iter().map(|socket| socket.inode));
            let Some(next) = page.next_cursor else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(shown, expected, "{sort}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_brings_its_order_along() {
    let daemon = daemon().await;
    let first: SocketsAnswer = get(daemon.address, "/api/v1/sockets?sort=process&limit=1").await.json();
    let cursor = first.next_cursor.unwrap();
    let given = format!("/api/v1/sockets?limit=1&cursor={cursor}&sort=process");
    let given: SocketsAnswer = get(daemon.address, &given).await.json();
    let kept = format!("/api/v1/sockets?limit=1&cursor={cursor}");
    let kept: SocketsAnswer = get(daemon.address, &kept).await.json();
    assert_eq!(given.sockets[0].inode, kept.sockets[0].inode);
    let (error, parameter) =
        get(daemon.address, &format!("/api/v1/sockets?cursor={cursor}&sort=idle")).await.error();
    assert_eq!(parameter.as_deref(), Some("sort"));
    assert!(error.contains("expected process, the order that the cursor was given for"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_matches_is_counted_and_shown() {
    let daemon = daemon().await;
    for (query, matches) in [
        (
            "state=estab&keepalive=on",
            Box::new(|s: &SocketView| s.state == "ESTABLISHED" && s.keepalive == Some(true))
                as Box<dyn Fn(&SocketView) -> bool>,
        ),
        (
            "process=server-1&pod=cart-0",
            Box::new(|s: &SocketView| s.owner.comm == "server-1" && s.owner.pod == "cart-0"),
        ),
        ("port=8&remote=10.1.0.0%2F24", Box::new(|s: &SocketView| s.remote.port() == 8)),
        ("text=10.0.0.42%3A443", Box::new(|s: &SocketView| s.inode == 42)),
        (
            "at_risk=17s&keepalive=on",
            Box::new(|s: &SocketView| {
                s.state == "ESTABLISHED" && s.keepalive == Some(true) && s.keepidle_seconds >= Some(17)
            }),
        ),
        ("policy=policy-1", Box::new(|s: &SocketView| s.inode % 3 == 2 && s.risks.is_some())),
        // Of which nothing is known has none of them.
        ("at_risk=policies", Box::new(|s: &SocketView| s.risks.as_ref().is_some_and(|r| !r.is_empty()))),
        ("pid=1", Box::new(|_: &SocketView| false)),
    ] {
        let expected: BTreeSet<_> = many().iter().filter(|s| matches(s)).map(|s| s.inode).collect();
        let page: SocketsAnswer =
            get(daemon.address, &format!("/api/v1/sockets?limit=1000&{query}")).await.json();
        assert_eq!(page.total, expected.len() as u64, "{query}");
        assert_eq!(page.sockets.iter().map(|s| s.inode).collect::<BTreeSet<_>>(), expected, "{query}");
        assert_eq!(page.next_cursor, None);
        let lines = lines(&get(daemon.address, &format!("/api/v1/sockets.ndjson?{query}")).await);
        assert_eq!(lines.iter().map(|s| s.inode).collect::<BTreeSet<_>>(), expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_has_the_fields_of_the_contract() {
    let source: Arc<dyn SocketSource> = Arc::new(Ageing::new(vec![unknown(1)]));
    let daemon = Daemon::start(Some(source)).await;
    let page: serde_json::Value = get(daemon.address, "/api/v1/sockets").await.json();
    let socket = &page["sockets"][0];
    assert_eq!(socket["local"], "10.0.0.1:443");
    for unknown in [
        "keepalive",
        "keepidle_seconds",
        "timer",
        "preset",
        "last_rtt_seconds",
        "user_timeout_ms",
        "risks",
        "advice",
        "warnings",
    ] {
        assert!(socket.get(unknown).is_some_and(serde_json::Value::is_null), "{unknown}: {socket}");
    }
    assert_eq!(socket["origin"], serde_json::json!({"keepidle": null, "keepintvl": null, "keepcnt": null}));
    assert_eq!(page["next_cursor"], serde_json::Value::Null);
}

/// A source that knows its policies.
struct Policed;

impl SocketSource for Policed {
    fn sockets(
        &self,
        _filter: &Filter,
        each: &mut dyn FnMut(SocketView) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        if each(socket(2)).is_continue() {
            each(socket(5)).continue_value();
        }
        Ok(())
    }

    fn check_policy(&self, name: &str) -> Result<(), String> {
        if name == "policy-0" { Ok(()) } else { Err("expected policy-0".to_owned()) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_not_configured_is_named() {
    let daemon = Daemon::start(Some(Arc::new(Policed))).await;
    for path in ["sockets", "sockets.ndjson"] {
        assert_eq!(get(daemon.address, &format!("/api/v1/{path}?policy=policy-0")).await.status, 200);
        let answer = get(daemon.address, &format!("/api/v1/{path}?policy=other")).await;
        let (error, parameter) = answer.error();
        assert_eq!((answer.status, parameter.as_deref()), (400, Some("policy")));
        assert_eq!(error, "invalid value \"other\" for parameter \"policy\": expected policy-0");
    }
}

#[track_caller]
fn lines(answer: &Answer) -> Vec<SocketView> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    assert!(answer.whole && (answer.body.is_empty() || answer.body.ends_with('\n')));
    answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_hold_every_socket_as_it_was_read() {
    let source = Arc::new(Ageing::new((0..5_000).map(unknown).collect()));
    let daemon = Daemon::start(Some(source.clone())).await;
    let answer = get_with(daemon.address, "/api/v1/sockets.ndjson", "\r\nAccept-Encoding: gzip").await;
    assert_eq!(lines(&answer), source.sockets);
    assert_eq!(answer.header("content-encoding"), None, "a compressor would hold lines back");
    assert_eq!(source.reads.load(Ordering::Relaxed), 1);
    let page = get_with(daemon.address, "/api/v1/sockets", "\r\nAccept-Encoding: gzip").await;
    assert_eq!(page.header("content-encoding"), Some("gzip"));
}
