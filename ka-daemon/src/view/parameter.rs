//! How the values of parameters are written: of the API's queries and of the command line's options
//! alike, so that both take the same words and say the same of a wrong one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

/// What is wrong with a parameter. Always names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// No such parameter.
    #[error("unknown parameter {parameter:?}; known are {known}")]
    Unknown {
        /// Its name.
        parameter: String,
        /// The names that are known here.
        known: String,
    },
    /// Given more than once where that has no meaning.
    #[error("parameter {parameter:?} was given more than once; give it once")]
    Repeated {
        /// Its name.
        parameter: String,
    },
    /// Not a value of this parameter.
    #[error("invalid value {value:?} for parameter {parameter:?}: {accepted}")]
    Value {
        /// Its name.
        parameter: String,
        /// What was given.
        value: String,
        /// What is accepted.
        accepted: String,
    },
}

impl ParameterError {
    /// The parameter's name.
    #[must_use]
    pub fn parameter(&self) -> &str {
        match self {
            Self::Unknown { parameter, .. }
            | Self::Repeated { parameter }
            | Self::Value { parameter, .. } => parameter,
        }
    }
}

/// Sets what may be given once.
///
/// # Errors
/// It was set before, or the value is not one.
pub fn once<T>(
    slot: &mut Option<T>,
    parameter: &str,
    value: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<(), ParameterError> {
    if slot.is_some() {
        return Err(ParameterError::Repeated { parameter: parameter.to_owned() });
    }
    *slot = Some(wrong_value(parameter, value, parse(value))?);
    Ok(())
}

/// Puts the name and the value to what a parser said.
pub(super) fn wrong_value<T>(
    parameter: &str,
    value: &str,
    parsed: Result<T, String>,
) -> Result<T, ParameterError> {
    parsed.map_err(|accepted| ParameterError::Value {
        parameter: parameter.to_owned(),
        value: value.to_owned(),
        accepted,
    })
}

/// Addresses: one, or all of a prefix. A v4-mapped IPv6 address is the IPv4 address that it stands
/// for, on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// The first and the last of them, of one family.
    #[must_use]
    pub fn ends(&self) -> (IpAddr, IpAddr) {
        (self.0.network(), self.0.broadcast())
    }

    /// Whether an address is one of these.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let net = net.map_err(|_| {
            "expected an IP address or a CIDR, such as 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32".to_owned()
        })?;
        // The last 32 bits of a v4-mapped network are an IPv4 network.
        let mapped = match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
            (IpAddr::V4(v4), Some(prefix)) if net.addr().is_ipv6() => IpNet::new(v4.into(), prefix).ok(),
            _ => None,
        };
        Ok(Self(mapped.unwrap_or(net).trunc()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Every state, by the name that JSON shows, with the other names that `ss` and people have for it;
/// all without `_` and `-`.
const STATES: [(&str, &[&str]); 12] = [
    ("ESTABLISHED", &["ESTABLISHED", "ESTAB"]),
    ("SYN_SENT", &["SYNSENT"]),
    ("SYN_RECV", &["SYNRECV"]),
    ("FIN_WAIT1", &["FINWAIT1"]),
    ("FIN_WAIT2", &["FINWAIT2"]),
    ("TIME_WAIT", &["TIMEWAIT"]),
    ("CLOSE", &["CLOSE", "CLOSED", "UNCONN"]),
    ("CLOSE_WAIT", &["CLOSEWAIT"]),
    ("LAST_ACK", &["LASTACK"]),
    ("LISTEN", &["LISTEN", "LISTENING"]),
    ("CLOSING", &["CLOSING"]),
    ("NEW_SYN_RECV", &["NEWSYNRECV"]),
];

/// Parses a TCP state: in any case, with `_`, `-` or neither, and as `ss` shortens it.
///
/// # Errors
/// No such state.
pub fn state(text: &str) -> Result<&'static str, String> {
    let plain = text.replace(['_', '-'], "").to_ascii_uppercase();
    let found = STATES.iter().find(|(_, names)| names.contains(&plain.as_str()));
    found.map(|(name, _)| *name).ok_or_else(|| {
        let names = STATES.map(|(name, _)| name).join(", ");
        format!("expected a TCP state: {names}; also as ss writes them, such as estab or time-wait")
    })
}

/// Parses whether keepalive is on.
///
/// # Errors
/// Neither `on` nor `off`.
pub fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

/// Parses a network namespace: its inode, as the daemon and `ls -l /proc/PID/ns/net` show it.
///
/// # Errors
/// Not the inode of a namespace.
pub fn netns(text: &str) -> Result<u32, String> {
    let inode = text.strip_prefix("net:[").and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    inode.parse().map_err(|_| {
        "expected the inode of a network namespace, such as 4026531840 or net:[4026531840]".to_owned()
    })
}

/// Which idle limit sockets are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRisk {
    /// That of each configured policy that applies to a socket; 350 s where none is configured.
    Policies,
    /// This one.
    Limit(Duration),
}

impl AtRisk {
    /// What stands for [`Self::Policies`].
    pub const POLICIES: &str = "policies";
    /// Where no policy is configured: the limit of AWS's Network Load Balancer and NAT gateway.
    pub const DEFAULT_LIMIT: Duration = Duration::from_secs(350);
}

impl FromStr for AtRisk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == Self::POLICIES {
            return Ok(Self::Policies);
        }
        let limit = idle_limit(text).map(Self::Limit);
        limit.map_err(|accepted| format!("{accepted}, or `{}` for the configured ones", Self::POLICIES))
    }
}

/// Whole seconds as people write them, anything else in full.
impl fmt::Display for AtRisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policies => f.write_str(Self::POLICIES),
            Self::Limit(limit) if limit.subsec_nanos() == 0 => write!(f, "{}s", limit.as_secs()),
            Self::Limit(limit) => humantime::format_duration(*limit).fmt(f),
        }
    }
}

/// Parses an idle limit.
///
/// # Errors
/// Not a duration, or outside of what an idle limit can be.
pub fn idle_limit(text: &str) -> Result<Duration, String> {
    const RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(365 * 24);
    humantime::parse_duration(text)
        .ok()
        .filter(|limit| RANGE.contains(limit))
        .ok_or_else(|| "expected a duration from 1s to 365days, such as 350s, 4m or 1h".to_owned())
}

/// Parses a port.
///
/// # Errors
/// Not a number from 1 to 65535.
pub fn port(text: &str) -> Result<u16, String> {
    let accepted = || "expected a port from 1 to 65535".to_owned();
    text.parse().ok().filter(|port| *port != 0).ok_or_else(accepted)
}

/// Parses the id of a process.
///
/// # Errors
/// Not a positive number.
pub fn pid(text: &str) -> Result<u32, String> {
    let accepted = || "expected the id of a process, such as 1234".to_owned();
    text.parse().ok().filter(|pid| *pid != 0).ok_or_else(accepted)
}

/// Parses a name.
///
/// # Errors
/// Empty: that would be no name.
pub fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("expected a name, not nothing".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tcp::state_name;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn each_state_of_the_kernel_has_its_name_and_those_of_ss() {
        for number in 1..=12 {
            let name = state_name(number);
            assert_eq!(state(name), Ok(name));
            assert_eq!(state(&name.to_lowercase().replace('_', "-")), Ok(name));
        }
        for (text, name) in [
            ("estab", "ESTABLISHED"),
            ("FIN-WAIT-1", "FIN_WAIT1"),
            ("fin-wait-2", "FIN_WAIT2"),
            ("UNCONN", "CLOSE"),
            ("Listening", "LISTEN"),
            ("SYN-RECV", "SYN_RECV"),
        ] {
            assert_eq!(state(text), Ok(name), "{text}");
        }
        for wrong in ["", "ESTABLISHE", "all", "UNKNOWN"] {
            assert!(state(wrong).unwrap_err().contains("ESTABLISHED, SYN_SENT"), "{wrong}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_one_it_stands_for() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        let v4 = Ipv4Addr::new(10, 1, 2, 3);
        let mapped = IpAddr::V6(v4.to_ipv6_mapped());
        for text in ["10.0.0.0/8", "10.1.2.3", "10.1.2.3/8", "::ffff:10.0.0.0/104", "::ffff:10.1.2.3"] {
            assert!(network(text).contains(mapped) && network(text).contains(v4.into()), "{text}");
            assert!(!network(text).contains(Ipv4Addr::new(11, 1, 2, 3).into()), "{text}");
            assert!(!network(text).contains(Ipv6Addr::LOCALHOST.into()), "{text}");
        }
        assert_eq!(network("::ffff:10.1.2.3/104").to_string(), "10.0.0.0/8");
        assert_eq!(network("10.1.2.3").to_string(), "10.1.2.3/32");
        assert!(network("2001:db8::/32").contains("2001:db8:1::9".parse().unwrap()));
        assert!(!network("::/0").contains(mapped), "an IPv4 address in all but its form");
        assert!(network("0.0.0.0/0").contains(mapped));
        for wrong in ["", "10.0.0.0/33", "10.0.0", "host", "10.0.0.1:80", "2001:db8::/129"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_at_their_limits() {
        assert_eq!(port("65535"), Ok(65535));
        assert_eq!(netns("net:[4026531840]"), netns("4026531840"));
        assert_eq!(idle_limit("350s"), Ok(Duration::from_secs(350)));
        assert_eq!(idle_limit("365days"), Ok(Duration::from_hours(365 * 24)));
        for wrong in ["0", "65536", "-1", "http", ""] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
        for wrong in ["350", "0s", "999ms", "366days", "", "soon", "Policies"] {
            assert!(idle_limit(wrong).is_err() && wrong.parse::<AtRisk>().is_err(), "{wrong}");
        }
        assert_eq!("policies".parse(), Ok(AtRisk::Policies));
        assert_eq!("5m".parse(), Ok(AtRisk::Limit(Duration::from_mins(5))));
        for wrong in ["net:[1", "net:1", "4294967296", ""] {
            assert!(netns(wrong).is_err(), "{wrong}");
        }
        assert!(pid("0").is_err() && name(" ").is_err() && on_off("yes").is_err());
    }
}
