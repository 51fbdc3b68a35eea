//! Who is served what, over real connections.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use tokio::net::{TcpStream, UnixStream};

use crate::daemon::{Daemon, settings};
use crate::http::{Answer, exchange, get};

const SENSITIVE: [&str; 8] = [
    "/",
    "/api/v1/status",
    "/api/v1/sockets",
    "/api/v1/sockets.ndjson",
    "/api/v1/drops",
    "/api/v1/idle-timeouts",
    "/api/v1/events",
    "/api/v1/openapi.json",
];
const OPEN: [&str; 3] = ["/metrics", "/-/healthy", "/-/ready"];

async fn with_host(address: SocketAddr, path: &str, host: Option<&str>) -> Answer {
    let host = host.map(|host| format!("\r\nHost: {host}")).unwrap_or_default();
    exchange(TcpStream::connect(address).await.unwrap(), &format!("GET {path} HTTP/1.1{host}")).await
}

/// An address of this machine that is not a loopback one, if it has any: that from which it would reach
/// the documentation's network. Nothing is sent.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_site_is_refused() {
    let daemon = Daemon::start(None).await;
    for host in [Some("evil.example"), Some("localhost.evil.example"), None] {
        for path in SENSITIVE {
            let answer = with_host(daemon.address, path, host).await;
            assert_eq!(answer.status, 403, "{path} {host:?}: {answer:?}");
            if path.starts_with("/api/") {
                assert!(answer.error().0.contains("Host"), "{answer:?}");
            } else {
                assert!(answer.body.contains("Host"), "{answer:?}");
            }
        }
        for path in OPEN {
            assert_eq!(with_host(daemon.address, path, host).await.status, 200, "{path} {host:?}");
        }
    }
    let port = daemon.address.port();
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), machine] {
        assert_eq!(with_host(daemon.address, "/api/v1/drops", Some(&host)).await.status, 200, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_may_be_allowed() {
    let daemon = Daemon::with(settings(&["--web.allowed-host", "ka.example"]), None).await;
    assert_eq!(with_host(daemon.address, "/api/v1/drops", Some("KA.example:443")).await.status, 200);
    assert_eq!(with_host(daemon.address, "/api/v1/drops", Some("example")).await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outer_address_serves_metrics_alone_unless_exposed() {
    let Some(outer) = outer_address() else {
        // The rules themselves are tested with made-up addresses beside the code.
        eprintln!("SKIPPED: this machine has no address but loopback");
        return;
    };
    for (args, exposed) in [(&[][..], false), (&["--web.expose-sockets"][..], true)] {
        let mut settings = settings(args);
        settings.listen_address = "0.0.0.0:0".parse().unwrap();
        let daemon = Daemon::with(settings, None).await;
        let address = SocketAddr::new(outer, daemon.address.port());
        let host = address.to_string();
        for path in SENSITIVE.iter().filter(|path| !path.ends_with("events")) {
            let answer = with_host(address, path, Some(&host)).await;
            assert_eq!(answer.status == 403, !exposed, "{path}: {answer:?}");
            assert!(exposed || answer.body.contains("--web.expose-sockets"), "{answer:?}");
        }
        for path in OPEN {
            assert_eq!(with_host(address, path, Some("any.example")).await.status, 200, "{path}");
        }
        assert_eq!(with_host(address, "/", Some("evil.example")).await.status, 403, "exposed or not");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_are_told_to_be_careful() {
    let daemon = Daemon::start(None).await;
    for path in SENSITIVE.into_iter().chain(["/nothing"]).filter(|path| !path.ends_with("events")) {
        for host in ["localhost", "evil.example"] {
            let answer = with_host(daemon.address, path, Some(host)).await;
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; "), "{path}: {policy}");
            assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
            assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
            assert!(answer.header("cache-control").is_some(), "{path}");
            assert!(!answer.head.contains("access-control-"), "{path}: {}", answer.head);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unix_socket_serves_everything_and_goes_with_the_daemon() {
    let folder = std::env::temp_dir().join(format!("ka-api-unix-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("ka.sock");
    let daemon = Daemon::with(settings(&["--web.unix-socket", path.to_str().unwrap()]), None).await;
    for served in SENSITIVE.into_iter().chain(OPEN).filter(|path| !path.ends_with("events")) {
        for head in [format!("GET {served} HTTP/1.1\r\nHost: any"), format!("GET {served} HTTP/1.1")] {
            let answer = exchange(UnixStream::connect(&path).await.unwrap(), &head).await;
            // Without a source of sockets, these say so.
            let expected = if served.contains("sockets") { 503 } else { 200 };
            assert_eq!(answer.status, expected, "{served}: {answer:?}");
        }
    }
    assert_eq!(get(daemon.address, "/").await.status, 200, "the listen address is still there");
    daemon.stopped().await;
    assert!(!path.exists());
    fs::remove_dir_all(&folder).unwrap();
}
