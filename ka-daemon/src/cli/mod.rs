//! What a user types: options and their checks, the start-up report, and `check`. Beside the data
//! path: turns words into [`Settings`](settings::Settings) and status into text.

pub mod args;
pub mod check;
mod check_config;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod logging;
pub mod settings;
mod values;
pub mod web;

pub use args::{Cli, Command};
