//! Where the running kernel keeps what the programs read: offsets by BTF name, enumerators and
//! function addresses. The daemon resolves it at start and hands it over as a read-only global;
//! no offset is compiled in.

/// A structure member: bytes from the start of the structure it is read from, and its size.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start.
    pub offset: u32,
    /// Bytes; 0: this kernel does not have the member.
    pub size: u32,
}

/// A stretch of [`KernelLayout::head`] is shorter than this; a power of two, as the others are.
pub const HEAD_BYTES: u32 = 128;
/// A stretch of [`KernelLayout::live`] is shorter than this.
pub const LIVE_BYTES: u32 = 1024;
/// A stretch of [`KernelLayout::settings`] is shorter than this.
pub const SETTINGS_BYTES: u32 = 128;
/// A stretch of [`KernelLayout::sysctls`] is shorter than this.
pub const SYSCTLS_BYTES: u32 = 128;

/// Offsets from the start of `struct tcp_sock` (which begins with `inet_connection_sock`,
/// `inet_sock`, `sock`, `sock_common`) unless said otherwise. Members are required unless marked
/// optional.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelLayout {
    /// `sock_common.skc_family`
    pub family: Field,
    /// `sock_common.skc_state`
    pub state: Field,
    /// `sock_common.skc_daddr`
    pub daddr: Field,
    /// `sock_common.skc_rcv_saddr`
    pub saddr: Field,
    /// `sock_common.skc_v6_daddr`; optional (kernels without IPv6)
    pub daddr6: Field,
    /// `sock_common.skc_v6_rcv_saddr`; optional (kernels without IPv6)
    pub saddr6: Field,
    /// `sock_common.skc_dport`, big endian
    pub dport: Field,
    /// `sock_common.skc_num`: the local port, in host order; 0 once the socket gave it back
    pub num: Field,
    /// `inet_sock.inet_sport`, big endian; stands when `skc_num` is already cleared
    pub sport: Field,
    /// `sock_common.skc_net.net`
    pub net: Field,
    /// `sock_common.skc_flags` (`sk_flags`)
    pub flags: Field,
    /// `sock.sk_protocol`
    pub protocol: Field,
    /// `sock.sk_err`
    pub err: Field,
    /// `sock.sk_err_soft`
    pub err_soft: Field,
    /// `sock.sk_lock.owned`
    pub owned: Field,
    /// `sock.sk_socket`
    pub socket: Field,
    /// `sock.sk_shutdown`
    pub shutdown: Field,
    /// `socket.state`, from the start of `socket`
    pub socket_state: Field,
    /// `sock.sk_cgrp_data.cgroup`, else `sock.sk_cgrp_data.val` (tagged); optional
    pub cgroup: Field,
    /// `inet_connection_sock.icsk_pending`
    pub pending: Field,
    /// `inet_connection_sock.icsk_retransmits`
    pub retransmits: Field,
    /// `inet_connection_sock.icsk_probes_out`
    pub probes_out: Field,
    /// `inet_connection_sock.icsk_user_timeout`
    pub user_timeout: Field,
    /// `inet_connection_sock.icsk_ack.lrcvtime`
    pub lrcvtime: Field,
    /// `tcp_sock.rcv_tstamp`
    pub rcv_tstamp: Field,
    /// `tcp_sock.rx_opt.rcv_tsval`: the timestamp of the last segment that had one; optional
    pub rcv_tsval: Field,
    /// `tcp_sock.rx_opt.ts_recent`: that of the last segment that was accepted; optional
    pub ts_recent: Field,
    /// `tcp_sock.lsndtime`
    pub lsndtime: Field,
    /// `tcp_sock.segs_in`
    pub segs_in: Field,
    /// `tcp_sock.segs_out`
    pub segs_out: Field,
    /// `tcp_sock.tcp_mstamp`
    pub mstamp: Field,
    /// `tcp_sock.packets_out`
    pub packets_out: Field,
    /// `tcp_sock.snd_una`
    pub snd_una: Field,
    /// `tcp_sock.snd_nxt`
    pub snd_nxt: Field,
    /// `tcp_sock.snd_wnd`
    pub snd_wnd: Field,
    /// `tcp_sock.write_seq`
    pub write_seq: Field,
    /// `tcp_sock.rcv_nxt`
    pub rcv_nxt: Field,
    /// `tcp_sock.first_tx_mstamp`, in µs of `CLOCK_MONOTONIC`
    pub first_tx: Field,
    /// `tcp_sock.keepalive_time`
    pub keepidle: Field,
    /// `tcp_sock.keepalive_intvl`
    pub keepintvl: Field,
    /// `tcp_sock.keepalive_probes`
    pub keepcnt: Field,
    /// The keepalive timer: `inet_connection_sock.icsk_keepalive_timer`, else `sock.sk_timer`
    pub keepalive_timer: Field,
    /// The write timer: `sock.tcp_retransmit_timer`, else
    /// `inet_connection_sock.icsk_retransmit_timer`
    pub write_timer: Field,
    /// `timer_list.function`, from the start of `timer_list`
    pub timer_function: Field,
    /// `inode.i_ino`, from the start of `socket_alloc.socket`
    pub inode: Field,
    /// `net.ns.inum`, from the start of `net`
    pub net_inum: Field,
    /// `net.ipv4.sysctl_tcp_keepalive_time`, from the start of `net`
    pub net_keepidle: Field,
    /// `net.ipv4.sysctl_tcp_keepalive_intvl`, from the start of `net`
    pub net_keepintvl: Field,
    /// `net.ipv4.sysctl_tcp_keepalive_probes`, from the start of `net`
    pub net_keepcnt: Field,
    /// `net.ipv4.sysctl_tcp_retries2`, from the start of `net`
    pub net_retries2: Field,
    /// `cgroup.kn`, from the start of `cgroup`; optional
    pub cgroup_kn: Field,
    /// `kernfs_node.id`, from the start of `kernfs_node`; optional
    pub kernfs_id: Field,
    /// `sk_buff.head`, from the start of `sk_buff`
    pub skb_head: Field,
    /// `sk_buff.len`, likewise
    pub skb_len: Field,
    /// `sk_buff.transport_header`, from the start of `sk_buff`
    pub skb_transport_header: Field,
    /// `bpf_iter_meta.seq`, from the start of `bpf_iter_meta`. This and what follows to `task_comm`
    /// are for the iterators, and optional.
    pub iter_seq: Field,
    /// `tcp_sock.copied_seq`
    pub copied_seq: Field,
    /// `sock.sk_ack_backlog`
    pub ack_backlog: Field,
    /// `sock.sk_max_ack_backlog`
    pub max_ack_backlog: Field,
    /// `timer_list.expires`, from the start of `timer_list`
    pub timer_expires: Field,
    /// `timer_list.entry.pprev`, from the start of `timer_list`; not 0 while the timer is armed
    pub timer_pprev: Field,
    /// `tcp_timewait_sock.tw_sk.tw_timer`, from the start of `tcp_timewait_sock`
    pub tw_timer: Field,
    /// `tcp_timewait_sock.tw_sk.tw_substate`, likewise
    pub tw_substate: Field,
    /// `tcp_request_sock.req.req.rsk_timer`, from the start of `tcp_request_sock`
    pub request_timer: Field,
    /// `socket.sk`, from the start of `socket`
    pub socket_sk: Field,
    /// `socket.file`, likewise
    pub socket_file: Field,
    /// `file.f_inode`, from the start of `file`
    pub file_inode: Field,
    /// `file.private_data`, likewise: the `socket`, where the inode's mode says so
    pub file_private: Field,
    /// `inode.i_mode`, from the start of `inode`
    pub inode_mode: Field,
    /// `inode.i_ino`, likewise
    pub inode_number: Field,
    /// `inode.i_sb`, likewise
    pub inode_sb: Field,
    /// `super_block.s_magic`, from the start of `super_block`
    pub sb_magic: Field,
    /// `task_struct.tgid`, from the start of `task_struct`
    pub task_tgid: Field,
    /// `task_struct.group_leader`, likewise
    pub task_leader: Field,
    /// `task_struct.start_boottime`, likewise, in ns
    pub task_start: Field,
    /// `task_struct.comm`, likewise
    pub task_comm: Field,
    /// The stretch of `sock_common` with state, flags, network namespace and both ends. A stretch
    /// begins at a multiple of eight and is read at once.
    pub head: Field,
    /// The stretch of `inet_connection_sock` and `tcp_sock` with what moves as segments come and go.
    pub live: Field,
    /// The stretch of `tcp_sock` with `keepidle` and `keepintvl`.
    pub settings: Field,
    /// The stretch of `net` with the sysctls.
    pub sysctls: Field,
    /// Not 0 where `cgroup` is a tagged union (up to 5.14): bit 0 set means no pointer.
    pub cgroup_tagged: u32,
    /// Enumerator `SOCK_DEAD`: a bit number in `flags`
    pub sock_dead: u32,
    /// Enumerator `SOCK_KEEPOPEN`: a bit number in `flags`
    pub sock_keepopen: u32,
    /// Enumerator `LINUX_MIB_TCPKEEPALIVE`
    pub mib_keepalive: u32,
    /// Enumerator `LINUX_MIB_TCPWINPROBE`
    pub mib_winprobe: u32,
    /// Explicit padding; 0.
    pub reserved: u32,
    /// Address of `tcp_keepalive_timer`; 0 when not known (only the tracepoint plan needs it)
    pub fn_keepalive_timer: u64,
    /// Address of `tcp_write_timer`; 0 when not known (only the tracepoint plan needs it)
    pub fn_write_timer: u64,
}

/// What the user chose, for the kernel side.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Idle time in jiffies from which untracked resets and drops are told.
    pub idle_floor: u32,
    /// Ring buffer bytes that may wait before the reader is woken for ordinary records.
    pub wakeup_bytes: u32,
}
