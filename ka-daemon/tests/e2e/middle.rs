//! A namespace between a and b that plays a network load balancer: it forgets connections that are idle for too
//! long, in silence, and answers what comes later with RST.
//!
//! By a set of nftables with a timeout: it is exact to a jiffy, also where the timeout has a fraction, and needs
//! no connection tracking, whose timeouts are whole seconds and whose modules a guest may not have.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::net::{Namespace, Net, Side};

/// The namespace. What it joins a and b by goes with it.
#[derive(Debug)]
pub(crate) struct Middle {
    _namespace: Namespace,
    /// Second number of the addresses.
    number: u8,
}

impl Middle {
    /// Puts a middlebox with an idle timeout between a and b, beside the pair's own link. `networks`: so many
    /// /24 lie behind it.
    pub(crate) fn new(net: &Arc<Net>, idle_timeout: Duration, networks: u8) -> Result<Self> {
        // Another one than that of an attempt before: a daemon remembers what it learned there.
        let number = 100 + u8::try_from(net.inode(Side::A)? % 100).context("a remainder")?;
        let middle = Namespace::new()?;
        let path = middle.path();
        net.ip(Side::A, &format!("link add near type veth peer name from-a netns {path}"))?;
        net.ip(Side::B, &format!("link add near type veth peer name to-b netns {path}"))?;
        let ip = |args: String| middle.command("ip", &args.split(' ').collect::<Vec<_>>()).map(drop);
        net.ip(Side::A, &format!("addr add 10.{number}.0.1/24 dev near"))?;
        ip(format!("addr add 10.{number}.0.254/24 dev from-a"))?;
        for network in 1..=networks {
            net.ip(Side::B, &format!("addr add 10.{number}.{network}.2/24 dev near"))?;
            ip(format!("addr add 10.{number}.{network}.254/24 dev to-b"))?;
        }
        ip("link set from-a up".to_owned())?;
        ip("link set to-b up".to_owned())?;
        for side in Side::BOTH {
            net.ip(side, "link set near up")?;
        }
        net.ip(Side::A, &format!("route add 10.{number}.0.0/16 via 10.{number}.0.254"))?;
        net.ip(Side::B, &format!("route add 10.{number}.0.0/24 via 10.{number}.1.254"))?;
        middle.within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("ip_forward"))?;
        middle.command("nft", &[&rules(idle_timeout)])?;
        Ok(Self { _namespace: middle, number })
    }

    /// The address of b in one of the networks behind it, from 1.
    pub(crate) const fn server(&self, network: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, network, 2)
    }
}

/// Connections are known by what their client sends: a SYN makes one known, and every segment, either way, keeps
/// it so. `update` alone would make unknown ones known again.
fn rules(idle_timeout: Duration) -> String {
    let ms = idle_timeout.as_millis();
    let up = "ip saddr . tcp sport . ip daddr . tcp dport";
    let down = "ip daddr . tcp dport . ip saddr . tcp sport";
    format!(
        "table ip balancer {{
           set known {{
             type ipv4_addr . inet_service . ipv4_addr . inet_service
             flags dynamic,timeout; timeout {ms}ms; size 4096
           }}
           chain forward {{
             type filter hook forward priority 0; policy accept;
             iifname \"from-a\" tcp flags & (syn|ack) == syn update @known {{ {up} }} accept
             iifname \"from-a\" {up} @known update @known {{ {up} }} accept
             iifname \"to-b\" {down} @known update @known {{ {down} }} accept
             meta l4proto tcp reject with tcp reset
           }}
         }}"
    )
}
