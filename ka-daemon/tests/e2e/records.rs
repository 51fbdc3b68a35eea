//! The daemon's record log, followed while it is written, and views of it by network namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// A line of the log: only what the scenarios assert.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rec {
    pub(crate) kind: String,
    /// Whether the table counted it; what it did not is a duplicate or matches no probe.
    pub(crate) counted: bool,
    pub(crate) netns: u64,
    pub(crate) sock: serde_json::Value,
    pub(crate) first_seen_ns: u64,
    #[serde(default)]
    pub(crate) run_ns: Option<u64>,
    pub(crate) local: String,
    pub(crate) remote: String,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) timer: Option<String>,
    #[serde(default)]
    pub(crate) keepidle_seconds: Option<f64>,
    #[serde(default)]
    pub(crate) keepintvl_seconds: Option<f64>,
    #[serde(default)]
    pub(crate) keepcnt: Option<u64>,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) answered: Option<bool>,
    #[serde(default)]
    pub(crate) rtt_us: Option<f64>,
    #[serde(default)]
    pub(crate) exact: Option<bool>,
    #[serde(default)]
    pub(crate) count: Option<u64>,
    #[serde(default)]
    pub(crate) inferred: Option<bool>,
    #[serde(default)]
    pub(crate) phase: Option<String>,
    #[serde(default)]
    pub(crate) settled: Option<bool>,
    #[serde(default)]
    pub(crate) cause: Option<String>,
    #[serde(default)]
    pub(crate) drop_timer: Option<String>,
    #[serde(default)]
    pub(crate) ended: Option<String>,
    #[serde(default)]
    pub(crate) idle_seconds: Option<f64>,
}

/// The log as far as it was written.
#[derive(Debug, Default)]
pub(crate) struct Log {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    offset: u64,
    tail: Vec<u8>,
    lines: Vec<(Rec, String)>,
}

impl Log {
    /// Reads what was written since the last call.
    pub(crate) fn follow(&self, path: &Path) -> Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = std::fs::File::open(path).with_context(|| format!("record log {}", path.display()))?;
        file.seek(SeekFrom::Start(inner.offset)).context("record log")?;
        let mut bytes = std::mem::take(&mut inner.tail);
        inner.offset += file.read_to_end(&mut bytes).context("record log")? as u64;
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        inner.tail = bytes.split_off(whole);
        for line in String::from_utf8(bytes).context("record log")?.lines() {
            let rec = serde_json::from_str(line).with_context(|| format!("record log line {line}"))?;
            inner.lines.push((rec, line.to_owned()));
        }
        Ok(())
    }

    /// The records of these namespaces, in order.
    pub(crate) fn view(&self, namespaces: &[u64]) -> View {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = inner.lines.iter().filter(|(r, _)| namespaces.contains(&r.netns)).cloned();
        View { lines: lines.collect() }
    }

    /// Every record.
    pub(crate) fn all(&self) -> View {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        View { lines: inner.lines.clone() }
    }
}

/// Some records, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    lines: Vec<(Rec, String)>,
}

impl View {
    /// The records.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Rec> {
        self.lines.iter().map(|(r, _)| r)
    }

    /// The lines as they were written, for a failure's report.
    pub(crate) fn text(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|(_, line)| line.as_str())
    }

    fn kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Rec> {
        self.records().filter(move |r| r.counted && r.kind == kind)
    }

    /// Keepalive probes sent.
    pub(crate) fn sent(&self) -> u64 {
        self.kind("probe_sent").count() as u64
    }

    fn settled(&self, answered: bool) -> u64 {
        self.kind("probe_settled").filter(|r| r.answered == Some(answered)).count() as u64
    }

    pub(crate) fn answered(&self) -> u64 {
        self.settled(true)
    }

    pub(crate) fn unanswered(&self) -> u64 {
        self.settled(false)
    }

    /// Resets that settled a keepalive probe.
    pub(crate) fn reset_settled(&self) -> u64 {
        self.kind("reset_received").filter(|r| r.settled == Some(true)).count() as u64
    }

    pub(crate) fn suppressed(&self, reason: &str) -> u64 {
        self.kind("suppressed").filter(|r| r.reason.as_deref() == Some(reason)).count() as u64
    }

    /// Attempts to probe a shut window, seen and inferred.
    pub(crate) fn window_probes(&self) -> u64 {
        self.kind("zero_window_probe").map(|r| r.count.unwrap_or(1)).sum()
    }

    /// Those that were inferred from a counter.
    pub(crate) fn inferred_window_probes(&self) -> u64 {
        self.kind("zero_window_probe")
            .filter(|r| r.inferred == Some(true))
            .map(|r| r.count.unwrap_or(1))
            .sum()
    }

    /// Round trips in µs, and whether each was taken at the arrival.
    pub(crate) fn round_trips(&self) -> Vec<(f64, bool)> {
        self.kind("probe_settled").filter_map(|r| Some((r.rtt_us?, r.exact == Some(true)))).collect()
    }

    /// Answered probes without a round trip.
    pub(crate) fn round_trips_skipped(&self) -> u64 {
        self.kind("probe_settled").filter(|r| r.answered == Some(true) && r.rtt_us.is_none()).count() as u64
    }

    /// `cause/timer` of each drop.
    pub(crate) fn drops(&self) -> Vec<String> {
        self.records()
            .filter_map(|r| {
                let timer = r.drop_timer.as_deref().or(r.timer.as_deref()).unwrap_or("?");
                Some(format!("{}/{timer}", r.cause.as_ref()?))
            })
            .collect()
    }

    /// `ka_connections_ended_total` kinds.
    pub(crate) fn ended(&self) -> Vec<String> {
        self.records()
            .filter_map(|r| r.ended.clone())
            .filter(|e| COUNTED_ENDS.contains(&e.as_str()))
            .collect()
    }

    /// Phase of each received reset.
    pub(crate) fn resets(&self) -> Vec<String> {
        self.kind("reset_received").map(|r| r.phase.clone().unwrap_or_else(|| "?".to_owned())).collect()
    }

    /// Idle age of each drop in seconds.
    pub(crate) fn idle_at_drop(&self) -> Vec<f64> {
        self.records().filter(|r| r.cause.is_some()).filter_map(|r| r.idle_seconds).collect()
    }

    /// Ends that the kernel counts as `TcpExtTCPAbortOnTimeout`.
    pub(crate) fn timer_ends(&self) -> u64 {
        let drops = self.drops();
        let by_timer = drops.iter().filter(|d| !d.ends_with("/none")).count();
        let ended = self.ended();
        let timeouts = ended.iter().filter(|e| e.ends_with("_timeout")).count();
        (by_timer + timeouts) as u64
    }

    /// Keepalive probes that neither settled nor were reset.
    ///
    /// # Errors
    /// A probe settled twice, or one that was never sent: conservation is broken by identity.
    pub(crate) fn pending(&self) -> Result<u64> {
        let mut open: BTreeSet<(String, u64, u64)> = BTreeSet::new();
        let mut settled: BTreeMap<(String, u64, u64), &str> = BTreeMap::new();
        for r in self.records() {
            let key = (r.sock.to_string(), r.first_seen_ns, r.run_ns.unwrap_or(0));
            let settles =
                r.kind == "probe_settled" || (r.kind == "reset_received" && r.settled == Some(true));
            if r.kind == "probe_sent" {
                ensure!(open.insert(key.clone()), "two probes sent in the run {key:?}");
            } else if settles {
                ensure!(open.remove(&key), "{} settles {key:?}, already {:?}", r.kind, settled.get(&key));
                settled.insert(key, &r.kind);
            }
        }
        Ok(open.len() as u64)
    }
}

/// `how` of `ka_connections_ended_total`.
const COUNTED_ENDS: [&str; 4] = ["orphan_timeout", "orphan_reset", "connect_timeout", "no_memory"];
