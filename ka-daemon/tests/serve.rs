//! Everything behind the ring buffer, driven by a fake source: numbers, readiness, shutdown, and
//! tasks that end early.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser as _;
use ka_common::{Counters, Kind, Record};
use ka_daemon::api::{Feed, server};
use ka_daemon::cli::settings::Settings;
use ka_daemon::cli::{Cli, Command};
use ka_daemon::owner::PodSource;
use ka_daemon::run::{Parts, RunError, run};
use support::{FakeKernel, FakeSource, golden, record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

struct Daemon {
    address: std::net::SocketAddr,
    feed: mpsc::UnboundedSender<Vec<u8>>,
    kernel: Arc<FakeKernel>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RunError>>,
}

fn settings() -> Settings {
    let cli = Cli::parse_from(["ka-daemon", "--web.listen-address", "127.0.0.1:0"]);
    let Command::Run(args) = cli.into_command() else { unreachable!("run is the default") };
    args.settings()
}

async fn daemon() -> Daemon {
    let settings = settings();
    let listener = server::bind(settings.listen_address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (feed, source) = FakeSource::new();
    let mut counters = Counters::default();
    counters.emitted[Kind::ProbeSent as usize] = 1;
    let kernel = Arc::new(FakeKernel(counters));
    let parts = Parts {
        settings,
        listener,
        unix_socket: None,
        source,
        kernel: kernel.clone(),
        log: None,
        config: Arc::default(),
        inventory: None,
        pods: PodSource::default(),
        sockets: None,
        feed: Feed::default(),
        started: Instant::now(),
    };
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(run(parts, async { drop(stopped.await) }));
    Daemon { address, feed, kernel, stop, task }
}

/// One request, as raw text.
async fn request(address: std::net::SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    request(address, &format!("GET {path} HTTP/1.1")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_holds_what_was_fed_before_it() {
    let daemon = daemon().await;
    let sent =
        "\nka_keepalive_probes_sent_total{namespace=\"\",pod=\"\",container=\"\",service=\"\",comm=\"\"}";
    assert!(get(daemon.address, "/metrics").await.contains(&format!("{sent} 0\n")));
    daemon.feed.send(record(Kind::ProbeSent, |_| {})).unwrap();
    daemon.feed.send(record(Kind::ProbeSettled, |r| r.flags |= Record::ANSWERED)).unwrap();
    daemon.feed.send(vec![1, 2, 3]).unwrap();
    let page = get(daemon.address, "/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{page}");
    for line in [
        &format!("{sent} 1\n"),
        &format!("{} 1\n", sent.replace("sent", "answered")),
        "\nka_tracked_sockets 1\n",
        "\nka_records_emitted_total{kind=\"probe_sent\"} 1\n",
        "\nka_records_received_total{kind=\"probe_sent\"} 1\n",
        "\nka_records_lost_total{kind=\"unknown\",reason=\"undecodable\"} 1\n",
        "\nka_observed_keepalive_probes_total{netns=\"4026531840\"} 1\n",
        "\nprocess_open_fds ",
    ] {
        assert!(page.contains(line), "{line:?} is not in {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_compressed_when_asked_for() {
    let daemon = daemon().await;
    let head = "GET /metrics HTTP/1.1\r\nAccept-Encoding: gzip";
    assert!(request(daemon.address, head).await.contains("content-encoding: gzip\r\n"));
    assert!(!get(daemon.address, "/metrics").await.contains("content-encoding"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_stops_serving_and_releases_the_kernel_side() {
    let daemon = daemon().await;
    assert!(get(daemon.address, "/-/ready").await.ends_with("ready\n"));
    assert!(get(daemon.address, "/-/healthy").await.ends_with("ok\n"));
    // A client that keeps its connection must not hold the daemon.
    let _idle = TcpStream::connect(daemon.address).await.unwrap();
    daemon.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), daemon.task).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(daemon.address).await.is_err(), "still listening");
    assert_eq!(Arc::strong_count(&daemon.kernel), 1, "the kernel side is still held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_fails_ends_the_daemon_with_the_reason() {
    let daemon = daemon().await;
    drop(daemon.feed);
    let result = tokio::time::timeout(Duration::from_secs(5), daemon.task).await.unwrap().unwrap();
    assert_eq!(result.unwrap_err().to_string(), "reading records ended early: the source broke");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_requests_get_answers_that_name_them() {
    let daemon = daemon().await;
    let answer = get(daemon.address, "/nope").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.ends_with("nothing at /nope; see /\n"), "{answer}");
    let answer = get(daemon.address, "/api/v2").await;
    assert!(answer.ends_with("{\"error\":\"nothing at /api/v2; see /\"}"), "{answer}");
    let answer = request(daemon.address, "POST /metrics HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET,HEAD\r\n"), "{answer}");
    let answer = request(daemon.address, &format!("GET / HTTP/1.1{}", "\r\nX: y".repeat(120))).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_has_its_golden_shape() {
    let daemon = daemon().await;
    daemon.feed.send(record(Kind::ProbeSent, |_| {})).unwrap();
    let answer = get(daemon.address, "/api/v1/status").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let mut status: serde_json::Value = serde_json::from_str(body).unwrap();
    for varies in ["version", "revision", "rustc", "uptime_seconds"] {
        assert!(!status[varies].is_null(), "{varies}");
        status[varies] = "varies".into();
    }
    golden("tests/golden/status.json", &(serde_json::to_string_pretty(&status).unwrap() + "\n"));
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_the_option() {
    let first = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = first.local_addr().unwrap();
    assert_eq!(
        server::bind(address).await.unwrap_err().to_string(),
        format!(
            "cannot listen on {address}, the value of --web.listen-address: Address already in use (os error 98); \
             choose an address of this machine and a free port"
        )
    );
}
