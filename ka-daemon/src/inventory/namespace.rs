//! What is read of the network namespace that the calling thread is in: the kernel's own counts, the
//! keepalive defaults, whether there are sockets at all.

use std::fs;
use std::io;

/// What the kernel counted of a namespace since that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// `TcpExtTCPKeepAlive`
    pub keepalive: u64,
    /// `TcpExtTCPWinProbe`
    pub zero_window: u64,
}

/// Whether there is no TCP socket in the calling thread's namespace, nor one in `TIME_WAIT`. A socket of a
/// handshake that is not done has a listener beside it. Reading sockets walks through the whole machine's
/// hash table, also where there are none.
#[must_use]
pub fn has_no_sockets() -> bool {
    let count = |file: &str, line: &str| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).ok()?;
        let fields = text.lines().find_map(|text| text.strip_prefix(line))?;
        let mut words = fields.split_ascii_whitespace();
        let mut sum = 0;
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if matches!(name, "inuse" | "tw") {
                sum += value.parse::<u64>().ok()?;
            }
        }
        Some(sum)
    };
    // A kernel without IPv6 has no second file.
    count("sockstat", "TCP:") == Some(0) && count("sockstat6", "TCP6:").unwrap_or(0) == 0
}

/// The keepalive defaults of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sysctls {
    /// `tcp_keepalive_time`, in seconds.
    pub keepidle: u32,
    /// `tcp_keepalive_intvl`, in seconds.
    pub keepintvl: u32,
    /// `tcp_keepalive_probes`
    pub keepcnt: u32,
}

impl KernelCounts {
    /// Of the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn read() -> io::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/thread-self/net/netstat")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no TCPKeepAlive in netstat"))
    }

    fn parse(netstat: &str) -> Option<Self> {
        let mut rows = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, values) = (rows.next()?, rows.next()?);
        let mut counts = Self::default();
        let mut found = 0;
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            let place = match name {
                "TCPKeepAlive" => &mut counts.keepalive,
                "TCPWinProbe" => &mut counts.zero_window,
                _ => continue,
            };
            *place = value.parse().ok()?;
            found += 1;
        }
        (found == 2).then_some(counts)
    }
}

impl Sysctls {
    /// Of the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn read() -> io::Result<Self> {
        let read = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_keepalive_{name}"))?;
            text.trim().parse().map_err(io::Error::other)
        };
        Ok(Self { keepidle: read("time")?, keepintvl: read("intvl")?, keepcnt: read("probes")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_by_name() {
        let text = "TcpExt: A TCPKeepAlive B TCPWinProbe\nTcpExt: 1 20 3 40\nIpExt: X\nIpExt: 1\n";
        assert_eq!(KernelCounts::parse(text), Some(KernelCounts { keepalive: 20, zero_window: 40 }));
        assert_eq!(KernelCounts::parse("TcpExt: A TCPKeepAlive\nTcpExt: 1 2\n"), None);
        assert_eq!(KernelCounts::parse("TcpExt: TCPKeepAlive TCPWinProbe\nTcpExt: 1 x\n"), None);
        assert_eq!(KernelCounts::parse(""), None);
    }

    #[test]
    fn a_socket_is_counted() {
        let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!has_no_sockets());
    }
}
