//! The API over real HTTP on loopback, with a fake source of sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod daemon;
mod drops;
mod events;
mod hanging;
mod http;
mod idle_timeouts;
mod openapi;
mod parameters;
mod reads;
mod schema;
mod sockets;
mod views;
