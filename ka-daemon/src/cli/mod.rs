//! What a user types: options and their checks, the start-up report, `check`, and the commands that
//! show what a daemon knows. Beside the data path: turns words into [`Settings`](settings::Settings)
//! and questions, and answers into text.

pub mod args;
mod cells;
pub mod check;
mod check_config;
pub mod client;
pub mod command;
pub mod drops;
mod environment;
pub mod idle_timeouts;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod logging;
mod query;
mod remedies;
pub mod settings;
pub mod sockets;
mod table;
pub mod top;
mod values;
pub mod web;

pub use args::{Cli, Command};
