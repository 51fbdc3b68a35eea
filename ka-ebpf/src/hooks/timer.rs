//! Plan 3: timer tracepoints. They see every timer of the machine, so they leave at the first
//! comparison unless the timer's function is one of the two that matter. A write-timer run that is
//! deferred to the release of the socket lock is no timer run, and is not seen.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    emit::tell_trouble,
    kernel::{layout, socket_of},
    persist, run,
};

/// `timer_expire_entry(struct timer_list *, unsigned long baseclk)`
#[btf_tracepoint(function = "timer_expire_entry")]
pub(crate) fn ka_timer_entry(ctx: BtfTracePointContext) -> i32 {
    let timer: u64 = ctx.arg(0);
    let member = timer + u64::from(layout!(timer_function.offset));
    // SAFETY: the argument is a typed pointer to a live `timer_list`, and the verifier checks that the
    // offset is its `function`. A helper would cost every timer of the machine 30 ns more.
    let function = unsafe { core::ptr::read_volatile(member as *const u64) };
    if function == layout!(fn_keepalive_timer) {
        if layout!(fn_keepalive_timer) != 0 {
            if let Some(switches) = run::enabled() {
                if switches.keepalive_by_timer != 0 {
                    run::keepalive_begin(switches, timer, socket_of(timer, layout!(keepalive_timer)));
                    tell_trouble(&ctx);
                }
            }
        }
    } else if function == layout!(fn_write_timer) {
        if layout!(fn_write_timer) != 0 {
            if let Some(switches) = run::enabled() {
                if switches.write_by_timer != 0 {
                    persist::write_begin(switches, timer, socket_of(timer, layout!(write_timer)));
                }
            }
        }
    }
    0
}

/// `timer_expire_exit(struct timer_list *)`: the timer may have been freed, only its address is
/// looked at.
#[btf_tracepoint(function = "timer_expire_exit")]
pub(crate) fn ka_timer_exit(ctx: BtfTracePointContext) -> i32 {
    let timer: u64 = ctx.arg(0);
    if let Some(run) = run::current() {
        if run.timer != 0 && run.key == timer {
            if let Some(switches) = run::enabled() {
                run::end(switches, timer);
            }
        }
    }
    0
}
