//! Every socket as it is shown, read afresh for whoever asks. Rows are handed on in small batches, so that
//! the memory it takes does not grow with their number.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use ka_common::SocketRow;

use super::describe;
use super::namespace::Sysctls;
use super::peers::Peers;
use super::presets::Raw;
use super::read::{Reader, Report};
use crate::api::{SocketSource, SourceError};
use crate::config;
use crate::run::owner::Table;
use crate::table::Clock;
use crate::view::filter::Filter;
use crate::view::{SocketView, risk};

/// Sockets whose round trips are asked for at once.
const BATCH: usize = 512;

/// Reads sockets and describes them.
#[derive(Clone)]
pub struct Listing {
    /// Reads them.
    pub reader: Reader,
    /// Knows their last round trips; none without a daemon.
    pub table: Option<Table>,
    /// Holds presets and policies.
    pub config: Arc<config::Live>,
    /// What sweeps saw of the probes of peers.
    pub peers: Peers,
    /// The kernel's tick rate.
    pub clock: Clock,
}

impl Listing {
    /// Hands over every socket that passes, until `each` has enough. Blocks.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn sockets(
        &self,
        filter: &Filter,
        each: &mut dyn FnMut(SocketView) -> ControlFlow<()>,
    ) -> io::Result<Report> {
        let mut batch =
            Batch { listing: self, filter, each, rows: Vec::new(), flow: ControlFlow::Continue(()) };
        let report = self.reader.read(&mut |netns, row| {
            // Namespaces that nobody asked for need no description.
            if filter.netns.is_none_or(|wanted| wanted == netns.netns) {
                batch.row(netns.netns, netns.sysctls, row);
            }
            batch.flow
        });
        batch.flush();
        report
    }
}

impl SocketSource for Listing {
    fn sockets(
        &self,
        filter: &Filter,
        each: &mut dyn FnMut(SocketView) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        Self::sockets(self, filter, each).map(drop).map_err(|error| SourceError::new(error.to_string()))
    }

    fn check_policy(&self, name: &str) -> Result<(), String> {
        self.config.load().policies.check_name(name)
    }
}

struct Batch<'a> {
    listing: &'a Listing,
    filter: &'a Filter,
    each: &'a mut dyn FnMut(SocketView) -> ControlFlow<()>,
    rows: Vec<(u32, Option<Sysctls>, SocketRow)>,
    flow: ControlFlow<()>,
}

impl Batch<'_> {
    fn row(&mut self, netns: u32, sysctls: Option<Sysctls>, row: &SocketRow) {
        self.rows.push((netns, sysctls, *row));
        if self.rows.len() == BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let tracked = rows.iter().map(|(_, _, row)| (row.sock, row.first_seen_ns));
        let tracked: Vec<_> = tracked.filter(|(_, first_seen_ns)| *first_seen_ns != 0).collect();
        let trips = match &self.listing.table {
            Some(table) if !tracked.is_empty() => table.round_trips(tracked).unwrap_or_default(),
            Some(_) | None => Vec::new(),
        };
        let mut trips = trips.into_iter();
        let config = self.listing.config.load();
        let clock = self.listing.clock;
        for (netns, sysctls, row) in rows {
            let trip = if row.first_seen_ns == 0 { None } else { trips.next().flatten() };
            if self.flow.is_break() {
                return;
            }
            let owner = self.listing.reader.directory().owner_now((&row).into());
            let mut view = describe::view(&row, netns, sysctls.as_ref(), clock, &owner);
            view.last_rtt_seconds = trip.map(|trip| trip.as_secs_f64());
            if view.keepalive == Some(true) && view.keepidle_seconds.is_some() {
                let preset = Raw::from(&row).preset(&config.presets, clock, &owner.comm);
                view.preset = preset.map(|name| name.to_string());
            }
            risk::assess(&mut view, &config.policies, || self.listing.peers.memory().probes(&row, clock));
            if self.filter.matches(&view) {
                self.flow = (self.each)(view);
            }
        }
    }
}
