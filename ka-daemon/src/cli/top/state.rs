//! What `top` knows and shows. Changed by what the daemon tells and by keys ([`super::keys`]); pure:
//! `now` is in seconds since it began.

use std::collections::VecDeque;

use jiff::tz::TimeZone;

use super::areas::areas;
use super::rates::Rates;
use crate::view::{DropView, Event, Filter, SocketView, SortKey};

/// As many as the daemon keeps.
const DROPS: usize = 1_000;

/// Which sockets are asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Query {
    pub(super) sort: SortKey,
    pub(super) filter: Filter,
}

/// What the daemon tells.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// It is there, and keeps these drops.
    Up(Vec<DropView>),
    /// It cannot be reached.
    Down(String),
    /// Something happened.
    Event(Event),
    /// The first sockets of those that match, and how many do.
    Sockets { query: Box<Query>, sockets: Vec<SocketView>, total: u64 },
    /// It does not tell of sockets, and why.
    Refused(String),
}

/// Whether the daemon is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Connecting,
    Up,
    Down(String),
}

/// A part of the screen that can be scrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    Sockets,
    Drops,
}

impl Panel {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Sockets => Self::Drops,
            Self::Drops => Self::Sockets,
        }
    }
}

/// What was told. A pause keeps a copy of it on the screen.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    pub(super) rates: Rates,
    /// The newest first.
    pub(super) drops: VecDeque<DropView>,
    pub(super) sockets: Vec<SocketView>,
    pub(super) total: u64,
    /// When the sockets were told.
    pub(super) read_at: f64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) endpoint: String,
    pub(super) zone: TimeZone,
    pub(super) link: Link,
    pub(super) live: Data,
    /// Since when, and what was shown then.
    pub(super) paused: Option<(f64, Data)>,
    pub(super) sort: SortKey,
    pub(super) filter: Filter,
    /// What is being typed after `/`.
    pub(super) prompt: Option<String>,
    /// Why the daemon tells of no sockets.
    pub(super) refused: Option<String>,
    /// Events that this reader was too slow for.
    pub(super) missed: u64,
    pub(super) focus: Panel,
    /// The first row shown, of the sockets and of the drops.
    pub(super) first: [usize; 2],
    pub(super) help: bool,
    /// Of the terminal.
    pub(super) size: (u16, u16),
}

impl State {
    /// Before anything is known.
    pub(super) fn new(endpoint: String, filter: Filter, zone: TimeZone) -> Self {
        Self {
            endpoint,
            zone,
            link: Link::Connecting,
            live: Data::default(),
            paused: None,
            sort: SortKey::Nearest,
            filter,
            prompt: None,
            refused: None,
            missed: 0,
            focus: Panel::Sockets,
            first: [0; 2],
            help: false,
            size: (80, 24),
        }
    }

    /// What the daemon is to be asked.
    pub(super) fn query(&self) -> Query {
        Query { sort: self.sort, filter: self.filter.clone() }
    }

    /// What is on the screen, and when that was now.
    pub(super) fn shown(&self, now: f64) -> (&Data, f64) {
        self.paused.as_ref().map_or((&self.live, now), |(since, data)| (data, *since))
    }

    /// Takes what the daemon told.
    pub(super) fn told(&mut self, told: Told, now: f64) {
        match told {
            Told::Up(mut drops) => {
                self.link = Link::Up;
                drops.sort_by_key(|drop| std::cmp::Reverse(drop.id));
                self.live.drops = drops.into();
                self.live.drops.truncate(DROPS);
            }
            Told::Down(why) => self.link = Link::Down(why),
            Told::Event(event) => self.happened(event, now),
            // The answer to an old question would show the wrong sockets under the new title.
            Told::Sockets { query, .. } if *query != self.query() => {}
            Told::Sockets { sockets, total, .. } => {
                self.refused = None;
                (self.live.sockets, self.live.total, self.live.read_at) = (sockets, total, now);
            }
            Told::Refused(why) => {
                self.refused = Some(why);
                (self.live.sockets, self.live.total) = (Vec::new(), 0);
            }
        }
        self.clamp();
    }

    fn happened(&mut self, event: Event, now: f64) {
        match event {
            Event::Drop(drop) => {
                // One that happened while the list was asked for is in both.
                if self.live.drops.front().is_none_or(|newest| drop.id > newest.id) {
                    self.live.drops.push_front(*drop);
                    self.live.drops.truncate(DROPS);
                    // Whoever reads further down goes on reading there.
                    if self.paused.is_none() && self.first[1] > 0 {
                        self.first[1] += 1;
                    }
                }
            }
            Event::Totals(totals) => self.live.rates.take(totals, now),
            Event::Lost { count } => self.missed += count,
            // The sockets nearest to being dropped are those.
            Event::ProbeUnanswered(_) => {}
        }
    }

    /// The terminal has a new size.
    pub(super) fn resize(&mut self, width: u16, height: u16) {
        self.size = (width, height);
        self.clamp();
    }

    /// Rows of both panels.
    pub(super) fn rows(&self) -> [usize; 2] {
        let (data, _) = self.shown(0.0);
        [data.sockets.len(), data.drops.len()]
    }

    /// No panel is scrolled beyond its last rows. A drop takes several lines: its panel may show one.
    pub(super) fn clamp(&mut self) {
        let rows = self.rows();
        let height = areas(self.size, self.focus).socket_rows();
        let last = [rows[0].saturating_sub(height), rows[1].saturating_sub(1)];
        for (first, last) in self.first.iter_mut().zip(last) {
            *first = (*first).min(last);
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
pub(super) mod tests;
