//! What is kept of a socket from its first keepalive or persist run until it closes: who it is,
//! the probe whose outcome is not known yet, and what later runs compare with.

use crate::{
    kernel::{self, AF_INET6, layout, member, sized},
    maps::TRACKED,
    view::{Begin, View},
};

/// Who a socket is.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Identity {
    /// 0: not tracked.
    pub(crate) first_seen_ns: u64,
    pub(crate) inode: u64,
    pub(crate) cgroup_id: u64,
    pub(crate) local: [u64; 2],
    pub(crate) remote: [u64; 2],
    pub(crate) netns: u32,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) family: u16,
    /// The kernel itself owns the socket.
    pub(crate) kernel: u16,
    pub(crate) reserved: [u16; 2],
}

/// A tracked socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Tracked {
    pub(crate) who: Identity,
    /// The run that sent the pending probe.
    pub(crate) probe_run_ns: u64,
    pub(crate) probe_us: u64,
    /// Arrival of the answer, taken as it arrived (`--rtt exact`).
    pub(crate) arrival_ns: u64,
    /// Begin of the keepalive run in progress, for whoever meets the socket on another CPU first.
    pub(crate) run: Begin,
    pub(crate) probe_rcv_tstamp: u32,
    pub(crate) probe_segs_in: u32,
    pub(crate) probe_segs_out: u32,
    /// The last sign of life whose due probe was already told as suppressed.
    pub(crate) due_stamp: u32,
    pub(crate) zero_window_rcv_tstamp: u32,
    /// Segments in flight as an RST found them.
    pub(crate) reset_packets_out: u32,
    /// A keepalive probe was sent and is not settled.
    pub(crate) probe_pending: u8,
    /// Entered by a reset, not by a timer run.
    pub(crate) by_reset: u8,
    /// An RST was received.
    pub(crate) reset_seen: u8,
    /// It found a probe out.
    pub(crate) reset_probe_out: u8,
    /// A keepalive run is in progress whose end has to find out whether it sent a probe; `run` holds
    /// its begin.
    pub(crate) run_open: u8,
    /// `due_stamp` holds.
    pub(crate) due_told: u8,
    /// `zero_window_*` hold the last persist run's end.
    pub(crate) zero_window_known: u8,
    pub(crate) zero_window_probes: u8,
}

// No padding: the verifier of 5.10 refuses to store what was not written.
const _: () = assert!(size_of::<Identity>() == 72);
const _: () = assert!(size_of::<Tracked>() == 160);

/// What a new entry holds before it is filled in.
static NOTHING: Tracked = {
    // SAFETY: all fields are integers.
    unsafe { core::mem::zeroed() }
};

/// Reads the socket's inode number: 0 while it has no `struct socket` (not accepted yet, or an orphan). One
/// without a file is the kernel's own.
#[inline(always)]
fn inode(sk: u64, who: &mut Identity) {
    let socket: u64 = member(sk, layout!(socket.offset));
    if socket == 0 {
        return;
    }
    who.inode = sized(socket, layout!(inode));
    if layout!(socket_file.size) != 0 {
        let file: u64 = member(socket, layout!(socket_file.offset));
        who.kernel = u16::from(file == 0);
    }
}

/// The socket's cgroup, 0 where the kernel has none.
#[inline(always)]
pub(crate) fn cgroup(sk: u64) -> u64 {
    if layout!(cgroup.size) == 0 {
        return 0;
    }
    let cgroup: u64 = member(sk, layout!(cgroup.offset));
    // Up to 5.14 a union: with bit 0 set it holds the classic class and priority, no pointer.
    if cgroup == 0 || (layout!(cgroup_tagged) != 0 && cgroup & 1 == 1) {
        return 0;
    }
    let node: u64 = member(cgroup, layout!(cgroup_kn.offset));
    if node == 0 { 0 } else { member(node, layout!(kernfs_id.offset)) }
}

/// Reads who a socket is.
#[inline(always)]
pub(crate) fn identify(view: &View, who: &mut Identity) {
    let sk = view.sk;
    who.inode = 0;
    who.kernel = 0;
    inode(sk, who);
    who.cgroup_id = cgroup(sk);
    who.netns = member(view.net(), layout!(net_inum.offset));
    who.family = view.family();
    // `skc_num` is 0 again when a socket that closes is looked at.
    who.local_port = u16::from_be(member(sk, layout!(sport.offset)));
    who.remote_port = view.dport();
    who.reserved = [0; 2];
    // The other family's members hold garbage.
    if who.family == AF_INET6 {
        (who.local, who.remote) = view.addresses6();
    } else {
        let (local, remote) = view.addresses();
        who.local = [u64::from(local), 0];
        who.remote = [u64::from(remote), 0];
    }
}

/// A socket accepted after its first run gets its inode later.
#[inline(always)]
pub(crate) fn refresh_inode(sk: u64, who: &mut Identity) {
    if who.inode == 0 {
        inode(sk, who);
    }
}

/// The entry of a socket.
#[inline(always)]
pub(crate) fn find(sk: u64) -> Option<&'static mut Tracked> {
    // SAFETY: the map is preallocated, entries are never freed; an entry removed and reused while
    // it is read belongs to a socket that closed, and readers compare `first_seen_ns`.
    TRACKED.get_ptr_mut(sk).map(|entry| unsafe { &mut *entry })
}

/// Enters a socket; none when the table is full.
#[inline(never)]
pub(crate) fn enter(view: &View, by_reset: bool) -> Option<&'static mut Tracked> {
    // Whatever the result: another CPU may have entered it first, and a full table finds nothing.
    let _inserted = TRACKED.insert(view.sk, &NOTHING, BPF_NOEXIST);
    let tracked = find(view.sk)?;
    if tracked.who.first_seen_ns == 0 {
        identify(view, &mut tracked.who);
        tracked.by_reset = u8::from(by_reset);
        tracked.who.first_seen_ns = kernel::now();
    }
    Some(tracked)
}

/// Enters only where there is no entry yet.
const BPF_NOEXIST: u64 = 1;
