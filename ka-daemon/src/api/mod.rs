//! HTTP: the metrics page, health, and the status as JSON. Reads snapshots only; nothing that
//! arrives here reaches the table.

pub mod health;
pub mod page;
mod routes;
pub mod server;
pub mod status;

pub use health::{Health, Readiness};
pub use routes::{App, router};
