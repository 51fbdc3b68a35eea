//! Which sockets are asked for, by the API's parameters and by the options of `ka-daemon sockets`.

use std::net::SocketAddr;
use std::time::Duration;

use utoipa::IntoParams;

use super::SocketView;
use super::parameter::{self, AtRisk, Network, ParameterError, once, wrong_value};
use crate::owner::Owner;
use crate::policy::Reason;

/// Which sockets are asked for: those to which all of it applies. The default asks for all.
///
/// What is not known of a socket never matches what is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// The name of the process, or of its executable's file, as a whole: the kernel cuts the former
    /// to 15 bytes. Parts of names are found by `text`.
    pub process: Option<String>,
    /// The id of the process.
    pub pid: Option<u32>,
    /// The Kubernetes pod's name.
    pub pod: Option<String>,
    /// The Kubernetes namespace.
    pub namespace: Option<String>,
    /// The container's name, or its id from the beginning.
    pub container: Option<String>,
    /// The systemd unit; `.service` may be left out.
    pub service: Option<String>,
    /// The port of either end.
    pub port: Option<u16>,
    /// Where the local address lies.
    #[param(value_type = Option<String>, example = "10.0.0.0/8")]
    pub local: Option<Network>,
    /// Where the remote address lies.
    #[param(value_type = Option<String>, example = "2001:db8::/32")]
    pub remote: Option<Network>,
    /// TCP states, of which one must apply: as in JSON, or as `ss` writes them, in any case. May be
    /// repeated.
    #[param(rename = "state", value_type = Option<Vec<String>>, style = Form, explode = false, example = json!(["ESTABLISHED"]))]
    pub states: Vec<&'static str>,
    /// Whether keepalive is on.
    #[param(value_type = Option<String>, example = "on")]
    pub keepalive: Option<bool>,
    /// The inode of the network namespace.
    pub netns: Option<u32>,
    /// Established sockets that an idle limit on the way would cut: keepalive is off, or its idle
    /// time is not below the limit. `policies`: the limits of the configured policies, where they
    /// apply, unless the peer probes; 350 s where none is configured.
    #[param(value_type = Option<String>, example = "350s")]
    pub at_risk: Option<AtRisk>,
    /// Sockets that the policy of this name would cut, also those whose peer probes.
    pub policy: Option<String>,
    /// Words that must all occur in the addresses or the owner, in any case.
    pub text: Option<String>,
}

impl Filter {
    /// The names of the parameters.
    pub const PARAMETERS: [&str; 15] = [
        "process",
        "pid",
        "pod",
        "namespace",
        "container",
        "service",
        "port",
        "local",
        "remote",
        "state",
        "keepalive",
        "netns",
        "at_risk",
        "policy",
        "text",
    ];

    /// Takes one parameter; false: it is none of the filter's.
    ///
    /// # Errors
    /// The value is wrong, or the parameter was given before (only `state` may be repeated).
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, ParameterError> {
        match name {
            "process" => once(&mut self.process, name, value, parameter::name)?,
            "pid" => once(&mut self.pid, name, value, parameter::pid)?,
            "pod" => once(&mut self.pod, name, value, parameter::name)?,
            "namespace" => once(&mut self.namespace, name, value, parameter::name)?,
            "container" => once(&mut self.container, name, value, parameter::name)?,
            "service" => once(&mut self.service, name, value, parameter::name)?,
            "port" => once(&mut self.port, name, value, parameter::port)?,
            "local" => once(&mut self.local, name, value, str::parse)?,
            "remote" => once(&mut self.remote, name, value, str::parse)?,
            "state" => {
                for part in value.split(',') {
                    let state = wrong_value(name, part, parameter::state(part))?;
                    if !self.states.contains(&state) {
                        self.states.push(state);
                    }
                }
            }
            "keepalive" => once(&mut self.keepalive, name, value, parameter::on_off)?,
            "netns" => once(&mut self.netns, name, value, parameter::netns)?,
            "at_risk" => once(&mut self.at_risk, name, value, str::parse)?,
            "policy" => once(&mut self.policy, name, value, parameter::name)?,
            "text" => once(&mut self.text, name, value, parameter::name)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A filter from the pairs of a query.
    ///
    /// # Errors
    /// As [`Self::set`]; also a name that is none of the filter's.
    pub fn from_query<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ParameterError> {
        let mut filter = Self::default();
        for (name, value) in pairs {
            if !filter.set(name, value)? {
                let known = Self::PARAMETERS.join(", ");
                return Err(ParameterError::Unknown { parameter: name.to_owned(), known });
            }
        }
        Ok(filter)
    }

    /// The pairs from which [`Self::from_query`] makes this filter again; values are not escaped.
    #[must_use]
    pub fn to_query(&self) -> Vec<(&'static str, String)> {
        let on_off = |on| if on { "on" } else { "off" }.to_owned();
        let states = (!self.states.is_empty()).then(|| self.states.join(","));
        let values: [Option<String>; 15] = [
            self.process.clone(),
            self.pid.map(|pid| pid.to_string()),
            self.pod.clone(),
            self.namespace.clone(),
            self.container.clone(),
            self.service.clone(),
            self.port.map(|port| port.to_string()),
            self.local.map(|network| network.to_string()),
            self.remote.map(|network| network.to_string()),
            states,
            self.keepalive.map(on_off),
            self.netns.map(|netns| netns.to_string()),
            self.at_risk.map(|at_risk| at_risk.to_string()),
            self.policy.clone(),
            self.text.clone(),
        ];
        Self::PARAMETERS
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| value.map(|value| (name, value)))
            .collect()
    }

    /// Checks that the policy that is asked for is there, where one is.
    ///
    /// # Errors
    /// What `check` says of its name.
    pub fn check_policy(&self, check: impl FnOnce(&str) -> Result<(), String>) -> Result<(), ParameterError> {
        self.policy.as_deref().map_or(Ok(()), |name| wrong_value("policy", name, check(name)))
    }

    /// Whether all that is asked for applies to a socket.
    #[must_use]
    pub fn matches(&self, socket: &SocketView) -> bool {
        let owner = &socket.owner;
        let same = |asked: &Option<String>, has: &str| asked.as_deref().is_none_or(|asked| asked == has);
        let in_network = |asked: &Option<Network>, address: SocketAddr| {
            asked.as_ref().is_none_or(|network| network.contains(address.ip()))
        };
        // The cheap ones first: this runs for each of a million sockets.
        self.netns.is_none_or(|netns| netns == socket.netns)
            && self.port.is_none_or(|port| port == socket.local.port() || port == socket.remote.port())
            && in_network(&self.local, socket.local)
            && in_network(&self.remote, socket.remote)
            && (self.states.is_empty() || self.states.contains(&socket.state.as_str()))
            && self.keepalive.is_none_or(|on| socket.keepalive == Some(on))
            && self.at_risk.is_none_or(|limit| at_risk(socket, limit))
            && self.policy.as_deref().is_none_or(|policy| is_cut_by(socket, policy))
            && self.pid.is_none_or(|pid| owner.pid == Some(pid))
            && self.process.as_deref().is_none_or(|process| is_process(owner, process))
            && same(&self.pod, &owner.pod)
            && same(&self.namespace, &owner.namespace)
            && self.container.as_deref().is_none_or(|container| {
                owner.container == container || owner.container_id.starts_with(container)
            })
            && self.service.as_deref().is_none_or(|service| {
                owner.service == service || owner.service.strip_suffix(".service") == Some(service)
            })
            && self.text.as_deref().is_none_or(|text| has_words(socket, text))
    }
}

/// Whether an idle limit on the way would cut a socket when nobody uses it.
fn at_risk(socket: &SocketView, limit: AtRisk) -> bool {
    match (limit, &socket.risks) {
        (AtRisk::Limit(limit), _) => is_cut_at(socket, limit),
        (AtRisk::Policies, Some(risks)) => risks.iter().any(|risk| risk.reason != Reason::PeerKeepsAlive),
        (AtRisk::Policies, None) => is_cut_at(socket, AtRisk::DEFAULT_LIMIT),
    }
}

fn is_cut_at(socket: &SocketView, limit: Duration) -> bool {
    let idle = || socket.keepidle_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    socket.state == "ESTABLISHED"
        && match socket.keepalive {
            Some(true) => idle().is_some_and(|idle| idle >= limit),
            Some(false) => true,
            None => false,
        }
}

fn is_cut_by(socket: &SocketView, policy: &str) -> bool {
    socket.risks.as_ref().is_some_and(|risks| risks.iter().any(|risk| risk.policy == policy))
}

/// Whether a process is the one of a name: its own, or that of its executable's file.
pub(crate) fn is_process(owner: &Owner, process: &str) -> bool {
    let file = owner.exe.rsplit_once('/').map_or(owner.exe.as_str(), |(_, file)| file);
    owner.comm == process || (!file.is_empty() && file == process)
}

fn has_words(socket: &SocketView, text: &str) -> bool {
    let owner = &socket.owner;
    let pid = owner.pid.map(|pid| pid.to_string()).unwrap_or_default();
    let (local, remote) = (written(socket.local), written(socket.remote));
    let places: [&str; 11] = [
        &local,
        &remote,
        &pid,
        &owner.comm,
        &owner.exe,
        &owner.service,
        &owner.namespace,
        &owner.pod,
        &owner.container,
        &owner.container_id,
        &owner.pod_uid,
    ];
    text.split_whitespace().all(|word| places.iter().any(|place| contains_in_any_case(place, word)))
}

/// As JSON writes it; a v4-mapped address also as the IPv4 address that it stands for.
fn written(address: SocketAddr) -> String {
    let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
    if plain.is_ipv4() && address.is_ipv6() { format!("{address} {plain}") } else { address.to_string() }
}

fn contains_in_any_case(place: &str, word: &str) -> bool {
    place.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}
