//! What the table tells of silent connections to what learns from them ([`crate::learn`]): those that answered
//! a probe after it, and those that died of it.

use super::cause::{Cause, heard_age, idle_at_drop};
use super::clock::Clock;
use super::entries::{Entry, Seen};
use super::sockets::SocketTable;
use crate::inventory::describe;
use crate::learn::{Counts, Generation, Silence, Survival};
use ka_common::Record;
use std::net::IpAddr;
use std::time::Duration;

/// How exactly ages and moments agree.
const SLACK: Duration = Duration::from_millis(100);

impl SocketTable {
    /// Takes silences that sweeps saw survived.
    pub fn survived(&mut self, survivals: &[Survival]) {
        for survival in survivals {
            self.learner.survived(*survival);
        }
    }

    /// Weighs what was learned since, and forgets what is old; whether anything changed.
    pub fn learn(&mut self, now_ns: u64) -> bool {
        let changed = self.learner.turn(now_ns);
        if changed {
            self.counts.learned = self.learner.learned();
        }
        changed
    }

    /// The probe of a record was answered after a silence that counts.
    pub(super) fn outlived(&mut self, record: &Record, outlived: Option<(Silence, Counts)>) {
        if let Some((silence, counts)) = outlived.filter(|_| record.flags & Record::ORPHAN == 0) {
            self.learner.survived(Survival { remote: remote(record), silence, counts });
        }
    }

    /// A connection was dropped; `entry`: what was known of it.
    pub(super) fn silenced(&mut self, record: &Record, cause: Cause, entry: Option<&Entry>) {
        if let Some(silence) = deadly(record, cause, entry, self.clock) {
            let silent = u64::try_from(heard_age(record, self.clock).as_nanos()).unwrap_or(u64::MAX);
            let heard_ns = record.time_ns.saturating_sub(silent);
            self.learner.died(remote(record), silence, heard_ns..=record.time_ns);
        }
    }
}

fn remote(record: &Record) -> IpAddr {
    describe::end(record.family, record.remote, record.remote_port).ip()
}

/// The silence that a connection died of: the one before what went unanswered or met a reset first.
fn deadly(record: &Record, cause: Cause, entry: Option<&Entry>, clock: Clock) -> Option<Silence> {
    let before_probe = entry.and_then(|entry| entry.silence);
    match cause {
        Cause::KeepaliveTimeout => before_probe,
        // What is not sent waits for a shut window: the peer was heard all the time.
        Cause::ResetByProbe if record.unsent > 0 => None,
        Cause::ResetByProbe => {
            let only = record.probes_out <= 1;
            before_probe.or_else(|| Silence::of(idle_at_drop(record, cause, clock)).filter(|_| only))
        }
        Cause::ResetAfterIdle | Cause::TimeoutAfterIdle => Silence::of(idle_at_drop(record, cause, clock)),
        Cause::UserTimeout
        | Cause::ZeroWindowTimeout
        | Cause::RetransmitTimeout
        | Cause::ResetWhileIdle
        | Cause::Reset
        | Cause::ResetAfterClose
        | Cause::Aborted
        | Cause::Other => None,
    }
}

impl Entry {
    /// A probe goes out. To be told before it takes the place of the last one.
    ///
    /// The peer's own probes move nothing but the number of segments, and keep a middlebox awake. That there
    /// were none shows only from one probe to the next: between them came the answer, and nothing else.
    pub(super) fn probes(&mut self, record: &Record, clock: Clock) {
        let came = record.segs_in.wrapping_sub(self.segs_in);
        let answered = self.set_answered(false);
        self.segs_in = record.segs_in;
        if record.probes_out > 1 {
            // The one before it may have reached the middlebox.
            self.silence = self.silence.filter(|_| !answered);
            self.set_seen(Seen::Broken);
            return;
        }
        let [acked, received, sent] =
            [record.acked_age, record.received_age, record.sent_age].map(|age| clock.age_jiffies(age));
        let data = received.min(sent);
        self.silence = Silence::of(clock.duration(data.min(acked)));
        let no_data = || {
            let since_last = Duration::from_nanos(record.time_ns.saturating_sub(self.run_ns));
            self.run_ns != 0 && clock.duration(data) + SLACK >= since_last
        };
        let seen = match came {
            1 if answered => Seen::Whole,
            2.. if no_data() => Seen::Broken,
            _ => Seen::InPart,
        };
        self.set_seen(seen);
    }

    /// The probe was settled; tells the silence before it, if this was survived and counts.
    pub(super) fn settles(&mut self, record: &Record, answered: bool) -> Option<(Silence, Counts)> {
        self.set_answered(answered);
        if !answered {
            return None;
        }
        let silence = self.silence.take()?;
        let whole = match self.seen() {
            Seen::Whole => true,
            Seen::InPart => false,
            Seen::Broken => return None,
        };
        let counts = self.counted.take(silence, whole, Generation::at(record.time_ns))?;
        Some((silence, counts))
    }
}
