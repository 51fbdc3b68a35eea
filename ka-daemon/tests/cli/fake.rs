//! A fake daemon: real HTTP over loopback TCP or a unix socket, with answers that a test chooses.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// What is answered to a path and its query.
type Handler = dyn Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync;

/// It serves for as long as the test runs.
pub(crate) struct Fake {
    /// As `--daemon` takes it.
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub(crate) fn tcp(
        handler: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(address, handler, move || listener.accept().map(|(stream, _)| stream))
    }

    pub(crate) fn unix(
        path: &Path,
        handler: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let address = format!("unix:{}", path.display());
        Self::serve(address, handler, move || listener.accept().map(|(stream, _)| stream))
    }

    fn serve<S: Send + 'static>(
        address: String,
        handler: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
        accept: impl Fn() -> io::Result<S> + Send + 'static,
    ) -> Self
    where
        for<'a> &'a S: Read + Write,
    {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (handler, log): (Arc<Handler>, _) = (Arc::new(handler), asked.clone());
        thread::spawn(move || {
            while let Ok(stream) = accept() {
                let (handler, log) = (handler.clone(), log.clone());
                thread::spawn(move || {
                    let path = head(&stream);
                    log.lock().unwrap().push(path.clone());
                    // A client may leave in the middle of an answer.
                    drop(handler(&path, &mut &stream));
                });
            }
        });
        Self { address, asked }
    }

    /// The paths that were asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Reads a request's head and returns its path.
fn head(stream: impl Read) -> String {
    let lines: Vec<String> =
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    assert!(lines[1..].iter().any(|line| line.to_ascii_lowercase().starts_with("host: ")), "{lines:?}");
    lines[0].split(' ').nth(1).unwrap().to_owned()
}

/// A whole answer.
pub(crate) fn answer(out: &mut dyn Write, status: &str, body: &str) -> io::Result<()> {
    write!(out, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The head of an answer in parts, each by [`part`]; dropping the connection cuts it off.
pub(crate) fn begin(out: &mut dyn Write) -> io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// A part of an answer; an empty one ends it.
pub(crate) fn part(out: &mut dyn Write, text: &str) -> io::Result<()> {
    write!(out, "{:x}\r\n{text}\r\n", text.len())
}

/// A server-sent event.
pub(crate) fn event(out: &mut dyn Write, name: &str, data: &serde_json::Value) -> io::Result<()> {
    part(out, &format!("event: {name}\ndata: {data}\n\n"))
}
