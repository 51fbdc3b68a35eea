//! Peers that probe and peers that do not, read by sweeps as the kernel would show them.

use proptest::prelude::*;

use super::*;

const HZ: Clock = Clock::new(250);

/// What reaches a socket, or leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Probe,
    Data,
    Ack,
    Sent,
}

/// A socket's life: what happened when, in ms, in order. It was established, and last heard of, at 0.
#[derive(Clone, Debug)]
struct Life(Vec<(u64, Event)>);

impl Life {
    /// A peer that probes at this pace, and nothing else.
    fn probed_each(pace_ms: u64, until_ms: u64) -> Self {
        Self((1..=until_ms / pace_ms).map(|number| (number * pace_ms, Event::Probe)).collect())
    }

    /// As the kernel shows it. Its clock ticks each 4 ms.
    fn row(&self, sock: u64, now_ms: u64) -> SocketRow {
        let last = |event| {
            let events = self.0.iter().filter(|(at, kind)| *at <= now_ms && *kind == event);
            u32::try_from(now_ms / 4 - events.map(|(at, _)| *at).max().unwrap_or(0) / 4).unwrap()
        };
        let received = |(at, kind): &&(u64, Event)| *at <= now_ms && *kind != Event::Sent;
        SocketRow {
            sock,
            flags: SocketRow::FULL | SocketRow::ACKED | SocketRow::RECEIVED | SocketRow::SENT,
            segs_in: u32::try_from(self.0.iter().filter(received).count()).unwrap().wrapping_sub(2),
            acked_age: last(Event::Ack),
            received_age: last(Event::Data),
            sent_age: last(Event::Sent),
            ..SocketRow::default()
        }
    }
}

fn at(ms: u64) -> Duration {
    // The machine was started a while before.
    Duration::from_millis(1_000_000 + ms)
}

/// One sweep that finds one socket, and processes it so long after the kernel wrote the row.
fn sweep(memory: &mut Memory, life: &Life, now_ms: u64, late_ms: u64) -> Option<PeerProbes> {
    memory.sweep_begins(at(now_ms));
    let probes = memory.found(&life.row(7, now_ms), HZ, at(now_ms + late_ms));
    assert_eq!(memory.sweep_ends(), 0);
    probes
}

#[test]
fn a_peer_that_probes_each_two_minutes_is_seen_by_sweeps_each_quarter() {
    let life = Life::probed_each(120_000, 1_200_000);
    let mut memory = Memory::default();
    let limit = Duration::from_secs(350);
    for number in 0..200 {
        let now_ms = number * 15_000;
        let probes = sweep(&mut memory, &life, now_ms, 3);
        let kept = probes.is_some_and(|probes| probes.keep_below(limit));
        // The first comes at 120 s, the last at 1200 s. When another was due twice over, there is none.
        assert_eq!(kept, (120_000..1_200_000 + 270_000).contains(&now_ms), "{now_ms} {probes:?}");
        if let Some(probes) = probes.filter(|_| now_ms > 240_000 && now_ms < 1_200_000) {
            assert!(
                probes.after >= Duration::from_secs(105) && probes.after <= Duration::from_mins(2),
                "{probes:?}"
            );
            assert!(!probes.keep_below(Duration::from_mins(1)), "too seldom: {probes:?}");
        }
    }
}

#[test]
fn whoever_is_heard_is_not_probed() {
    for event in [Event::Data, Event::Ack] {
        let life = Life((1..100).map(|number| (number * 7_000, event)).collect());
        let mut memory = Memory::default();
        for number in 0..40 {
            assert_eq!(sweep(&mut memory, &life, number * 15_000, 0), None, "{event:?}");
        }
    }
}

#[test]
fn what_is_heard_just_after_a_reading_is_no_probe() {
    // The kernel wrote the row, then data came, then the row was processed.
    let life = Life(vec![(15_010, Event::Data)]);
    let mut memory = Memory::default();
    for (now_ms, late_ms) in [(0, 0), (15_000, 1_500), (30_000, 0), (45_000, 0)] {
        assert_eq!(sweep(&mut memory, &life, now_ms, late_ms), None, "{now_ms}");
    }
}

#[test]
fn a_connection_that_is_used_again_keeps_its_peer() {
    // Three probes, then data for ten minutes, then probes again.
    let probes = [20_000, 40_000, 60_000].map(|at| (at, Event::Probe));
    let data = (1..60).map(|number| (60_000 + number * 10_000, Event::Data));
    let again = (1..4).map(|number| (650_000 + number * 20_000, Event::Probe));
    let life = Life(probes.into_iter().chain(data).chain(again).collect());
    let mut memory = Memory::default();
    let limit = Duration::from_secs(350);
    for number in 0..60 {
        let now_ms = number * 15_000;
        let kept = sweep(&mut memory, &life, now_ms, 0).is_some_and(|probes| probes.keep_below(limit));
        // The last one is seen at 720 s. By what sweeps see, there is one each 45 s at the latest.
        assert_eq!(kept, (30_000..810_000).contains(&now_ms), "{now_ms}");
    }
}

#[test]
fn another_socket_at_the_address_is_another() {
    let life = Life::probed_each(10_000, 60_000);
    let mut memory = Memory::default();
    for number in 0..5 {
        sweep(&mut memory, &life, number * 15_000, 0);
    }
    let row = life.row(7, 60_000);
    assert!(memory.probes(&row, HZ).is_some());
    for other in [
        SocketRow { inode: 9, ..row },
        SocketRow { remote_port: 9, ..row },
        SocketRow { sock: 9, ..row },
        SocketRow { local: [9; 16], ..row },
    ] {
        assert_eq!(memory.probes(&other, HZ), None);
    }
}

#[test]
fn room_is_bounded_and_made_free() {
    let quiet = Life(Vec::new());
    let mut memory = Memory::with_room_for(3);
    let mut sweep = |now_ms, socks: &[u64]| {
        memory.sweep_begins(at(now_ms));
        for sock in socks {
            memory.found(&quiet.row(*sock, now_ms), HZ, at(now_ms));
        }
        (memory.sweep_ends(), memory.seen.len(), memory.told)
    };
    assert_eq!(sweep(0, &[1, 2, 3]), (0, 3, false));
    assert_eq!(sweep(15_000, &[1, 2, 3, 4, 5]), (2, 3, true));
    // One sweep may have missed it, two have not.
    assert_eq!(sweep(30_000, &[1, 4]), (1, 3, true));
    assert_eq!(sweep(45_000, &[1, 4]), (1, 1, true));
    assert_eq!(sweep(60_000, &[1, 4]), (0, 2, true));
    assert_eq!(sweep(75_000, &[]).1, 2);
    assert_eq!(sweep(90_000, &[]), (0, 0, true));
}

fn any_life() -> impl Strategy<Value = Life> {
    let event = prop::sample::select(vec![Event::Probe, Event::Data, Event::Ack, Event::Sent]);
    // Times beside those of the sweeps, which come at full seconds.
    prop::collection::vec((0..300_u64, 0..1_000_u64, event), 0..40).prop_map(|events| {
        let mut events: Vec<_> = events.into_iter().map(|(s, ms, event)| (s * 1_000 + ms, event)).collect();
        events.sort_by_key(|(at, _)| *at);
        Life(events)
    })
}

proptest! {
    /// Only a probe is taken for one, however late rows are processed.
    #[test]
    fn nothing_else_is_a_probe(life in any_life(), gaps in prop::collection::vec((1..40_u64, 0..1_800_u64), 2..20)) {
        let mut memory = Memory::default();
        let (mut now_ms, mut before_ms) = (0, None);
        for (gap, late_ms) in gaps {
            let probes = sweep(&mut memory, &life, now_ms, late_ms);
            let seen = memory.seen.values().next().copied().unwrap();
            if let Some(probes) = probes.filter(|_| seen.probe == seen.read) {
                let since_ms = before_ms.expect("a first reading tells nothing");
                let probed = life.0.iter().any(|(at, event)| {
                    *event == Event::Probe && (since_ms + 1..=now_ms).contains(at)
                });
                prop_assert!(probed, "at {} since {}: {:?}", now_ms, since_ms, life);
                // It was idle for no longer than that.
                let used = |(at, event): &&(u64, Event)| *at <= since_ms && *event != Event::Probe;
                let used_ms = life.0.iter().rev().find(used).map_or(0, |(at, _)| *at);
                let idle = Duration::from_millis(since_ms - used_ms + 2_200);
                prop_assert!(probes.after <= idle, "{:?} {:?}", probes, life);
            }
            before_ms = Some(now_ms);
            // A row is not processed after the next one is read.
            now_ms += (gap * 1_000).max(late_ms + 1);
        }
    }

    /// A peer that probes more often than the limit is known after its second probe, and for as long as it goes on.
    #[test]
    fn a_peer_that_probes_is_known(
        pace in 1..600_u64,
        slack in 3..100_u64,
        interval in 1..60_u64,
        late in prop::collection::vec(0..1_000_u64, 1..9),
    ) {
        let stops_ms = pace * 6_000 + interval * 4_000;
        let life = Life::probed_each(pace * 1_000, stops_ms);
        let limit = Duration::from_secs(pace + slack);
        let mut memory = Memory::default();
        let settled_ms = 2 * pace * 1_000 + 2 * interval * 1_000 + 3_000;
        let forgotten_ms = stops_ms + (pace + slack + 2 * interval) * 1_000 + 2_000;
        for number in 0..=(forgotten_ms / (interval * 1_000) + 2) {
            let now_ms = number * interval * 1_000;
            let late_ms = late[usize::try_from(number).unwrap() % late.len()];
            let kept = sweep(&mut memory, &life, now_ms, late_ms).is_some_and(|probes| probes.keep_below(limit));
            if (settled_ms..stops_ms).contains(&now_ms) {
                prop_assert!(kept, "at {}", now_ms);
            } else if now_ms >= forgotten_ms {
                prop_assert!(!kept, "at {}", now_ms);
            }
        }
    }
}
