//! Tracepoints of every plan: ends of connections and received resets, each by two programs (see
//! [`crate::twice`]), and arrivals where they are asked for.

use aya_ebpf::{EbpfContext, macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    close,
    kernel::{self, CLOSE, layout, member},
    run, tracked,
    twice::Turn,
};

/// `inet_sock_set_state(const struct sock *, int old, int new)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn ka_set_state(ctx: BtfTracePointContext) -> i32 {
    set_state(&ctx, Turn::First)
}

/// The same, behind it.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn ka_state_again(ctx: BtfTracePointContext) -> i32 {
    set_state(&ctx, Turn::Second)
}

#[inline(always)]
fn set_state(ctx: &BtfTracePointContext, turn: Turn) -> i32 {
    if ctx.arg::<u32>(2) == u32::from(CLOSE) {
        if let Some(switches) = run::enabled() {
            close::closed(turn, switches, socket(ctx), ctx.arg::<u32>(1) as u8);
        }
    }
    0
}

/// The first argument as a number: the verifier lets nobody calculate with a typed pointer.
#[inline(always)]
fn socket(ctx: &BtfTracePointContext) -> u64 {
    kernel::read(ctx.as_ptr() as u64)
}

/// `tcp_receive_reset(struct sock *)`
#[btf_tracepoint(function = "tcp_receive_reset")]
pub(crate) fn ka_receive_reset(ctx: BtfTracePointContext) -> i32 {
    if run::enabled().is_some() {
        close::reset(Turn::First, socket(&ctx));
    }
    0
}

/// The same, behind it.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub(crate) fn ka_reset_again(ctx: BtfTracePointContext) -> i32 {
    if run::enabled().is_some() {
        close::reset(Turn::Second, socket(&ctx));
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
    // The peer's own probe repeats an old byte; an answer begins where the receiver stands. Data
    // does too, and is none: the kernel need not even look at its acknowledgement.
    let skb: u64 = ctx.arg(1);
    let head: u64 = member(skb, layout!(skb_head.offset));
    let header: u16 = member(skb, layout!(skb_transport_header.offset));
    let [_, sequence, _, flags]: [u32; 4] = kernel::read(head + u64::from(header));
    let header_bytes = u32::from((flags as u8) >> 4) * 4;
    if u32::from_be(sequence) == member::<u32>(sk, layout!(rcv_nxt.offset))
        && member::<u32>(skb, layout!(skb_len.offset)) == header_bytes
    {
        tracked.arrival_ns = kernel::now();
    }
    0
}
