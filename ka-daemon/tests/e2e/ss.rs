//! What `ss` says of the sockets of a namespace, as a second opinion on `ka-daemon sockets`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use crate::net::{Net, Side};

/// A socket by its ends, as `ss` and the JSON both write them.
pub(crate) type Ends = (String, String);

/// One socket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) state: String,
    /// Kind, and seconds until it fires with the precision that `ss` prints.
    pub(crate) timer: Option<(String, f64, f64)>,
    pub(crate) inode: u64,
}

/// Every TCP socket of a side.
pub(crate) fn sockets(net: &Net, side: Side) -> Result<BTreeMap<Ends, Line>> {
    let text = net.command(side, "ss", &["-H", "-t", "-a", "-n", "-o", "-e"])?;
    text.lines().map(|line| parse(line).with_context(|| format!("ss: {line}"))).collect()
}

fn parse(line: &str) -> Result<(Ends, Line)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [state, _, _, local, peer, rest @ ..] = &words[..] else { bail!("five columns") };
    let value = |key: &str| rest.iter().find_map(|word| word.strip_prefix(key));
    let timer = value("timer:").map(timer).transpose()?;
    let inode = value("ino:").map_or(Ok(0), str::parse).context("inode")?;
    let state = match *state {
        "ESTAB" => "ESTABLISHED".to_owned(),
        other => other.replace("WAIT-", "WAIT").replace('-', "_"),
    };
    Ok(((end(local), end(peer)), Line { state, timer, inode }))
}

/// `*:80` listens on both families, `0.0.0.0:*` has no remote end.
fn end(text: &str) -> String {
    let (address, port) = text.rsplit_once(':').unwrap_or((text, "0"));
    let address = if address == "*" { "[::]" } else { address.split('%').next().unwrap_or(address) };
    format!("{address}:{}", if port == "*" { "0" } else { port })
}

/// `(keepalive,1.204ms,0)`: the middle is `12sec`, `1min2sec`, `119min`, `200ms` or `1.204ms`, cut, not
/// rounded.
fn timer(text: &str) -> Result<(String, f64, f64)> {
    let mut parts = text.trim_matches(['(', ')']).split(',');
    let (kind, time) = (parts.next().context("kind")?, parts.next().context("time")?);
    let kind = match kind {
        "on" => "retransmit",
        "persist" => "zero_window",
        "timewait" => "time_wait",
        other => other,
    };
    let (minutes, rest) = match time.split_once("min") {
        Some((minutes, rest)) => (minutes.parse::<f64>().context("minutes")?, rest),
        None => (0.0, time),
    };
    let (seconds, precision) = if rest.is_empty() {
        (0.0, 60.0)
    } else if let Some(ms) = rest.strip_suffix("ms") {
        match ms.split_once('.') {
            Some((seconds, ms)) => {
                (seconds.parse::<f64>().context("s")? + ms.parse::<f64>().context("ms")? / 1e3, 0.001)
            }
            None => (ms.parse::<f64>().context("ms")? / 1e3, 0.001),
        }
    } else {
        (rest.strip_suffix("sec").context("sec")?.parse::<f64>().context("seconds")?, 1.0)
    };
    Ok((kind.to_owned(), minutes * 60.0 + seconds, precision))
}
