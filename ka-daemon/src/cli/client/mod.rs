//! A small HTTP client that asks a daemon: one connection a question, over TCP or a unix socket, with
//! limits on how long it waits. No TLS: a daemon serves sockets on loopback or a unix socket.

mod endpoint;
mod events;
mod lines;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

pub use endpoint::Endpoint;
pub use events::Events;
use lines::Lines;

use crate::view::words::printable;

/// To connect: a daemon is near, or not there.
const CONNECT: Duration = Duration::from_secs(3);
/// From the question to the beginning of the answer: the daemon may sweep a large node first.
const ANSWER: Duration = Duration::from_secs(30);
/// Between two parts of an answer.
const PART: Duration = Duration::from_secs(30);
/// Bytes of an answer that is taken as a whole.
const WHOLE: usize = 64 << 20;
/// Bytes that are read of an error's text.
const ERROR_TEXT: usize = 16 << 10;

/// Why a daemon did not tell what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error(
        "no daemon answers at {endpoint}: {source}; start it with `ka-daemon run`, or tell by --daemon where it is"
    )]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// It takes too long.
    #[error("{endpoint} takes more than {} s for {path}", limit.as_secs())]
    Slow {
        /// Where.
        endpoint: Endpoint,
        /// What was asked.
        path: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The daemon answered with an error.
    #[error("{endpoint} refuses {path}: {text} (status {})", status.as_u16())]
    Refused {
        /// Where.
        endpoint: Endpoint,
        /// What was asked.
        path: String,
        /// The status.
        status: StatusCode,
        /// What the daemon said.
        text: String,
    },
    /// The connection broke, or it is not HTTP.
    #[error("the answer of {endpoint} to {path} broke off: {source}")]
    Broken {
        /// Where.
        endpoint: Endpoint,
        /// What was asked.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon began to answer and could not go on.
    #[error("{endpoint} could not answer all of {path}: {text}")]
    GaveUp {
        /// Where.
        endpoint: Endpoint,
        /// What was asked.
        path: String,
        /// What the daemon said.
        text: String,
    },
    /// The answer is not what it should be.
    #[error(
        "the answer of {endpoint} to {path} is not understood: {source}; is that a ka-daemon of this version?"
    )]
    Content {
        /// Where.
        endpoint: Endpoint,
        /// What was asked.
        path: String,
        /// What was wrong with it.
        source: serde_json::Error,
    },
}

/// Asks one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
}

impl Client {
    /// A client of the daemon at `endpoint`; connects when it is asked something.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// Whom it asks.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks for `path` with its query, and returns the answer as soon as it begins.
    ///
    /// # Errors
    /// Nobody is there, it takes too long, or the answer is an error.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        let stream = timeout(CONNECT, self.connect())
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to connecting")))
            .map_err(|source| ClientError::Unreachable { endpoint: self.endpoint.clone(), source })?;
        let asked = Asked { endpoint: self.endpoint.clone(), path: path.to_owned() };
        let host = match &self.endpoint {
            Endpoint::Http { authority } => authority,
            Endpoint::Unix { .. } => "localhost",
        };
        let request = Request::get(path)
            .header(HOST, host)
            .header(ACCEPT, "*/*")
            .header(USER_AGENT, concat!("ka-daemon/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| asked.broken(error))?;
        let answer = asked.within(ANSWER, async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Its errors come out of the request and of the answer's parts as well.
            tokio::spawn(async move { drop(connection.await) });
            sender.send_request(request).await
        });
        let answer = answer.await?.map_err(|error| asked.broken(error))?;
        let (head, body) = answer.into_parts();
        let answer = Answer { asked, body, lines: Lines::default() };
        if head.status == StatusCode::OK { Ok(answer) } else { Err(answer.refusal(head.status).await) }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.endpoint {
            Endpoint::Http { authority } => Box::new(TcpStream::connect(authority).await?),
            Endpoint::Unix { path } => Box::new(UnixStream::connect(path).await?),
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Whom and what was asked, for errors to name.
#[derive(Debug)]
struct Asked {
    endpoint: Endpoint,
    path: String,
}

impl Asked {
    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        let (endpoint, path) = (self.endpoint.clone(), self.path.clone());
        ClientError::Broken { endpoint, path, source: source.into() }
    }

    fn content(&self, source: serde_json::Error) -> ClientError {
        ClientError::Content { endpoint: self.endpoint.clone(), path: self.path.clone(), source }
    }

    fn gave_up(&self, text: &str) -> ClientError {
        let text = printable(text).into_owned();
        ClientError::GaveUp { endpoint: self.endpoint.clone(), path: self.path.clone(), text }
    }

    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, ClientError> {
        timeout(limit, work).await.map_err(|_| ClientError::Slow {
            endpoint: self.endpoint.clone(),
            path: self.path.clone(),
            limit,
        })
    }
}

/// An answer that has begun.
#[derive(Debug)]
pub struct Answer {
    asked: Asked,
    body: Incoming,
    lines: Lines,
}

impl Answer {
    /// All of it, as JSON.
    ///
    /// # Errors
    /// It breaks off, is too long, or is something else.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let body = Limited::new(self.body, WHOLE).collect();
        let body = self.asked.within(PART, body).await?.map_err(|error| self.asked.broken(error))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| self.asked.content(error))
    }

    /// The next line, without its end; none: that was all.
    ///
    /// # Errors
    /// It breaks off, stops for too long, or a line has no end.
    pub async fn line(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.line_within(PART).await
    }

    async fn line_within(&mut self, limit: Duration) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(line) = self.lines.next_line() {
                return Ok(Some(line));
            }
            let frame = self.asked.within(limit, self.body.frame()).await?;
            let Some(frame) = frame else { return Ok(self.lines.rest()) };
            if let Ok(data) = frame.map_err(|error| self.asked.broken(error))?.into_data() {
                self.lines.push(&data).map_err(|error| self.asked.broken(error))?;
            }
        }
    }

    /// The next line of JSON, as it came and as what it holds.
    ///
    /// # Errors
    /// As [`Self::line`]; also a line that is something else, such as that the daemon gave up.
    pub async fn object<T: DeserializeOwned>(&mut self) -> Result<Option<(Bytes, T)>, ClientError> {
        let Some(line) = self.line().await? else { return Ok(None) };
        match serde_json::from_slice(&line) {
            Ok(object) => Ok(Some((line, object))),
            Err(error) => Err(match serde_json::from_slice(&line) {
                Ok(ErrorAnswer { error }) => self.asked.gave_up(&error),
                Err(_) => self.asked.content(error),
            }),
        }
    }

    /// What a refusal says: the `error` of its JSON, else its text.
    async fn refusal(self, status: StatusCode) -> ClientError {
        let Asked { endpoint, path } = self.asked;
        let text = match timeout(PART, Limited::new(self.body, ERROR_TEXT).collect()).await {
            Ok(Ok(body)) => error_text(&body.to_bytes()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no text came".to_owned(),
        };
        ClientError::Refused { endpoint, path, status, text }
    }
}

/// What the API says of an error.
#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

fn error_text(body: &[u8]) -> String {
    let text = match serde_json::from_slice(body) {
        Ok(ErrorAnswer { error }) => error,
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    if text.is_empty() { "it does not say why".to_owned() } else { printable(&text).into_owned() }
}
