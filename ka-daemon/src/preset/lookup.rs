//! Which preset the settings of a socket look like. Asked for each socket of a sweep, so it costs a few
//! hash lookups however many presets there are.
//!
//! Presets are sorted into tables by which settings they look at and how ([`Shape`]); there are four to
//! eight in practice. In a table, a socket's settings lead to the presets that they fit, and those are
//! sorted by process.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::{Expected, Pattern, Preset, Settings, builtin};
use crate::pattern::is_glob;

/// Presets, ready to be asked.
#[derive(Clone, Debug)]
pub struct Presets {
    list: Vec<Preset>,
    tables: Vec<Table>,
}

/// What a pattern looks at: the values themselves, whether they are set, or neither.
type Shape = [Look; 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Nothing,
    Whether,
    Value,
}

#[derive(Clone, Debug)]
struct Table {
    shape: Shape,
    found: FxHashMap<[u32; 3], Candidates>,
}

/// The presets that some settings fit, by process. Of those with equal claims only the best is kept.
#[derive(Clone, Debug, Default)]
struct Candidates {
    any: Option<Hit>,
    named: FxHashMap<Box<str>, Hit>,
    globs: Vec<(glob::Pattern, Hit)>,
}

/// How specific a match is, and whose; the greatest wins. The place breaks ties, so no two are equal but
/// of the same preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    process: Naming,
    given: usize,
    exact: usize,
    preset: Reverse<usize>,
}

/// How a preset names its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Naming {
    Not,
    ByGlob,
    ByName,
}

impl Presets {
    /// Presets in order of preference: where two are as specific, the first wins.
    #[must_use]
    pub fn new(list: Vec<Preset>) -> Self {
        let mut tables: Vec<Table> = Vec::new();
        for (place, preset) in list.iter().enumerate() {
            for pattern in &preset.patterns {
                let shape = pattern.parts().map(Look::of);
                let table = match tables.iter().position(|table| table.shape == shape) {
                    Some(known) => &mut tables[known],
                    None => tables.push_mut(Table { shape, found: FxHashMap::default() }),
                };
                table.found.entry(pattern.parts().map(key)).or_default().add(pattern, preset, place);
            }
        }
        Self { list, tables }
    }

    /// The built-in presets alone.
    #[must_use]
    pub fn builtin() -> Self {
        Self::new(builtin().to_vec())
    }

    /// The preset that the settings of a socket look like. The most specific one wins: one that names the
    /// process before one that does not, an exact name before a glob, more settings before fewer, values
    /// before `set`; then the first of the list.
    ///
    /// Only meaningful where keepalive is on: without it, a socket on which nothing was set looks like any
    /// program that leaves all to the sysctl.
    #[must_use]
    pub fn look(&self, settings: &Settings, comm: &str) -> Option<&Preset> {
        let raw = settings.raw();
        let best = self.tables.iter().filter_map(|table| table.look(raw, comm)).max()?;
        self.list.get(best.preset.0)
    }

    /// All of them, in order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &Preset> {
        self.list.iter()
    }
}

impl Look {
    const fn of(expected: Expected) -> Self {
        match expected {
            Expected::Any => Self::Nothing,
            Expected::Set => Self::Whether,
            Expected::Sysctl | Expected::Value(_) => Self::Value,
        }
    }

    /// A raw value, as far as it is looked at.
    const fn at(self, raw: u32) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Whether => (raw != 0) as u32,
            Self::Value => raw,
        }
    }
}

/// What [`Look::at`] gives for the raw values that are as expected.
const fn key(expected: Expected) -> u32 {
    match expected {
        Expected::Any | Expected::Sysctl => 0,
        Expected::Set => 1,
        Expected::Value(value) => value,
    }
}

impl Table {
    fn look(&self, raw: [u32; 3], comm: &str) -> Option<Hit> {
        let [idle, interval, count] = self.shape;
        let key = [idle.at(raw[0]), interval.at(raw[1]), count.at(raw[2])];
        self.found.get(&key)?.look(comm)
    }
}

impl Candidates {
    fn add(&mut self, pattern: &Pattern, preset: &Preset, place: usize) {
        let number = |of: fn(Expected) -> bool| pattern.parts().into_iter().filter(|part| of(*part)).count();
        let hit = |process| Hit {
            process,
            given: number(Expected::is_given),
            exact: number(Expected::is_exact),
            preset: Reverse(place),
        };
        if preset.processes.is_empty() {
            self.any = self.any.max(Some(hit(Naming::Not)));
        }
        for process in &preset.processes {
            // What is no glob by its syntax is refused when presets are checked; taken as a name it can
            // only match itself.
            if let Some(Ok(glob)) = is_glob(process).then(|| glob::Pattern::new(process)) {
                self.globs.push((glob, hit(Naming::ByGlob)));
            } else {
                let known = self.named.entry(process.as_str().into()).or_insert(hit(Naming::ByName));
                *known = (*known).max(hit(Naming::ByName));
            }
        }
    }

    fn look(&self, comm: &str) -> Option<Hit> {
        // An exact name is worth more than any glob, and a glob more than none.
        if !self.named.is_empty()
            && let Some(hit) = self.named.get(comm)
        {
            return Some(*hit);
        }
        let by_glob = self.globs.iter().filter(|(glob, _)| glob.matches(comm)).map(|(_, hit)| *hit).max();
        by_glob.or(self.any)
    }
}
