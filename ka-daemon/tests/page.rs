//! The page of metrics against a golden file, and what always holds of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ka_common::{Counters, Kind, Timer};
use ka_daemon::config::Config;
use ka_daemon::inventory::namespace::{KernelCounts, Sysctls};
use ka_daemon::inventory::totals::{Chosen, OwnerSockets, RiskCount, SettingsKey, Sweep};
use ka_daemon::learn::{Bracket, Learned, Prefix, Suspected, Tally};
use ka_daemon::metrics::catalogue;
use ka_daemon::metrics::{Build, Observed, Page, docs};
use ka_daemon::policy::Reason;
use ka_daemon::status::KernelSide;
use ka_daemon::table::{
    Cause, Ended, IDLE_BOUNDS, NetnsTotals, OwnerKey, OwnerTotals, Phase, RTT_BOUNDS, Snapshot,
};
use support::{golden, kernel_side};

const POLICIES: &str = "policies:
- {name: aws-nlb, idle_limit: 350s}
- {name: tick, idle_limit: 1500ms, severity: critical}
";

struct Fixed {
    snapshot: Arc<Snapshot>,
    counters: Counters,
}

impl Observed for Fixed {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    fn kernel(&self) -> KernelSide {
        kernel_side(self.counters)
    }
}

fn owner(number: usize) -> OwnerTotals {
    let mut totals = OwnerTotals {
        owner: OwnerKey {
            namespace: "shop".into(),
            pod: format!("cart-{number}").into(),
            comm: "ser\"ver\\\n".into(),
            ..OwnerKey::default()
        },
        shown: true,
        sockets: OwnerSockets { on: 3, off: 2, keepidle_min: Some(15), keepidle_max: Some(7200) },
        risks: vec![
            RiskCount { policy: 0, reason: Reason::KeepaliveOff, sockets: 2, idle: 1 },
            RiskCount { policy: 1, reason: Reason::PeerKeepsAlive, sockets: 1, idle: 0 },
        ],
        sent: 9,
        answered: 5,
        unanswered: 2,
        settled_by_reset: 1,
        unsettled: 1,
        zero_window: 3,
        suppressed: [4, 0, 1],
        ..OwnerTotals::default()
    };
    totals.rtt.observe(&RTT_BOUNDS, Duration::from_micros(45));
    totals.rtt.observe(&RTT_BOUNDS, Duration::from_secs(9));
    totals.resets[Phase::Keepalive.index()] = 1;
    totals.dropped[Cause::KeepaliveTimeout.index()][Timer::Keepalive as usize] = 1;
    totals
}

/// Every third limit is one below which nothing is known.
fn suspected(number: u8) -> Suspected {
    let bracket = Bracket {
        min: (!number.is_multiple_of(3)).then_some(Duration::from_millis(340_500)),
        max: Duration::from_millis(360_250),
        below: Tally { survived: 40, died: 0 },
        above: Tally { survived: 0, died: 12 },
        again: 11,
        evidence: 20.0,
    };
    Suspected { prefix: Prefix::of([10, 0, number, 7].into()), bracket }
}

fn page(owners: usize) -> Page {
    let mut snapshot = Snapshot { tracked: 7, rtt_skipped: 3, ..Snapshot::default() };
    snapshot.owners.extend((0..owners).map(owner));
    snapshot.netns.push(NetnsTotals {
        netns: 4_026_531_840,
        keepalive: 10,
        zero_window: 3,
        kernel: Some(KernelCounts { keepalive: 12, zero_window: 3 }),
        sysctls: Some(Sysctls { keepidle: 7200, keepintvl: 75, keepcnt: 9 }),
    });
    let settings = |keepidle, preset: &str| SettingsKey {
        keepidle,
        keepintvl: 15,
        keepcnt: 9,
        origin: Chosen::Mixed,
        preset: preset.into(),
    };
    snapshot.sweep = Some(Arc::new(Sweep {
        took: Duration::from_millis(92),
        ended_seconds: 1_795_624_125.5,
        settings: (0..51)
            .map(|place| (settings(15 + place, if place == 0 { "go" } else { "" }), 51))
            .collect(),
        settings_other: 4,
        policies: Config::parse(POLICIES, "test").unwrap().policies,
        ..Sweep::default()
    }));
    // One more than has series.
    let suspected = (0..21).map(suspected).collect();
    snapshot.learned = Arc::new(Learned { suspected, ..Learned::default() });
    snapshot.owner_overflow = 6;
    snapshot.received[Kind::ProbeSent as usize] = 9;
    snapshot.undecodable[0] = 1;
    snapshot.ended[Ended::ConnectTimeout.index()] = 2;
    snapshot.idle_at_drop[Cause::KeepaliveTimeout.index()].observe(&IDLE_BOUNDS, Duration::from_secs(350));
    let mut counters = Counters::default();
    counters.emitted[Kind::ProbeSent as usize] = 10;
    counters.ring_full[Kind::Dropped as usize] = 2;
    let build = Build { version: "1.2.3", revision: "abc", rustc: "rustc 1.0" };
    Page::without_process(Arc::new(Fixed { snapshot: Arc::new(snapshot), counters }), build).unwrap()
}

fn text(page: &Page) -> String {
    String::from_utf8(page.render().unwrap()).unwrap()
}

#[test]
fn page_is_the_golden_one() {
    golden("tests/golden/metrics.txt", &text(&page(1)));
}

/// Policies that are gone leave nothing behind.
#[test]
fn without_policies_there_are_no_series_of_them() {
    let mut snapshot = Snapshot { sweep: Some(Arc::new(Sweep::default())), ..Snapshot::default() };
    // As between a sweep that judged by none and the next.
    snapshot.owners.push(owner(1));
    let build = Build { version: "1.2.3", revision: "abc", rustc: "rustc 1.0" };
    let fixed = Fixed { snapshot: Arc::new(snapshot), counters: Counters::default() };
    let text = text(&Page::without_process(Arc::new(fixed), build).unwrap());
    assert!(text.contains("ka_sockets{") && !text.contains("at_risk") && !text.contains("policy"), "{text}");
}

#[test]
fn documentation_is_that_of_the_catalogue() {
    golden("../docs/metrics.md", &docs::markdown());
}

#[test]
fn each_metric_of_the_catalogue_is_on_the_page() {
    // An owner with sockets has every series.
    let text = text(&page(1));
    for metric in catalogue::ALL {
        let head = format!("# TYPE {} {}\n", metric.name, metric.kind.label());
        assert!(text.contains(&head), "{head}");
    }
}

#[test]
fn promtool_accepts_the_page() {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if std::env::var_os("KA_REQUIRE_PROMTOOL").is_some() => {
            panic!("KA_REQUIRE_PROMTOOL is set and promtool does not start: {error}; install prometheus")
        }
        Err(error) => {
            eprintln!("SKIPPED: promtool does not start ({error}); Debian has it in package prometheus");
            return;
        }
    };
    child.stdin.take().unwrap().write_all(text(&page(2)).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
