//! HTTP: the page, the metrics, health, and the API. Reads snapshots, what [`feed`] was told and, afresh,
//! the node's sockets; nothing that arrives here reaches the table.

mod access;
pub mod drops;
mod error;
mod events;
pub mod feed;
pub mod health;
pub mod idle_timeouts;
pub mod openapi;
pub mod page;
mod places;
mod query;
mod routes;
pub mod server;
pub mod sockets;
pub mod source;
pub mod status;
mod stream;
pub mod unix;

pub use access::Peer;
pub use error::ErrorAnswer;
pub use feed::Feed;
pub use health::{Health, Readiness};
pub use routes::{App, router};
pub use source::{SocketSource, SourceError};

use error::ApiError;
