//! What the iterators write: a row for each TCP socket of a network namespace, and one for each
//! descriptor that names a TCP socket or a namespace. Written by `ka-ebpf` into the iterator's
//! file, read by the daemon's inventory.

use core::mem::size_of;

/// A socket as an iterator found it: native byte order, no pointers, no padding. Ages and times left are
/// in jiffies. Members of a kind of socket that does not have them are 0; `flags` tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct SocketRow {
    /// Address of the socket in the kernel: an opaque name.
    pub sock: u64,
    /// When it was first seen by a timer run; with `sock` its identity. 0: not tracked.
    pub first_seen_ns: u64,
    /// Inode as `/proc/PID/fd` shows it; 0: none.
    pub inode: u64,
    /// Id of the socket's cgroup (v2); 0: unknown.
    pub cgroup_id: u64,
    /// Local address; IPv4 in the first four bytes.
    pub local: [u8; 16],
    /// Remote address; IPv4 in the first four bytes.
    pub remote: [u8; 16],
    /// User that owns the socket.
    pub uid: u32,
    /// `TCP_KEEPIDLE` set on the socket, in jiffies; 0: the namespace's sysctl holds.
    pub keepidle: u32,
    /// `TCP_KEEPINTVL` set on the socket, in jiffies; 0: the namespace's sysctl holds.
    pub keepintvl: u32,
    /// `TCP_KEEPCNT` set on the socket; 0: the namespace's sysctl holds.
    pub keepcnt: u32,
    /// `TCP_USER_TIMEOUT` in ms; 0: not set.
    pub user_timeout_ms: u32,
    /// Until the timer of `timer` fires.
    pub expires: i32,
    /// Until the keepalive timer fires, where [`Self::KEEPALIVE_ARMED`].
    pub keepalive_expires: i32,
    /// Since an acknowledgement was last accepted.
    pub acked_age: u32,
    /// Since data was last received.
    pub received_age: u32,
    /// Since data was last sent.
    pub sent_age: u32,
    /// Bytes received and not read; of a listener: connections not accepted.
    pub recv_queue: u32,
    /// Bytes not sent or not acknowledged; of a listener: connections that may wait.
    pub send_queue: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments sent.
    pub segs_out: u32,
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: u16,
    /// The constants of this type, or-ed.
    pub flags: u16,
    /// TCP state; of a socket in `TIME_WAIT` the one it stands for.
    pub state: u8,
    /// Number of the [`RowTimer`].
    pub timer: u8,
    /// Probes sent since something was last heard.
    pub probes_out: u8,
    /// Retransmissions in a row.
    pub retransmits: u8,
    /// Explicit padding; 0.
    pub reserved: u32,
}

impl SocketRow {
    /// A full socket: neither a connection request nor in `TIME_WAIT`.
    pub const FULL: u16 = 1 << 0;
    /// Keepalive is on (`SOCK_KEEPOPEN`).
    pub const KEEPALIVE: u16 = 1 << 1;
    /// No process owns it any more (`SOCK_DEAD`).
    pub const ORPHAN: u16 = 1 << 2;
    /// The kernel itself owns it: it has an inode and no file.
    pub const KERNEL: u16 = 1 << 3;
    /// The keepalive timer is armed.
    pub const KEEPALIVE_ARMED: u16 = 1 << 4;
    /// `acked_age` is an age.
    pub const ACKED: u16 = 1 << 5;
    /// `received_age` is an age.
    pub const RECEIVED: u16 = 1 << 6;
    /// `sent_age` is an age.
    pub const SENT: u16 = 1 << 7;
}

/// The timer that is armed; the write timer's where two are, as `ss` shows it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowTimer {
    /// None.
    None = 0,
    /// To send again.
    Retransmit = 1,
    /// Keepalive, or the end of an orphan in `FIN_WAIT2`.
    Keepalive = 2,
    /// The end of `TIME_WAIT`.
    TimeWait = 3,
    /// To probe a shut window.
    ZeroWindow = 4,
}

impl RowTimer {
    /// The timer with this number.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::None),
            1 => Some(Self::Retransmit),
            2 => Some(Self::Keepalive),
            3 => Some(Self::TimeWait),
            4 => Some(Self::ZeroWindow),
            _ => None,
        }
    }
}

/// A descriptor of a process that names a TCP socket, or a namespace (which may be one of the network).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct FileRow {
    /// Inode of the socket, or of the namespace.
    pub inode: u64,
    /// When the process started, in ns of `CLOCK_BOOTTIME`.
    pub start_ns: u64,
    /// Its name.
    pub comm: [u8; 16],
    /// The process.
    pub pid: u32,
    /// The descriptor.
    pub fd: u32,
    /// Inode of the socket's network namespace; 0: the descriptor names a namespace.
    pub netns: u32,
    /// Explicit padding; 0.
    pub reserved: u32,
}

// The layout is a contract with programs that are compiled for another target.
const _: () = assert!(size_of::<SocketRow>() == 136);
const _: () = assert!(size_of::<FileRow>() == 48);
