//! Options of the commands that show: `sockets`, `top`, `drops` and `idle-timeouts`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ColorChoice};

use super::query::{DaemonArgs, FilterArgs};
use crate::table::Cause;
use crate::view::SortKey;
use crate::view::parameter;

/// What `ka-daemon sockets --help` ends with.
pub(super) const SOCKETS_HELP: &str = "\
Columns:
  KEEPALIVE  15s/15s* ×9 reads: first probe after 15 s of silence, then one every 15 s, and the
             connection ends when 9 in a row go unanswered. * marks what the application set; the
             rest is its network namespace's sysctl. `off` never probes.
  TIMER      what the kernel does next with the socket, and when.
  RTT        of the last keepalive probe; only a daemon knows it.
  OWNER      process[pid], then pod, container or systemd unit.
  -          does not apply, or is not known.
On a terminal OWNER and long addresses are shortened to fit, then RTT, STATE and LOCAL are left out.

With a daemon it is asked; without one this command reads the kernel itself, once (needs root).

Examples:
  ka-daemon sockets --process postgres --keepalive off
  ka-daemon sockets --at-risk --wide              # what the configured policies would cut
  ka-daemon sockets --at-risk 4m --sort idle      # what a 4 minute NAT would cut
  ka-daemon sockets --remote 10.0.0.0/8 --wide
  ka-daemon sockets --json | jq '.[] | select(.timer.probes_out > 0)'

Exit codes:
  0  shown, even if nothing matched; or the reader of a pipe had enough
  1  the sockets could not be read, or the output not be written
  2  an option or its value is wrong";

/// What `ka-daemon top --help` ends with.
pub(super) const TOP_HELP: &str = "\
Keys:
  q  quit          s  next order      /  filter by words      p  pause
  ↑ ↓ j k PgUp PgDn Home End  scroll  Tab  other panel       ?  help

Example:
  ka-daemon top --namespace shop

Exit codes:
  0  quit by q, SIGINT or SIGTERM
  1  standard output is no terminal, or the terminal failed
  2  an option or its value is wrong";

/// What `ka-daemon drops --help` ends with.
pub(super) const DROPS_HELP: &str = "\
A running daemon keeps the last 1000. docs/drop-causes.md tells what each cause means.

Examples:
  ka-daemon drops --limit 10
  ka-daemon drops --follow --pod cart-7d4
  ka-daemon drops --cause reset_by_probe,timeout_after_idle --json

Exit codes:
  0  shown, even if there were none; or the reader of a pipe had enough
  1  no daemon could be asked, or the output not be written
  2  an option or its value is wrong";

/// What `ka-daemon idle-timeouts --help` ends with.
pub(super) const IDLE_TIMEOUTS_HELP: &str = "\
A running daemon learns them from connections that were silent for 5 s or longer, and forgets what is older \
than 12 to 24 hours. docs/idle-timeouts.md tells the method, and what it cannot know.

Example:
  ka-daemon idle-timeouts --json | jq 'select(.min_seconds != null)'

Exit codes:
  0  shown, even if there were none; or the reader of a pipe had enough
  1  no daemon could be asked, or the output not be written
  2  an option or its value is wrong";

/// Options of `sockets`.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[derive(Clone, Debug, Args)]
pub struct SocketsArgs {
    /// More columns: where it runs, what the settings look like, user timeout, idle time, queues, ids, the
    /// policies that would cut it and what to set.
    #[arg(short, long, conflicts_with = "json")]
    pub wide: bool,
    /// An array of JSON objects, one a line, with everything known; order as read unless --sort is given.
    #[arg(long)]
    pub json: bool,
    /// The order; what is not known comes last [default: local].
    #[arg(
        long,
        value_name = "KEY",
        value_parser = PossibleValuesParser::new(SortKey::ALL.map(SortKey::label))
            .try_map(|text| text.parse::<SortKey>())
    )]
    pub sort: Option<SortKey>,
    /// No line of titles.
    #[arg(long)]
    pub no_header: bool,
    /// Read this kernel even if a daemon runs.
    #[arg(long, conflicts_with = "daemon")]
    pub standalone: bool,
    /// The same, by the presets and policies of this configuration file.
    #[arg(long, value_name = "FILE", conflicts_with = "daemon")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    #[command(flatten)]
    pub(crate) look: LookArgs,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

impl SocketsArgs {
    /// How output looks.
    #[must_use]
    pub const fn look(&self) -> LookArgs {
        self.look
    }
}

/// Options of `top`.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

/// Options of `drops`.
#[derive(Clone, Debug, Args)]
pub struct DropsArgs {
    /// Go on with new ones as they happen, until interrupted.
    #[arg(short, long)]
    pub follow: bool,
    /// A JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Leave out what would have prevented it.
    #[arg(long, conflicts_with = "json")]
    pub brief: bool,
    /// Only the last N of those that are kept.
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// Of this process: its name, or its executable's file name.
    #[arg(long, value_name = "NAME", value_parser = parameter::name)]
    pub process: Option<String>,
    /// Of this Kubernetes pod.
    #[arg(long, value_name = "NAME", value_parser = parameter::name)]
    pub pod: Option<String>,
    /// Of this Kubernetes namespace.
    #[arg(long, value_name = "NAME", value_parser = parameter::name)]
    pub namespace: Option<String>,
    /// Of one of these causes.
    #[arg(
        long,
        value_name = "CAUSE,…",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Cause::ALL.iter().map(|cause| cause.label())),
    )]
    pub cause: Vec<String>,
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

impl DropsArgs {
    /// How output looks.
    #[must_use]
    pub const fn look(&self) -> LookArgs {
        self.look
    }
}

/// Options of `idle-timeouts`.
#[derive(Clone, Debug, Args)]
pub struct IdleTimeoutsArgs {
    /// A JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Leave out what to do about it.
    #[arg(long, conflicts_with = "json")]
    pub brief: bool,
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

impl IdleTimeoutsArgs {
    /// How output looks.
    #[must_use]
    pub const fn look(&self) -> LookArgs {
        self.look
    }
}

/// How output looks.
#[derive(Clone, Copy, Debug, Args)]
pub struct LookArgs {
    /// When output has colours.
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t = ColorChoice::Auto,
        help = "Colours; auto: on a terminal, unless NO_COLOR is set"
    )]
    pub color: ColorChoice,
    /// Say on standard error what was asked, also where that is no terminal.
    #[arg(short, long)]
    pub verbose: bool,
}
