//! What `TCP_USER_TIMEOUT` does to keepalive: it takes the place of the probe count. Keepalive gives up at
//! the first run at which the silence has lasted that long and a probe is out, and the first run after a probe
//! comes at idle time and interval together. Pure.

use super::words::{count, duration};

/// What gRPC sets it to by default (its proposal A18).
const GRPC_MS: u32 = 20_000;

/// Keepalive's settings in force, and the timeout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) keepidle_seconds: u32,
    pub(super) keepintvl_seconds: u32,
    pub(super) keepcnt: u32,
    /// Not 0.
    pub(super) user_timeout_ms: u32,
}

impl Limits {
    /// Whether it is over when the run after the first probe comes.
    pub(super) fn ends_after_one_probe(self) -> bool {
        let second_run_ms = (u64::from(self.keepidle_seconds) + u64::from(self.keepintvl_seconds)) * 1_000;
        u64::from(self.user_timeout_ms) <= second_run_ms
    }

    /// Whether one lost probe is enough, where the probe count allows for more.
    pub(super) fn one_probe_is_fatal(self) -> bool {
        self.keepcnt > 1 && self.ends_after_one_probe()
    }

    /// Why one lost probe is enough, where it is.
    pub(super) fn fatal(self) -> String {
        let (limit, run) = (self.shown(), self.after(1));
        format!(
            "With TCP_USER_TIMEOUT ({limit}) not above keepidle + keepintvl ({run}), a single lost probe is fatal."
        )
    }

    /// What to set, for the probe count to count.
    pub(super) fn remedy(self) -> String {
        let (number, sum) = (self.keepcnt, self.after(self.keepcnt));
        let probes = count(number, "probe", "probes");
        format!("Set it above keepidle + keepintvl × {number} = {sum}, or not at all, for {probes} to count.")
    }

    /// The timeout as people read it.
    pub(super) fn shown(self) -> String {
        duration(f64::from(self.user_timeout_ms) / 1e3)
    }

    /// From the last thing heard to the run at which so many probes are out.
    fn after(self, probes: u32) -> String {
        let [idle, interval] = [self.keepidle_seconds, self.keepintvl_seconds].map(f64::from);
        duration(idle + interval * f64::from(probes))
    }
}

/// Whose a timeout probably is.
pub(super) fn grpc(user_timeout_ms: u32, looks_like_it: bool) -> &'static str {
    if user_timeout_ms == GRPC_MS || looks_like_it {
        " gRPC sets it to its own keepalive timeout, 20 s unless told otherwise."
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(user_timeout_ms: u32, keepcnt: u32) -> Limits {
        Limits { keepidle_seconds: 15, keepintvl_seconds: 10, keepcnt, user_timeout_ms }
    }

    #[test]
    fn one_probe_is_fatal_up_to_the_run_after_it() {
        for (user_timeout_ms, keepcnt, fatal) in [
            (1, 9, true),
            (20_000, 9, true),
            (25_000, 9, true),
            (25_001, 9, false),
            (105_000, 9, false),
            // The count says so anyway.
            (20_000, 1, false),
        ] {
            assert_eq!(
                of(user_timeout_ms, keepcnt).one_probe_is_fatal(),
                fatal,
                "{user_timeout_ms} {keepcnt}"
            );
        }
        let slow = Limits { keepidle_seconds: u32::MAX, keepintvl_seconds: u32::MAX, ..of(u32::MAX, 2) };
        assert!(slow.one_probe_is_fatal());
    }
}
