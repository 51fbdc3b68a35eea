//! Deaths that came again. When a peer restarts, or a path goes down, every connection to it dies, however short
//! its silence was: one such incident explains any number of deaths whose silences have a moment in common. A
//! limit kills on and on: a connection that was made, or heard from, after the last incident at its address
//! dies too.

use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Addresses that are remembered.
const ADDRESSES: usize = 16;

/// The last incident at each address of a prefix.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    /// The latest moment, in ns, that explains all deaths since; the address of the latest one last.
    latest: Vec<(IpAddr, u64)>,
}

impl Incidents {
    /// A death between the moment when the connection was last heard and that of its end; whether no incident
    /// so far explains it, and there was one.
    ///
    /// With the deaths in order of time, and each incident as late as it may be, it takes the fewest incidents
    /// that explain all deaths.
    pub(super) fn again(&mut self, address: IpAddr, between: RangeInclusive<u64>) -> bool {
        let address = address.to_canonical();
        let before = self.latest.iter().position(|(known, _)| *known == address);
        let before = before.map(|place| self.latest.remove(place).1);
        let explained = before.is_some_and(|incident_ns| incident_ns >= *between.start());
        if before.is_none() && self.latest.len() == ADDRESSES {
            self.latest.remove(0);
        }
        let incident_ns = before.filter(|_| explained).unwrap_or(*between.end());
        self.latest.push((address, incident_ns));
        before.is_some() && !explained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(deaths: &[(u8, u64, u64)]) -> Vec<bool> {
        let mut incidents = Incidents::default();
        let mut again = |&(host, died, silent): &(u8, u64, u64)| {
            incidents.again([10, 0, 0, host].into(), died.saturating_sub(silent)..=died)
        };
        deaths.iter().map(&mut again).collect()
    }

    #[test]
    fn one_restart_explains_all_deaths_whose_silences_it_lies_in() {
        assert_eq!(again(&[(1, 100, 10), (1, 105, 10), (1, 109, 350), (1, 300, 200)]), [false; 4]);
        assert_eq!(
            again(&[(1, 100, 10), (1, 111, 10), (1, 120, 10), (1, 121, 10)]),
            [false, true, false, false]
        );
        assert_eq!(again(&[(1, 100, 10), (1, 111, 10), (1, 122, 10)]), [false, true, true]);
    }

    #[test]
    fn each_address_restarts_by_itself() {
        assert_eq!(again(&[(1, 100, 10), (2, 111, 10), (3, 122, 10)]), [false; 3], "a rolling update");
        assert_eq!(again(&[(1, 100, 10), (2, 111, 10), (1, 122, 10)]), [false, false, true]);
    }

    #[test]
    fn the_address_that_died_longest_ago_is_forgotten() {
        let mut incidents = Incidents::default();
        let mut died = |host: u8, at| incidents.again([10, 0, 0, host].into(), at - 10..=at);
        assert!(!died(1, 100) && !died(2, 100) && died(1, 200));
        for host in 3..=17 {
            assert!(!died(host, 300));
        }
        assert!(died(1, 400), "it made no room");
        assert!(!died(2, 400), "it made room");
    }
}
