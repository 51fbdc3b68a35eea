//! Tracepoints of every plan: ends of connections, received resets, and arrivals where they are
//! asked for.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    close,
    kernel::{self, CLOSE, layout, member},
    run, tracked,
};

/// `inet_sock_set_state(const struct sock *, int old, int new)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn ka_set_state(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<u32>(2) == u32::from(CLOSE) {
        if let Some(switches) = run::enabled() {
            close::closed(switches, ctx.arg(0), ctx.arg::<u32>(1) as u8);
        }
    }
    0
}

/// `tcp_receive_reset(struct sock *)`
#[btf_tracepoint(function = "tcp_receive_reset")]
pub(crate) fn ka_receive_reset(ctx: BtfTracePointContext) -> i32 {
    if run::enabled().is_some() {
        close::reset(ctx.arg(0));
    }
    0
}

/// `tcp_probe(struct sock *, struct sk_buff *)`: each segment that an established socket receives,
/// before it is processed. Only with `--rtt exact`.
#[btf_tracepoint(function = "tcp_probe")]
pub(crate) fn ka_segment(ctx: BtfTracePointContext) -> i32 {
    let sk: u64 = ctx.arg(0);
    if member::<u8>(sk, layout!(probes_out.offset)) == 0 || run::enabled().is_none() {
        return 0;
    }
    let Some(tracked) = tracked::find(sk) else { return 0 };
    if tracked.arrival_ns != 0 || (tracked.probe_pending == 0 && tracked.run_open == 0) {
        return 0;
    }
    // The peer's own probe repeats an old byte; what is processed as an acknowledgement begins
    // where the receiver stands.
    let skb: u64 = ctx.arg(1);
    let head: u64 = member(skb, layout!(skb_head.offset));
    let header: u16 = member(skb, layout!(skb_transport_header.offset));
    let sequence = u32::from_be(kernel::read(head + u64::from(header) + 4));
    if sequence == member::<u32>(sk, layout!(rcv_nxt.offset)) {
        tracked.arrival_ns = kernel::now();
    }
    0
}
