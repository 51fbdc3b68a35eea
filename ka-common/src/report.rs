//! What lies in the ring buffer: a [`Record`], and the outcome of the socket's probe before where it rides
//! along. A run of the keepalive timer settles one probe and sends the next; as two records they would
//! say the same of the socket twice.

use core::mem::{offset_of, size_of};

use crate::record::Record;
#[cfg(feature = "user")]
use crate::{
    kind::{Kind, Timer},
    record::DecodeError,
};

/// As it lies in the ring buffer: native byte order, no pointers, no padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Report {
    /// What happened.
    pub record: Record,
    /// What was found out before, at the begin of the same run.
    pub settled: Settlement,
}

/// What a `ProbeSettled` does not share with the record that it rides along with. All 0: none rides along.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Settlement {
    /// Begin of the run that sent the probe. 0: there is no settlement.
    pub run_ns: u64,
    /// When the probe was sent, in µs of `CLOCK_MONOTONIC`.
    pub probe_us: u64,
    /// µs from there to the answer, of an answered probe. [`Settlement::NO_TRIP`]: not known.
    pub trip_us: u32,
    /// How long before the record this was found out, in ns; at most 4.3 s.
    pub ago_ns: u32,
    /// As in [`Record`], when it was found out.
    pub acked_age: u32,
    /// As in [`Record`], when it was found out.
    pub received_age: u32,
    /// Segments received since the probe; 65,535: so many or more.
    pub segs_in: u16,
    /// Segments sent since the probe; 65,535: so many or more.
    pub segs_out: u16,
    /// [`Record::ANSWERED`] and [`Record::EXACT`].
    pub flags: u16,
    /// TCP state.
    pub state: u8,
    /// As in [`Record`].
    pub probes_out: u8,
}

impl Settlement {
    /// No settlement.
    pub const NONE: Self = Self {
        run_ns: 0,
        probe_us: 0,
        trip_us: 0,
        ago_ns: 0,
        acked_age: 0,
        received_age: 0,
        segs_in: 0,
        segs_out: 0,
        flags: 0,
        state: 0,
        probes_out: 0,
    };

    /// In `trip_us`: when the answer arrived is not known, or not within 71 minutes.
    pub const NO_TRIP: u32 = u32::MAX;
}

impl Report {
    /// Size in the ring buffer.
    pub const SIZE: usize = size_of::<Self>();

    /// A record that nothing rides along with.
    #[must_use]
    pub const fn alone(record: Record) -> Self {
        Self { record, settled: Settlement::NONE }
    }
}

#[cfg(feature = "user")]
impl Report {
    /// Reads the ring buffer's bytes and checks every closed set in them.
    ///
    /// # Errors
    /// The first field that is not what a record can hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        use zerocopy::FromBytes as _;
        let report = Self::read_from_bytes(bytes).map_err(|_| DecodeError::Length(bytes.len()))?;
        report.record.check()?;
        Ok(report)
    }

    /// The settlement that rides along, as a record of its own: it comes before the other one.
    #[must_use]
    pub fn settlement(&self) -> Option<Record> {
        const SHARED: u16 = Record::KEEPALIVE | Record::ORPHAN | Record::KERNEL;
        const OWN: u16 = Record::ANSWERED | Record::EXACT;
        let Self { record, settled } = self;
        let known = settled.flags & Record::ANSWERED != 0 && settled.trip_us != Settlement::NO_TRIP;
        (settled.run_ns != 0).then(|| Record {
            time_ns: record.time_ns.saturating_sub(settled.ago_ns.into()),
            run_ns: settled.run_ns,
            probe_us: settled.probe_us,
            answer_us: if known { settled.probe_us.wrapping_add(settled.trip_us.into()) } else { 0 },
            acked_age: settled.acked_age,
            received_age: settled.received_age,
            flight_age_ms: 0,
            segs_in: settled.segs_in.into(),
            segs_out: settled.segs_out.into(),
            count: 0,
            sk_err: 0,
            sk_err_soft: 0,
            flags: record.flags & SHARED | settled.flags & OWN,
            kind: Kind::ProbeSettled as u8,
            state: settled.state,
            timer: Timer::Keepalive as u8,
            reason: 0,
            probes_out: settled.probes_out,
            pending: 0,
            ..*record
        })
    }
}

// The layout is a contract with programs that are compiled for another target.
const _: () = assert!(size_of::<Settlement>() == 40);
const _: () = assert!(size_of::<Report>() == 240);
const _: () = assert!(align_of::<Report>() == 8);
const _: () = assert!(offset_of!(Report, settled) == 200);
const _: () = assert!(offset_of!(Settlement, segs_in) == 32);
const _: () = assert!(offset_of!(Settlement, probes_out) == 39);
