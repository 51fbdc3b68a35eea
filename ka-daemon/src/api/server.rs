//! Accepts connections and serves a router on them, within limits: many clients, slow clients and
//! large heads must not cost the node more than a scrape does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once; more wait in the kernel's backlog.
const CONNECTIONS: usize = 64;
/// Time for a request's head; also ends connections that stay silent.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head; also the read buffer, so a body cannot grow it either.
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
        source: std::io::Error,
    },
}

/// Takes the address, before anything is attached: a daemon that cannot serve must not start.
///
/// # Errors
/// The address is taken, not of this machine, or not allowed.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// Serves until `shutdown`, then lets requests in progress finish for a moment.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // A slot first: a connection that is accepted is served. The semaphore is never closed, so
        // that this is always one.
        let accept = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // A client that left, or no free descriptor: neither ends the server. The pause keeps
            // the latter from spinning.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests in progress were cut off by the shutdown");
    }
}
