//! Reads that take long, fail, or are not wanted any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use ka_daemon::api::SocketSource;
use ka_daemon::api::sockets::SocketsAnswer;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::daemon::{Daemon, Scripted, Step, eventually};
use crate::http::{ask, get, read_until};
use crate::views::socket;

const PAGE: &str = "/api/v1/sockets";
const LINES: &str = "/api/v1/sockets.ndjson";

fn step(number: u32) -> Step {
    Step::Socket(Box::new(socket(number)))
}

fn endless() -> Step {
    Step::Endless(Box::new(socket(1)))
}

/// Asks for lines; the first two sockets are read, and have come, and the reading goes on.
async fn under_way(address: SocketAddr, steps: &Sender<Step>) -> (TcpStream, String) {
    let mut stream = ask(address, LINES, "").await;
    steps.send(step(1)).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    steps.send(step(2)).unwrap();
    let mut received = String::new();
    read_until(&mut stream, &mut received, "\"inode\":2,").await;
    (stream, received)
}

async fn daemon(source: &Arc<Scripted>) -> Daemon {
    let source: Arc<dyn SocketSource> = source.clone();
    Daemon::start(Some(source)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_reads_a_few_wait_and_more_are_told_to_come_again() {
    let (steps, source) = Scripted::new();
    let daemon = daemon(&source).await;
    let address = daemon.address;
    let mut asking = JoinSet::new();
    asking.spawn(get(address, PAGE));
    eventually("one reads", || source.begun.load(Ordering::Relaxed) == 1).await;
    for _ in 0..5 {
        asking.spawn(get(address, PAGE));
    }
    // Which of the five is open; nobody else can be answered yet.
    let refused = asking.join_next().await.unwrap().unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some_and(|after| after.parse::<u8>().is_ok()), "{refused:?}");
    let (error, parameter) = refused.error();
    assert!(error.contains("being read for others") && parameter.is_none(), "{error}");
    assert_eq!(source.begun.load(Ordering::Relaxed), 1, "one at a time");
    drop(steps);
    for answer in asking.join_all().await {
        let page: SocketsAnswer = answer.json();
        assert_eq!(page.total, 0);
    }
    assert_eq!(source.begun.load(Ordering::Relaxed), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_sent_while_the_reading_goes_on() {
    let (steps, source) = Scripted::new();
    let daemon = daemon(&source).await;
    let (mut stream, mut received) = under_way(daemon.address, &steps).await;
    assert_eq!(source.ended.load(Ordering::Relaxed), 0, "the reading is not over");
    steps.send(Step::End).unwrap();
    read_until(&mut stream, &mut received, "\r\n0\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_ends_the_reading() {
    for path in [PAGE, LINES] {
        let (steps, source) = Scripted::new();
        let daemon = daemon(&source).await;
        steps.send(endless()).unwrap();
        let stream = ask(daemon.address, path, "").await;
        eventually("the reading begins", || source.begun.load(Ordering::Relaxed) == 1).await;
        assert_eq!(source.ended.load(Ordering::Relaxed), 0);
        drop(stream);
        eventually("the reading ends", || source.ended.load(Ordering::Relaxed) == 1).await;
        steps.send(Step::End).unwrap();
        assert_eq!(get(daemon.address, path).await.status, 200, "the next has its turn");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_cut_off() {
    let (steps, source) = Scripted::new();
    let daemon = daemon(&source).await;
    steps.send(endless()).unwrap();
    let mut stalled = ask(daemon.address, LINES, "").await;
    eventually("the reading begins", || source.begun.load(Ordering::Relaxed) == 1).await;
    // It waits for its turn meanwhile.
    steps.send(Step::End).unwrap();
    assert_eq!(get(daemon.address, PAGE).await.status, 200);
    assert_eq!(source.ended.load(Ordering::Relaxed), 2);
    let mut received = Vec::new();
    stalled.read_to_end(&mut received).await.unwrap();
    assert!(!received.ends_with(b"\r\n0\r\n\r\n"), "cut short, so that it is not taken for all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_fails_is_told() {
    let (steps, source) = Scripted::new();
    let daemon = daemon(&source).await;
    let told = "cannot read the sockets of this node: out of luck";
    for path in [PAGE, LINES] {
        steps.send(Step::Fail("out of luck")).unwrap();
        let answer = get(daemon.address, path).await;
        assert_eq!((answer.status, answer.error()), (500, (told.to_owned(), None)));
        steps.send(Step::Panic).unwrap();
        let answer = get(daemon.address, path).await;
        assert_eq!(answer.status, 500, "{answer:?}");
    }
    steps.send(step(1)).unwrap();
    steps.send(Step::Fail("out of luck")).unwrap();
    let answer = get(daemon.address, PAGE).await;
    assert_eq!((answer.status, answer.error()), (500, (told.to_owned(), None)), "half a page is none");

    let (mut stream, mut received) = under_way(daemon.address, &steps).await;
    steps.send(step(3)).unwrap();
    steps.send(Step::Fail("out of luck")).unwrap();
    read_until(&mut stream, &mut received, "\r\n0\r\n\r\n").await;
    assert!(received.contains("\"inode\":3,"), "what was read before is sent: {received}");
    assert!(received.contains(&format!("{{\"error\":\"{told}\"}}\n")), "{received}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_panics_on_its_way_is_cut_short() {
    let (steps, source) = Scripted::new();
    let daemon = daemon(&source).await;
    let (mut stream, _) = under_way(daemon.address, &steps).await;
    steps.send(Step::Panic).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.ends_with(b"0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_source_it_says_so() {
    let daemon = Daemon::start(None).await;
    for path in [PAGE, LINES] {
        let answer = get(daemon.address, path).await;
        assert_eq!(answer.status, 503);
        assert!(answer.error().0.contains("cannot read the sockets"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_daemon_ends_a_reading() {
    let (steps, source) = Scripted::new();
    let daemon = daemon(&source).await;
    steps.send(endless()).unwrap();
    let asked = tokio::spawn(get(daemon.address, PAGE));
    eventually("the reading begins", || source.begun.load(Ordering::Relaxed) == 1).await;
    let took = daemon.stopped().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    let answer = asked.await.unwrap();
    assert_eq!((answer.status, answer.error().0.as_str()), (503, "the daemon stops"));
}
