//! The scenarios, by theme. Each is a function over a [`Case`] that returns what it expects of its
//! namespaces' records as a whole; the case itself checks conservation and the kernel's counters.

mod healthy;
mod idle_timeout;
mod interrupted;
mod inventory;
mod lifecycle;
mod locked;
mod policy;
mod programs;
mod reset;
mod round_trip;
mod timeout;
mod window;

use anyhow::Result;

use crate::case::{Case, Expect};

/// A scenario and the first kernel that can show it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) min_kernel: (u32, u32),
    pub(crate) run: fn(&Case<'_>) -> Result<Expect>,
}

const fn on_any(name: &'static str, run: fn(&Case<'_>) -> Result<Expect>) -> Scenario {
    Scenario { name, min_kernel: (5, 10), run }
}

/// Every scenario.
pub(crate) fn all() -> Vec<Scenario> {
    // Sweeps cost by the namespaces that there are, which stay to the end of the run: their scenarios come
    // first.
    [
        inventory::SCENARIOS,
        policy::SCENARIOS,
        idle_timeout::SCENARIOS,
        healthy::SCENARIOS,
        interrupted::SCENARIOS,
        lifecycle::SCENARIOS,
        locked::SCENARIOS,
        programs::SCENARIOS,
        reset::SCENARIOS,
        round_trip::SCENARIOS,
        timeout::SCENARIOS,
        window::SCENARIOS,
    ]
    .concat()
}
