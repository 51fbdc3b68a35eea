//! The API's document: golden, complete, and true of real answers.

use std::sync::Arc;

use ka_daemon::api::SocketSource;
use ka_daemon::api::openapi;
use ka_daemon::view::{Event, Filter, SortKey};
use serde_json::Value;

use crate::daemon::{Ageing, Daemon};
use crate::http::{get, get_with};
use crate::schema::faults;
use crate::support::golden;
use crate::views::{drop_view, socket, unknown};

fn document() -> Value {
    serde_json::from_str(openapi::json()).unwrap()
}

#[test]
fn the_document_is_the_golden_one() {
    golden("tests/golden/openapi.json", openapi::json());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_served() {
    let daemon = Daemon::start(None).await;
    let answer = get(daemon.address, "/api/v1/openapi.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.body, openapi::json());
    let refusal = get(daemon.address, "/api/v1/nothing").await;
    assert_eq!((refusal.status, refusal.error().0.as_str()), (404, "nothing at /api/v1/nothing; see /"));
}

/// The schema of an answer of a path.
fn schema<'a>(document: &'a Value, path: &str, status: &str) -> &'a Value {
    let content = &document["paths"][path]["get"]["responses"][status]["content"];
    let kinds = content.as_object().unwrap_or_else(|| panic!("{path} {status} has no content"));
    &kinds.values().next().unwrap()["schema"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_fit_their_schemas() {
    let sockets = (0..20).map(|n| if n % 3 == 0 { unknown(n) } else { socket(n) }).collect();
    let source: Arc<dyn SocketSource> = Arc::new(Ageing::new(sockets));
    let daemon = Daemon::start(Some(source)).await;
    for number in 0..3 {
        daemon.feed.dropped(drop_view(number));
    }
    let document = document();
    let fits = |path: &str, status: &str, body: &str| {
        let value = serde_json::from_str(body).unwrap();
        let faults = faults(&document, schema(&document, path, status), &value);
        assert!(faults.is_empty(), "{path} {status}: {faults:#?}");
    };
    for path in document["paths"].as_object().unwrap().keys().filter(|path| !path.ends_with("/events")) {
        let answer = get(daemon.address, path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        if path.ends_with(".ndjson") {
            assert_eq!(answer.body.lines().count(), 20);
            answer.body.lines().for_each(|line| fits(path, "200", line));
        } else {
            fits(path, "200", &answer.body);
        }
    }
    let answer = get(daemon.address, "/api/v1/sockets?limit=5").await;
    fits("/api/v1/sockets", "200", &answer.body);
    for path in ["/api/v1/sockets", "/api/v1/sockets.ndjson", "/api/v1/drops", "/api/v1/events"] {
        let answer = get(daemon.address, &format!("{path}?x=1")).await;
        assert_eq!(answer.status, 400);
        fits(path, "400", &answer.body);
        let answer = get_with(daemon.address, path, "\r\nHost: evil.example").await;
        assert_eq!(answer.status, 403);
        fits(path, "403", &answer.body);
    }
    let without = Daemon::start(None).await;
    for path in ["/api/v1/sockets", "/api/v1/sockets.ndjson"] {
        fits(path, "503", &get(without.address, path).await.body);
    }
    let drop = Event::Drop(Box::new(drop_view(1)));
    for event in [drop, Event::Lost { count: 3 }, Event::Totals(ka_daemon::view::event::Totals::default())] {
        fits("/api/v1/events", "200", &serde_json::to_string(&event).unwrap());
    }
}

#[test]
fn values_that_do_not_fit_are_found() {
    let document = document();
    let schema = schema(&document, "/api/v1/drops", "200");
    for (change, fault) in [
        (serde_json::json!({"drops": [], "total": 1}), "$.newest_id is missing"),
        (serde_json::json!({"drops": [], "total": -1, "newest_id": 0}), "$.total: -1 is below 0"),
        (serde_json::json!({"drops": [1], "total": 1, "newest_id": 0}), "$.drops[0]: 1 is not \"object\""),
        (serde_json::json!({"drops": [], "total": 1, "newest_id": 0, "x": 1}), "$.x is not in the schema"),
    ] {
        assert!(faults(&document, schema, &change).contains(&fault.to_owned()), "{change}");
    }
}

#[test]
fn parameters_are_those_that_are_accepted() {
    let document = document();
    let names = |path: &str| -> Vec<String> {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        assert!(parameters.iter().all(|one| !text(&one["description"]).is_empty()), "{path}");
        parameters.iter().map(|one| text(&one["name"])).collect()
    };
    let filter = Filter::PARAMETERS.map(str::to_owned);
    assert_eq!(names("/api/v1/sockets.ndjson"), filter);
    assert_eq!(
        names("/api/v1/sockets"),
        [&filter[..], &["sort", "limit", "cursor"].map(str::to_owned)].concat()
    );
    assert_eq!(names("/api/v1/drops"), ["limit", "after", "cause", "process", "namespace", "pod"]);
    assert_eq!(names("/api/v1/events"), ["kinds", "Last-Event-ID"]);
    let text = document.to_string();
    assert!(SortKey::ALL.iter().all(|key| text.contains(&format!("\"{key}\""))));
}
