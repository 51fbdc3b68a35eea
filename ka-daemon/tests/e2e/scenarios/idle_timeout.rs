//! An idle timeout that nobody documented is found, by a load balancer that forgets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Scenario, on_any};
use crate::case::{Case, Expect};
use crate::middle::Middle;
use crate::net::{Family, Side};
use crate::tcp::{Keepalive, Tcp};

pub(super) const SCENARIOS: &[Scenario] = &[on_any("idle_timeout_is_learned", learned)];

/// The kernel's timers fire up to half a second late at this length: 9 s is surely below, 10 s surely above.
const LIMIT: Duration = Duration::from_millis(9_800);
/// How far apart the client and the balancer may see the same silence end.
const SLACK: f64 = 0.05;
/// Clients behind the first network vary around the limit, those behind the second are all above it, those
/// behind the third all below.
const AROUND: u8 = 1;
const ABOVE: u8 = 2;
const BELOW: u8 = 3;
/// Idle settings in seconds, and how many clients have them.
const CLIENTS: [(u8, u64, usize); 9] = [
    (AROUND, 7, 3),
    (AROUND, 8, 4),
    (AROUND, 9, 5),
    (AROUND, 10, 4),
    (AROUND, 11, 2),
    (AROUND, 12, 1),
    (ABOVE, 10, 7),
    (BELOW, 6, 4),
    (BELOW, 8, 4),
];
/// Clients with keepalive off that write after so long a silence.
const WRITERS: usize = 2;
const WRITE_AFTER: Duration = Duration::from_millis(10_200);
/// Half a minute natively.
const PATIENCE: Duration = Duration::from_mins(3);

/// A program that stays connected: whenever its connection dies, it makes another one.
struct Client<'a> {
    case: &'a Case<'a>,
    listener: &'a Tcp,
    server: SocketAddr,
    /// None: it writes now and then.
    idle: Option<u64>,
    socket: Tcp,
    since: Instant,
}

impl<'a> Client<'a> {
    fn start(case: &'a Case<'a>, listener: &'a Tcp, server: SocketAddr, idle: Option<u64>) -> Result<Self> {
        let socket = Self::connect(case, listener, server, idle)?;
        Ok(Self { case, listener, server, idle, socket, since: Instant::now() })
    }

    fn connect(case: &Case<'_>, listener: &Tcp, server: SocketAddr, idle: Option<u64>) -> Result<Tcp> {
        let socket = case.socket(Side::A, Family::V4)?;
        socket.raw().connect(&server.into()).context("connect through the balancer")?;
        case.accept(listener)?;
        if let Some(idle) = idle {
            socket.keepalive(Keepalive { idle, interval: 1, count: 3 })?;
        }
        Ok(socket)
    }

    /// Looks after its connection.
    fn turn(&mut self) -> Result<()> {
        let error = self.socket.take_error()?;
        if error != 0 {
            ensure!(error == libc::ECONNRESET, "expected resets only, came error {error}");
            *self = Self::start(self.case, self.listener, self.server, self.idle)?;
        } else if self.idle.is_none() && self.since.elapsed() >= WRITE_AFTER {
            self.socket.write(b"x")?;
            self.since = Instant::now();
        }
        Ok(())
    }
}

fn learned(case: &Case<'_>) -> Result<Expect> {
    let middle = Middle::new(&case.net, LIMIT, BELOW)?;
    let address = |network| SocketAddr::new(middle.server(network).into(), 9_000);
    let listener = |network| -> Result<Tcp> {
        let listener = case.socket(Side::B, Family::V4)?;
        listener.raw().bind(&address(network).into()).context("bind")?;
        listener.raw().listen(64).context("listen")?;
        Ok(listener)
    };
    let listeners = [listener(AROUND)?, listener(ABOVE)?, listener(BELOW)?];
    let listener = |network: u8| &listeners[usize::from(network - 1)];
    let mut clients = Vec::new();
    for (network, idle, count) in CLIENTS {
        for _ in 0..count {
            clients.push(Client::start(case, listener(network), address(network), Some(idle))?);
        }
    }
    for _ in 0..WRITERS {
        clients.push(Client::start(case, listener(AROUND), address(AROUND), None)?);
    }
    let begin = Instant::now();
    let found = loop {
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(1) {
            for client in &mut clients {
                client.turn()?;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let told = case.env.daemon.command(&case.env.program, &["idle-timeouts"])?;
        let of = |network| told.iter().find(|found| found["remote_prefix"] == prefix(&middle, network));
        if let (Some(around), Some(above)) = (of(AROUND), of(ABOVE))
            && is_close(around)?
        {
            break (around.clone(), above.clone());
        }
        ensure!(begin.elapsed() < PATIENCE, "expected both limits within {PATIENCE:?}, came {told:?}");
    };
    // Nobody dies any more.
    for client in &clients {
        client.socket.keepalive_switch(false)?;
    }
    around(&found.0)?;
    above(&found.1)?;
    below(case, &middle)?;
    shown(case, &middle, &found.0)?;
    std::thread::sleep(Duration::from_millis(500));
    let drops = case.view(Side::A)?.drops();
    let expected = ["reset_by_probe/none", "reset_after_idle/none"];
    ensure!(
        drops.iter().all(|drop| expected.contains(&drop.as_str())),
        "expected {expected:?}, came {drops:?}"
    );
    Ok(Expect { drops, ..Expect::nothing().any_resets() })
}

fn prefix(middle: &Middle, network: u8) -> String {
    let [a, b, c, _] = middle.server(network).octets();
    format!("{a}.{b}.{c}.0/24")
}

fn number(found: &Value, name: &str) -> Result<f64> {
    found[name].as_f64().with_context(|| format!("no {name} in {found}"))
}

/// Whether a bracket has closed to within a tenth of the limit. At any time it contains the limit.
fn is_close(found: &Value) -> Result<bool> {
    let (limit, max) = (LIMIT.as_secs_f64(), number(found, "max_seconds")?);
    let min = found["min_seconds"].as_f64().unwrap_or(0.0);
    let contains = min <= limit + SLACK && limit - SLACK <= max;
    ensure!(contains, "expected a bracket that contains {limit} s, came {found}");
    Ok(limit * 0.9 <= min && max <= limit * 1.1)
}

/// It says from how much, and nothing contradicts.
fn around(found: &Value) -> Result<()> {
    let [survived, died, contradict_below, contradict_above] =
        ["survived_below", "died_above", "died_below", "survived_above"].map(|name| number(found, name));
    ensure!(survived? >= 10.0 && died? >= 10.0, "expected more to agree, came {found}");
    // On an emulated machine probes of 9 s may come so late that they meet the limit itself.
    let contradict = contradict_below? + contradict_above?;
    let late = std::env::var_os("KA_E2E_EMULATED").is_some();
    ensure!(contradict < 0.5 || late, "expected no contradiction, came {found}");
    ensure!(number(found, "confidence")? >= 0.99, "came {found}");
    let summary = found["summary"].as_str().context("no summary")?;
    ensure!(summary.contains(" die between ") && summary.contains(" survived below"), "came {summary}");
    Ok(())
}

/// All died at the one setting that there was: below it, and nobody knows how far.
fn above(found: &Value) -> Result<()> {
    let max = number(found, "max_seconds")?;
    ensure!(found["min_seconds"].is_null(), "expected no guess at what is survived, came {found}");
    ensure!((LIMIT.as_secs_f64()..=11.5).contains(&max), "expected the setting of 10 s, came {found}");
    let survived = number(found, "survived_below")? + number(found, "survived_above")?;
    ensure!(survived < 0.5, "expected nobody to survive, came {found}");
    let summary = found["summary"].as_str().context("no summary")?;
    ensure!(summary.contains("too few are known to have survived less"), "came {summary}");
    Ok(())
}

/// Who probes in time is not dropped, and nothing is suspected.
fn below(case: &Case<'_>, middle: &Middle) -> Result<()> {
    let prefix = prefix(middle, BELOW);
    let told = case.env.daemon.command(&case.env.program, &["idle-timeouts"])?;
    ensure!(told.iter().all(|found| found["remote_prefix"] != prefix), "expected none of {prefix}: {told:?}");
    let server = format!("{}:", middle.server(BELOW));
    let drops = case.env.daemon.command(&case.env.program, &["drops"])?;
    let dropped =
        drops.iter().find(|drop| drop["remote"].as_str().is_some_and(|end| end.starts_with(&server)));
    ensure!(dropped.is_none(), "expected no drop of a client that probes in time, came {dropped:?}");
    Ok(())
}

/// The page of metrics tells the same.
fn shown(case: &Case<'_>, middle: &Middle, found: &Value) -> Result<()> {
    let page = case.env.daemon.metrics()?;
    let series = |end: &str, network| {
        let name = format!("ka_suspected_idle_timeout_{end}_seconds");
        page.get(&format!("{name}{{remote_prefix=\"{}\"}}", prefix(middle, network))).copied()
    };
    for end in ["min", "max"] {
        let (shown, told) = (series(end, AROUND), number(found, &format!("{end}_seconds"))?);
        // A later death may have made it narrower meanwhile.
        ensure!(
            shown.is_some_and(|shown| (shown - told).abs() < 1.0),
            "{end}: expected {told}, came {shown:?}"
        );
    }
    ensure!(series("min", ABOVE).is_none() && series("max", ABOVE).is_some(), "came {page:?}");
    ensure!(series("max", BELOW).is_none(), "expected none where nobody died");
    Ok(())
}
