//! Idle-timeout policies: which sockets they would cut, which of them the peer keeps, and that policies come and
//! go with the file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Scenario, on_any};
use crate::case::{Case, Expect, Pair};
use crate::daemon::{Daemon, Page, sum};
use crate::net::{Family, Side};
use crate::tcp::{Keepalive, Tcp};

pub(super) const SCENARIOS: &[Scenario] = &[on_any("policy_at_risk", at_risk)];

/// Addresses that no other scenario has: its sockets alone are under the policies.
const OURS: &str = "10.78.0.1";
const PEER: &str = "10.78.0.2";

const POLICIES: &str = "policies:
- {name: short, idle_limit: 20s, severity: critical, remote: [10.78.0.2]}
- {name: long, idle_limit: 5d, remote: [10.78.0.0/24], local: [10.78.0.1]}
- {name: elsewhere, idle_limit: 20s, remote: [10.78.0.3]}
";

/// Below the short limit, and seldom: with a second daemon that sweeps, some kernels keep more timer runs from BPF
/// programs than elsewhere, and each probe among them costs an attempt.
const IN_TIME: Keepalive = Keepalive { idle: 8, interval: 8, count: 3 };

/// A guest's sweeps over the namespaces of all scenarios take a second.
const PATIENCE: Duration = Duration::from_mins(2);

/// `ka_sockets_at_risk` and `ka_sockets_at_risk_idle` of the reasons `keepalive_off`, `idle_too_long` and
/// `peer_keeps_alive`.
type Counts = [[u64; 3]; 2];

fn at_risk(case: &Case<'_>) -> Result<Expect> {
    case.net.ip(Side::A, &format!("addr add {OURS}/24 dev {}", Side::A.device()))?;
    case.net.ip(Side::B, &format!("addr add {PEER}/24 dev {}", Side::B.device()))?;
    let listener = listen(case)?;
    let connect = || case.connect_to(&listener, listener.local()?, Family::V4);
    let (off, slow, fast, probed) = (connect()?, connect()?, connect()?, connect()?);
    slow.a.keepalive(Keepalive { idle: 600, interval: 75, count: 9 })?;
    slow.a.user_timeout(Duration::from_secs(2))?;
    fast.a.keepalive(IN_TIME)?;
    probed.b.keepalive(IN_TIME)?;

    let file = File::new(POLICIES)?;
    let more = ["--config", file.path()?, "--inventory-interval", "1s", "--inventory-max-cpu", "20"];
    let daemon = Daemon::start(&case.env.program, &case.env.hooks, &more)?;
    let page =
        wait(&daemon, &[("short", [[1; 3]; 2]), ("long", [[1, 0, 1], [0; 3]]), ("elsewhere", [[0; 3]; 2])])?;
    let limits: Vec<_> =
        page.iter().filter(|(name, _)| name.starts_with("ka_policy_idle_limit_seconds")).collect();
    let limit = |policy: &str, severity: &str| {
        format!("ka_policy_idle_limit_seconds{{policy=\"{policy}\",severity=\"{severity}\"}}")
    };
    let expected = [
        (limit("elsewhere", "warning"), 20.0),
        (limit("long", "warning"), 432_000.0),
        (limit("short", "critical"), 20.0),
    ];
    ensure!(
        limits.into_iter().map(|(name, value)| (name.clone(), *value)).eq(expected.clone()),
        "expected {expected:?}"
    );
    listed(case, &daemon, [&off, &slow, &probed])?;

    // The peer stops, and the slow one is made faster.
    probed.b.keepalive_switch(false)?;
    slow.a.keepalive(Keepalive { idle: 15, interval: 75, count: 9 })?;
    wait(&daemon, &[("short", [[2, 0, 0]; 2]), ("long", [[2, 0, 0], [0; 3]])])?;

    file.write("policies:\n- {name: short, idle_limit: 0s}\n")?;
    daemon.hang_up()?;
    let deadline = Instant::now() + PATIENCE;
    while !daemon.stderr().contains("the old configuration stays in force") {
        ensure!(Instant::now() < deadline, "expected the wrong file to be refused:\n{}", daemon.stderr());
        std::thread::sleep(Duration::from_millis(100));
    }
    // The one that ends next may have begun before.
    let sweeps = || -> Result<u64> { Ok(daemon.status()?["inventory"]["sweeps"].as_u64().unwrap_or(0)) };
    let judged = sweeps()? + 2;
    while sweeps()? < judged {
        ensure!(Instant::now() < deadline, "expected two more sweeps");
        std::thread::sleep(Duration::from_millis(200));
    }
    let after = counts(&daemon.metrics()?, "short");
    ensure!(after == [[2, 0, 0]; 2], "expected that a wrong file changes nothing, came {after:?}");

    file.write("policies: []\n")?;
    daemon.hang_up()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = daemon.metrics()?;
        let left: Vec<_> =
            page.keys().filter(|name| name.contains("at_risk") || name.contains("policy=")).collect();
        if left.is_empty() {
            break;
        }
        ensure!(Instant::now() < deadline, "expected no series without policies, there are {left:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    daemon.stop()?;
    drop((off, slow, fast, probed));
    Ok(Expect::nothing())
}

fn listen(case: &Case<'_>) -> Result<Tcp> {
    let listener = case.socket(Side::B, Family::V4)?;
    let address: SocketAddr = format!("{PEER}:0").parse().context("an address")?;
    listener.raw().bind(&address.into()).context("bind")?;
    listener.raw().listen(8).context("listen")?;
    Ok(listener)
}

/// Waits until each policy counts as expected.
fn wait(daemon: &Daemon, expected: &[(&str, Counts)]) -> Result<Page> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = daemon.metrics()?;
        let came: Vec<_> = expected.iter().map(|(policy, _)| (*policy, counts(&page, policy))).collect();
        if came == expected {
            return Ok(page);
        }
        ensure!(Instant::now() < deadline, "expected {expected:?}, came {came:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn counts(page: &Page, policy: &str) -> Counts {
    let policy = format!("policy=\"{policy}\"");
    ["ka_sockets_at_risk", "ka_sockets_at_risk_idle"].map(|metric| {
        ["keepalive_off", "idle_too_long", "peer_keeps_alive"]
            .map(|reason| sum(page, metric, &[&policy, &format!("reason=\"{reason}\"")]))
    })
}

/// The same sockets one by one, with what to set.
fn listed(case: &Case<'_>, daemon: &Daemon, [off, slow, probed]: [&Pair; 3]) -> Result<()> {
    let netns = case.net.inode(Side::A)?.to_string();
    let shown =
        |more: &[&str]| daemon.command(&case.env.program, &[&["sockets", "--netns", &netns], more].concat());
    let by_policy = shown(&["--policy", "short"])?;
    ensure!(by_policy.len() == 3, "expected three sockets under the policy, came {by_policy:?}");
    for (pair, reason, says) in [
        (off, "keepalive_off", "short cuts what is idle for 20 s"),
        (slow, "idle_too_long", "the first probe comes after 10 min (set by the application)"),
        (probed, "peer_keeps_alive", "Only the probes of the peer keep it below"),
    ] {
        let socket = of(&by_policy, pair)?;
        let expected = serde_json::json!(
            {"policy": "short", "reason": reason, "idle_limit_seconds": 20.0, "severity": "critical"}
        );
        ensure!(socket["risks"][0] == expected, "expected {expected}, came {socket}");
        let advice = socket["advice"].as_str().unwrap_or_default();
        ensure!(advice.contains(says), "expected {says:?} in {advice:?}");
    }
    let warning = &of(&by_policy, slow)?["warnings"][0]["kind"];
    ensure!(warning == "user_timeout_kills_after_one_probe", "expected a warning, came {warning}");
    let at_risk = shown(&["--at-risk"])?;
    ensure!(at_risk.len() == 2, "expected two that no peer keeps, came {at_risk:?}");
    of(&at_risk, off)?;
    of(&at_risk, slow)?;
    Ok(())
}

fn of<'a>(sockets: &'a [Value], pair: &Pair) -> Result<&'a Value> {
    let local = pair.a_address.to_string();
    sockets
        .iter()
        .find(|socket| socket["local"] == local.as_str())
        .with_context(|| format!("{local} is not shown"))
}

/// A configuration file that goes with the scenario.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Result<Self> {
        let file = Self(std::env::temp_dir().join(format!("ka-e2e-policy-{}.yaml", std::process::id())));
        file.write(text)?;
        Ok(file)
    }

    fn path(&self) -> Result<&str> {
        self.0.to_str().context("the path of the configuration file")
    }

    fn write(&self, text: &str) -> Result<()> {
        std::fs::write(&self.0, text).with_context(|| format!("cannot write {}", self.0.display()))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // What is left in the folder for temporary files harms nobody.
        drop(std::fs::remove_file(&self.0));
    }
}
