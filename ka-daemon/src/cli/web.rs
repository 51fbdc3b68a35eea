//! Options of what is served over HTTP, and to whom.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::values;

/// Who may see the page and the API.
#[derive(Clone, Debug, Args)]
pub struct WebArgs {
    /// Serve everything also at this unix socket, for this user alone.
    #[arg(long = "web.unix-socket", env = "KA_WEB_UNIX_SOCKET", value_name = "PATH")]
    pub(super) unix_socket: Option<PathBuf>,
    /// Show the addresses of connections (the page and /api) to whoever reaches the listen address,
    /// not to this machine alone.
    #[arg(
        long = "web.expose-sockets",
        env = "KA_WEB_EXPOSE_SOCKETS",
        value_parser = BoolishValueParser::new()
    )]
    pub(super) expose_sockets: bool,
    /// A name by which browsers may reach the page and /api, beside localhost, IP addresses and this
    /// machine's name. May be repeated.
    #[arg(
        long = "web.allowed-host",
        env = "KA_WEB_ALLOWED_HOST",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = values::host_name
    )]
    pub(super) allowed_hosts: Vec<String>,
}
