//! The command line, by clap: every option with its default, its environment variable and what it
//! accepts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use show::{DropsArgs, IdleTimeoutsArgs, SocketsArgs, TopArgs};

use super::settings::{Rtt, Settings, Source};
use super::{environment, logging, values, web};
use crate::status::Plan;
use crate::table::OwnerLabels;

pub mod query;
pub mod show;

/// What `--version` shows after the name.
pub const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), "\nrevision: ", env!("KA_REVISION"), "\nrustc: ", env!("KA_RUSTC"),);

/// The end of several help texts.
macro_rules! closing {
    () => {
        "\
Without a command, `run` is meant. Each option can also be given by the environment variable that \
stands beside it; the command line wins.

Exit codes:
  0  ended as asked
  1  failed, or `check` found something missing; standard error says what and what to do
  2  an option or its value is wrong"
    };
}

const AFTER_HELP: &str = closing!();

const HELP: &str = concat!(
    "\
Examples:
  ka-daemon                       the daemon
  ka-daemon sockets --at-risk     connections that an idle limit on the way would cut
  ka-daemon drops --follow        each dropped connection, and why, as it happens
  ka-daemon top                   the same and more, live
  ka-daemon check                 what this kernel offers

",
    closing!()
);

/// Watches the TCP keepalive timers of this node and serves what it sees to Prometheus.
#[derive(Debug, Parser)]
#[command(name = "ka-daemon", version = VERSION, after_help = HELP)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

impl Cli {
    /// What was typed and what stands in the environment; ends the process where that is wrong, or where help
    /// was asked for.
    #[must_use]
    pub fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let typed: Vec<_> = std::env::args_os().collect();
            let is_set = |name: &_| std::env::var_os(name).is_some();
            environment::named(error, Self::command(), &typed, is_set).exit()
        })
    }

    /// What is to be done: `run` where nothing else was asked for.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Run(Box::new(self.run)))
    }
}

/// A command of `ka-daemon`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attach to the kernel and serve metrics until SIGTERM or SIGINT (the default).
    #[command(after_help = AFTER_HELP)]
    Run(Box<RunArgs>),
    /// Show every TCP connection: keepalive settings and who chose them, timer, owner.
    #[command(after_help = show::SOCKETS_HELP)]
    Sockets(Box<SocketsArgs>),
    /// Watch live: totals, dropped connections with their causes, and those nearest to being dropped.
    #[command(after_help = show::TOP_HELP)]
    Top(Box<TopArgs>),
    /// Tell of dropped connections: what happened, and what would have prevented it.
    #[command(after_help = show::DROPS_HELP)]
    Drops(Box<DropsArgs>),
    /// Tell of idle timeouts that nobody documented: after how much silence connections die, and to where.
    #[command(after_help = show::IDLE_TIMEOUTS_HELP)]
    IdleTimeouts(Box<IdleTimeoutsArgs>),
    /// Report what this kernel offers, what would be attached and what is missing. Leaves nothing
    /// attached.
    #[command(after_help = AFTER_HELP)]
    Check(CheckArgs),
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Address of /metrics, /-/healthy and /-/ready; of the page and /api too where it is a loopback
    /// address.
    #[arg(
        long = "web.listen-address",
        env = "KA_WEB_LISTEN_ADDRESS",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:10435",
        value_parser = values::listen_address
    )]
    listen_address: SocketAddr,
    #[command(flatten)]
    web: web::WebArgs,
    /// How to hook the kernel: the best way that it takes, or only the named one.
    #[arg(long, env = "KA_HOOKS", value_name = "PLAN", value_enum, default_value_t = Hooks::Auto)]
    hooks: Hooks,
    /// Type information (BTF) of the running kernel [default: /sys/kernel/btf/vmlinux].
    #[arg(long, env = "KA_BTF", value_name = "PATH")]
    btf: Option<PathBuf>,
    /// Round trips of probes: from timer runs alone, or exact at the price of a program that runs
    /// for each received segment.
    #[arg(long, env = "KA_RTT", value_name = "HOW", value_enum, default_value_t = RttArg::Simple)]
    rtt: RttArg,
    /// Sockets that are tracked at once, at most; what is over is counted as lost.
    #[arg(
        long,
        env = "KA_MAX_SOCKETS",
        value_name = "N",
        default_value = "262144",
        value_parser = values::max_sockets
    )]
    max_sockets: u32,
    /// Idle time from which resets and drops of sockets are told of that sent no probe.
    #[arg(
        long,
        env = "KA_IDLE_FLOOR",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = values::idle_floor
    )]
    idle_floor: Duration,
    /// Owners that have series of their own, at most; the rest is counted as comm="~other".
    #[arg(
        long,
        env = "KA_MAX_OWNERS",
        value_name = "N",
        default_value = "200",
        value_parser = values::max_owners
    )]
    max_owners: usize,
    /// Owner labels to use, separated by commas; the others stay empty.
    #[arg(
        long,
        env = "KA_OWNER_LABELS",
        value_name = "LABELS",
        default_value = "namespace,pod,container,service,comm",
        value_parser = values::owner_labels
    )]
    owner_labels: OwnerLabels,
    /// How all sockets are read: by BPF iterators, else by netlink and /proc, which know no settings.
    #[arg(long, env = "KA_INVENTORY", value_name = "HOW", value_enum, default_value_t = InventoryArg::Auto)]
    inventory: InventoryArg,
    /// How often all sockets are read; more seldom where that would take more than --inventory-max-cpu.
    #[arg(
        long,
        env = "KA_INVENTORY_INTERVAL",
        value_name = "DURATION",
        default_value = "15s",
        value_parser = values::inventory_interval
    )]
    inventory_interval: Duration,
    /// Share of one CPU that reading all sockets may take, in percent.
    #[arg(
        long,
        env = "KA_INVENTORY_MAX_CPU",
        value_name = "PERCENT",
        default_value = "0.33",
        value_parser = values::inventory_max_cpu
    )]
    inventory_max_cpu: f64,
    /// Size of the ring buffer between kernel and daemon: a power of two of whole pages.
    #[arg(
        long,
        env = "KA_RING_BUFFER_SIZE",
        value_name = "BYTES",
        default_value = "32MiB",
        value_parser = values::ring_buffer_size
    )]
    ring_buffer_size: u32,
    /// Write each record as a line of JSON to this file.
    #[arg(long, env = "KA_RECORD_LOG", value_name = "FILE")]
    record_log: Option<PathBuf>,
    /// Ask the kernel to time its BPF programs (some 60 ns a run, for all programs of the machine).
    #[arg(long, env = "KA_BPF_STATS", value_parser = BoolishValueParser::new())]
    bpf_stats: bool,
    /// Configuration file, read again at SIGHUP: see docs/configuration.md.
    #[arg(long, env = "KA_CONFIG_FILE", value_name = "FILE")]
    config: Option<PathBuf>,
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    kubernetes: super::kubernetes::KubernetesArgs,
    #[command(flatten)]
    log: logging::LogArgs,
}

impl RunArgs {
    /// How to log.
    #[must_use]
    pub fn log(&self) -> &logging::LogArgs {
        &self.log
    }

    /// The options in force.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            listen_address: self.listen_address,
            unix_socket: self.web.unix_socket.clone(),
            expose_sockets: self.web.expose_sockets,
            allowed_hosts: self.web.allowed_hosts.clone(),
            hooks: match self.hooks {
                Hooks::Auto => None,
                Hooks::Fentry => Some(Plan::Fentry),
                Hooks::Kprobe => Some(Plan::Kprobe),
                Hooks::Tracepoint => Some(Plan::Tracepoint),
            },
            btf: self.btf.clone(),
            rtt: match self.rtt {
                RttArg::Simple => Rtt::Simple,
                RttArg::Exact => Rtt::Exact,
            },
            max_sockets: self.max_sockets,
            idle_floor: self.idle_floor,
            max_owners: self.max_owners,
            owner_labels: self.owner_labels,
            inventory: match self.inventory {
                InventoryArg::Auto => Source::Auto,
                InventoryArg::SockDiag => Source::SockDiag,
            },
            inventory_interval: self.inventory_interval,
            inventory_max_cpu: self.inventory_max_cpu,
            ring_buffer_bytes: self.ring_buffer_size,
            record_log: self.record_log.clone(),
            bpf_stats: self.bpf_stats,
            config: self.config.clone(),
            #[cfg(feature = "kubernetes")]
            kubernetes: self.kubernetes.options(),
            #[cfg(not(feature = "kubernetes"))]
            kubernetes: None,
        }
    }
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Exit with 1 when anything is missing, not only what is required.
    #[arg(long, env = "KA_STRICT", value_parser = BoolishValueParser::new())]
    pub strict: bool,
    /// Report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Type information (BTF) of the running kernel [default: /sys/kernel/btf/vmlinux].
    #[arg(long, env = "KA_BTF", value_name = "PATH")]
    pub btf: Option<PathBuf>,
    /// Check this configuration file, and nothing else: needs no privileges.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["strict", "btf"])]
    pub config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hooks {
    /// The best way for each observation, with the reason shown.
    Auto,
    /// BPF trampolines on the functions themselves.
    Fentry,
    /// kprobes and kretprobes; not exact.
    Kprobe,
    /// Timer tracepoints only.
    Tracepoint,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InventoryArg {
    /// The best that this kernel has.
    Auto,
    /// As `ss` does; settings stay unknown.
    SockDiag,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RttArg {
    /// From what the next timer run finds.
    Simple,
    /// Taken as the answer arrives.
    Exact,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(args: &[&str]) -> Settings {
        let cli = Cli::try_parse_from([&["ka-daemon"], args].concat()).unwrap();
        let Command::Run(run) = cli.into_command() else { panic!("not a run") };
        run.settings()
    }

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_has_help_a_man_page_and_completions() {
        let mut program = Cli::command();
        program.build();
        let mut commands = vec![program.clone()];
        commands.extend(program.get_subcommands().cloned());
        let names: Vec<_> = commands.iter().map(|command| command.get_name().to_owned()).collect();
        assert_eq!(names, ["ka-daemon", "run", "sockets", "top", "drops", "idle-timeouts", "check"]);
        for mut command in commands {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Exit codes:\n  0  ") && help.contains("\n  2  "), "{help}");
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).unwrap();
            assert!(String::from_utf8(page).unwrap().contains(".SH SYNOPSIS"));
        }
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ka-daemon", &mut script);
            let script = String::from_utf8(script).unwrap();
            for part in ["sockets", "at-risk", "keepalive_timeout", "nearest"] {
                assert!(script.contains(part), "{shell}: {part}");
            }
        }
    }

    #[test]
    fn run_is_the_default_with_the_same_options() {
        assert_eq!(settings(&[]), settings(&["run"]));
        let options = ["--hooks", "kprobe", "--max-sockets=7", "--idle-floor", "1m", "--rtt=exact"];
        assert_eq!(settings(&options), settings(&[&["run"], &options[..]].concat()));
        assert_eq!(settings(&options).hooks, Some(Plan::Kprobe));
        assert_eq!(settings(&options).idle_floor, Duration::from_mins(1));
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let defaults = settings(&[]);
        assert_eq!(defaults.listen_address, "127.0.0.1:10435".parse().unwrap());
        assert_eq!(defaults.hooks, None);
        assert_eq!(defaults.rtt, Rtt::Simple);
        assert_eq!(defaults.max_sockets, 262_144);
        assert_eq!(defaults.idle_floor, Duration::from_secs(10));
        assert_eq!(defaults.ring_buffer_bytes, 32 << 20);
        assert!(!defaults.bpf_stats);
        assert!(!defaults.expose_sockets && defaults.allowed_hosts.is_empty());
        assert_eq!(defaults.unix_socket, None);
    }

    #[test]
    fn hosts_may_be_repeated_or_listed() {
        let hosts = settings(&["--web.allowed-host", "a.example,b", "--web.allowed-host=c"]).allowed_hosts;
        assert_eq!(hosts, ["a.example", "b", "c"]);
    }

    #[test]
    fn sizes_take_units_and_plain_bytes() {
        for (text, bytes) in [("65536", 65_536), ("64KiB", 65_536), ("1GiB", 1 << 30)] {
            assert_eq!(settings(&["--ring-buffer-size", text]).ring_buffer_bytes, bytes, "{text}");
        }
    }
}
