//! Iterators: the inventory's rows. The kernel runs them for each TCP socket of the network namespace in
//! which the iterator was opened, or for each open file of each process.
//!
//! Their arguments are typed pointers, so that a member is loaded directly at the place that the layout
//! names: the verifier checks it against the kernel's types, and a load that faults gives 0. A row is
//! written once though the kernel may run the program twice for a socket that found its buffer full;
//! hence no side effects.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated;
use ka_common::{FileRow, RowTimer, SocketRow};

use crate::{
    kernel::{self, AF_INET6, IPPROTO_TCP, LISTEN, NEW_SYN_RECV, flag, layout, member, sized},
    tracked::{self, Ends},
};

/// `icsk_pending` while the write timer waits to send again: retransmission, tail loss probe, reordering.
const PENDING_RETRANSMIT: [u8; 3] = [1, 5, 6];
const PENDING_PROBE0: u8 = 3;
const TIME_WAIT: u8 = 6;
const SYN_RECV: u8 = 3;
const IPPROTO_MPTCP: u64 = 262;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;
/// Mode of the files that name namespaces.
const NSFS_MODE: u16 = 0o100_444;
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Loads a member through a typed pointer.
macro_rules! load {
    ($base:expr, $($member:ident).+) => {
        load!($base, layout!($($member).+.offset), _)
    };
    ($base:expr, $offset:expr, $type:ty) => {{
        let place = ($base as *const u8).wrapping_add($offset as usize).cast::<$type>();
        // SAFETY: the verifier checks that the place lies in the kernel's type, and a fault gives 0.
        unsafe { core::ptr::read_volatile(place) }
    }};
}

/// Loads an unsigned member whose size differs between kernels.
macro_rules! load_sized {
    ($base:expr, $member:ident) => {{
        let field = layout!($member);
        match field.size {
            1 => u64::from(load!($base, field.offset, u8)),
            2 => u64::from(load!($base, field.offset, u16)),
            4 => u64::from(load!($base, field.offset, u32)),
            _ => load!($base, field.offset, u64),
        }
    }};
}

/// An argument of the iterator.
macro_rules! argument {
    ($ctx:expr, $number:literal, $type:ty) => {{
        // SAFETY: the context holds the arguments in eight bytes each.
        unsafe { core::ptr::read_volatile($ctx.cast::<u64>().wrapping_add($number).cast::<$type>()) }
    }};
}

#[inline(always)]
fn write<T>(meta: *const u8, row: &T) {
    let seq: *mut c_void = load!(meta, layout!(iter_seq.offset), *mut c_void);
    // SAFETY: the file of this run, and a row of the size given. A full buffer is the kernel's to handle.
    unsafe {
        generated::bpf_seq_write(seq.cast(), core::ptr::from_ref(row).cast(), size_of::<T>() as u32);
    }
}

/// `bpf_iter__tcp(meta, sk_common, uid)`: a socket of the namespace; at the end once without one.
// SAFETY: the section tells the loader what the program is.
#[unsafe(link_section = "iter/tcp")]
#[unsafe(no_mangle)]
extern "C" fn ka_iter_tcp(ctx: *const c_void) -> i32 {
    let meta: *const u8 = argument!(ctx, 0, *const u8);
    let common: *const u8 = argument!(ctx, 1, *const u8);
    if common.is_null() {
        return 0;
    }
    // SAFETY: all fields are integers.
    let mut row: SocketRow = unsafe { MaybeUninit::zeroed().assume_init() };
    row.sock = common as u64;
    row.uid = argument!(ctx, 2, u32);
    ends(&mut row, common);
    let state: u8 = load!(common, layout!(state.offset), u8);
    let known = match state {
        TIME_WAIT => time_wait(&mut row, common),
        NEW_SYN_RECV => request(&mut row, common),
        _ => full(&mut row, common, state),
    };
    if known {
        write(meta, &row);
    }
    0
}

/// Both ends, of any kind of socket. The other family's members hold garbage.
#[inline(always)]
fn ends(row: &mut SocketRow, common: *const u8) {
    row.family = load!(common, layout!(family.offset), u16);
    row.local_port = load!(common, layout!(num.offset), u16);
    row.remote_port = u16::from_be(load!(common, layout!(dport.offset), u16));
    let words = |offset: u32| [load!(common, offset, u64), load!(common, offset + 8, u64)];
    let (local, remote) = if row.family == AF_INET6 {
        if layout!(saddr6.size) == 0 || layout!(daddr6.size) == 0 {
            return;
        }
        (words(layout!(saddr6.offset)), words(layout!(daddr6.offset)))
    } else {
        let (local, remote) =
            (load!(common, layout!(saddr.offset), u32), load!(common, layout!(daddr.offset), u32));
        ([u64::from(local), 0], [u64::from(remote), 0])
    };
    // SAFETY: the same size, and bytes have no invalid pattern.
    (row.local, row.remote) = unsafe { (core::mem::transmute(local), core::mem::transmute(remote)) };
}

/// Jiffies until a timer fires.
#[inline(always)]
fn left(expires: u64) -> i32 {
    // SAFETY: no arguments, cannot fail.
    expires.wrapping_sub(unsafe { generated::bpf_jiffies64() }) as i32
}

#[inline(always)]
fn time_wait(row: &mut SocketRow, common: *const u8) -> bool {
    // SAFETY: a typed pointer to a socket of the hash tables.
    let socket = unsafe { generated::bpf_skc_to_tcp_timewait_sock(common.cast_mut().cast()) };
    if socket.is_null() {
        return false;
    }
    row.state = load!(socket, layout!(tw_substate.offset), u8);
    row.timer = RowTimer::TimeWait as u8;
    row.expires = left(load!(socket, layout!(tw_timer.offset) + layout!(timer_expires.offset), u64));
    true
}

#[inline(always)]
fn request(row: &mut SocketRow, common: *const u8) -> bool {
    // SAFETY: as above.
    let socket = unsafe { generated::bpf_skc_to_tcp_request_sock(common.cast_mut().cast()) };
    if socket.is_null() {
        return false;
    }
    row.state = SYN_RECV;
    row.timer = RowTimer::Retransmit as u8;
    row.expires = left(load!(socket, layout!(request_timer.offset) + layout!(timer_expires.offset), u64));
    true
}

#[inline(always)]
fn full(row: &mut SocketRow, common: *const u8, state: u8) -> bool {
    // SAFETY: as above.
    let sk = unsafe { generated::bpf_skc_to_tcp_sock(common.cast_mut().cast()) };
    if sk.is_null() {
        return false;
    }
    row.flags = SocketRow::FULL;
    row.state = state;
    let flags = load_sized!(sk, flags);
    if flag(flags, layout!(sock_keepopen)) {
        row.flags |= SocketRow::KEEPALIVE;
    }
    if flag(flags, layout!(sock_dead)) {
        row.flags |= SocketRow::ORPHAN;
    }
    row.keepidle = load!(sk, layout!(keepidle.offset), u32);
    row.keepintvl = load!(sk, layout!(keepintvl.offset), u32);
    row.keepcnt = load_sized!(sk, keepcnt) as u32;
    row.user_timeout_ms = load!(sk, layout!(user_timeout.offset), u32);
    row.probes_out = load!(sk, layout!(probes_out.offset), u8);
    row.retransmits = load_sized!(sk, retransmits) as u8;
    row.segs_in = load!(sk, layout!(segs_in.offset), u32);
    row.segs_out = load!(sk, layout!(segs_out.offset), u32);
    ages(
        row,
        load!(sk, layout!(rcv_tstamp.offset), u32),
        load!(sk, layout!(lrcvtime.offset), u32),
        load!(sk, layout!(lsndtime.offset), u32),
    );
    if state == LISTEN {
        row.recv_queue = load_sized!(sk, ack_backlog) as u32;
        row.send_queue = load_sized!(sk, max_ack_backlog) as u32;
    } else {
        let unread =
            load!(sk, layout!(rcv_nxt.offset), u32).wrapping_sub(load!(sk, layout!(copied_seq.offset), u32))
                as i32;
        row.recv_queue = if unread > 0 { unread as u32 } else { 0 };
        row.send_queue =
            load!(sk, layout!(write_seq.offset), u32).wrapping_sub(load!(sk, layout!(snd_una.offset), u32));
    }
    let keepalive = layout!(keepalive_timer.offset);
    if load!(sk, keepalive + layout!(timer_pprev.offset), u64) != 0 {
        row.flags |= SocketRow::KEEPALIVE_ARMED;
        row.keepalive_expires = left(load!(sk, keepalive + layout!(timer_expires.offset), u64));
    }
    let pending: u8 = load!(sk, layout!(pending.offset), u8);
    let write_timer = layout!(write_timer.offset) + layout!(timer_expires.offset);
    if pending == PENDING_PROBE0 {
        row.timer = RowTimer::ZeroWindow as u8;
        row.expires = left(load!(sk, write_timer, u64));
    } else if PENDING_RETRANSMIT[0] == pending
        || PENDING_RETRANSMIT[1] == pending
        || PENDING_RETRANSMIT[2] == pending
    {
        row.timer = RowTimer::Retransmit as u8;
        row.expires = left(load!(sk, write_timer, u64));
    } else if row.flags & SocketRow::KEEPALIVE_ARMED != 0 {
        row.timer = RowTimer::Keepalive as u8;
        row.expires = row.keepalive_expires;
    }
    holder(row, sk.cast());
    row.cgroup_id = tracked::cgroup(row.sock);
    if let Some(tracked) = tracked::find(row.sock) {
        if tracked.who.has(&now(row)) {
            row.first_seen_ns = tracked.who.first_seen_ns;
        }
    }
    true
}

/// Both ends, to compare with those of a tracked socket.
#[inline(always)]
fn now(row: &SocketRow) -> Ends {
    // SAFETY: the same size, and words have no invalid pattern.
    let words = |bytes: [u8; 16]| unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(bytes) };
    Ends {
        // Read, not loaded: the verifier lets nobody compute with a typed pointer.
        net: member(row.sock, layout!(net.offset)),
        family: row.family,
        local_port: row.local_port,
        remote_port: row.remote_port,
        local: words(row.local),
        remote: words(row.remote),
    }
}

/// A stamp of 0 was never set.
#[inline(always)]
fn ages(row: &mut SocketRow, acked: u32, received: u32, sent: u32) {
    let now = kernel::jiffies();
    if acked != 0 {
        row.flags |= SocketRow::ACKED;
        row.acked_age = now.wrapping_sub(acked);
    }
    if received != 0 {
        row.flags |= SocketRow::RECEIVED;
        row.received_age = now.wrapping_sub(received);
    }
    if sent != 0 {
        row.flags |= SocketRow::SENT;
        row.sent_age = now.wrapping_sub(sent);
    }
}

/// The inode, and whether it is the kernel's own socket.
#[inline(always)]
fn holder(row: &mut SocketRow, sk: *const u8) {
    let socket: *const u8 = load!(sk, layout!(socket.offset), *const u8);
    if socket.is_null() {
        return;
    }
    let file: *const u8 = load!(socket, layout!(socket_file.offset), *const u8);
    if file.is_null() {
        row.flags |= SocketRow::KERNEL;
    }
    // `struct socket` and its inode lie in one allocation that the verifier knows nothing of.
    row.inode = sized(socket as u64, layout!(inode));
}

/// `bpf_iter__task_file(meta, task, fd, file)`: an open file of a process; at the end once without one.
// SAFETY: the section tells the loader what the program is.
#[unsafe(link_section = "iter/task_file")]
#[unsafe(no_mangle)]
extern "C" fn ka_iter_file(ctx: *const c_void) -> i32 {
    let meta: *const u8 = argument!(ctx, 0, *const u8);
    let task: *const u8 = argument!(ctx, 1, *const u8);
    let file: *const u8 = argument!(ctx, 3, *const u8);
    if task.is_null() || file.is_null() {
        return 0;
    }
    let inode: *const u8 = load!(file, layout!(file_inode.offset), *const u8);
    let mode: u16 = load!(inode, layout!(inode_mode.offset), u16);
    let netns = if mode & S_IFMT == S_IFSOCK {
        let socket: u64 = load!(file, layout!(file_private.offset), u64);
        let netns = tcp_namespace(member(socket, layout!(socket_sk.offset)));
        if netns == 0 {
            return 0;
        }
        netns
    } else if mode == NSFS_MODE {
        let super_block: *const u8 = load!(inode, layout!(inode_sb.offset), *const u8);
        if load!(super_block, layout!(sb_magic.offset), u64) != NSFS_MAGIC {
            return 0;
        }
        0
    } else {
        return 0;
    };
    let leader: *const u8 = load!(task, layout!(task_leader.offset), *const u8);
    let comm = layout!(task_comm.offset);
    let words = [load!(leader, comm, u64), load!(leader, comm + 8, u64)];
    let row = FileRow {
        inode: load!(inode, layout!(inode_number.offset), u64),
        start_ns: load!(leader, layout!(task_start.offset), u64),
        // SAFETY: the same size, and bytes have no invalid pattern.
        comm: unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(words) },
        pid: load!(task, layout!(task_tgid.offset), u32),
        fd: argument!(ctx, 2, u32),
        netns,
        reserved: 0,
    };
    write(meta, &row);
    0
}

/// The network namespace of a TCP (or MPTCP) socket; 0 of any other.
#[inline(always)]
fn tcp_namespace(sk: u64) -> u32 {
    if sk == 0 || !matches!(sized(sk, layout!(protocol)), IPPROTO_TCP | IPPROTO_MPTCP) {
        return 0;
    }
    let family: u16 = member(sk, layout!(family.offset));
    if !matches!(family, 2 | AF_INET6) {
        return 0;
    }
    member(member(sk, layout!(net.offset)), layout!(net_inum.offset))
}
