//! `/api/v1/status`: what runs, how the kernel is hooked, what was lost.

use std::collections::BTreeMap;

use ka_common::Kind;
use serde::Serialize;
use utoipa::ToSchema;

use super::Readiness;
use crate::cli::settings::Settings;
use crate::inventory::totals::Sweep;
use crate::metrics::Build;
use crate::policy::{Policy, Severity};
use crate::status::{IntentStatus, KernelSide, ProgramStatus};
use crate::table::Snapshot;

/// The status in JSON, a contract: fields may be added, these stay.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status<'a> {
    version: &'static str,
    revision: &'static str,
    rustc: &'static str,
    uptime_seconds: f64,
    ready: bool,
    not_ready_reason: Option<&'a str>,
    kernel: Kernel<'a>,
    rtt: &'static str,
    intents: &'a [IntentStatus],
    programs: &'a [ProgramStatus],
    records: BTreeMap<&'static str, Records>,
    undecodable_of_unknown_kind: u64,
    tracked_sockets: u64,
    /// The last sweep over all sockets; null before the first.
    inventory: Option<Inventory>,
    /// The policies by which the last sweep judged; null before the first.
    policies: Option<Vec<PolicyInForce>>,
    /// The watch of the Kubernetes API; null: not asked for.
    #[schema(value_type = Option<Object>)]
    kubernetes: Option<serde_json::Value>,
    /// For support: a healthy node counts none, or few.
    oddities: Oddities,
    /// The options in force.
    #[schema(value_type = Object)]
    options: &'a Settings,
}

#[derive(Debug, Serialize, ToSchema)]
struct Kernel<'a> {
    release: &'a str,
    hz: u32,
    btf: &'a str,
}

#[derive(Debug, Serialize, ToSchema)]
struct Records {
    emitted: u64,
    received: u64,
    lost: Lost,
}

#[derive(Debug, Serialize, ToSchema)]
struct Lost {
    ring_full: u64,
    tracked_full: u64,
    undecodable: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Inventory {
    sweeps: u64,
    took_seconds: f64,
    ended_seconds: f64,
    sockets: u64,
    established: u64,
    keepalive_on: u64,
    network_namespaces: usize,
    /// Network namespaces that were there and could not be read.
    skipped_network_namespaces: usize,
    /// Sockets that a policy would cut and of which, for want of room, it is not known whether their peers
    /// probe.
    unwatched_sockets: u64,
}

/// A policy in force.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyInForce {
    name: String,
    idle_limit_seconds: f64,
    severity: Severity,
    /// Which connections it applies to, as the configuration has it.
    connections: String,
    /// What else is to be known.
    note: Option<String>,
}

impl From<&Policy> for PolicyInForce {
    fn from(policy: &Policy) -> Self {
        Self {
            name: policy.name.to_string(),
            idle_limit_seconds: policy.idle_limit.as_secs_f64(),
            severity: policy.severity,
            connections: policy.conditions.in_words(),
            note: policy.note.clone(),
        }
    }
}

impl From<&Sweep> for Inventory {
    fn from(sweep: &Sweep) -> Self {
        Self {
            sweeps: sweep.number,
            took_seconds: sweep.took.as_secs_f64(),
            ended_seconds: sweep.ended_seconds,
            sockets: sweep.sockets,
            established: sweep.established,
            keepalive_on: sweep.keepalive_on,
            network_namespaces: sweep.namespaces.len(),
            skipped_network_namespaces: sweep.skipped,
            unwatched_sockets: sweep.unwatched,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Oddities {
    duplicates: u64,
    unmatched: u64,
    table_full: u64,
    expired: u64,
    replaced: u64,
    netns_overflow: u64,
    /// Removed from the table because two sweeps in a row did not find them.
    not_found: u64,
    /// Tracked sockets that a sweep found and the table did not know.
    found: u64,
    mismatched_ends: u64,
}

impl<'a> Status<'a> {
    /// How the watch of the Kubernetes API fares.
    #[must_use]
    pub fn with_kubernetes(self, kubernetes: Option<serde_json::Value>) -> Self {
        Self { kubernetes, ..self }
    }

    /// Puts it together.
    #[must_use]
    pub fn new(
        build: Build,
        uptime_seconds: f64,
        readiness: &'a Readiness,
        kernel: &'a KernelSide,
        snapshot: &Snapshot,
        options: &'a Settings,
    ) -> Self {
        let records = Kind::ALL.iter().map(|kind| {
            let place = *kind as usize;
            let lost = Lost {
                ring_full: kernel.counters.ring_full[place],
                tracked_full: kernel.counters.tracked_full[place],
                undecodable: snapshot.undecodable[place],
            };
            let emitted = kernel.counters.emitted[place];
            (kind.label(), Records { emitted, received: snapshot.received(*kind), lost })
        });
        let odd = &snapshot.oddities;
        Self {
            version: build.version,
            revision: build.revision,
            rustc: build.rustc,
            uptime_seconds,
            ready: *readiness == Readiness::Ready,
            not_ready_reason: match readiness {
                Readiness::Ready => None,
                Readiness::NotReady(reason) => Some(reason),
            },
            kernel: Kernel { release: &kernel.release, hz: kernel.hz, btf: &kernel.btf },
            rtt: kernel.rtt,
            intents: &kernel.intents,
            programs: &kernel.programs,
            records: records.collect(),
            undecodable_of_unknown_kind: snapshot.undecodable[0],
            tracked_sockets: snapshot.tracked,
            inventory: snapshot.sweep.as_deref().map(Inventory::from),
            policies: snapshot
                .sweep
                .as_ref()
                .map(|sweep| sweep.policies.iter().map(PolicyInForce::from).collect()),
            kubernetes: None,
            oddities: Oddities {
                duplicates: odd.duplicates,
                unmatched: odd.unmatched,
                table_full: odd.table_full,
                expired: odd.expired,
                replaced: odd.replaced,
                netns_overflow: odd.netns_overflow,
                not_found: odd.not_found,
                found: odd.found,
                mismatched_ends: kernel.counters.mismatched_ends,
            },
            options,
        }
    }
}
