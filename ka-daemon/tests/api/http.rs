//! Just enough of an HTTP client: what is sent and received stays visible.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Everything here is quick; what is not hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no head in {:?}", String::from_utf8_lossy(bytes));
        });
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase() + "\r\n";
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let rest = &bytes[end + 4..];
        let (body, whole) = if head.contains("\r\ntransfer-encoding: chunked\r\n") {
            dechunk(rest)
        } else {
            (rest.to_vec(), true)
        };
        Self { status, head, body: String::from_utf8_lossy(&body).into_owned(), whole }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        assert_eq!((self.status, self.header("content-type")), (200, Some("application/json")), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The error and the parameter of a refusal.
    #[track_caller]
    pub(crate) fn error(&self) -> (String, Option<String>) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let error: ka_daemon::api::ErrorAnswer = serde_json::from_str(&self.body).unwrap();
        (error.error, error.parameter)
    }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|part| part == b"\r\n") else { return (body, false) };
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if rest.len() < size + 2 {
            return (body, false);
        }
        rest = &rest[size + 2..];
    }
}

/// A request with these lines, and its whole answer.
pub(crate) async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> Answer {
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("no end").unwrap();
    Answer::parse(&answer)
}

pub(crate) async fn get_with(address: SocketAddr, path: &str, headers: &str) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    exchange(stream, &format!("GET {path} HTTP/1.1\r\nHost: localhost{headers}")).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    get_with(address, path, "").await
}

/// A connection that was asked for a path and from which nothing was read yet.
pub(crate) async fn ask(address: SocketAddr, path: &str, headers: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // The kernel must not take in for a client that reads nothing what is meant to wait, as it would with
    // a buffer of its own choice: up to 32 MiB.
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost{headers}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Reads until a text was received.
pub(crate) async fn read_until(stream: &mut TcpStream, received: &mut String, text: &str) {
    read_while(stream, received, text, |received| !received.contains(text)).await;
}

/// Reads on to the end of an event.
pub(crate) async fn read_event(stream: &mut TcpStream, received: &mut String) {
    const END: &str = "\n\n\r\n";
    read_while(stream, received, END, |received| !received.ends_with(END)).await;
}

async fn read_while(stream: &mut TcpStream, received: &mut String, text: &str, more: impl Fn(&str) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while more(received) {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        let count = read.unwrap_or_else(|_| panic!("{text:?} does not come: {received}")).unwrap();
        assert!(count > 0, "closed before {text:?} came: {received}");
        received.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}
