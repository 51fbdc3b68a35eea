//! Real programs: Go's default keepalive and nginx with `so_keepalive`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Scenario, on_any};
use crate::case::{Case, Expect};
use crate::daemon::sum;
use crate::net::{Family, Net, Side};
use crate::running::Running;

pub(super) const SCENARIOS: &[Scenario] =
    &[on_any("program_go", go), on_any("program_go_http", go_http), on_any("program_nginx", nginx)];

/// Both ends of a Go connection probe every 15 s without being asked to.
fn go(case: &Case<'_>) -> Result<Expect> {
    // An attempt before may have left some.
    let before = owned_by_go(case)?;
    let server = start_go(case, Side::B, "listen", "listening")?;
    let client = start_go(case, Side::A, "dial", "connected")?;
    for side in Side::BOTH {
        let view = case.wait(side, "an answered probe", |v| v.answered() >= 1)?;
        let first = view.records().next().map(|r| (r.keepidle_seconds, r.keepintvl_seconds));
        ensure!(first == Some((Some(15.0), Some(15.0))), "expected Go's 15/15, came {first:?}");
        case.all_answered(side, &view)?;
        looks_like_go(case, side, 15)?;
    }
    // They say goodbye while the path is whole; cut off, they would stay as orphans.
    drop((client, server));
    for side in Side::BOTH {
        case.wait(side, "the outcome of every probe", |v| matches!(v.pending(), Ok(0)))?;
    }
    // Counted for their owner from the first probe on.
    let sent = case.view(Side::A)?.sent() + case.view(Side::B)?.sent();
    let owned = owned_by_go(case)? - before;
    ensure!(owned == sent, "expected {sent} probes of go-keepalive, came {owned}");
    Ok(Expect::nothing())
}

fn owned_by_go(case: &Case<'_>) -> Result<u64> {
    let page = case.env.daemon.metrics()?;
    Ok(sum(&page, "ka_keepalive_probes_sent_total", &["comm=\"go-keepalive\""]))
}

/// An HTTP server and client of Go that ask for nothing. The client's are the 30 s that
/// `http.DefaultTransport` sets.
fn go_http(case: &Case<'_>) -> Result<Expect> {
    let server = start_go(case, Side::B, "serve", "listening")?;
    let client = start_go(case, Side::A, "get", "answered")?;
    looks_like_go(case, Side::B, 15)?;
    looks_like_go(case, Side::A, 30)?;
    drop((client, server));
    Ok(Expect::nothing())
}

fn start_go(case: &Case<'_>, side: Side, mode: &str, line: &str) -> Result<Running> {
    let tools = case.env.tools.as_ref().context("say where the test programs are: KA_E2E_TOOLS")?;
    let mut command = Command::new(tools.join("go-keepalive"));
    Running::start_ready(&case.net, side, command.args([mode, "10.77.0.2:9000"]), line)
}

/// The side's one connection is shown with the settings of a Go program that asked for none.
fn looks_like_go(case: &Case<'_>, side: Side, seconds: i32) -> Result<()> {
    let netns = case.net.inode(side)?.to_string();
    let args = ["sockets", "--netns", &netns, "--state", "ESTABLISHED"];
    let shown = case.env.daemon.command(&case.env.program, &args)?;
    let [socket] = &shown[..] else { bail!("expected one connection, came {shown:?}") };
    told(socket, &[("/preset", "go"), ("/owner/comm", "go-keepalive"), ("/origin/keepidle", "socket")])?;
    told(socket, &[("/keepidle_seconds", seconds), ("/keepintvl_seconds", seconds)])?;
    told(socket, &[("/keepalive", true)])
}

/// nginx probes its idle client every second, and drops it when the path is cut.
fn nginx(case: &Case<'_>) -> Result<Expect> {
    let folder = std::env::temp_dir().join(format!("ka-e2e-nginx-{}", std::process::id()));
    if folder.exists() {
        fs::remove_dir_all(&folder).context("folder of nginx")?;
    }
    fs::create_dir_all(&folder).context("folder of nginx")?;
    let path = folder.display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!(" {kind}_temp_path {path}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log {path}/error;\nevents {{}}\nhttp {{\n \
         access_log off;\n{temp} keepalive_timeout 600s;\n client_header_timeout 600s;\n server {{\n  \
         listen 10.77.0.2:8080 so_keepalive=1s:1s:3;\n }}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).context("nginx.conf")?;
    let mut command = Command::new("nginx");
    command.arg("-e").arg(folder.join("error")).arg("-p").arg(&folder).arg("-c").arg(&file);
    let server = Running::start(&case.net, Side::B, &mut command)?;
    // nginx sets the options of its listener after it listens: an earlier connection misses them. It
    // writes its number once all is set.
    wait_written(&folder.join("pid"))?;
    let client = case.socket(Side::A, Family::V4)?;
    let address = SocketAddr::new(Net::address(Side::B, Family::V4), 8080);
    client.raw().connect(&address.into()).context("nginx takes no connection")?;
    let view = case.wait(Side::B, "two answered probes", |v| v.answered() >= 2)?;
    let first = view.records().next().map(|r| (r.keepidle_seconds, r.keepintvl_seconds, r.keepcnt));
    ensure!(first == Some((Some(1.0), Some(1.0), Some(3))), "expected nginx's 1/1/3, came {first:?}");
    let netns = case.net.inode(Side::B)?.to_string();
    let args = ["sockets", "--netns", &netns, "--state", "ESTABLISHED"];
    let shown = case.env.daemon.command(&case.env.program, &args)?;
    let [socket] = &shown[..] else { bail!("expected one connection, came {shown:?}") };
    told(socket, &[("/owner/comm", "nginx"), ("/origin/keepidle", "socket"), ("/origin/keepcnt", "socket")])?;
    told(socket, &[("/keepidle_seconds", 1), ("/keepintvl_seconds", 1), ("/keepcnt", 3)])?;
    case.net.cut()?;
    case.wait(Side::B, "the drop", |v| !v.drops().is_empty())?;
    explained(case, &netns)?;
    drop((server, client));
    fs::remove_dir_all(&folder).context("folder of nginx")?;
    Ok(Expect::drops(&["keepalive_timeout/keepalive"]))
}

/// Checks members of a JSON object.
fn told<T>(socket: &Value, expected: &[(&str, T)]) -> Result<()>
where
    T: std::fmt::Debug + Copy,
    Value: PartialEq<T>,
{
    for (place, value) in expected {
        let came = socket.pointer(place).with_context(|| format!("no {place} in {socket}"))?;
        ensure!(came == value, "expected {place} to be {value:?}, came {came} in {socket}");
    }
    Ok(())
}

/// `ka-daemon drops` tells whose connection ended, why, and what would have helped.
fn explained(case: &Case<'_>, netns: &str) -> Result<()> {
    let drops = case.env.daemon.command(&case.env.program, &["drops", "--process", "nginx"])?;
    let netns: u64 = netns.parse().context("netns")?;
    let dropped = drops.iter().find(|dropped| dropped["netns"] == netns);
    let dropped = dropped.with_context(|| format!("expected the drop of nginx, came {drops:?}"))?;
    told(dropped, &[("/cause", "keepalive_timeout"), ("/timer", "keepalive"), ("/owner/comm", "nginx")])?;
    told(dropped, &[("/probes_out", 3), ("/keepcnt", 3)])?;
    for words in ["/summary", "/advice"] {
        let text = dropped.pointer(words).and_then(Value::as_str).unwrap_or_default();
        ensure!(text.len() > 20, "expected a sentence as {words}, came {text:?}");
    }
    Ok(())
}

fn wait_written(file: &Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(1);
    while fs::metadata(file).map_or(0, |file| file.len()) == 0 {
        ensure!(Instant::now() < deadline, "nginx did not write {}", file.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
