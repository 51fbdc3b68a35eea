//! One fixed-size record for every kind: who the socket is, its settings, its activity, and the
//! facts of the event. Written by `ka-ebpf` into the ring buffer, in a [`Report`](crate::Report), decoded by
//! the daemon.
//!
//! Ages are in jiffies at `time_ns`, as the kernel keeps them; the daemon converts. A field that
//! a kind does not use is 0.

use core::mem::{offset_of, size_of};

/// A record as it lies in the ring buffer: native byte order, no pointers, no padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Record {
    /// When this was seen (`bpf_ktime_get_ns`, `CLOCK_MONOTONIC`).
    pub time_ns: u64,
    /// Address of the socket in the kernel: an opaque name, valid until the socket closes.
    pub sock: u64,
    /// When the socket was first seen; with `sock` its identity. 0: not tracked (table full).
    pub first_seen_ns: u64,
    /// Begin of the timer run that this belongs to; names a probe together with the identity.
    /// `ProbeSettled` and `ResetReceived` carry the run that sent the probe. 0: no run.
    pub run_ns: u64,
    /// When the probe was sent, in µs of `CLOCK_MONOTONIC` (`ProbeSent`, `ProbeSettled`,
    /// `ResetReceived` with [`Record::SETTLED`]).
    pub probe_us: u64,
    /// When the answer arrived, in µs of the same clock; only an answer of a clean exchange or one
    /// with [`Record::EXACT`] may be used. 0: not known.
    pub answer_us: u64,
    /// Inode of the socket as `/proc/PID/fd` and `ss -e` show it; 0: none (not accepted, orphan).
    pub inode: u64,
    /// Id of the socket's cgroup (v2); 0: unknown.
    pub cgroup_id: u64,
    /// Local address; IPv4 in the first four bytes.
    pub local: [u8; 16],
    /// Remote address; IPv4 in the first four bytes.
    pub remote: [u8; 16],
    /// Inode of the network namespace.
    pub netns: u32,
    /// `TCP_KEEPIDLE` set on the socket, in jiffies; 0: the namespace's sysctl holds.
    pub keepidle: u32,
    /// `TCP_KEEPINTVL` set on the socket, in jiffies; 0: the namespace's sysctl holds.
    pub keepintvl: u32,
    /// `TCP_KEEPCNT` set on the socket; 0: the namespace's sysctl holds.
    pub keepcnt: u32,
    /// The namespace's `tcp_keepalive_time` in jiffies.
    pub sysctl_keepidle: u32,
    /// The namespace's `tcp_keepalive_intvl` in jiffies.
    pub sysctl_keepintvl: u32,
    /// The namespace's `tcp_keepalive_probes`.
    pub sysctl_keepcnt: u32,
    /// `TCP_USER_TIMEOUT` in ms; 0: not set.
    pub user_timeout_ms: u32,
    /// Jiffies since an acknowledgement was last accepted (`rcv_tstamp`).
    pub acked_age: u32,
    /// Jiffies since data was last received (`lrcvtime`).
    pub received_age: u32,
    /// Jiffies since data was last sent, retransmissions included (`lsndtime`).
    pub sent_age: u32,
    /// ms since what was last in flight began to be sent (`first_tx_mstamp`); where `sk_err` is.
    pub flight_age_ms: u32,
    /// Segments in flight (`packets_out`).
    pub packets_out: u32,
    /// Bytes sent and not acknowledged.
    pub unacked: u32,
    /// Bytes written by the application and not yet sent.
    pub unsent: u32,
    /// The peer's receive window in bytes.
    pub snd_wnd: u32,
    /// Segments received; in `ProbeSettled` and a settling `ResetReceived`: since the probe.
    pub segs_in: u32,
    /// Segments sent; in `ProbeSettled` and a settling `ResetReceived`: since the probe.
    pub segs_out: u32,
    /// `ZeroWindowProbe`: how many attempts this stands for (more than 1 only when inferred).
    pub count: u32,
    /// The error the socket ended with (`sk_err`); `Dropped`, `Closed` and `ResetReceived` only.
    pub sk_err: i32,
    /// The error that ICMP left for earlier data (`sk_err_soft`); where `sk_err` is.
    pub sk_err_soft: i32,
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: u16,
    /// The constants of this type, or-ed.
    pub flags: u16,
    /// Number of the [`Kind`](crate::Kind).
    pub kind: u8,
    /// TCP state: before the change in `Dropped` and `Closed`.
    pub state: u8,
    /// Number of the [`Timer`](crate::Timer) in whose run this happened.
    pub timer: u8,
    /// Number of the [`Suppression`](crate::Suppression); 0 elsewhere.
    pub reason: u8,
    /// Probes sent since something was last heard (`icsk_probes_out`), this one included.
    pub probes_out: u8,
    /// Retransmissions in a row (`icsk_retransmits`).
    pub retransmits: u8,
    /// The namespace's `tcp_retries2`, at most 255.
    pub retries2: u8,
    /// What the write timer waited for when the run began (`icsk_pending`).
    pub pending: u8,
    /// Explicit padding; 0.
    pub reserved: u32,
}

impl Record {
    /// Keepalive is on (`SOCK_KEEPOPEN`).
    pub const KEEPALIVE: u16 = 1 << 0;
    /// The socket has no owner any more (`SOCK_DEAD`).
    pub const ORPHAN: u16 = 1 << 1;
    /// `ProbeSettled`: answered. Without it: unanswered.
    pub const ANSWERED: u16 = 1 << 2;
    /// `ResetReceived`: it settles the pending keepalive probe named by `run_ns`.
    pub const SETTLED: u16 = 1 << 3;
    /// A keepalive or window probe was out when this happened, and nothing was heard since.
    pub const PROBE_OUT: u16 = 1 << 4;
    /// `Dropped`, `Closed`: an RST was received; queue state and ages are as it found them.
    pub const RESET: u16 = 1 << 5;
    /// `answer_us` was taken as the answer arrived (`--rtt exact`).
    pub const EXACT: u16 = 1 << 6;
    /// `ZeroWindowProbe`: inferred from a counter, no run was seen.
    pub const INFERRED: u16 = 1 << 7;
    /// `Dropped`, `Closed`: the socket was tracked before this.
    pub const TRACKED: u16 = 1 << 8;
    /// The kernel itself owns the socket: it has an inode and no file.
    pub const KERNEL: u16 = 1 << 9;
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not as long as what lies in the ring buffer.
    Length(usize),
    /// No such [`Kind`](crate::Kind).
    Kind(u8),
    /// No such [`Timer`](crate::Timer).
    Timer(u8),
    /// A suppression without a known [`Suppression`](crate::Suppression).
    Reason(u8),
    /// Neither `AF_INET` nor `AF_INET6`.
    Family(u16),
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length(n) => write!(f, "a report has {} bytes, got {n}", crate::Report::SIZE),
            Self::Kind(n) => write!(f, "unknown record kind {n}"),
            Self::Timer(n) => write!(f, "unknown timer {n}"),
            Self::Reason(n) => write!(f, "unknown reason {n} of a suppressed probe"),
            Self::Family(n) => write!(f, "unknown address family {n}"),
        }
    }
}

impl core::error::Error for DecodeError {}

#[cfg(feature = "user")]
impl Record {
    /// Checks every closed set in it.
    ///
    /// # Errors
    /// The first field that is not what a record can hold.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        use crate::kind::{Kind, Suppression, Timer};
        let kind = Kind::from_byte(self.kind).ok_or(DecodeError::Kind(self.kind))?;
        if Timer::from_byte(self.timer).is_none() {
            return Err(DecodeError::Timer(self.timer));
        }
        if kind == Kind::Suppressed && Suppression::from_byte(self.reason).is_none() {
            return Err(DecodeError::Reason(self.reason));
        }
        if !matches!(self.family, 2 | 10) {
            return Err(DecodeError::Family(self.family));
        }
        Ok(())
    }
}

// The layout is a contract with programs that are compiled for another target.
const _: () = assert!(size_of::<Record>() == 200);
const _: () = assert!(align_of::<Record>() == 8);
const _: () = assert!(offset_of!(Record, local) == 64);
const _: () = assert!(offset_of!(Record, netns) == 96);
const _: () = assert!(offset_of!(Record, count) == 168);
const _: () = assert!(offset_of!(Record, local_port) == 180);
const _: () = assert!(offset_of!(Record, kind) == 188);
const _: () = assert!(offset_of!(Record, reserved) == 196);
