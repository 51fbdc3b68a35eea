//! Reading the kernel: members at the offsets that the daemon resolved, and the clock.
//!
//! A socket found from its timer is an untyped address, so `bpf_probe_read_kernel` reads it; that
//! helper fills with zeros where it fails, and its result is not looked at: a branch for each of
//! the reads would cost the verifier of 5.10 more than its million instructions.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated;
use ka_common::Field;

/// TCP states past the handshake carry a connection that can be dropped.
pub(crate) const SYN_SENT: u8 = 2;
pub(crate) const SYN_RECV: u8 = 3;
pub(crate) const FIN_WAIT1: u8 = 4;
pub(crate) const FIN_WAIT2: u8 = 5;
pub(crate) const CLOSE: u8 = 7;
pub(crate) const LISTEN: u8 = 10;
pub(crate) const NEW_SYN_RECV: u8 = 12;
/// `icsk_pending` while the persist timer runs (`ICSK_TIME_PROBE0`).
pub(crate) const PENDING_PROBE0: u8 = 3;
/// The program reads no more (`sk_shutdown`).
pub(crate) const RCV_SHUTDOWN: u64 = 1;
/// `socket.state` of a socket that was accepted, or whose connect has returned.
pub(crate) const SS_CONNECTED: u64 = 3;
pub(crate) const IPPROTO_TCP: u64 = 6;
pub(crate) const AF_INET6: u16 = 10;
pub(crate) const ETIMEDOUT: i32 = 110;

/// One member of the layout. Volatile, so that the compiler does not fold the zeros that stand in
/// the object file; the verifier knows the daemon's values as constants.
macro_rules! layout {
    ($($member:ident).+) => {{
        // SAFETY: a read of a static, through a pointer that is valid and aligned.
        unsafe { core::ptr::read_volatile(&raw const crate::maps::KA_LAYOUT.$($member).+) }
    }};
}
pub(crate) use layout;

/// Reads a plain value at an address of the kernel; zeros where it cannot be read.
#[inline(always)]
pub(crate) fn read<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the buffer has the size given, every bit pattern of the integers read here is valid.
    unsafe {
        generated::bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        value.assume_init()
    }
}

/// Reads a member whose size this program knows.
#[inline(always)]
pub(crate) fn member<T: Copy>(base: u64, offset: u32) -> T {
    read(base + u64::from(offset))
}

/// Reads an unsigned member whose size differs between kernels.
#[inline(always)]
pub(crate) fn sized(base: u64, field: Field) -> u64 {
    let mut value = 0u64;
    // SAFETY: the mask keeps the size within the buffer; the kernels supported are little endian.
    unsafe {
        generated::bpf_probe_read_kernel(
            (&raw mut value).cast(),
            field.size & 0xf,
            (base + u64::from(field.offset)) as *const _,
        );
    }
    value
}

/// The socket that a timer belongs to.
#[inline(always)]
pub(crate) fn socket_of(timer: u64, field: Field) -> u64 {
    timer - u64::from(field.offset)
}

/// `tcp_jiffies32` now.
#[inline(always)]
pub(crate) fn jiffies() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { generated::bpf_jiffies64() as u32 }
}

/// `CLOCK_MONOTONIC` in ns.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: no arguments, cannot fail.
    unsafe { generated::bpf_ktime_get_ns() }
}

/// Whether a flag of `enum sock_flags` is set.
#[inline(always)]
pub(crate) fn flag(sk_flags: u64, number: u32) -> bool {
    (sk_flags >> (number & 63)) & 1 == 1
}
