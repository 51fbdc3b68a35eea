//! The daemon of `ka`, in the order in which data flows through it:
//!
//! [`kernel`] finds out where the running kernel keeps what the programs read, [`bpf`] loads and
//! attaches them, [`events`] drains and decodes their records, [`table`] turns records into the
//! state and the history of sockets, [`metrics`] renders a snapshot of it, [`api`] serves that
//! over HTTP. [`learn`] finds out what idle timeouts lie on the way. [`cli`] holds what a user types, [`run`] ties it
//! together.

pub mod api;
pub mod bpf;
pub mod cli;
pub mod config;
pub mod events;
pub mod inventory;
pub mod kernel;
pub mod learn;
pub mod metrics;
pub mod owner;
mod pattern;
pub mod policy;
pub mod preset;
pub mod process;
pub mod run;
pub mod status;
pub mod table;
pub mod view;
