//! `ka-daemon sockets`: every TCP connection of the node as a table or as JSON, from a running daemon
//! or, without one, from a reading of the kernel.

use std::io::{self, Write};

use bytes::Bytes;

use super::args::show::SocketsArgs;
use super::cells;
use super::client::{Client, ClientError};
use super::command::{Console, Failure, ReadError, allow_broken_pipe, block_on};
use super::query;
use super::table::Table;
use crate::view::words::count;
use crate::view::{Filter, SocketView};

const STANDALONE_HINT: &str = "this needs root";
const NO_DAEMON_HINT: &str = "this needs root; or start a daemon to ask: `ka-daemon run`";

/// Shows what was asked for. `read` reads the kernel itself, once, and returns what matches; `err` is
/// where people are told what was done.
///
/// # Errors
/// Neither a daemon nor the kernel can be asked, or `out` takes no more.
pub fn run(
    args: &SocketsArgs,
    read: impl FnOnce(&Filter) -> Result<Vec<SocketView>, ReadError>,
    console: Console,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<(), Failure> {
    allow_broken_pipe(show(args, read, console, out, err))
}

fn show(
    args: &SocketsArgs,
    read: impl FnOnce(&Filter) -> Result<Vec<SocketView>, ReadError>,
    console: Console,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<(), Failure> {
    let filter = args.filter.filter();
    let mut sink = Sink::new(args, out);
    let source = if let Some(source) = ask(args, &filter, &mut sink)? {
        source
    } else {
        let hint = if args.standalone { STANDALONE_HINT } else { NO_DAEMON_HINT };
        for socket in read(&filter).map_err(|source| Failure::Read { source, hint })? {
            sink.take(socket, None)?;
        }
        "this kernel, read once".to_owned()
    };
    let told = sink.finish(console)?;
    if console.narrate {
        // Nobody is owed these words: that they cannot be told is no failure.
        drop(writeln!(err, "{told}; from {source}"));
    }
    Ok(())
}

/// Asks a daemon and returns which one; none: the kernel is to be read instead, because that is what
/// the user wants, or because no daemon was named and none is there.
fn ask<W: Write>(
    args: &SocketsArgs,
    filter: &Filter,
    sink: &mut Sink<'_, W>,
) -> Result<Option<String>, Failure> {
    if args.standalone {
        return Ok(None);
    }
    let (endpoint, named) = args.daemon.endpoint();
    let client = Client::new(endpoint);
    let path = query::path("/api/v1/sockets.ndjson", filter.to_query());
    block_on(async {
        let mut answer = match client.get(&path).await {
            Err(ClientError::Unreachable { .. }) if !named => return Ok(None),
            other => other?,
        };
        while let Some((line, socket)) = answer.object().await? {
            sink.take(socket, Some(line))?;
        }
        Ok(Some(format!("the daemon at {}", client.endpoint())))
    })
}

/// Takes sockets one by one. JSON in no order passes through; all else waits for the last one.
struct Sink<'a, W> {
    args: &'a SocketsArgs,
    out: &'a mut W,
    kept: Vec<(SocketView, Option<Bytes>)>,
    taken: u64,
    on: u64,
    off: u64,
}

impl<'a, W: Write> Sink<'a, W> {
    fn new(args: &'a SocketsArgs, out: &'a mut W) -> Self {
        Self { args, out, kept: Vec::new(), taken: 0, on: 0, off: 0 }
    }

    /// Takes one, with the line in which a daemon told of it: a newer one may tell more.
    fn take(&mut self, socket: SocketView, line: Option<Bytes>) -> io::Result<()> {
        match socket.keepalive {
            Some(true) => self.on += 1,
            Some(false) => self.off += 1,
            None => {}
        }
        if self.args.json && self.args.sort.is_none() {
            json(self.out, self.taken == 0, &socket, line.as_deref())?;
        } else {
            let line = line.filter(|_| self.args.json);
            self.kept.push((socket, line));
        }
        self.taken += 1;
        Ok(())
    }

    /// Writes what is left, and tells in a few words what was shown.
    fn finish(mut self, console: Console) -> io::Result<String> {
        let key = self.args.sort.unwrap_or_default();
        self.kept.sort_by_cached_key(|(socket, _)| key.position(socket, std::time::Duration::ZERO));
        let mut told = format!(
            "{}, {} with keepalive on, {} off",
            count(self.taken, "socket", "sockets"),
            self.on,
            self.off
        );
        if self.args.json {
            for (place, (socket, line)) in self.kept.iter().enumerate() {
                json(self.out, place == 0, socket, line.as_deref())?;
            }
            self.out.write_all(if self.taken == 0 { b"[]\n" } else { b"\n]\n" })?;
        } else {
            let left_out = self.table(console)?;
            if !left_out.is_empty() {
                told.push_str("; no room for ");
                told.push_str(&left_out.join(", "));
            }
        }
        self.out.flush()?;
        Ok(told)
    }

    fn table(&mut self, console: Console) -> io::Result<Vec<&'static str>> {
        let (columns, row): (&[_], fn(&SocketView) -> _) =
            if self.args.wide { (&cells::WIDE, cells::wide) } else { (&cells::NARROW, cells::narrow) };
        let rows = self.kept.drain(..).map(|(socket, _)| row(&socket)).collect();
        let table = Table { columns, rows };
        let fitted = table.fitted(console.width);
        fitted.write(!self.args.no_header, console.color, self.out)?;
        Ok(fitted.left_out())
    }
}

/// An element of the array, on a line of its own.
fn json(out: &mut impl Write, first: bool, socket: &SocketView, line: Option<&[u8]>) -> io::Result<()> {
    out.write_all(if first { b"[\n" } else { b",\n" })?;
    match line {
        Some(line) => out.write_all(line),
        None => serde_json::to_writer(out, socket).map_err(io::Error::from),
    }
}
