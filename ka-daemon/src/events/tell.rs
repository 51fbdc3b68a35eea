//! What the table made of a record, as those who listen are told: drops and unanswered probes.

use std::sync::Arc;
use std::time::Duration;

use ka_common::Record;

use crate::api::feed::Feed;
use crate::config;
use crate::inventory::describe::{end, in_force};
use crate::inventory::namespace::Sysctls;
use crate::inventory::presets::Raw;
use crate::owner::Owner;
use crate::policy::Connection;
use crate::table::{Cause, Clock, Snapshot, tcp};
use crate::view::event::{ProbeUnanswered, Totals};
use crate::view::{DropView, Event, PassedLimit, explain};

/// Tells what happens.
pub struct Teller {
    feed: Feed,
    config: Arc<config::Live>,
    /// What the realtime clock showed when the monotonic one showed 0.
    boot: Duration,
}

/// How a connection was dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropped {
    pub(super) cause: Cause,
    pub(super) timer: ka_common::Timer,
    pub(super) idle: Duration,
}

impl Teller {
    /// Tells it to a feed.
    #[must_use]
    pub fn new(feed: Feed, config: Arc<config::Live>) -> Self {
        Self { feed, config, boot: Duration::ZERO }
    }

    /// Sets what the realtime clock showed when the monotonic one showed 0.
    pub fn set_boot(&mut self, boot: Duration) {
        self.boot = boot;
    }

    /// Whether anybody listens.
    pub(super) fn wanted(&self) -> bool {
        self.feed.wanted()
    }

    fn time(&self, record: &Record) -> f64 {
        (self.boot + Duration::from_nanos(record.time_ns)).as_secs_f64()
    }

    /// A connection was dropped. Kept whether or not anybody listens.
    pub(super) fn dropped(&self, record: &Record, dropped: Dropped, owner: &Owner, clock: Clock) {
        let raw = Raw::from(record);
        let inherited = Sysctls {
            keepidle: clock.whole_seconds(record.sysctl_keepidle),
            keepintvl: clock.whole_seconds(record.sysctl_keepintvl),
            keepcnt: record.sysctl_keepcnt,
        };
        let settings = in_force(raw, &inherited, clock);
        let keepalive = record.flags & Record::KEEPALIVE != 0;
        let config = self.config.load();
        let preset = if keepalive { raw.preset(&config.presets, clock, &owner.comm) } else { None };
        let local = end(record.family, record.local, record.local_port);
        let remote = end(record.family, record.remote, record.remote_port);
        let keepidle = keepalive.then(|| Duration::from_secs(settings.keepidle.into()));
        let connection = Connection { local, remote, owner, keepidle };
        let mut view = DropView {
            id: 0,
            time_seconds: self.time(record),
            cause: dropped.cause.label().to_owned(),
            timer: dropped.timer.label().to_owned(),
            local,
            remote,
            state: tcp::state_name(record.state).to_owned(),
            netns: record.netns,
            inode: record.inode,
            keepalive,
            keepidle_seconds: settings.keepidle,
            keepintvl_seconds: settings.keepintvl,
            keepcnt: settings.keepcnt,
            origin: settings.origin,
            preset: preset.map(|name| name.to_string()),
            user_timeout_ms: record.user_timeout_ms,
            idle_seconds: dropped.idle.as_secs_f64(),
            passed: config.policies.passed(&connection, dropped.idle).map(|policy| PassedLimit {
                policy: policy.name.to_string(),
                idle_limit_seconds: policy.idle_limit.as_secs_f64(),
            }),
            probes_out: record.probes_out,
            retransmits: record.retransmits,
            unacked: record.unacked,
            unsent: record.unsent,
            error: record.sk_err,
            icmp_error: record.sk_err_soft,
            owner: owner.clone(),
            summary: String::new(),
            advice: String::new(),
        };
        explain::explain(&mut view);
        self.feed.dropped(view);
    }

    /// A probe went unanswered.
    pub(super) fn unanswered(&self, record: &Record, owner: &Owner) {
        let keepcnt = if record.keepcnt == 0 { record.sysctl_keepcnt } else { record.keepcnt };
        self.feed.publish(Event::ProbeUnanswered(Box::new(ProbeUnanswered {
            time_seconds: self.time(record),
            local: end(record.family, record.local, record.local_port),
            remote: end(record.family, record.remote, record.remote_port),
            netns: record.netns,
            probes_out: record.probes_out,
            keepcnt,
            owner: owner.clone(),
        })));
    }

    /// The totals so far.
    pub(super) fn totals(&self, snapshot: &Snapshot) {
        if self.wanted() {
            self.feed.publish(Event::Totals(totals(snapshot)));
        }
    }
}

/// A snapshot in one line.
#[must_use]
pub fn totals(snapshot: &Snapshot) -> Totals {
    let sweep = snapshot.sweep.as_deref();
    let mut totals = Totals {
        sockets: sweep.map_or(0, |sweep| sweep.established),
        keepalive_on: sweep.map_or(0, |sweep| sweep.keepalive_on),
        tracked: snapshot.tracked,
        lost: snapshot.undecodable.iter().sum(),
        ..Totals::default()
    };
    for owner in &snapshot.owners {
        totals.sent += owner.sent;
        totals.answered += owner.answered;
        totals.unanswered += owner.unanswered;
        totals.zero_window += owner.zero_window;
        totals.resets += owner.resets.iter().sum::<u64>();
        totals.dropped += owner.dropped.iter().flatten().sum::<u64>();
    }
    totals
}
