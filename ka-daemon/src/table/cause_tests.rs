//! The classifier over the whole product of its facts, and over the cases that design.md names.

use super::cause::{Cause, classify, drop_timer, idle_at_drop};
use super::tcp;
use super::testing::{CLOCK, FLOOR, HZ, record};
use ka_common::{Kind, Record, Timer};
use std::collections::HashSet;
use std::time::Duration;

const YOUNG: u32 = HZ;
const OLD: u32 = 60 * HZ;

/// Calls `each` with every combination of the facts that a verdict may turn on.
fn every_record(mut each: impl FnMut(&Record)) {
    let errors = [libc::ETIMEDOUT, libc::ECONNRESET, libc::ECONNABORTED, libc::EHOSTUNREACH];
    let ages = [YOUNG, OLD];
    for &timer in Timer::ALL {
        for flags in [0, Record::RESET, Record::PROBE_OUT, Record::RESET | Record::PROBE_OUT] {
            for bits in 0..1_u32 << 13 {
                let bit = |n: u32| bits >> n & 1;
                each(&Record {
                    timer: timer as u8,
                    flags,
                    sk_err: errors[(bits & 3) as usize],
                    sk_err_soft: if bit(2) == 1 { libc::EHOSTUNREACH } else { 0 },
                    state: if bit(3) == 1 { tcp::CLOSE_WAIT } else { tcp::ESTABLISHED },
                    user_timeout_ms: bit(4) * 5000,
                    probes_out: if bit(5) == 1 { 15 } else { 3 },
                    packets_out: bit(12),
                    unacked: bit(6) * 100,
                    unsent: bit(7) * 100,
                    snd_wnd: bit(8) * 65535,
                    acked_age: ages[bit(9) as usize],
                    received_age: OLD,
                    sent_age: ages[bit(10) as usize],
                    flight_age_ms: if bit(11) == 1 { 2000 } else { 60_000 },
                    ..record(Kind::Dropped)
                });
            }
        }
    }
}

#[test]
fn every_cause_is_reached() {
    let mut seen = HashSet::new();
    every_record(|record| {
        seen.insert(classify(record, CLOCK, FLOOR));
    });
    let missing: Vec<_> = Cause::ALL.iter().filter(|cause| !seen.contains(cause)).collect();
    assert!(missing.is_empty(), "no facts lead to {missing:?}");
}

#[test]
fn each_cause_implies_its_facts() {
    every_record(|record| {
        let cause = classify(record, CLOCK, FLOOR);
        let timer = drop_timer(record);
        let reset = record.flags & Record::RESET != 0;
        let user_timeout = record.user_timeout_ms != 0;
        let holds = match cause {
            Cause::KeepaliveTimeout => !reset && timer == Timer::Keepalive && !user_timeout,
            Cause::UserTimeout => !reset && timer != Timer::None && user_timeout,
            Cause::ZeroWindowTimeout => {
                !reset
                    && (timer == Timer::ZeroWindow
                        || (timer == Timer::Retransmit && record.snd_wnd == 0 && record.unacked > 0))
            }
            Cause::RetransmitTimeout => !reset && timer == Timer::Retransmit && !user_timeout,
            Cause::TimeoutAfterIdle => {
                !reset && timer == Timer::Retransmit && !user_timeout && record.acked_age == OLD
            }
            Cause::ResetByProbe => reset && record.flags & Record::PROBE_OUT != 0 && record.packets_out == 0,
            Cause::ResetAfterIdle => reset && record.packets_out > 0 && record.acked_age == OLD,
            Cause::ResetWhileIdle => {
                reset && record.packets_out == 0 && record.unsent == 0 && record.sent_age == OLD
            }
            Cause::Reset => reset && record.state != tcp::CLOSE_WAIT,
            Cause::ResetAfterClose => reset && record.state == tcp::CLOSE_WAIT,
            Cause::Aborted => !reset && timer == Timer::None && record.sk_err == libc::ECONNABORTED,
            Cause::Other => !reset && timer == Timer::None,
        };
        assert!(holds, "{cause:?} of {record:?}");
    });
}

#[test]
fn a_reset_speaks_before_any_timer_and_no_cause_of_reset_without_one() {
    every_record(|record| {
        let by_reset = matches!(
            classify(record, CLOCK, FLOOR),
            Cause::ResetByProbe
                | Cause::ResetAfterIdle
                | Cause::ResetWhileIdle
                | Cause::Reset
                | Cause::ResetAfterClose
        );
        assert_eq!(by_reset, record.flags & Record::RESET != 0, "{record:?}");
    });
}

#[test]
fn an_icmp_error_changes_no_cause() {
    every_record(|record| {
        // A timeout purges the queue first.
        if record.sk_err != libc::ETIMEDOUT || record.sk_err_soft != 0 || record.packets_out != 0 {
            return;
        }
        let icmp = Record { sk_err: libc::EHOSTUNREACH, sk_err_soft: libc::EHOSTUNREACH, ..*record };
        assert_eq!(classify(&icmp, CLOCK, FLOOR), classify(record, CLOCK, FLOOR), "{record:?}");
        assert_eq!(drop_timer(&icmp), drop_timer(record), "{record:?}");
    });
}

#[test]
fn a_program_that_closes_upon_an_icmp_error_is_no_timer() {
    let closed = dropped(Timer::None, |r| {
        (r.sk_err, r.sk_err_soft) = (libc::EHOSTUNREACH, libc::EHOSTUNREACH);
        (r.packets_out, r.unacked) = (1, 1);
    });
    assert_eq!(drop_timer(&closed), Timer::None);
    assert_eq!(classify(&closed, CLOCK, FLOOR), Cause::Other);
}

/// Data came for a socket that its program had shut down in both directions: the kernel resets it by itself.
#[test]
fn a_reset_that_nobody_sent_is_other() {
    let by_data = dropped(Timer::None, |r| {
        (r.sk_err, r.state) = (libc::ECONNRESET, tcp::FIN_WAIT2);
        r.acked_age = 0;
    });
    assert_eq!(classify(&by_data, CLOCK, FLOOR), Cause::Other);
    assert_eq!(drop_timer(&by_data), Timer::None);
}

fn dropped(timer: Timer, change: impl FnOnce(&mut Record)) -> Record {
    let mut dropped = Record {
        timer: timer as u8,
        sk_err: libc::ETIMEDOUT,
        snd_wnd: 65535,
        acked_age: OLD,
        received_age: OLD,
        sent_age: OLD,
        flight_age_ms: 60_000,
        ..record(Kind::Dropped)
    };
    change(&mut dropped);
    dropped
}

#[test]
fn a_timeout_is_after_idle_when_its_first_send_was() {
    // Silent for 60 s; the data went out 58 s later.
    let after_idle = dropped(Timer::Retransmit, |r| {
        r.unacked = 10;
        r.flight_age_ms = 2000;
        r.sent_age = 0;
    });
    assert_eq!(classify(&after_idle, CLOCK, FLOOR), Cause::TimeoutAfterIdle);
    assert_eq!(idle_at_drop(&after_idle, Cause::TimeoutAfterIdle, CLOCK), Duration::from_secs(58));
    // The last retransmission is recent too, but the first send came right after the last answer.
    let busy = dropped(Timer::Retransmit, |r| {
        r.unacked = 10;
        r.flight_age_ms = 59_000;
        r.sent_age = 0;
    });
    assert_eq!(classify(&busy, CLOCK, FLOOR), Cause::RetransmitTimeout);
    assert_eq!(idle_at_drop(&busy, Cause::RetransmitTimeout, CLOCK), Duration::from_mins(1));
}

#[test]
fn the_floor_itself_is_idle() {
    let mut at_floor = dropped(Timer::None, |r| r.flags |= Record::RESET);
    at_floor.sent_age = 10 * HZ;
    assert_eq!(classify(&at_floor, CLOCK, FLOOR), Cause::ResetWhileIdle);
    at_floor.sent_age -= 1;
    assert_eq!(classify(&at_floor, CLOCK, FLOOR), Cause::Reset);
}

#[test]
fn a_first_use_that_is_itself_old_is_no_reset_after_idle() {
    let mut first_use = dropped(Timer::None, |r| {
        r.flags |= Record::RESET;
        r.packets_out = 1;
        r.flight_age_ms = 9_000;
    });
    assert_eq!(classify(&first_use, CLOCK, FLOOR), Cause::ResetAfterIdle);
    assert_eq!(idle_at_drop(&first_use, Cause::ResetAfterIdle, CLOCK), Duration::from_secs(51));
    first_use.flight_age_ms = 10_000;
    assert_eq!(classify(&first_use, CLOCK, FLOOR), Cause::Reset);
}

#[test]
fn a_deferred_run_is_told_by_what_waits_for_acknowledgement() {
    let deferred = |unacked, unsent| {
        let record = dropped(Timer::None, |r| {
            r.unacked = unacked;
            r.unsent = unsent;
            r.sent_age = OLD;
        });
        (classify(&record, CLOCK, FLOOR), drop_timer(&record))
    };
    assert_eq!(deferred(10, 10), (Cause::RetransmitTimeout, Timer::Retransmit));
    assert_eq!(deferred(0, 10), (Cause::ZeroWindowTimeout, Timer::ZeroWindow));
    assert_eq!(deferred(0, 0), (Cause::Other, Timer::None));
}

#[test]
fn the_persist_timer_obeys_both_limits() {
    let limit = |user_timeout_ms, probes_out| {
        let record = dropped(Timer::ZeroWindow, |r| {
            r.user_timeout_ms = user_timeout_ms;
            r.probes_out = probes_out;
        });
        classify(&record, CLOCK, FLOOR)
    };
    assert_eq!(limit(5000, 14), Cause::UserTimeout);
    assert_eq!(limit(5000, 15), Cause::ZeroWindowTimeout);
    assert_eq!(limit(0, 3), Cause::ZeroWindowTimeout);
}

#[test]
fn a_shrunk_window_is_told_after_the_queue_was_purged() {
    let shrunk = dropped(Timer::Retransmit, |r| {
        r.snd_wnd = 0;
        r.unacked = 10;
    });
    assert_eq!(classify(&shrunk, CLOCK, FLOOR), Cause::ZeroWindowTimeout);
}
