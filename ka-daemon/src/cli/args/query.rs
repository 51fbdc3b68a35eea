//! Options that the commands share that show something: whom to ask, and for what.

use clap::Args;

use super::super::client::Endpoint;
use crate::view::Filter;
use crate::view::parameter::{self, AtRisk, Network};

/// Which sockets to show.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which sockets (all that is given must apply)")]
pub struct FilterArgs {
    /// Of this process: its name, or its executable's file name.
    #[arg(long, value_name = "NAME", value_parser = parameter::name)]
    process: Option<String>,
    /// Of the process with this id.
    #[arg(long, value_name = "PID", value_parser = parameter::pid)]
    pid: Option<u32>,
    /// Of this Kubernetes pod.
    #[arg(long, value_name = "NAME", value_parser = parameter::name)]
    pod: Option<String>,
    /// Of this Kubernetes namespace.
    #[arg(long, value_name = "NAME", value_parser = parameter::name)]
    namespace: Option<String>,
    /// Of this container: its name, or the beginning of its id.
    #[arg(long, value_name = "NAME|ID", value_parser = parameter::name)]
    container: Option<String>,
    /// Of this systemd unit; `.service` may be left out.
    #[arg(long, value_name = "UNIT", value_parser = parameter::name)]
    service: Option<String>,
    /// With this port at either end.
    #[arg(long, value_name = "PORT", value_parser = parameter::port)]
    port: Option<u16>,
    /// With a local address in this network.
    #[arg(long, value_name = "IP|CIDR")]
    local: Option<Network>,
    /// With a remote address in this network.
    #[arg(long, visible_alias = "cidr", value_name = "IP|CIDR")]
    remote: Option<Network>,
    /// In one of these states, such as established, or estab as `ss` has it.
    #[arg(long, value_name = "STATE,…", value_delimiter = ',', value_parser = parameter::state)]
    state: Vec<&'static str>,
    /// With keepalive on, or off.
    #[arg(long, value_name = "on|off", value_parser = parameter::on_off)]
    keepalive: Option<bool>,
    /// That an idle limit on the way would cut when nobody uses them: established, and keepalive is off
    /// or its first probe comes no sooner than this. If you name none: the limits of the configured
    /// policies, unless the peer probes; 350s where none is configured.
    #[arg(long, value_name = "LIMIT", num_args = 0..=1, default_missing_value = AtRisk::POLICIES)]
    at_risk: Option<AtRisk>,
    /// That this configured policy would cut when nobody uses them, also where the peer probes.
    #[arg(long, value_name = "NAME", value_parser = parameter::name)]
    policy: Option<String>,
    /// In the network namespace with this inode (see `ls -l /proc/PID/ns/net`).
    #[arg(long, value_name = "INODE", value_parser = parameter::netns)]
    netns: Option<u32>,
    /// With all of these words in the addresses or the owner, in any case.
    #[arg(long, value_name = "WORDS", value_parser = parameter::name)]
    text: Option<String>,
}

impl FilterArgs {
    /// The same as one value.
    #[must_use]
    pub fn filter(&self) -> Filter {
        let mut states = self.state.clone();
        states.sort_unstable();
        states.dedup();
        Filter {
            process: self.process.clone(),
            pid: self.pid,
            pod: self.pod.clone(),
            namespace: self.namespace.clone(),
            container: self.container.clone(),
            service: self.service.clone(),
            port: self.port,
            local: self.local,
            remote: self.remote,
            states,
            keepalive: self.keepalive,
            netns: self.netns,
            at_risk: self.at_risk,
            policy: self.policy.clone(),
            text: self.text.clone(),
        }
    }
}

/// Which daemon to ask.
#[derive(Clone, Debug, Default, Args)]
pub struct DaemonArgs {
    #[arg(
        long,
        env = "KA_DAEMON",
        value_name = "ADDRESS",
        help = "The daemon to ask: http://HOST:PORT, or unix:PATH [default: http://127.0.0.1:10435]"
    )]
    daemon: Option<Endpoint>,
}

impl DaemonArgs {
    /// Where to ask, and whether the user said so.
    #[must_use]
    pub fn endpoint(&self) -> (Endpoint, bool) {
        self.daemon.clone().map_or_else(|| (Endpoint::default(), false), |endpoint| (endpoint, true))
    }
}
