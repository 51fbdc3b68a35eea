//! Where the daemon's own words go: standard error, as text for people or JSON for machines.

use std::io;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Options of logging.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// The least severe messages to log.
    #[arg(
        long = "log.level",
        env = "KA_LOG_LEVEL",
        value_name = "LEVEL",
        value_enum,
        default_value_t = Level::Info
    )]
    level: Level,
    /// How messages are written to standard error.
    #[arg(
        long = "log.format",
        env = "KA_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t = Format::Text
    )]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line for people.
    Text,
    /// An object a line.
    Json,
}

impl LogArgs {
    /// Starts logging for the process, once. Messages of BPF programs come through the `log`
    /// crate and are taken in as well.
    pub fn init(&self) {
        let level = match self.level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        };
        // Whoever reads standard error may go away. What the subscriber would say of that would go the same
        // way, by a macro that panics when it cannot.
        let builder = tracing_subscriber::fmt()
            .log_internal_errors(false)
            .with_env_filter(filter(level))
            .with_writer(io::stderr);
        match self.format {
            Format::Text => {
                let colours = io::IsTerminal::is_terminal(&io::stderr());
                builder.with_target(false).with_ansi(colours).init();
            }
            Format::Json => builder.json().flatten_event(true).init(),
        }
    }
}

/// kube logs each failed attempt, over and over; `owner::kube` says it once. Who debugs sees both.
fn filter(level: LevelFilter) -> EnvFilter {
    let filter = EnvFilter::default().add_directive(level.into());
    if level >= LevelFilter::DEBUG {
        return filter;
    }
    ["kube_client=off", "kube_runtime=off"]
        .into_iter()
        .fold(filter, |filter, quiet| filter.add_directive(quiet.parse().expect("a constant directive")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kube_is_quiet_unless_debugged() {
        assert_eq!(filter(LevelFilter::INFO).to_string(), "kube_runtime=off,kube_client=off,info");
        assert_eq!(filter(LevelFilter::DEBUG).to_string(), "debug");
    }
}
