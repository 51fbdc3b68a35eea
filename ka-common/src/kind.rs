//! The closed sets of a record: its kind, why a probe was suppressed, which timer was running.

/// Declares an enum of bytes with its names, so that a number, a variant and a label cannot drift.
macro_rules! bytes_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $value:literal => $label:literal,)* }) => {
        $(#[$doc])*
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant = $value,)* }

        impl $name {
            /// Every variant, in order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The variant with this number.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name used in metrics, logs and JSON.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

bytes_enum! {
    /// What a record reports.
    Kind {
        /// A keepalive probe was handed to the network.
        ProbeSent = 1 => "probe_sent",
        /// The outcome of a keepalive probe, known at the next timer run or at the close.
        ProbeSettled = 2 => "probe_settled",
        /// A keepalive probe was due and was not sent; [`Suppression`] tells why.
        Suppressed = 3 => "suppressed",
        /// The persist timer attempted to probe a shut window.
        ZeroWindowProbe = 4 => "zero_window_probe",
        /// An RST arrived.
        ResetReceived = 5 => "reset_received",
        /// A connection that had an owner ended in an error.
        Dropped = 6 => "dropped",
        /// A connection ended in any other way.
        Closed = 7 => "closed",
    }
}

bytes_enum! {
    /// Why a due keepalive probe was not sent.
    Suppression {
        /// Data is unacknowledged or unsent: the retransmission timer governs.
        DataInFlight = 1 => "data_in_flight",
        /// A process holds the socket lock: the timer tries again shortly.
        SocketLocked = 2 => "socket_locked",
        /// The local queue discipline refused the probe.
        LocalCongestion = 3 => "local_congestion",
    }
}

bytes_enum! {
    /// The timer whose run saw what a record tells.
    Timer {
        /// No timer: the network, the owner or an administrator.
        None = 0 => "none",
        /// `tcp_keepalive_timer`.
        Keepalive = 1 => "keepalive",
        /// `tcp_write_timer` with a window probe pending.
        ZeroWindow = 2 => "zero_window",
        /// `tcp_write_timer` with a retransmission pending.
        Retransmit = 3 => "retransmit",
    }
}

/// One more than the highest number of a [`Kind`]: the length of an array indexed by it.
pub const KIND_SLOTS: usize = 8;
