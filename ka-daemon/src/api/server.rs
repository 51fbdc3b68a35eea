//! Accepts connections and serves a router on them, within limits: many clients, slow clients and
//! large heads must not cost the node more than a scrape does.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tower::Service as _;

use super::access::Peer;
use super::places::{Answer, Place, Places, Request as InProgress};
use super::stream::Watched;
use super::unix::UnixSocket;

/// Connections at once. Whoever comes next takes the place of one that does nothing, or waits in the
/// kernel's backlog.
const CONNECTIONS: usize = 64;
/// Time for a request's head; also ends connections that stay silent.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head; also the read buffer, so a body cannot grow it either, and what may wait to be
/// written before the next of several requests is looked at.
const HEAD_BYTES: usize = 32 * 1024;
/// Time for requests in progress to finish after shutdown was asked for.
const GRACE: Duration = Duration::from_secs(1);

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address}, the value of --web.listen-address: {source}; \
         choose an address of this machine and a free port"
    )]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The unix socket cannot be made.
    #[error(
        "cannot listen on {path}, the value of --web.unix-socket: {source}; choose a path in a folder \
         that this user may write, of less than 108 bytes", path = path.display()
    )]
    Unix {
        /// The path asked for.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A living process has the unix socket.
    #[error(
        "cannot listen on {path}, the value of --web.unix-socket: another process listens there; stop it \
         or choose another path", path = path.display()
    )]
    Taken {
        /// The path asked for.
        path: PathBuf,
    },
    /// There is a file, and it is not a socket.
    #[error(
        "cannot listen on {path}, the value of --web.unix-socket: there is a file, which is no socket; \
         remove it or choose another path", path = path.display()
    )]
    NoSocket {
        /// The path asked for.
        path: PathBuf,
    },
}

/// Takes the address, before anything is attached: a daemon that cannot serve must not start.
///
/// # Errors
/// The address is taken, not of this machine, or not allowed.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// Serves until `shutdown`, then lets requests in progress finish for a moment. Each request carries
/// the [`Peer`] that it came from.
pub async fn serve(
    listener: TcpListener,
    unix: Option<UnixSocket>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let server = Server::new(router);
    let places = Places::new(CONNECTIONS);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // The client first: nobody is sent away for one that does not come.
        let accept = async { Ok((accept(&listener, unix.as_ref()).await?, places.take().await)) };
        let accepted: io::Result<_> = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((Accepted::Tcp(stream, peer), place)) => server.serve(stream, peer, place),
            Ok((Accepted::Unix(stream), place)) => server.serve(stream, Peer::Unix, place),
            // A client that left, or no free descriptor: neither ends the server. The pause keeps
            // the latter from spinning.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop((listener, unix));
    if tokio::time::timeout(GRACE, server.graceful.shutdown()).await.is_err() {
        tracing::warn!("requests in progress were cut off by the shutdown");
    }
}

enum Accepted {
    Tcp(TcpStream, Peer),
    Unix(UnixStream),
}

async fn accept(tcp: &TcpListener, unix: Option<&UnixSocket>) -> io::Result<Accepted> {
    let unix = async {
        match unix {
            Some(socket) => socket.listener().accept().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        accepted = tcp.accept() => {
            let (stream, remote) = accepted?;
            let local = stream.local_addr()?;
            Ok(Accepted::Tcp(stream, Peer::Tcp { remote, local }))
        }
        accepted = unix => Ok(Accepted::Unix(accepted?.0)),
    }
}

struct Server {
    http: http1::Builder,
    graceful: GracefulShutdown,
    router: Router,
}

impl Server {
    fn new(router: Router) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
        Self { http, graceful: GracefulShutdown::new(), router }
    }

    /// Serves one connection, on a task of its own.
    fn serve<IO>(&self, stream: IO, peer: Peer, place: Place)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let client = place.client();
        let stream = Watched::new(stream, place.client());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let in_progress = InProgress::of(&client);
            request.extensions_mut().insert(peer);
            // A router is always ready.
            let answer = router.clone().call(request);
            async move { Ok::<_, Infallible>(answer.await?.map(|body| Answer::new(body, in_progress))) }
        });
        let connection = self.graceful.watch(self.http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                },
                () = place.is_needed() => tracing::debug!("a connection that did nothing made room for another"),
            }
        });
    }
}
