//! Programs for `cargo xtask bench` only: empty ones on the hooks of the real ones, a timer program
//! that compares by a direct load, and one that fills a ring buffer as fast as it is told to.
#![no_std]
#![no_main]

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated},
    macros::{btf_tracepoint, fentry, fexit, kprobe, kretprobe, map},
    maps::{Array, RingBuf},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use aya_log_ebpf::warn;
use ka_common::{Kind, Record, Report};

/// Place of `timer_list.function`; written before loading.
#[unsafe(no_mangle)]
static BENCH_FUNCTION_OFFSET: u32 = 0;
/// The process whose system calls emit; written before loading.
#[unsafe(no_mangle)]
static BENCH_TGID: u32 = 0;
/// The system call that emits; written before loading.
#[unsafe(no_mangle)]
static BENCH_SYSCALL: u32 = 0;
/// Bytes that wait before the reader is woken; written before loading.
#[unsafe(no_mangle)]
static BENCH_WAKEUP_BYTES: u32 = 0;

/// Reads a global that stands in the object file as 0.
macro_rules! global {
    ($name:ident) => {{
        // SAFETY: a read of a static, through a pointer that is valid and aligned.
        unsafe { core::ptr::read_volatile(&raw const $name) }
    }};
}

/// As many records as one system call emits.
const BURST: u32 = 200;
/// Sockets that the records are about.
const SOCKETS: u64 = 10_000;
const FIRST_SOCKET: u64 = 0xffff_8880_0000_0000;
const SOCKET_BYTES: u64 = 2432;
const AVAILABLE_DATA: u64 = 0;
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
const WAKEUP_INTERVAL_NS: u64 = 1_000_000;

/// What was emitted so far.
#[repr(C)]
struct Progress {
    emitted: u64,
    lost: u64,
    last_wakeup_ns: u64,
}

#[map(name = "KA_RECORDS")]
static RECORDS: RingBuf = RingBuf::with_byte_size(1 << 24, 0);

#[map(name = "BENCH_PROGRESS")]
static PROGRESS: Array<Progress> = Array::with_max_entries(1, 0);

/// Compares as `ka_timer_entry` does, but through the typed pointer of the tracepoint.
#[btf_tracepoint(function = "timer_expire_entry")]
fn direct_timer_entry(ctx: BtfTracePointContext) -> i32 {
    let timer: *const u8 = ctx.arg(0);
    let member = timer.wrapping_add(global!(BENCH_FUNCTION_OFFSET) as usize).cast::<u64>();
    // SAFETY: a load that the verifier checks against the kernel's type.
    let function = unsafe { core::ptr::read_volatile(member) };
    i32::from(function == 0)
}

/// Emits a burst of records when the chosen process makes the chosen system call.
#[btf_tracepoint(function = "sys_enter")]
fn bench_emit(ctx: BtfTracePointContext) -> i32 {
    let number: u64 = ctx.arg(1);
    if number != u64::from(global!(BENCH_SYSCALL))
        || (bpf_get_current_pid_tgid() >> 32) as u32 != global!(BENCH_TGID)
    {
        return 0;
    }
    let Some(progress) = PROGRESS.get_ptr_mut(0) else { return 0 };
    // SAFETY: one thread alone makes this system call.
    let progress = unsafe { &mut *progress };
    let mut left = BURST;
    while left > 0 {
        left -= 1;
        emit(progress);
    }
    if progress.lost == 1 {
        warn!(&ctx, "the ring buffer is full");
    }
    0
}

#[inline(always)]
fn emit(progress: &mut Progress) {
    let Some(mut entry) = RECORDS.reserve::<Report>(0) else {
        progress.lost += 1;
        return;
    };
    // SAFETY: no arguments, cannot fail.
    let now = unsafe { generated::bpf_ktime_get_ns() };
    let (round, place) = (progress.emitted / SOCKETS, progress.emitted % SOCKETS);
    let settles = round & 1 == 1;
    // SAFETY: all fields are integers.
    let mut report: Report = unsafe { core::mem::zeroed() };
    let record = &mut report.record;
    record.time_ns = now;
    record.sock = FIRST_SOCKET + place * SOCKET_BYTES;
    record.first_seen_ns = 1;
    record.run_ns = (round / 2 + 1) * 1_000_000;
    record.probe_us = record.run_ns / 1_000;
    record.keepidle = 3_750;
    record.keepintvl = 3_750;
    record.keepcnt = 9;
    record.netns = 1;
    record.family = 2;
    record.state = 1;
    record.flags = Record::KEEPALIVE;
    record.kind = Kind::ProbeSent as u8;
    if settles {
        record.kind = Kind::ProbeSettled as u8;
        record.flags |= Record::ANSWERED;
        record.answer_us = record.probe_us + 100;
        record.segs_in = 1;
    }
    entry.write(report);
    progress.emitted += 1;
    let waiting = RECORDS.query(AVAILABLE_DATA);
    if waiting < u64::from(global!(BENCH_WAKEUP_BYTES)) || now - progress.last_wakeup_ns < WAKEUP_INTERVAL_NS
    {
        entry.submit(NO_WAKEUP);
    } else {
        progress.last_wakeup_ns = now;
        entry.submit(FORCE_WAKEUP);
    }
}

#[btf_tracepoint(function = "timer_expire_entry")]
fn empty_timer_entry(_: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "timer_expire_exit")]
fn empty_timer_exit(_: BtfTracePointContext) -> i32 {
    0
}

#[fentry(function = "tcp_keepalive_timer")]
fn empty_fentry_keepalive(_: FEntryContext) -> i32 {
    0
}

#[fexit(function = "tcp_keepalive_timer")]
fn empty_fexit_keepalive(_: FExitContext) -> i32 {
    0
}

#[fexit(function = "tcp_write_wakeup")]
fn empty_fexit_wakeup(_: FExitContext) -> i32 {
    0
}

#[kprobe]
fn empty_kprobe_keepalive(_: ProbeContext) -> u32 {
    0
}

#[kretprobe]
fn empty_kret_keepalive(_: RetProbeContext) -> u32 {
    0
}

#[kprobe]
fn empty_kprobe_wakeup(_: ProbeContext) -> u32 {
    0
}

#[kretprobe]
fn empty_kret_wakeup(_: RetProbeContext) -> u32 {
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier has proven that no program can reach this.
    loop {}
}

// SAFETY: the section and symbol names are what the kernel's loader asks of a program's licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
