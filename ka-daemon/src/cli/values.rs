//! How the values of options are written, and what is said of a value that is not one.

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;

use crate::table::OwnerLabels;

/// The largest ring buffer: half of what its 32-bit size could name, and far more than helps.
const RING_MAX: u64 = 1 << 30;
/// The most sockets that the kernel side may be told to track: 16 Mi.
pub(super) const SOCKETS_MAX: u32 = 1 << 24;
const IDLE_FLOOR: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);

/// Parses an address to listen on.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected IP:PORT, such as 127.0.0.1:10435, or 0.0.0.0:10435 or [::]:10435 for all addresses"
            .to_owned()
    })
}

/// Parses the name of a host: what the `Host` header may say before its port.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(fit)
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err("expected the name of a host without a port, such as ka.example.org".to_owned())
    }
}

/// Parses the length of the shortest idle time that is told of.
pub(super) fn idle_floor(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|floor| IDLE_FLOOR.contains(floor))
        .ok_or_else(|| "expected a duration from 100ms to 1day, such as 500ms, 10s or 1m".to_owned())
}

/// Parses the size of the ring buffer: the kernel takes powers of two that are whole pages.
pub(super) fn ring_buffer_size(text: &str) -> Result<u32, String> {
    let page = rustix::param::page_size() as u64;
    text.parse::<ByteSize>()
        .ok()
        .map(|size| size.as_u64())
        .filter(|size| size.is_power_of_two() && (page..=RING_MAX).contains(size))
        .and_then(|size| u32::try_from(size).ok())
        .ok_or_else(|| {
            format!("expected a power of two from {page} to {RING_MAX} bytes, such as 65536, 512KiB or 16MiB")
        })
}

/// Parses how many sockets may be tracked.
pub(super) fn max_sockets(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=SOCKETS_MAX).contains(count))
        .ok_or_else(|| format!("expected a whole number from 1 to {SOCKETS_MAX}"))
}

/// The most owners that may have series of their own.
const OWNERS_MAX: usize = 10_000;
const INVENTORY_INTERVAL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(1);

/// Parses how many owners may have series of their own.
pub(super) fn max_owners(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=OWNERS_MAX).contains(count))
        .ok_or_else(|| format!("expected a whole number from 1 to {OWNERS_MAX}"))
}

/// Parses the owner labels to use.
pub(super) fn owner_labels(text: &str) -> Result<OwnerLabels, String> {
    OwnerLabels::parse(text)
}

/// Parses how often all sockets are read.
pub(super) fn inventory_interval(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|interval| INVENTORY_INTERVAL.contains(interval))
        .ok_or_else(|| "expected a duration from 1s to 1h, such as 5s, 15s or 2m".to_owned())
}

/// The least is what the alert on stale sweeps reckons with; who wants them rarer sets the interval.
const INVENTORY_MAX_CPU: std::ops::RangeInclusive<f64> = 0.33..=100.0;

/// Parses the share of one CPU that reading all sockets may take.
pub(super) fn inventory_max_cpu(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|percent| INVENTORY_MAX_CPU.contains(percent)).ok_or_else(|| {
        "expected a percentage from 0.33 to 100, such as 1 or 2.5; --inventory-interval makes readings rarer"
            .to_owned()
    })
}
