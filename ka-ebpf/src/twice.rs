//! Two programs on one tracepoint, so that no event escapes both.
//!
//! The kernel does not enter a program on a CPU on which it is running already. When a softirq interrupts it
//! in process context, the softirq's own events pass it by: a whole batch of expiring timers closes
//! connections unseen, and only a count of missed runs tells. So each of these tracepoints has a second program with
//! the same work, attached after the first and therefore run right behind it: whichever of them is interrupted,
//! the other can be entered. Softirqs do not interrupt each other; two are enough.
//!
//! The first marks the event as its own. The second takes the mark away and leaves, or finds none and
//! does the work. The mark cannot be a flag that the first sets while it runs: most of the time in which
//! the kernel counts a program as running lies before its first instruction and behind its last.

use crate::maps::MARKS;

/// Places for marks; a power of two.
const PLACES: usize = 64;

/// Events that the first program took and the second has not looked at, each in the place that its address
/// names. More than one only while a softirq interrupts between the two; of events that fall into one
/// place the interrupted one would be told twice. A mark of a second program that could not be entered
/// stays, and is written over.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Marks([u64; PLACES]);

/// Which of the two programs this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    First,
    Second,
}

/// What is told of a socket, as the lowest bits of its address.
pub(crate) const CLOSED: u64 = 0;
pub(crate) const RESET: u64 = 1;

impl Turn {
    /// Whether this program has to do the work. To be asked once for each event.
    #[inline(always)]
    pub(crate) fn takes(self, sk: u64, what: u64) -> bool {
        let Some(marks) = MARKS.get_ptr_mut(0) else { return self == Self::First };
        let event = sk | what;
        // Sockets differ in their middle bits.
        let place = (event.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize;
        // SAFETY: per CPU. Whoever interrupts marks another socket, and leaves no mark behind where both
        // programs could be entered.
        let mark = unsafe { &mut (*marks).0[place & (PLACES - 1)] };
        match self {
            Self::First => {
                *mark = event;
                true
            }
            Self::Second if *mark == event => {
                *mark = 0;
                false
            }
            Self::Second => true,
        }
    }
}
