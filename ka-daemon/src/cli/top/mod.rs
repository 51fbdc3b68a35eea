//! `ka-daemon top`: what a daemon sees, live.
//!
//! [`feed`] asks the daemon, [`state`] is changed by what it tells and by keys, [`draw`] turns the state
//! into a screen; the latter two are pure. Here is the loop between them and the terminal.

mod areas;
mod draw;
mod feed;
mod keys;
mod rates;
mod state;

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event;
use ratatui::crossterm::terminal::disable_raw_mode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::args::show::TopArgs;
use super::client::Client;
use super::command::Failure;
use keys::Action;
use state::{Query, State};

/// How often what is left of timers is drawn again.
const FRAME: Duration = Duration::from_millis(250);
/// How long a signal waits for the screen to be left.
const GRACE: Duration = Duration::from_secs(1);
/// How soon the thread that reads keys notices that nobody wants them any more.
const KEY_POLL: Duration = Duration::from_millis(100);

/// Shows it until the user has seen enough. The terminal is left as it was, also by a panic.
///
/// # Errors
/// Standard output is no terminal, or the terminal fails.
pub fn run(args: &TopArgs) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return Err(Failure::NoTerminal);
    }
    let client = Client::new(args.daemon.endpoint().0);
    let state = State::new(client.endpoint().to_string(), args.filter.filter(), TimeZone::system());
    // Keys and the screen on this thread, all else on another: a terminal that takes nothing (a connection
    // that hangs) holds up this one.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let result = runtime.block_on(async {
        // Before the terminal is changed: from then on each of them must find us.
        let signals = Signals::new().map_err(Failure::Terminal)?;
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(signals.end(stop));
        // Sets a panic hook that restores the terminal before it tells of the panic.
        let mut terminal = ratatui::try_init().map_err(Failure::Terminal)?;
        let result = watch(client, state, stopped, &mut terminal).await;
        let cursor = terminal.show_cursor();
        if cursor.is_err() {
            // The terminal is gone, and its destructor would panic for want of anybody to tell.
            std::mem::forget(terminal);
        }
        let restored = cursor.and(ratatui::try_restore());
        result.and(restored).map_err(Failure::Terminal)
    });
    // A name that takes long to be looked up must not keep the command.
    runtime.shutdown_background();
    result
}

async fn watch(
    client: Client,
    mut state: State,
    mut stopped: oneshot::Receiver<()>,
    terminal: &mut DefaultTerminal,
) -> io::Result<()> {
    let started = Instant::now();
    let (queries, feed) = feed::start(client, state.query());
    let mut feed = feed;
    let mut keys = read_keys();
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let size = terminal.size()?;
    state.resize(size.width, size.height);
    loop {
        let now = started.elapsed().as_secs_f64();
        terminal.draw(|frame| draw::draw(&state, now, frame))?;
        // What comes in a burst is drawn once.
        tokio::select! {
            _ = frames.tick() => {}
            told = feed.recv() => if let Some(told) = told {
                let now = started.elapsed().as_secs_f64();
                state.told(told, now);
                while let Ok(told) = feed.try_recv() {
                    state.told(told, now);
                }
            },
            key = keys.recv() => match key {
                Some(Ok(event)) => match state.event(&event, started.elapsed().as_secs_f64()) {
                    Action::Nothing => {}
                    Action::Ask => drop(queries.send_replace(state.query())),
                    Action::Quit => return Ok(()),
                },
                Some(Err(error)) => return Err(error),
                None => return Err(io::Error::other("the terminal gives no keys any more")),
            },
            // Its other end is dropped.
            _ = &mut stopped => return Ok(()),
        }
    }
}

/// Keys, read by a thread: reading blocks.
fn read_keys() -> mpsc::Receiver<io::Result<event::Event>> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(KEY_POLL) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let failed = event.is_err();
            if sender.blocking_send(event).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// The signals that ask to end.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self([terminate?, interrupt?, hangup?]))
    }

    /// Drops `stop` upon one of them, and ends the process if that is not enough.
    async fn end(mut self, stop: oneshot::Sender<()>) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        drop(stop);
        tokio::time::sleep(GRACE).await;
        // The terminal takes no text; its settings can be put back nevertheless.
        drop(disable_raw_mode());
        std::process::exit(1);
    }
}

/// What [`feed`] asks for is decided by [`state`].
type Queries = tokio::sync::watch::Sender<Query>;
