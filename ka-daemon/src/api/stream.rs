//! A connection that notices when its client takes nothing any more, says so, and fails in the end.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::places::Client;

/// How long a client may take nothing of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A watched connection. Waiting for something to write has no limit: a stream of events may be silent.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    client: Arc<Client>,
    limit: Duration,
    /// Runs while a write waits.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(super) const fn new(stream: S, client: Arc<Client>) -> Self {
        Self { stream, client, limit: WRITE_TIMEOUT, stuck: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stuck.take().is_some() {
                self.client.set_stuck(false);
            }
            return written;
        }
        let limit = self.limit;
        let timer = self.stuck.get_or_insert_with(|| {
            self.client.set_stuck(true);
            Box::pin(tokio::time::sleep(limit))
        });
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::api::places::Places;

    /// A connection with a short limit, and the client's end of it, which holds 8 bytes.
    async fn connected(limit: Duration) -> (Watched<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (server, client) = tokio::io::duplex(8);
        let place = Places::new(1).take().await;
        (Watched { limit, ..Watched::new(server, place.client()) }, client)
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_ends_its_connection() {
        let (mut server, _client) = connected(Duration::from_millis(50)).await;
        let error = server.write_all(b"more than eight bytes").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_keeps_its_connection() {
        let limit = Duration::from_millis(500);
        let (mut server, mut client) = connected(limit).await;
        let reads = tokio::spawn(async move {
            let mut bytes = [0; 8];
            for _ in 0..8 {
                tokio::time::sleep(limit / 4).await;
                client.read_exact(&mut bytes).await.unwrap();
            }
            client
        });
        server.write_all(&[7; 64]).await.unwrap();
        assert!(server.stuck.is_none());
        drop(reads.await.unwrap());
    }

    #[tokio::test]
    async fn silence_has_no_limit() {
        let limit = Duration::from_millis(20);
        let (mut server, mut client) = connected(limit).await;
        for _ in 0..3 {
            server.write_all(b"event").await.unwrap();
            tokio::time::sleep(limit * 3).await;
            client.read_exact(&mut [0; 5]).await.unwrap();
        }
    }
}
