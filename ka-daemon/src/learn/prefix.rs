//! The part of the network that an address belongs to: what shares a path is likely to share a middlebox.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A /24 of IPv4, or a /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpAddr);

impl Prefix {
    const V4: u8 = 24;
    const V6: u8 = 48;

    /// That of an address. A v4-mapped IPv6 address is the IPv4 address that it stands for.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => {
                let mask = u32::MAX << (32 - Self::V4);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX << (128 - Self::V6);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = if self.0.is_ipv4() { Self::V4 } else { Self::V6 };
        write!(f, "{}/{length}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Prefix;

    #[test]
    fn addresses_of_a_prefix_share_it() {
        for (address, prefix) in [
            ("10.0.3.7", "10.0.3.0/24"),
            ("10.0.3.255", "10.0.3.0/24"),
            ("::ffff:10.0.3.7", "10.0.3.0/24"),
            ("2001:db8:1:2::3", "2001:db8:1::/48"),
            ("::1", "::/48"),
            ("fe80::1", "fe80::/48"),
        ] {
            assert_eq!(Prefix::of(address.parse().unwrap()).to_string(), prefix, "{address}");
        }
    }
}
