//! Clients that hang, more than there are places, do not keep others away.

use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};

use crate::daemon::Daemon;
use crate::http::{ask, get, read_until};

/// As many as there are places, and more.
const MANY: usize = 100;
/// Long enough for a busy machine, and much shorter than any time limit of the server.
const SOON: Duration = Duration::from_secs(10);

/// A client that asks for more than fits into the buffers between, and reads nothing.
async fn asks_and_never_reads(daemon: &Daemon) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let stream = socket.connect(daemon.address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        let Ok(count) = stream.try_write(rest) else { break };
        rest = &rest[count..];
    }
    stream
}

async fn scraped(daemon: &Daemon, whom: &str) {
    let begun = Instant::now();
    let answer = tokio::time::timeout(SOON, get(daemon.address, "/metrics")).await;
    let answer = answer.unwrap_or_else(|_| panic!("{whom} keep a scrape away for more than {SOON:?}"));
    assert_eq!(answer.status, 200);
    assert!(answer.whole && answer.body.contains("ka_build_info"), "{whom}: after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_keep_nobody_away() {
    let daemon = Daemon::start(None).await;
    let mut hanging = Vec::new();
    for _ in 0..MANY {
        hanging.push(asks_and_never_reads(&daemon).await);
    }
    for _ in 0..3 {
        scraped(&daemon, "clients that do not read").await;
    }
    drop(hanging);
    daemon.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_nothing_keep_nobody_away_and_listeners_stay() {
    let daemon = Daemon::start(None).await;
    // It hears nothing but a comment now and then, for longer than anybody here has hung.
    let mut listener = ask(daemon.address, "/api/v1/events?kinds=drop", "").await;
    let mut received = String::new();
    read_until(&mut listener, &mut received, "\r\n\r\n").await;
    let mut silent = Vec::new();
    for _ in 0..MANY {
        silent.push(TcpStream::connect(daemon.address).await.unwrap());
    }
    for _ in 0..3 {
        scraped(&daemon, "clients that say nothing").await;
    }
    daemon.feed.dropped(crate::views::drop_view(3));
    read_until(&mut listener, &mut received, "event: drop").await;
    drop(silent);
    daemon.stopped().await;
}
