//! What the programs read, as data: for each field of the layout, where the kernels have it and
//! which sizes the kernel side can read.

use ka_common::layout::{Field, HEAD_BYTES, KernelLayout, LIVE_BYTES, SETTINGS_BYTES, SYSCTLS_BYTES};

/// Sizes that the kernel side can read for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Exactly this many bytes.
    Bytes(u32),
    /// An integer of 1, 2, 4 or 8 bytes; the reading code takes its size into account.
    Integer,
    /// A whole structure, of the size that this kernel gives it.
    Structure(&'static str),
}

/// One field of the layout.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The field to fill.
    pub field: fn(&mut KernelLayout) -> &mut Field,
    /// Structure and member, best place first: kernels move members.
    pub places: &'static [(&'static str, &'static str)],
    /// What it must look like.
    pub width: Width,
    /// What is not available without it; none: without it nothing works.
    pub feature: Option<&'static str>,
}

/// One enumerator of the layout.
#[derive(Clone, Copy, Debug)]
pub struct WantedEnumerator {
    /// The field to fill.
    pub field: fn(&mut KernelLayout) -> &mut u32,
    /// Its name.
    pub name: &'static str,
}

const IPV6: Option<&str> = Some("addresses of IPv6 connections");
const CGROUP: Option<&str> = Some("owners by control group");
const TIMESTAMPS: Option<&str> = Some("an RST told from data just after a connection's own end");
/// What the inventory cannot do without; it then asks `sock_diag`.
pub const ITERATORS: &str = "the inventory by BPF iterators";
const ITER: Option<&str> = Some(ITERATORS);

macro_rules! wanted {
    ($field:ident, $width:expr, $feature:expr, $($strukt:literal . $member:literal)|+) => {
        Wanted { field: |layout| &mut layout.$field, places: &[$(($strukt, $member)),+], width: $width, feature: $feature }
    };
}

use Width::{Bytes, Integer, Structure};

/// Every field of the layout that is a member.
#[rustfmt::skip]
pub const MEMBERS: &[Wanted] = &[
    wanted!(family, Bytes(2), None, "sock_common"."skc_family"),
    wanted!(state, Bytes(1), None, "sock_common"."skc_state"),
    wanted!(daddr, Bytes(4), None, "sock_common"."skc_daddr"),
    wanted!(saddr, Bytes(4), None, "sock_common"."skc_rcv_saddr"),
    wanted!(daddr6, Bytes(16), IPV6, "sock_common"."skc_v6_daddr"),
    wanted!(saddr6, Bytes(16), IPV6, "sock_common"."skc_v6_rcv_saddr"),
    wanted!(dport, Bytes(2), None, "sock_common"."skc_dport"),
    wanted!(num, Bytes(2), None, "sock_common"."skc_num"),
    wanted!(sport, Bytes(2), None, "inet_sock"."inet_sport"),
    wanted!(net, Bytes(8), None, "sock_common"."skc_net.net"),
    wanted!(flags, Integer, None, "sock_common"."skc_flags"),
    wanted!(protocol, Integer, None, "sock"."sk_protocol"),
    wanted!(err, Integer, None, "sock"."sk_err"),
    wanted!(err_soft, Integer, None, "sock"."sk_err_soft"),
    wanted!(owned, Integer, None, "sock"."sk_lock.owned"),
    wanted!(socket, Bytes(8), None, "sock"."sk_socket"),
    wanted!(shutdown, Bytes(1), None, "sock"."sk_shutdown"),
    wanted!(socket_state, Integer, None, "socket"."state"),
    wanted!(cgroup, Bytes(8), CGROUP, "sock"."sk_cgrp_data.cgroup" | "sock"."sk_cgrp_data.val"),
    wanted!(pending, Bytes(1), None, "inet_connection_sock"."icsk_pending"),
    wanted!(retransmits, Integer, None, "inet_connection_sock"."icsk_retransmits"),
    wanted!(probes_out, Bytes(1), None, "inet_connection_sock"."icsk_probes_out"),
    wanted!(user_timeout, Bytes(4), None, "inet_connection_sock"."icsk_user_timeout"),
    wanted!(lrcvtime, Bytes(4), None, "inet_connection_sock"."icsk_ack.lrcvtime"),
    wanted!(rcv_tstamp, Bytes(4), None, "tcp_sock"."rcv_tstamp"),
    wanted!(rcv_tsval, Bytes(4), TIMESTAMPS, "tcp_sock"."rx_opt.rcv_tsval"),
    wanted!(ts_recent, Bytes(4), TIMESTAMPS, "tcp_sock"."rx_opt.ts_recent"),
    wanted!(lsndtime, Bytes(4), None, "tcp_sock"."lsndtime"),
    wanted!(segs_in, Bytes(4), None, "tcp_sock"."segs_in"),
    wanted!(segs_out, Bytes(4), None, "tcp_sock"."segs_out"),
    wanted!(mstamp, Bytes(8), None, "tcp_sock"."tcp_mstamp"),
    wanted!(packets_out, Bytes(4), None, "tcp_sock"."packets_out"),
    wanted!(snd_una, Bytes(4), None, "tcp_sock"."snd_una"),
    wanted!(snd_nxt, Bytes(4), None, "tcp_sock"."snd_nxt"),
    wanted!(snd_wnd, Bytes(4), None, "tcp_sock"."snd_wnd"),
    wanted!(write_seq, Bytes(4), None, "tcp_sock"."write_seq"),
    wanted!(rcv_nxt, Bytes(4), None, "tcp_sock"."rcv_nxt"),
    wanted!(first_tx, Bytes(8), None, "tcp_sock"."first_tx_mstamp"),
    wanted!(keepidle, Bytes(4), None, "tcp_sock"."keepalive_time"),
    wanted!(keepintvl, Bytes(4), None, "tcp_sock"."keepalive_intvl"),
    wanted!(keepcnt, Integer, None, "tcp_sock"."keepalive_probes"),
    // `sk_timer` stays behind, unused, where the timer has moved: the order matters.
    wanted!(keepalive_timer, Structure("timer_list"), None,
        "inet_connection_sock"."icsk_keepalive_timer" | "sock"."sk_timer"),
    wanted!(write_timer, Structure("timer_list"), None,
        "sock"."tcp_retransmit_timer" | "inet_connection_sock"."icsk_retransmit_timer"),
    wanted!(timer_function, Bytes(8), None, "timer_list"."function"),
    wanted!(inode, Integer, None, "socket_alloc"."vfs_inode.i_ino"),
    wanted!(net_inum, Bytes(4), None, "net"."ns.inum"),
    wanted!(net_keepidle, Integer, None, "net"."ipv4.sysctl_tcp_keepalive_time"),
    wanted!(net_keepintvl, Integer, None, "net"."ipv4.sysctl_tcp_keepalive_intvl"),
    wanted!(net_keepcnt, Integer, None, "net"."ipv4.sysctl_tcp_keepalive_probes"),
    wanted!(net_retries2, Integer, None, "net"."ipv4.sysctl_tcp_retries2"),
    wanted!(cgroup_kn, Bytes(8), CGROUP, "cgroup"."kn"),
    wanted!(kernfs_id, Bytes(8), CGROUP, "kernfs_node"."id"),
    wanted!(skb_head, Bytes(8), None, "sk_buff"."head"),
    wanted!(skb_len, Bytes(4), None, "sk_buff"."len"),
    wanted!(skb_transport_header, Bytes(2), None, "sk_buff"."transport_header"),
    wanted!(iter_seq, Bytes(8), ITER, "bpf_iter_meta"."seq"),
    wanted!(copied_seq, Bytes(4), ITER, "tcp_sock"."copied_seq"),
    wanted!(ack_backlog, Integer, ITER, "sock"."sk_ack_backlog"),
    wanted!(max_ack_backlog, Integer, ITER, "sock"."sk_max_ack_backlog"),
    wanted!(timer_expires, Bytes(8), ITER, "timer_list"."expires"),
    wanted!(timer_pprev, Bytes(8), ITER, "timer_list"."entry.pprev"),
    wanted!(tw_timer, Structure("timer_list"), ITER, "tcp_timewait_sock"."tw_sk.tw_timer"),
    wanted!(tw_substate, Bytes(1), ITER, "tcp_timewait_sock"."tw_sk.tw_substate"),
    wanted!(request_timer, Structure("timer_list"), ITER, "tcp_request_sock"."req.req.rsk_timer"),
    wanted!(socket_sk, Bytes(8), ITER, "socket"."sk"),
    wanted!(socket_file, Bytes(8), ITER, "socket"."file"),
    wanted!(file_inode, Bytes(8), ITER, "file"."f_inode"),
    wanted!(file_private, Bytes(8), ITER, "file"."private_data"),
    wanted!(inode_mode, Bytes(2), ITER, "inode"."i_mode"),
    wanted!(inode_number, Bytes(8), ITER, "inode"."i_ino"),
    wanted!(inode_sb, Bytes(8), ITER, "inode"."i_sb"),
    wanted!(sb_magic, Bytes(8), ITER, "super_block"."s_magic"),
    wanted!(task_tgid, Bytes(4), ITER, "task_struct"."tgid"),
    wanted!(task_leader, Bytes(8), ITER, "task_struct"."group_leader"),
    wanted!(task_start, Bytes(8), ITER, "task_struct"."start_boottime"),
    wanted!(task_comm, Bytes(16), ITER, "task_struct"."comm"),
];

/// A stretch of a structure that the kernel side reads at once.
#[derive(Clone, Copy, Debug)]
pub struct WantedSpan {
    /// The field to fill.
    pub field: fn(&mut KernelLayout) -> &mut Field,
    /// What it is, for people.
    pub name: &'static str,
    /// What lies in it.
    pub members: &'static [fn(&KernelLayout) -> Field],
    /// It is shorter than this.
    pub limit: u32,
}

/// Every stretch of the layout.
#[rustfmt::skip]
pub const SPANS: &[WantedSpan] = &[
    WantedSpan {
        field: |layout| &mut layout.head,
        name: "both ends of a socket",
        members: &[
            |l| l.family, |l| l.state, |l| l.daddr, |l| l.saddr, |l| l.daddr6, |l| l.saddr6, |l| l.dport,
            |l| l.num, |l| l.net, |l| l.flags,
        ],
        limit: HEAD_BYTES,
    },
    WantedSpan {
        field: |layout| &mut layout.live,
        name: "the activity of a socket",
        members: &[
            |l| l.retransmits, |l| l.probes_out, |l| l.user_timeout, |l| l.lrcvtime,
            |l| l.rcv_tstamp, |l| l.lsndtime, |l| l.segs_in, |l| l.segs_out, |l| l.mstamp, |l| l.packets_out,
            |l| l.snd_una, |l| l.snd_nxt, |l| l.snd_wnd, |l| l.write_seq,
        ],
        limit: LIVE_BYTES,
    },
    WantedSpan {
        field: |layout| &mut layout.settings,
        name: "the keepalive settings of a socket",
        members: &[|l| l.keepidle, |l| l.keepintvl],
        limit: SETTINGS_BYTES,
    },
    WantedSpan {
        field: |layout| &mut layout.sysctls,
        name: "the keepalive settings of a network namespace",
        members: &[|l| l.net_keepidle, |l| l.net_keepintvl, |l| l.net_keepcnt, |l| l.net_retries2],
        limit: SYSCTLS_BYTES,
    },
];

/// Every field of the layout that is an enumerator. They move between kernels.
pub const ENUMERATORS: &[WantedEnumerator] = &[
    WantedEnumerator { field: |layout| &mut layout.sock_dead, name: "SOCK_DEAD" },
    WantedEnumerator { field: |layout| &mut layout.sock_keepopen, name: "SOCK_KEEPOPEN" },
    WantedEnumerator { field: |layout| &mut layout.mib_keepalive, name: "LINUX_MIB_TCPKEEPALIVE" },
    WantedEnumerator { field: |layout| &mut layout.mib_winprobe, name: "LINUX_MIB_TCPWINPROBE" },
];

/// How `struct tcp_sock` begins: each structure is the first member of the one before it, so that
/// a pointer to one is a pointer to all. Structure, the member that holds the next one.
pub const SOCKET_CHAIN: &[(&str, &str)] = &[
    ("tcp_sock", "inet_conn"),
    ("inet_connection_sock", "icsk_inet"),
    ("inet_sock", "sk"),
    ("sock", "__sk_common"),
    ("sock_common", ""),
];

/// What `inode` is counted from: the programs hold a `struct socket *`, which is this member of
/// `struct socket_alloc`.
pub const SOCKET_IN_ALLOC: (&str, &str) = ("socket_alloc", "socket");
