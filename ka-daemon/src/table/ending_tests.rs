//! Phases of resets and ends that are no drops, over the whole product of their facts.

use super::ending::{Ended, Phase, ended, phase};
use super::tcp;
use super::testing::record;
use ka_common::{Kind, Record, Timer};
use std::collections::HashSet;

#[test]
fn phases_are_exclusive_and_all_reached() {
    let mut seen = HashSet::new();
    for state in 0..=13 {
        for flags in [0, Record::PROBE_OUT, Record::ORPHAN, Record::ORPHAN | Record::PROBE_OUT] {
            for (packets_out, unsent) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let reset = Record { state, flags, packets_out, unsent, ..record(Kind::ResetReceived) };
                let open = state == tcp::ESTABLISHED || state == tcp::CLOSE_WAIT;
                let probe_out = flags & Record::PROBE_OUT != 0;
                let owned = flags & Record::ORPHAN == 0;
                let half = (state == tcp::FIN_WAIT2 || state == tcp::SYN_RECV) && owned;
                let expected = match (open, half, packets_out, unsent, probe_out) {
                    (true, _, 1, ..) => Phase::Data,
                    (true, _, 0, 1, _) => Phase::ZeroWindow,
                    (true, _, 0, 0, false) => Phase::Idle,
                    (true, ..) | (false, true, 0, 0, true) => Phase::Keepalive,
                    (false, ..) => Phase::Other,
                };
                assert_eq!(phase(&reset), expected, "{reset:?}");
                seen.insert(expected);
            }
        }
    }
    assert_eq!(seen.len(), Phase::COUNT);
}

#[test]
fn every_end_implies_its_facts_and_is_reached() {
    let mut seen = HashSet::new();
    for &timer in Timer::ALL {
        for flags in [0, Record::ORPHAN, Record::RESET, Record::ORPHAN | Record::RESET] {
            for state in [tcp::ESTABLISHED, tcp::SYN_SENT, tcp::FIN_WAIT1, tcp::FIN_WAIT2] {
                for sk_err in [0, libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::ECONNREFUSED] {
                    let closed = Record { timer: timer as u8, flags, state, sk_err, ..record(Kind::Closed) };
                    let orphan = flags & Record::ORPHAN != 0;
                    let reset = flags & Record::RESET != 0;
                    let verdict = ended(&closed);
                    let holds = match verdict {
                        Some(Ended::OrphanReset) => orphan && reset,
                        Some(Ended::OrphanTimeout) => orphan && !reset && sk_err != 0,
                        Some(Ended::NoMemory) => {
                            orphan
                                && !reset
                                && sk_err == 0
                                && matches!(timer, Timer::Retransmit | Timer::ZeroWindow)
                        }
                        Some(Ended::ConnectTimeout) => {
                            !orphan
                                && !reset
                                && state == tcp::SYN_SENT
                                && (sk_err == libc::ETIMEDOUT || timer == Timer::Retransmit)
                        }
                        None => !(orphan && reset),
                    };
                    assert!(holds, "{verdict:?} of {closed:?}");
                    seen.insert(verdict);
                }
            }
        }
    }
    assert_eq!(seen.len(), Ended::COUNT + 1);
}

#[test]
fn an_orphan_that_waited_out_fin_wait2_closed_in_the_ordinary_way() {
    let closed = Record {
        timer: Timer::Keepalive as u8,
        flags: Record::ORPHAN,
        state: tcp::FIN_WAIT2,
        ..record(Kind::Closed)
    };
    assert_eq!(ended(&closed), None);
}
