//! Plan 2: kprobes and kretprobes. The kernel skips runs while another BPF program is interrupted
//! or a kretprobe has no free instance; its counts of that are exported.
//!
//! A return probe sees no arguments: the run in progress on its CPU names the socket.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};

use crate::{
    emit::tell_trouble,
    kernel::{layout, socket_of},
    persist, run,
};

/// `tcp_keepalive_timer(struct timer_list *)` begins.
#[kprobe]
pub(crate) fn ka_kprobe_keepalive(ctx: ProbeContext) -> u32 {
    if let (Some(switches), Some(timer)) = (run::enabled(), ctx.arg::<u64>(0)) {
        run::keepalive_begin(switches, timer, socket_of(timer, layout!(keepalive_timer)));
        tell_trouble(&ctx);
    }
    0
}

/// The innermost run ends: `tcp_keepalive_timer`, `tcp_write_timer` or its handler.
#[inline(always)]
fn end() {
    if let (Some(switches), Some(run)) = (run::enabled(), run::current()) {
        run::end(switches, run.key);
    }
}

/// `tcp_keepalive_timer` ended. The socket may be gone.
#[kretprobe]
pub(crate) fn ka_kret_keepalive(_ctx: RetProbeContext) -> u32 {
    end();
    0
}

/// `int tcp_write_wakeup(struct sock *, int mib)` begins, under the socket lock.
#[kprobe]
pub(crate) fn ka_kprobe_wakeup(ctx: ProbeContext) -> u32 {
    if let (Some(_), Some(sk), Some(mib)) = (run::enabled(), ctx.arg::<u64>(0), ctx.arg::<u32>(1)) {
        if let Some(run) = run::current_on(sk) {
            run.in_wakeup = u8::from(mib == layout!(mib_keepalive));
        }
    }
    0
}

/// `tcp_write_wakeup` returned.
#[kretprobe]
pub(crate) fn ka_kret_wakeup(ctx: RetProbeContext) -> u32 {
    if let (Some(_), Some(run)) = (run::enabled(), run::current()) {
        if run.timer != 0 && run.in_wakeup != 0 {
            run.in_wakeup = 0;
            run::keepalive_probe(run, ctx.ret());
        }
    }
    0
}

/// `tcp_write_timer(struct timer_list *)` begins.
#[kprobe]
pub(crate) fn ka_kprobe_write(ctx: ProbeContext) -> u32 {
    if let (Some(switches), Some(timer)) = (run::enabled(), ctx.arg::<u64>(0)) {
        let sk = socket_of(timer, layout!(write_timer));
        persist::write_begin(switches, sk, sk);
    }
    0
}

/// `tcp_write_timer` ended.
#[kretprobe]
pub(crate) fn ka_kret_write(_ctx: RetProbeContext) -> u32 {
    end();
    0
}

/// `tcp_write_timer_handler(struct sock *)` begins.
#[kprobe]
pub(crate) fn ka_kprobe_handler(ctx: ProbeContext) -> u32 {
    if let (Some(switches), Some(sk)) = (run::enabled(), ctx.arg::<u64>(0)) {
        persist::write_begin(switches, sk, sk);
    }
    0
}

/// `tcp_write_timer_handler` ended.
#[kretprobe]
pub(crate) fn ka_kret_handler(_ctx: RetProbeContext) -> u32 {
    end();
    0
}

/// `tcp_send_probe0(struct sock *)` begins, under the socket lock.
#[kprobe]
pub(crate) fn ka_kprobe_probe0(ctx: ProbeContext) -> u32 {
    if let (Some(_), Some(sk)) = (run::enabled(), ctx.arg::<u64>(0)) {
        if let Some(run) = run::current_on(sk) {
            run.in_probe0 = 1;
        }
    }
    0
}

/// `tcp_send_probe0` returned.
#[kretprobe]
pub(crate) fn ka_kret_probe0(_ctx: RetProbeContext) -> u32 {
    if let (Some(_), Some(run)) = (run::enabled(), run::current()) {
        if run.timer != 0 && run.in_probe0 != 0 {
            run.in_probe0 = 0;
            persist::probe0(run);
        }
    }
    0
}
