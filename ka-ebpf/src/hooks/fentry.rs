//! Plan 1: trampolines on the functions themselves. Exact; nothing is skipped.
//!
//! The return value of an `fexit` program stands behind the arguments in its context
//! (`bpf_get_func_ret` came only with 5.17).

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use crate::{
    emit::tell_trouble,
    kernel::{layout, socket_of},
    persist, run,
};

/// `tcp_keepalive_timer(struct timer_list *)` begins.
#[fentry(function = "tcp_keepalive_timer")]
pub(crate) fn ka_fentry_keepalive(ctx: FEntryContext) -> i32 {
    if let Some(switches) = run::enabled() {
        let timer: u64 = ctx.arg(0);
        run::keepalive_begin(switches, timer, socket_of(timer, layout!(keepalive_timer)));
        tell_trouble(&ctx);
    }
    0
}

/// `tcp_keepalive_timer` ended. The socket may be gone.
#[fexit(function = "tcp_keepalive_timer")]
pub(crate) fn ka_fexit_keepalive(ctx: FExitContext) -> i32 {
    if let Some(switches) = run::enabled() {
        run::end(switches, ctx.arg(0));
    }
    0
}

/// `int tcp_write_wakeup(struct sock *, int mib)` returned, under the socket lock.
#[fexit(function = "tcp_write_wakeup")]
pub(crate) fn ka_fexit_wakeup(ctx: FExitContext) -> i32 {
    if run::enabled().is_some() && ctx.arg::<u32>(1) == layout!(mib_keepalive) {
        if let Some(run) = run::current_on(ctx.arg(0)) {
            run::keepalive_probe(run, ctx.arg(2));
        }
    }
    0
}

/// `tcp_write_timer(struct timer_list *)` begins.
#[fentry(function = "tcp_write_timer")]
pub(crate) fn ka_fentry_write(ctx: FEntryContext) -> i32 {
    if let Some(switches) = run::enabled() {
        let sk = socket_of(ctx.arg(0), layout!(write_timer));
        persist::write_begin(switches, sk, sk);
    }
    0
}

/// `tcp_write_timer` ended.
#[fexit(function = "tcp_write_timer")]
pub(crate) fn ka_fexit_write(ctx: FExitContext) -> i32 {
    if let Some(switches) = run::enabled() {
        run::end(switches, socket_of(ctx.arg(0), layout!(write_timer)));
    }
    0
}

/// `tcp_write_timer_handler(struct sock *)` begins: in `tcp_write_timer`, or deferred to the
/// release of the socket lock.
#[fentry(function = "tcp_write_timer_handler")]
pub(crate) fn ka_fentry_handler(ctx: FEntryContext) -> i32 {
    if let Some(switches) = run::enabled() {
        let sk = ctx.arg(0);
        persist::write_begin(switches, sk, sk);
    }
    0
}

/// `tcp_write_timer_handler` ended.
#[fexit(function = "tcp_write_timer_handler")]
pub(crate) fn ka_fexit_handler(ctx: FExitContext) -> i32 {
    if let Some(switches) = run::enabled() {
        run::end(switches, ctx.arg(0));
    }
    0
}

/// `tcp_send_probe0(struct sock *)` returned, under the socket lock.
#[fexit(function = "tcp_send_probe0")]
pub(crate) fn ka_fexit_probe0(ctx: FExitContext) -> i32 {
    if run::enabled().is_some() {
        if let Some(run) = run::current_on(ctx.arg(0)) {
            persist::probe0(run);
        }
    }
    0
}
