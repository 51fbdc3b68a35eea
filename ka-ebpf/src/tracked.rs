//! What is kept of a socket from its first keepalive or persist run until it closes: who it is,
//! the probe whose outcome is not known yet, and what later runs compare with.

use crate::{
    emit::Event,
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
    /// Lower half of the address of its network namespace: what a reading of the socket holds.
    pub(crate) net: u32,
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
    /// Begin of the last keepalive run, for whoever meets the socket on another CPU first.
    pub(crate) run: Begin,
    pub(crate) probe_rcv_tstamp: u32,
    pub(crate) probe_segs_in: u32,
    pub(crate) probe_segs_out: u32,
    /// The last sign of life whose due probe was already told as suppressed.
    pub(crate) due_stamp: u32,
    pub(crate) zero_window_rcv_tstamp: u32,
    /// Segments in flight as an RST found them.
    pub(crate) reset_packets_out: u32,
    /// When data had last been received as the last keepalive or window probe went out.
    pub(crate) out_lrcvtime: u32,
    /// As in the [`Settlement`](ka_common::Settlement) that waits.
    pub(crate) settled_trip_us: u32,
    /// When it was made, as the kernel counts ages.
    pub(crate) settled_jiffies: u32,
    /// A keepalive probe was sent and is not settled.
    pub(crate) probe_pending: u8,
    /// Entered by a reset, not by a timer run.
    pub(crate) by_reset: u8,
    /// An RST was received.
    pub(crate) reset_seen: u8,
    /// It found a probe out.
    pub(crate) reset_probe_out: u8,
    /// A keepalive run is in progress whose end has to find out whether it sent a probe.
    pub(crate) run_open: u8,
    /// `due_stamp` holds.
    pub(crate) due_told: u8,
    /// `zero_window_*` hold the last persist run's end.
    pub(crate) zero_window_known: u8,
    pub(crate) zero_window_probes: u8,
    /// `out_lrcvtime` holds.
    pub(crate) out_known: u8,
    /// The probe that `probe_*` hold was settled at the begin that `run` holds, and nothing of the socket was
    /// told since: its outcome rides along with the next record.
    pub(crate) settled_waiting: u8,
    pub(crate) settled_flags: u8,
    pub(crate) settled_state: u8,
}

impl Tracked {
    /// A probe went out, as its `ProbeSent` says. What waited to be told of the one before is gone by then.
    #[inline(always)]
    pub(crate) fn sends(&mut self, sent: &Event) {
        self.probe_run_ns = sent.run_ns;
        self.probe_us = sent.probe_us;
        self.probe_segs_in = sent.segs_in;
        self.probe_segs_out = sent.segs_out;
        self.probe_pending = 1;
    }

    /// A keepalive or window probe went out, when data had last been received at this time.
    #[inline(always)]
    pub(crate) fn goes_out(&mut self, lrcvtime: u32) {
        self.out_known = 1;
        self.out_lrcvtime = lrcvtime;
    }

    /// No data came since a probe last went out. Data of which the kernel looked at no more than the
    /// expected header leaves `rcv_tstamp` and `icsk_probes_out` as they were.
    #[inline(always)]
    pub(crate) fn no_data_since_probe(&self, view: &View) -> bool {
        if self.out_known != 0 { view.lrcvtime() == self.out_lrcvtime } else { view.no_data_since_ack() }
    }
}

// No padding: the verifier of 5.10 refuses to store what was not written.
const _: () = assert!(size_of::<Identity>() == 72);
const _: () = assert!(size_of::<Tracked>() == 176);

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
    who.net = view.net() as u32;
    (who.local, who.remote) = addresses(view);
}

/// Local and remote address. The other family's members hold garbage.
#[inline(always)]
fn addresses(view: &View) -> ([u64; 2], [u64; 2]) {
    if view.family() == AF_INET6 {
        view.addresses6()
    } else {
        let (local, remote) = view.addresses();
        ([u64::from(local), 0], [u64::from(remote), 0])
    }
}

/// Both ends of a socket as it is now.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) net: u64,
    pub(crate) family: u16,
    /// 0: given back already.
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) local: [u64; 2],
    pub(crate) remote: [u64; 2],
}

impl Ends {
    #[inline(always)]
    fn of(view: &View) -> Self {
        let (local, remote) = addresses(view);
        Self {
            net: view.net(),
            family: view.family(),
            local_port: view.num(),
            remote_port: view.dport(),
            local,
            remote,
        }
    }
}

impl Identity {
    /// Whether the socket with these ends is the one that was identified. No: its close was never seen, and
    /// its address has come again.
    #[inline(always)]
    pub(crate) fn has(&self, now: &Ends) -> bool {
        self.net == now.net as u32
            && self.family == now.family
            && self.remote_port == now.remote_port
            && (self.local_port == now.local_port || now.local_port == 0)
            && self.local[0] == now.local[0]
            && self.local[1] == now.local[1]
            && self.remote[0] == now.remote[0]
            && self.remote[1] == now.remote[1]
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

/// The entry of a socket that was just read. One that a socket before it left at its address is removed: its
/// probe, if one was pending or its outcome waited, stays without an outcome, as the daemon sees from the identity that follows.
#[inline(always)]
pub(crate) fn of(view: &View) -> Option<&'static mut Tracked> {
    let tracked = find(view.sk)?;
    if tracked.who.first_seen_ns == 0 {
        // Another CPU is entering it.
        return None;
    }
    if tracked.who.has(&Ends::of(view)) {
        return Some(tracked);
    }
    // Fails only where another CPU was faster.
    let _removed = TRACKED.remove(view.sk);
    None
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
