//! The command line of the end-to-end tests.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// What `--help` prints.
const HELP: &str = "\
End-to-end tests of ka-daemon: real sockets in network namespaces of their own. Needs root.

  --hooks PLAN      tracepoint, fentry, kprobe or auto (default auto)
  --filter TEXT     only scenarios whose name contains TEXT (may be repeated)
  --list            names of the scenarios
  --jobs N          so many side by side (default: all)
  --load            the load test instead of the scenarios
  --boards FOLDER   the queries of the dashboards in a folder instead of the scenarios
  --seconds N       with --boards: how long connections live and die before (default 40)
  --keep FOLDER     with --boards: where to leave what the queries answered, for pictures
  --alert FOLDER    the ways of alerts instead: FOLDER holds rules and Alertmanager's configuration
  --daemon PATH     the daemon to test (default: $KA_DAEMON)

$KA_E2E_TOOLS is the folder of prebuilt test programs. $KA_E2E_KEEP keeps the daemon's files.
$KA_E2E_EMULATED: the machine is emulated; times are told and not judged.";

/// What to do.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) hooks: String,
    pub(crate) filters: Vec<String>,
    pub(crate) list: bool,
    pub(crate) jobs: usize,
    pub(crate) load: bool,
    pub(crate) boards: Option<PathBuf>,
    pub(crate) seconds: Duration,
    pub(crate) keep: Option<PathBuf>,
    /// The folder of the rules, for the way of an alert.
    pub(crate) alert: Option<PathBuf>,
    pub(crate) daemon: Option<PathBuf>,
    /// Set in worker processes of the load test: how many connections.
    pub(crate) worker: Option<usize>,
    /// Set in processes that make connections for the dashboards: which program they are.
    pub(crate) program: Option<String>,
}

impl Args {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Self {
            hooks: "auto".to_owned(),
            filters: Vec::new(),
            list: false,
            jobs: usize::MAX,
            load: false,
            boards: None,
            seconds: Duration::from_secs(40),
            keep: None,
            alert: None,
            daemon: std::env::var_os("KA_DAEMON").map(PathBuf::from),
            worker: None,
            program: None,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value\n{HELP}"));
            match arg.as_str() {
                "--hooks" => parsed.hooks = value()?,
                "--filter" => parsed.filters.push(value()?),
                "--list" => parsed.list = true,
                "--jobs" => parsed.jobs = value()?.parse().context("--jobs needs a number")?,
                "--load" => parsed.load = true,
                "--boards" => parsed.boards = Some(PathBuf::from(value()?)),
                "--seconds" => {
                    parsed.seconds =
                        Duration::from_secs(value()?.parse().context("--seconds needs a number")?);
                }
                "--keep" => parsed.keep = Some(PathBuf::from(value()?)),
                "--boards-program" => parsed.program = Some(value()?),
                "--alert" => parsed.alert = Some(PathBuf::from(value()?)),
                "--daemon" => parsed.daemon = Some(PathBuf::from(value()?)),
                "--load-worker" => parsed.worker = Some(value()?.parse().context("--load-worker")?),
                _ => bail!("unknown argument {arg}\n{HELP}"),
            }
        }
        let plans = ["auto", "tracepoint", "fentry", "kprobe"];
        ensure!(plans.contains(&parsed.hooks.as_str()), "--hooks {}: not one of {plans:?}", parsed.hooks);
        ensure!(parsed.jobs > 0, "--jobs must be at least 1");
        Ok(parsed)
    }

    /// Whether a scenario of this name was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|f| name.contains(f.as_str()))
    }
}
