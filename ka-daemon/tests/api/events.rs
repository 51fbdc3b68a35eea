//! Server-sent events.

use std::time::{Duration, Instant};

use ka_daemon::api::feed::QUEUE;
use ka_daemon::view::Event;
use ka_daemon::view::event::{ProbeUnanswered, Totals};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::daemon::{Daemon, eventually};
use crate::http::{PATIENCE, ask, get, read_event, read_until};
use crate::views::{NETNS, drop_view, owner, socket};

const EVENTS: &str = "/api/v1/events";

fn totals(sent: u64) -> Event {
    Event::Totals(Totals { sent, ..Totals::default() })
}

fn unanswered() -> Event {
    Event::ProbeUnanswered(Box::new(ProbeUnanswered {
        time_seconds: 1.5,
        local: socket(1).local,
        remote: socket(1).remote,
        netns: NETNS,
        probes_out: 2,
        keepcnt: 9,
        owner: owner(1),
    }))
}

/// A client that is listening.
async fn listen(daemon: &Daemon, query: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = ask(daemon.address, &format!("{EVENTS}{query}"), headers).await;
    let mut received = String::new();
    read_until(&mut stream, &mut received, "\r\n\r\n").await;
    assert!(received.starts_with("HTTP/1.1 200 OK\r\n"), "{received}");
    (stream, received)
}

/// The daemon tells its own totals each second, in which nothing was sent; those of a test are others.
const OWN_TOTALS: &str = "\"sent\":0,";

/// The events of what was received, without the daemon's own totals: their fields, in the order sent.
fn events(received: &str) -> Vec<Vec<(String, String)>> {
    let mut events = vec![];
    let mut event = vec![];
    for line in received.lines() {
        if let Some((name @ ("event" | "data" | "id"), value)) = line.split_once(": ") {
            event.push((name.to_owned(), value.to_owned()));
        } else if line.is_empty() && !event.is_empty() {
            events.push(std::mem::take(&mut event));
        }
    }
    let own = |event: &[_]| field(event, "data").is_some_and(|data| data.contains(OWN_TOTALS));
    events.retain(|event| !own(event));
    events
}

fn field<'a>(event: &'a [(String, String)], name: &str) -> Option<&'a str> {
    event.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_has_its_name_and_its_data() {
    let daemon = Daemon::start(None).await;
    assert!(!daemon.feed.wanted());
    let (mut stream, mut received) = listen(&daemon, "", "\r\nAccept-Encoding: gzip").await;
    assert!(daemon.feed.wanted());
    assert!(received.contains("content-type: text/event-stream\r\n"), "{received}");
    assert!(!received.contains("content-encoding"), "a compressor would hold events back");
    daemon.feed.publish(totals(7));
    daemon.feed.dropped(drop_view(3));
    daemon.feed.publish(unanswered());
    read_until(&mut stream, &mut received, "\"probe_unanswered\"").await;
    read_event(&mut stream, &mut received).await;
    let events = events(&received);
    let names: Vec<_> = events.iter().map(|event| field(event, "event").unwrap()).collect();
    assert_eq!(names, ["totals", "drop", "probe_unanswered"]);
    let ids: Vec<_> = events.iter().map(|event| field(event, "id")).collect();
    assert_eq!(ids, [None, Some(daemon.feed.mark(1).as_str()), None]);
    let told: Vec<Event> =
        events.iter().map(|event| serde_json::from_str(field(event, "data").unwrap()).unwrap()).collect();
    let mut drop = drop_view(3);
    drop.id = 1;
    assert_eq!(told, [totals(7), Event::Drop(Box::new(drop)), unanswered()]);
    for (event, name) in told.iter().zip(names) {
        assert_eq!(event.name(), name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_kinds_that_are_asked_for_are_told() {
    let daemon = Daemon::start(None).await;
    let (mut stream, mut received) = listen(&daemon, "?kinds=probe_unanswered,totals", "").await;
    daemon.feed.dropped(drop_view(1));
    daemon.feed.publish(unanswered());
    daemon.feed.dropped(drop_view(2));
    daemon.feed.publish(totals(1));
    read_until(&mut stream, &mut received, "\"sent\":1,").await;
    assert!(received.contains("event: probe_unanswered") && !received.contains("event: drop"), "{received}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_is_told_what_was_missed() {
    let daemon = Daemon::start(None).await;
    for number in 1..=5 {
        daemon.feed.dropped(drop_view(number));
    }
    let marks = [(daemon.feed.mark(3), 4), (daemon.feed.mark(5), 6), ("1-4".to_owned(), 1)];
    for ((mark, first), newest) in marks.into_iter().zip(6..) {
        let (mut stream, mut received) = listen(&daemon, "", &format!("\r\nLast-Event-ID: {mark}")).await;
        daemon.feed.dropped(drop_view(newest));
        read_until(&mut stream, &mut received, &format!("\"id\":{newest},")).await;
        read_event(&mut stream, &mut received).await;
        let told: Vec<_> =
            events(&received).iter().map(|event| field(event, "id").unwrap().to_owned()).collect();
        let expected: Vec<_> = (first..=u64::from(newest)).map(|id| daemon.feed.mark(id)).collect();
        assert_eq!(told, expected, "each once, also those of before: {mark}");
    }
    let (mut stream, mut received) = listen(&daemon, "?kinds=totals", "\r\nLast-Event-ID: 1-1").await;
    daemon.feed.publish(totals(1));
    read_until(&mut stream, &mut received, "\"sent\":1,").await;
    assert!(!received.contains("event: drop"), "{received}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_is_told_what_it_lost_and_slows_nobody() {
    let daemon = Daemon::start(None).await;
    let (mut slow, mut received) = listen(&daemon, "", "").await;
    let (mut quick, mut quick_received) = listen(&daemon, "?kinds=totals", "").await;
    // More than the queue and the kernel's buffers of a connection hold.
    let count = 40_000_u64;
    let begun = Instant::now();
    for number in 1..=count {
        daemon.feed.publish(unanswered());
        if number.is_multiple_of(QUEUE as u64 / 2) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    daemon.feed.publish(totals(count));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "telling took {took:?}");
    let end = format!("\"sent\":{count},");
    read_until(&mut quick, &mut quick_received, &end).await;

    read_until(&mut slow, &mut received, &end).await;
    read_event(&mut slow, &mut received).await;
    let events = events(&received);
    let told = events.iter().filter(|event| field(event, "event") == Some("probe_unanswered")).count() as u64;
    let lost = events.iter().filter(|event| field(event, "event") == Some("lost"));
    let lost = lost.map(|event| {
        let data: serde_json::Value = serde_json::from_str(field(event, "data").unwrap()).unwrap();
        data["count"].as_u64().unwrap()
    });
    let lost: u64 = lost.sum();
    assert!(lost > 0);
    // The daemon's own totals may be among the lost.
    let own = begun.elapsed().as_secs() + 1;
    let all = count..=count + own;
    assert!(all.contains(&(told + lost)), "of {count} events {told} were told and {lost} lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_limited_and_places_come_free() {
    let daemon = Daemon::start(None).await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(listen(&daemon, "", "").await);
    }
    let answer = get(daemon.address, EVENTS).await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert!(answer.error().0.starts_with("16 clients listen to events already"), "{answer:?}");
    assert_eq!(get(daemon.address, "/metrics").await.status, 200, "others are still served");
    clients.pop();
    let begun = Instant::now();
    loop {
        let mut stream = ask(daemon.address, EVENTS, "").await;
        let mut received = String::new();
        read_until(&mut stream, &mut received, "\r\n\r\n").await;
        if received.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no place came free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(clients);
    eventually("nobody listens", || !daemon.feed.wanted()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_daemon_ends_streams_in_order() {
    let daemon = Daemon::start(None).await;
    let (mut stream, mut received) = listen(&daemon, "", "").await;
    let took = daemon.stopped().await;
    assert!(took < Duration::from_secs(5), "it waited for the stream: {took:?}");
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut received)).await.unwrap().unwrap();
    assert!(received.ends_with("\r\n0\r\n\r\n") || received.ends_with("\r\n\r\n0\r\n\r\n"), "{received}");
}
