//! Numbers of TCP states, as the kernel's `include/net/tcp_states.h` gives them to user space.

/// Data flows both ways.
pub const ESTABLISHED: u8 = 1;
/// Connecting.
pub const SYN_SENT: u8 = 2;
/// Accepting.
pub const SYN_RECV: u8 = 3;
/// We said goodbye; not yet acknowledged.
pub const FIN_WAIT1: u8 = 4;
/// We said goodbye; acknowledged.
pub const FIN_WAIT2: u8 = 5;
/// The peer said goodbye, we have not.
pub const CLOSE_WAIT: u8 = 8;
/// Both said goodbye, the peer first.
pub const LAST_ACK: u8 = 9;
/// Waits for connections.
pub const LISTEN: u8 = 10;
/// Both said goodbye at once.
pub const CLOSING: u8 = 11;

/// The name of a state as `ss` and the kernel write it; `UNKNOWN` for a number no kernel has.
#[must_use]
pub const fn state_name(state: u8) -> &'static str {
    match state {
        ESTABLISHED => "ESTABLISHED",
        SYN_SENT => "SYN_SENT",
        SYN_RECV => "SYN_RECV",
        FIN_WAIT1 => "FIN_WAIT1",
        FIN_WAIT2 => "FIN_WAIT2",
        6 => "TIME_WAIT",
        7 => "CLOSE",
        CLOSE_WAIT => "CLOSE_WAIT",
        LAST_ACK => "LAST_ACK",
        LISTEN => "LISTEN",
        CLOSING => "CLOSING",
        12 => "NEW_SYN_RECV",
        _ => "UNKNOWN",
    }
}
