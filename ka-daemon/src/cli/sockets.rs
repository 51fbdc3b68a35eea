//! `ka-daemon sockets`: every TCP connection of the node as a table or as JSON, from a running daemon
//! or, without one, from a reading of the kernel.

use std::io::{self, Write};
use std::sync::mpsc;

use bytes::Bytes;

use super::args::show::SocketsArgs;
use super::cells;
use super::client::{Client, ClientError, Endpoint};
use super::command::{Console, Failure, ReadError, allow_broken_pipe, block_on};
use super::query;
use super::remedies::remedies;
use super::table::Table;
use crate::view::words::count;
use crate::view::{Filter, SocketView};

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
    let (endpoint, named) = args.daemon.endpoint();
    let asked = if args.standalone || args.config.is_some() {
        None
    } else {
        ask(endpoint, named, &filter, &mut sink)?
    };
    let source = if let Some(source) = asked {
        source
    } else {
        let hint = if console.root { "" } else { "; this needs root, or a daemon to ask (`ka-daemon run`)" };
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

/// Asks the daemon at `endpoint` and returns how it is called; none: nobody is there, and the user did
/// not say (`named`) that there should be.
///
/// A daemon does not wait for long for a client that takes nothing, and whoever reads our output may be
/// slow (a pager): the answer is read by a thread of its own, as fast as it comes.
fn ask<W: Write>(
    endpoint: Endpoint,
    named: bool,
    filter: &Filter,
    sink: &mut Sink<'_, W>,
) -> Result<Option<String>, Failure> {
    let client = Client::new(endpoint);
    let path = query::path("/api/v1/sockets.ndjson", filter.to_query());
    std::thread::scope(|scope| {
        let (lines, arrived) = mpsc::channel();
        let reader = scope.spawn(|| block_on(receive(&client, &path, lines)));
        for (line, socket) in arrived {
            sink.take(socket, Some(line))?;
        }
        let result = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match result {
            Err(Failure::Client(ClientError::Unreachable { .. })) if !named => Ok(None),
            other => other.map(|()| Some(format!("the daemon at {}", client.endpoint()))),
        }
    })
}

/// Hands on each socket of an answer, until nobody wants more.
async fn receive(
    client: &Client,
    path: &str,
    lines: mpsc::Sender<(Bytes, SocketView)>,
) -> Result<(), Failure> {
    let mut answer = client.get(path).await?;
    while let Some(line) = answer.object().await? {
        if lines.send(line).is_err() {
            break;
        }
    }
    Ok(())
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
        // --wide has it in a column, and --no-header is for programs.
        let remedies = if self.args.wide || self.args.no_header {
            Vec::new()
        } else {
            remedies(self.kept.iter().map(|(socket, _)| socket), &self.args.filter.filter())
        };
        let rows = self.kept.drain(..).map(|(socket, _)| row(&socket)).collect();
        let table = Table { columns, rows };
        let fitted = table.fitted(console.width);
        fitted.write(!self.args.no_header, console.color, self.out)?;
        for (place, line) in remedies.iter().enumerate() {
            writeln!(self.out, "{}{line}", if place == 0 { "\n" } else { "" })?;
        }
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::view::testing::socket;

    fn args(options: &[&str]) -> SocketsArgs {
        let cli = Cli::try_parse_from([&["ka-daemon", "sockets"], options].concat()).unwrap();
        let Command::Sockets(args) = cli.into_command() else { panic!("not sockets") };
        *args
    }

    #[expect(clippy::unnecessary_wraps, reason = "as every reader does")]
    fn two(filter: &Filter) -> Result<Vec<SocketView>, ReadError> {
        assert_eq!(*filter, Filter { port: Some(2), ..Filter::default() });
        let mut off = socket("10.0.0.2:9", "10.0.0.3:2");
        off.keepalive = Some(false);
        Ok(vec![off, socket("10.0.0.1:9", "10.0.0.3:2")])
    }

    fn shown(options: &[&str], console: Console) -> [String; 2] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let options = [&["--standalone", "--port", "2"], options].concat();
        run(&args(&options), two, console, &mut out, &mut err).unwrap();
        [out, err].map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn this_kernel_is_read_and_put_in_order() {
        let expected = "\
LOCAL       REMOTE      STATE        KEEPALIVE  TIMER  RTT  OWNER
10.0.0.1:9  10.0.0.3:2  ESTABLISHED  -          -        -  -
10.0.0.2:9  10.0.0.3:2  ESTABLISHED  off        -        -  -
";
        assert_eq!(shown(&[], Console::default()), [expected, ""]);
        assert_eq!(
            shown(&["--no-header"], Console { narrate: true, width: Some(40), ..Console::default() }),
            [
                "10.0.0.3:2  -          -      -\n10.0.0.3:2  off        -      -\n",
                "2 sockets, 0 with keepalive on, 1 off; no room for LOCAL, STATE, RTT; from this kernel, read once\n"
            ]
        );
    }

    #[test]
    fn json_is_an_array_in_the_order_of_reading_or_as_asked() {
        let locals = |options: &[&str]| -> Vec<String> {
            let text = shown(&[&["--json"], options].concat(), Console::default())[0].clone();
            let sockets: Vec<SocketView> = serde_json::from_str(&text).unwrap();
            assert_eq!(text.lines().count(), sockets.len() + 2, "one a line: {text}");
            sockets.iter().map(|socket| socket.local.to_string()).collect()
        };
        assert_eq!(locals(&[]), ["10.0.0.2:9", "10.0.0.1:9"]);
        assert_eq!(locals(&["--sort", "local"]), ["10.0.0.1:9", "10.0.0.2:9"]);
        let mut out = Vec::new();
        let none = |_: &Filter| Ok(Vec::new());
        run(&args(&["--standalone", "--json"]), none, Console::default(), &mut out, &mut Vec::new()).unwrap();
        assert_eq!(out, b"[]\n");
    }

    #[test]
    fn only_a_daemon_that_was_named_must_be_there() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint: Endpoint = free.local_addr().unwrap().to_string().parse().unwrap();
        drop(free);
        let (args, filter) = (args(&[]), Filter::default());
        let mut out = Vec::new();
        let mut sink = Sink::new(&args, &mut out);
        assert_eq!(ask(endpoint.clone(), false, &filter, &mut sink).unwrap(), None);
        let error = ask(endpoint.clone(), true, &filter, &mut sink).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("no daemon answers at {endpoint}: Connection refused")),
            "{error}"
        );
    }

    #[test]
    fn a_kernel_that_cannot_be_read_is_told_with_what_to_do() {
        let read = |_: &Filter| Err("permission denied".into());
        let args = args(&["--standalone"]);
        let error = run(&args, read, Console::default(), &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read this kernel's sockets: permission denied; this needs root, or a daemon to ask (`ka-daemon run`)"
        );
        let root = Console { root: true, ..Console::default() };
        let error = run(&args, read, root, &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read this kernel's sockets: permission denied");
    }

    #[test]
    fn a_reader_that_has_enough_is_no_failure_and_a_full_disk_is() {
        struct Full(io::ErrorKind);
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let run = |kind| {
            run(
                &args(&["--standalone", "--port", "2"]),
                two,
                Console::default(),
                &mut Full(kind),
                &mut Vec::new(),
            )
        };
        run(io::ErrorKind::BrokenPipe).unwrap();
        let error = run(io::ErrorKind::StorageFull).unwrap_err().to_string();
        assert_eq!(error, "cannot write the output: no storage space");
    }
}
