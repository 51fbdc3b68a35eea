//! A reading of a socket, in blocks.
//!
//! Each call of `bpf_probe_read_kernel` costs some 20 ns, whatever it copies, and a record needs
//! thirty members. The daemon tells which stretches of the structures hold them; each is copied
//! at once, and members are taken from the copy.

use aya_ebpf::helpers::generated;
use ka_common::{Field, layout};

use crate::{
    kernel::{CLOSE, layout, member, sized},
    maps::{NESTING, VIEW_SLOTS, VIEWS},
};

/// Space for a stretch of at most `MAX` bytes; eight more, so that any member that begins within it
/// is inside.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Block<const BYTES: usize>([u8; BYTES]);

const HEAD: usize = layout::HEAD_BYTES as usize + 8;
const LIVE: usize = layout::LIVE_BYTES as usize + 8;
const SETTINGS: usize = layout::SETTINGS_BYTES as usize + 8;
const SYSCTLS: usize = layout::SYSCTLS_BYTES as usize + 8;

impl<const BYTES: usize> Block<BYTES> {
    /// Bits that an offset may have: the sizes are powers of two, the eight more not counted.
    const MASK: u32 = BYTES as u32 - 9;

    /// Copies a stretch; zeros where it cannot be read. Its start is a multiple of eight.
    #[inline(always)]
    fn copy(&mut self, base: u64, span: Field) {
        // SAFETY: the mask keeps the size within the block.
        unsafe {
            generated::bpf_probe_read_kernel(
                self.0.as_mut_ptr().cast(),
                span.size & Self::MASK,
                (base + u64::from(span.offset)) as *const _,
            );
        }
    }

    /// A member of it, of a type whose size this program knows.
    #[inline(always)]
    fn get<T: Copy>(&self, span: Field, offset: u32) -> T {
        let place = (offset.wrapping_sub(span.offset) & Self::MASK) as usize;
        // SAFETY: the mask keeps the place within the block, and a `T` (at most eight bytes, any bits
        // valid) fits behind it. Members are aligned in the kernel, and the stretch begins at eight.
        unsafe { self.0.as_ptr().add(place).cast::<T>().read() }
    }

    /// An unsigned member whose size differs between kernels.
    #[inline(always)]
    fn sized(&self, span: Field, field: Field) -> u64 {
        match field.size {
            1 => u64::from(self.get::<u8>(span, field.offset)),
            2 => u64::from(self.get::<u16>(span, field.offset)),
            4 => u64::from(self.get::<u32>(span, field.offset)),
            8 => self.get(span, field.offset),
            _ => 0,
        }
    }
}

/// A reading of a socket. Lies in a map: it is larger than a program's stack.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) sk: u64,
    /// Not 0 once `settings`, `sysctls` and `keepcnt` are read too.
    complete: u64,
    keepcnt: u64,
    head: Block<HEAD>,
    live: Block<LIVE>,
    settings: Block<SETTINGS>,
    sysctls: Block<SYSCTLS>,
}

macro_rules! get {
    ($view:ident.$block:ident.$member:ident) => {
        $view.$block.get(layout!($block), layout!($member.offset))
    };
}

impl View {
    /// Reads who the socket is and what it does; settings when they are asked for.
    #[inline(always)]
    pub(crate) fn read(&mut self, sk: u64) {
        self.sk = sk;
        self.complete = 0;
        self.head.copy(sk, layout!(head));
        self.live.copy(sk, layout!(live));
    }

    /// Reads again what moves as segments come and go.
    #[inline(always)]
    pub(crate) fn refresh(&mut self) {
        self.live.copy(self.sk, layout!(live));
    }

    #[inline(always)]
    pub(crate) fn complete(&mut self) {
        if self.complete == 0 {
            self.complete = 1;
            self.settings.copy(self.sk, layout!(settings));
            self.keepcnt = sized(self.sk, layout!(keepcnt));
            self.sysctls.copy(self.net(), layout!(sysctls));
        }
    }

    #[inline(always)]
    pub(crate) fn state(&self) -> u8 {
        get!(self.head.state)
    }

    #[inline(always)]
    pub(crate) fn family(&self) -> u16 {
        get!(self.head.family)
    }

    #[inline(always)]
    pub(crate) fn flags(&self) -> u64 {
        self.head.sized(layout!(head), layout!(flags))
    }

    #[inline(always)]
    pub(crate) fn net(&self) -> u64 {
        get!(self.head.net)
    }

    /// Remote port.
    #[inline(always)]
    pub(crate) fn dport(&self) -> u16 {
        u16::from_be(get!(self.head.dport))
    }

    /// Local port; 0 once the socket gave it back.
    #[inline(always)]
    pub(crate) fn num(&self) -> u16 {
        get!(self.head.num)
    }

    /// The socket is closed, now.
    #[inline(always)]
    pub(crate) fn closed_now(&self) -> bool {
        member::<u8>(self.sk, layout!(state.offset)) == CLOSE
    }

    /// Local and remote IPv4 address, in network byte order.
    #[inline(always)]
    pub(crate) fn addresses(&self) -> (u32, u32) {
        (get!(self.head.saddr), get!(self.head.daddr))
    }

    /// Local and remote IPv6 address.
    #[inline(always)]
    pub(crate) fn addresses6(&self) -> ([u64; 2], [u64; 2]) {
        let words =
            |offset: u32| [self.head.get(layout!(head), offset), self.head.get(layout!(head), offset + 8)];
        (words(layout!(saddr6.offset)), words(layout!(daddr6.offset)))
    }

    #[inline(always)]
    pub(crate) fn probes_out(&self) -> u8 {
        get!(self.live.probes_out)
    }

    #[inline(always)]
    pub(crate) fn retransmits(&self) -> u8 {
        self.live.sized(layout!(live), layout!(retransmits)) as u8
    }

    /// ms
    #[inline(always)]
    pub(crate) fn user_timeout(&self) -> u32 {
        get!(self.live.user_timeout)
    }

    /// When an acknowledgement was last accepted, in jiffies.
    #[inline(always)]
    pub(crate) fn rcv_tstamp(&self) -> u32 {
        get!(self.live.rcv_tstamp)
    }

    /// When data was last received, in jiffies.
    #[inline(always)]
    pub(crate) fn lrcvtime(&self) -> u32 {
        get!(self.live.lrcvtime)
    }

    /// When data was last sent, in jiffies.
    #[inline(always)]
    pub(crate) fn lsndtime(&self) -> u32 {
        get!(self.live.lsndtime)
    }

    #[inline(always)]
    pub(crate) fn activity(&self) -> Activity {
        Activity {
            segs_in: get!(self.live.segs_in),
            segs_out: get!(self.live.segs_out),
            rcv_tstamp: self.rcv_tstamp(),
            snd_nxt: get!(self.live.snd_nxt),
            mstamp: get!(self.live.mstamp),
            probes_out: self.probes_out(),
        }
    }

    /// What the end of a timer run that begins now compares with.
    #[inline(always)]
    pub(crate) fn begin(&self, ns: u64) -> Begin {
        let now = self.activity();
        Begin {
            ns,
            segs_in: now.segs_in,
            segs_out: now.segs_out,
            rcv_tstamp: now.rcv_tstamp,
            snd_nxt: now.snd_nxt,
            probes_out: now.probes_out,
            queued: u8::from(!self.queue().is_empty()),
            reserved: [0; 2],
            lrcvtime: self.lrcvtime(),
        }
    }

    #[inline(always)]
    pub(crate) fn queue(&self) -> Queue {
        let snd_nxt: u32 = get!(self.live.snd_nxt);
        let snd_una: u32 = get!(self.live.snd_una);
        let write_seq: u32 = get!(self.live.write_seq);
        Queue {
            packets_out: get!(self.live.packets_out),
            unacked: snd_nxt.wrapping_sub(snd_una),
            unsent: write_seq.wrapping_sub(snd_nxt),
            snd_wnd: get!(self.live.snd_wnd),
        }
    }

    /// Jiffies since something was last heard, as `keepalive_time_elapsed` counts them: an accepted
    /// acknowledgement or data.
    #[inline(always)]
    pub(crate) fn heard_age(&self, jiffies: u32) -> u32 {
        let acked = jiffies.wrapping_sub(self.rcv_tstamp());
        let received = jiffies.wrapping_sub(self.lrcvtime());
        if acked < received { acked } else { received }
    }

    /// No data came since an acknowledgement was last accepted.
    #[inline(always)]
    pub(crate) fn no_data_since_ack(&self) -> bool {
        self.rcv_tstamp().wrapping_sub(self.lrcvtime()) as i32 >= 0
    }

    /// The idle time after which the kernel probes this socket, in jiffies.
    #[inline(always)]
    pub(crate) fn idle_limit(&mut self) -> u32 {
        self.complete();
        let own = self.keepidle();
        if own != 0 { own } else { self.sysctl(layout!(net_keepidle)) }
    }

    /// Of a complete reading: the socket's own setting in jiffies.
    #[inline(always)]
    pub(crate) fn keepidle(&self) -> u32 {
        get!(self.settings.keepidle)
    }

    /// Of a complete reading: the socket's own setting in jiffies.
    #[inline(always)]
    pub(crate) fn keepintvl(&self) -> u32 {
        get!(self.settings.keepintvl)
    }

    /// Of a complete reading: the socket's own setting.
    #[inline(always)]
    pub(crate) fn keepcnt(&self) -> u32 {
        self.keepcnt as u32
    }

    /// Of a complete reading: a setting of the network namespace.
    #[inline(always)]
    pub(crate) fn sysctl(&self, field: Field) -> u32 {
        self.sysctls.sized(layout!(sysctls), field) as u32
    }

    /// The socket is locked by its user, now.
    #[inline(always)]
    pub(crate) fn owned(&self) -> bool {
        sized(self.sk, layout!(owned)) != 0
    }
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

/// A socket as a timer run found it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Begin {
    pub(crate) ns: u64,
    pub(crate) segs_in: u32,
    pub(crate) segs_out: u32,
    pub(crate) rcv_tstamp: u32,
    pub(crate) snd_nxt: u32,
    pub(crate) probes_out: u8,
    /// Something was in flight or waited to be sent.
    pub(crate) queued: u8,
    reserved: [u8; 2],
    pub(crate) lrcvtime: u32,
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

/// Jiffies since something was last heard, of a socket that needs no whole reading.
#[inline(always)]
pub(crate) fn heard_age(sk: u64, jiffies: u32) -> u32 {
    let acked = jiffies.wrapping_sub(member(sk, layout!(rcv_tstamp.offset)));
    let received = jiffies.wrapping_sub(member(sk, layout!(lrcvtime.offset)));
    if acked < received { acked } else { received }
}

/// Reads a socket outside a timer run, and hands the reading to `work`. A softirq may interrupt
/// process context in there and read another socket: each level has a reading of its own.
#[inline(always)]
pub(crate) fn with_view(sk: u64, work: impl FnOnce(&mut View)) {
    let Some(nesting) = NESTING.get_ptr_mut(0) else { return };
    // SAFETY: per CPU; whoever interrupts puts it back to what it found.
    let level = unsafe { *nesting };
    if let Some(view) = VIEWS.get_ptr_mut(level & (VIEW_SLOTS - 1)) {
        // SAFETY: as above.
        unsafe { *nesting = level + 1 };
        // SAFETY: per CPU, and this level's alone.
        let view = unsafe { &mut *view };
        view.read(sk);
        work(view);
        // SAFETY: as above.
        unsafe { *nesting = level };
    }
}
