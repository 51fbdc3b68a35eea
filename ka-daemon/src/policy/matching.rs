//! To which connections a policy applies. Asked for each socket that may be cut, so that it costs little
//! however long the lists are: addresses and ports are sorted ranges.

use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};

use crate::owner::Owner;
use crate::pattern::Patterns;
use crate::view::parameter::Network;

/// What a policy asks of a connection; all that is given must hold, and where nothing is, every connection
/// will do.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub(super) remote: Option<Networks>,
    pub(super) local: Option<Networks>,
    pub(super) remote_ports: Option<Ports>,
    pub(super) local_ports: Option<Ports>,
    pub(super) owner: Vec<(OwnerField, Patterns)>,
    /// As the configuration has them, by field.
    pub(super) written: Vec<(&'static str, Vec<String>)>,
}

/// What of an owner a pattern is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerField {
    Namespace,
    Pod,
    Container,
    Service,
    Comm,
}

impl Conditions {
    /// Whether they hold for a connection between these ends, of this owner.
    #[must_use]
    pub fn hold(&self, local: SocketAddr, remote: SocketAddr, owner: &Owner) -> bool {
        let lies_in = |asked: &Option<Networks>, end: SocketAddr| {
            asked.as_ref().is_none_or(|networks| networks.contains(end.ip()))
        };
        let has_port = |asked: &Option<Ports>, end: SocketAddr| {
            asked.as_ref().is_none_or(|ports| ports.contains(end.port()))
        };
        has_port(&self.remote_ports, remote)
            && has_port(&self.local_ports, local)
            && lies_in(&self.remote, remote)
            && lies_in(&self.local, local)
            && self.owner.iter().all(|(field, patterns)| field.is_one_of(patterns, owner))
    }

    /// In words, as the configuration has them.
    #[must_use]
    pub fn in_words(&self) -> String {
        if self.written.is_empty() {
            return "every connection".to_owned();
        }
        let each = self.written.iter().map(|(field, values)| format!("{field} {}", values.join(", ")));
        each.collect::<Vec<_>>().join("; ")
    }
}

/// As the configuration has them.
impl Serialize for Conditions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.written.iter().map(|(field, values)| (field, values)))
    }
}

impl OwnerField {
    fn is_one_of(self, patterns: &Patterns, owner: &Owner) -> bool {
        match self {
            Self::Namespace => patterns.matches(&owner.namespace),
            Self::Pod => patterns.matches(&owner.pod),
            Self::Container => patterns.matches(&owner.container),
            // `.service` may be left out, as everywhere.
            Self::Service => {
                patterns.matches(&owner.service)
                    || owner.service.strip_suffix(".service").is_some_and(|unit| patterns.matches(unit))
            }
            Self::Comm => patterns.matches(&owner.comm),
        }
    }
}

/// Ports.
pub(super) type Ports = Ranges<u16>;

/// Addresses; a v4-mapped one is the IPv4 address that it stands for.
#[derive(Clone, Debug)]
pub(super) struct Networks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Networks {
    pub(super) fn new(all: &[Network]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in all {
            match network.ends() {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                    unreachable!("both ends of {network} are of one family")
                }
            }
        }
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6) }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.v4.contains(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.contains(v6.to_bits()),
        }
    }
}

/// Ranges, both ends included, in order and apart from each other.
#[derive(Clone, Debug)]
pub(super) struct Ranges<T>(Vec<(T, T)>);

impl<T: Copy + Ord> Ranges<T> {
    pub(super) fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        ranges.dedup_by(|next, last| {
            let overlap = next.0 <= last.1;
            if overlap {
                last.1 = last.1.max(next.1);
            }
            overlap
        });
        Self(ranges)
    }

    pub(super) fn contains(&self, value: T) -> bool {
        let begun = self.0.partition_point(|(first, _)| *first <= value);
        begun.checked_sub(1).is_some_and(|place| value <= self.0[place].1)
    }
}
