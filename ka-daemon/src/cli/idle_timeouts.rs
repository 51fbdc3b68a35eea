//! `ka-daemon idle-timeouts`: each limit that a daemon suspects on the way, as a sentence with what to do about
//! it, or as JSON.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::args::show::IdleTimeoutsArgs;
use super::client::Client;
use super::command::{Console, Failure, allow_broken_pipe, block_on};
use crate::api::idle_timeouts::IdleTimeoutsAnswer;
use crate::view::words::{count, duration, printable};

const PATH: &str = "/api/v1/idle-timeouts";

/// Tells what a daemon suspects.
///
/// # Errors
/// The daemon cannot be asked, or `out` takes no more.
pub fn run(args: &IdleTimeoutsArgs, console: Console, out: &mut impl Write) -> Result<(), Failure> {
    let client = Client::new(args.daemon.endpoint().0);
    let answer = block_on(async { Ok(client.get(PATH).await?.json::<IdleTimeoutsAnswer>().await?) })?;
    let written = if args.json { json(&answer, out) } else { text(&answer, !args.brief, console.color, out) };
    allow_broken_pipe(written.and_then(|()| out.flush()).map_err(Failure::Output))
}

/// An object a line.
fn json(answer: &IdleTimeoutsAnswer, out: &mut impl Write) -> io::Result<()> {
    for idle_timeout in &answer.idle_timeouts {
        serde_json::to_writer(&mut *out, idle_timeout)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// A sentence for each, with advice below it; where there is none, from how much that is said.
fn text(answer: &IdleTimeoutsAnswer, advice: bool, color: bool, out: &mut impl Write) -> io::Result<()> {
    let [found, dimmed] = if color {
        [Style::new().fg_color(Some(AnsiColor::Yellow.into())), Style::new().dimmed()]
    } else {
        [Style::new(); 2]
    };
    for idle_timeout in &answer.idle_timeouts {
        writeln!(out, "{found}{}{found:#}", printable(&idle_timeout.summary))?;
        if advice {
            writeln!(out, "    {dimmed}{}{dimmed:#}", printable(&idle_timeout.advice))?;
        }
    }
    if answer.idle_timeouts.is_empty() { writeln!(out, "{}", nothing(answer)) } else { Ok(()) }
}

fn nothing(answer: &IdleTimeoutsAnswer) -> String {
    let silent = answer.survived + answer.died;
    if silent == 0 {
        return "No idle timeout is suspected: no connection was silent for 5 s or longer yet.".to_owned();
    }
    let longest = answer.longest_survived_seconds.map_or_else(String::new, |longest| {
        format!("; the longest silence that one is known to have survived is {}", duration(longest))
    });
    format!(
        "No idle timeout is suspected: of {} silent for 5 s or longer, {} died of it{longest}.",
        count(silent, "connection", "connections"),
        answer.died,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(survived: u64, died: u64, longest_survived_seconds: Option<f64>) -> IdleTimeoutsAnswer {
        IdleTimeoutsAnswer {
            idle_timeouts: Vec::new(),
            remote_prefixes: 1,
            survived,
            died,
            longest_survived_seconds,
        }
    }

    #[test]
    fn where_nothing_is_suspected_it_says_from_how_much() {
        for (answer, expected) in [
            (
                answer(0, 0, None),
                "No idle timeout is suspected: no connection was silent for 5 s or longer yet.",
            ),
            (
                answer(11, 1, Some(7_200.0)),
                "No idle timeout is suspected: of 12 connections silent for 5 s or longer, 1 died of it; the longest \
                 silence that one is known to have survived is 2 h.",
            ),
            (
                answer(0, 1, None),
                "No idle timeout is suspected: of 1 connection silent for 5 s or longer, 1 died of it.",
            ),
        ] {
            assert_eq!(nothing(&answer), expected);
        }
    }
}
