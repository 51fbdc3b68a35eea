//! Reading the kernel: members at the offsets that the daemon resolved, and the clock.
//!
//! A socket found from its timer is an untyped address, so `bpf_probe_read_kernel` reads it; that
//! helper fills with zeros where it fails, and its result is not looked at: a branch for each of
//! the reads would cost the verifier of 5.10 more than its million instructions.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated;
use ka_common::{Field, layout::Bit};

/// TCP states past the handshake carry a connection that can be dropped.
pub(crate) const SYN_SENT: u8 = 2;
pub(crate) const SYN_RECV: u8 = 3;
pub(crate) const FIN_WAIT2: u8 = 5;
pub(crate) const CLOSE: u8 = 7;
pub(crate) const LISTEN: u8 = 10;
pub(crate) const NEW_SYN_RECV: u8 = 12;
/// `icsk_pending` while the persist timer runs (`ICSK_TIME_PROBE0`).
pub(crate) const PENDING_PROBE0: u8 = 3;
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

/// Reads one bit.
#[inline(always)]
pub(crate) fn bit(base: u64, bit: Bit) -> bool {
    bit.mask != 0 && u32::from(member::<u8>(base, bit.offset)) & bit.mask != 0
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

/// The activity of a socket, as a timer run or a reset finds it.
#[derive(Clone, Copy)]
pub(crate) struct Activity {
    pub(crate) segs_in: u32,
    pub(crate) segs_out: u32,
    pub(crate) rcv_tstamp: u32,
    pub(crate) snd_nxt: u32,
    pub(crate) mstamp: u64,
    pub(crate) probes_out: u8,
}

impl Activity {
    #[inline(always)]
    pub(crate) fn read(sk: u64) -> Self {
        Self {
            segs_in: member(sk, layout!(segs_in.offset)),
            segs_out: member(sk, layout!(segs_out.offset)),
            rcv_tstamp: member(sk, layout!(rcv_tstamp.offset)),
            snd_nxt: member(sk, layout!(snd_nxt.offset)),
            mstamp: member(sk, layout!(mstamp.offset)),
            probes_out: member(sk, layout!(probes_out.offset)),
        }
    }
}

/// What waits in the send queue.
#[derive(Clone, Copy)]
pub(crate) struct Queue {
    pub(crate) packets_out: u32,
    pub(crate) unacked: u32,
    pub(crate) unsent: u32,
    pub(crate) snd_wnd: u32,
}

impl Queue {
    #[inline(always)]
    pub(crate) fn read(sk: u64) -> Self {
        let snd_nxt: u32 = member(sk, layout!(snd_nxt.offset));
        Self {
            packets_out: member(sk, layout!(packets_out.offset)),
            unacked: snd_nxt.wrapping_sub(member(sk, layout!(snd_una.offset))),
            unsent: member::<u32>(sk, layout!(write_seq.offset)).wrapping_sub(snd_nxt),
            snd_wnd: member(sk, layout!(snd_wnd.offset)),
        }
    }

    /// Whether nothing is in flight and nothing waits: what keepalive asks for.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.packets_out == 0 && self.unsent == 0
    }

    /// Whether the window lets the next byte out.
    #[inline(always)]
    pub(crate) fn window_open(&self) -> bool {
        self.snd_wnd > self.unacked
    }
}

/// Jiffies since something was last heard, as `keepalive_time_elapsed` counts them: an accepted
/// acknowledgement or data.
#[inline(always)]
pub(crate) fn heard_age(sk: u64, jiffies: u32) -> u32 {
    let acked = jiffies.wrapping_sub(member(sk, layout!(rcv_tstamp.offset)));
    let received = jiffies.wrapping_sub(member(sk, layout!(lrcvtime.offset)));
    if acked < received { acked } else { received }
}

/// The idle time after which the kernel probes this socket, in jiffies.
#[inline(always)]
pub(crate) fn keepidle(sk: u64) -> u32 {
    let own: u32 = member(sk, layout!(keepidle.offset));
    if own != 0 {
        return own;
    }
    let net: u64 = member(sk, layout!(net.offset));
    sized(net, layout!(net_keepidle)) as u32
}
