//! `ka-daemon drops`: each dropped connection as a sentence with what would have prevented it, those
//! that a daemon keeps and, with `--follow`, those to come.

mod seen;
mod tell;

use std::io::Write;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;
use tokio::time::sleep;

use super::args::show::DropsArgs;
use super::client::{Client, ClientError, Events};
use super::command::{Console, Failure, allow_broken_pipe, block_on};
use crate::view::{DropView, Event};
use seen::Seen;
use tell::{Teller, asked_for};

pub(super) use tell::clock_time;

/// Between two tries to reach a daemon that went away.
const AGAIN: Duration = Duration::from_secs(1);

/// All that a daemon keeps.
pub(super) const KEPT: &str = "/api/v1/drops?limit=1000";

/// The answer of `/api/v1/drops`.
#[derive(Deserialize)]
struct Kept {
    drops: Vec<DropView>,
}

/// Tells what was asked for. `err` hears of what goes wrong while following.
///
/// # Errors
/// The daemon cannot be asked at the beginning, or `out` takes no more.
pub fn run(
    args: &DropsArgs,
    zone: &TimeZone,
    console: Console,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<(), Failure> {
    let client = Client::new(args.daemon.endpoint().0);
    let teller = Teller { zone, json: args.json, advice: !args.brief, color: console.color };
    let mut log = Log { args, teller, seen: Seen::default(), out };
    allow_broken_pipe(block_on(async {
        if args.follow {
            log.follow(&client, err).await
        } else {
            let kept = kept(&client).await?;
            log.begin(kept)
        }
    }))
}

/// Those that the daemon keeps, the oldest first.
async fn kept(client: &Client) -> Result<Vec<DropView>, ClientError> {
    let Kept { mut drops } = client.get(KEPT).await?.json().await?;
    drops.sort_by_key(|drop| drop.id);
    Ok(drops)
}

struct Log<'a, W> {
    args: &'a DropsArgs,
    teller: Teller<'a>,
    seen: Seen,
    out: &'a mut W,
}

impl<W: Write> Log<'_, W> {
    fn begin(&mut self, kept: Vec<DropView>) -> Result<(), Failure> {
        let mut kept = self.seen.new_of(kept);
        kept.retain(|drop| asked_for(self.args, drop));
        let from = self.args.limit.map_or(0, |limit| kept.len().saturating_sub(limit));
        self.tell(&kept[from..])
    }

    /// Until something fails here: that the daemon goes away does not end it.
    async fn follow(&mut self, client: &Client, err: &mut impl Write) -> Result<(), Failure> {
        // First the events, then what is kept: nothing can happen between the two.
        let mut events = Events::listen(client).await?;
        self.begin(kept(client).await?)?;
        loop {
            let why = match self.listen(&mut events, err).await {
                Ok(()) => "it ended the stream of events".to_owned(),
                Err(Failure::Client(error)) => error.to_string(),
                Err(other) => return Err(other),
            };
            say(err, &format!("lost the daemon: {why}; trying again each second"));
            let missed = loop {
                sleep(AGAIN).await;
                if let Ok(again) = Events::listen(client).await
                    && let Ok(kept) = kept(client).await
                {
                    events = again;
                    break kept;
                }
            };
            say(err, &format!("the daemon at {} answers again", client.endpoint()));
            let mut missed = self.seen.new_of(missed);
            missed.retain(|drop| asked_for(self.args, drop));
            self.tell(&missed)?;
        }
    }

    async fn listen(&mut self, events: &mut Events, err: &mut impl Write) -> Result<(), Failure> {
        while let Some(event) = events.next().await? {
            match event {
                Event::Drop(drop) => {
                    if self.seen.is_new(&drop) && asked_for(self.args, &drop) {
                        self.tell(&[*drop])?;
                    }
                }
                Event::Lost { count } => {
                    say(
                        err,
                        &format!("too slow a reader: {count} events were left out, drops among them maybe"),
                    );
                }
                Event::ProbeUnanswered(_) | Event::Totals(_) => {}
            }
        }
        Ok(())
    }

    fn tell(&mut self, drops: &[DropView]) -> Result<(), Failure> {
        for drop in drops {
            self.teller.write(drop, self.out)?;
        }
        Ok(self.out.flush()?)
    }
}

/// Nobody is owed these words: that they cannot be told is no failure.
fn say(err: &mut impl Write, text: &str) {
    drop(writeln!(err, "ka-daemon drops: {text}"));
}
