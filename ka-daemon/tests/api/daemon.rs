//! A daemon without a kernel, and sources of sockets that a test controls.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc as blocking};
use std::time::{Duration, Instant};

use clap::Parser as _;
use ka_common::Counters;
use ka_daemon::api::unix::UnixSocket;
use ka_daemon::api::{Feed, SocketSource, SourceError, server};
use ka_daemon::cli::settings::Settings;
use ka_daemon::cli::{Cli, Command};
use ka_daemon::owner::PodSource;
use ka_daemon::run::{Parts, RunError, run};
use ka_daemon::view::{Filter, SocketView};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::support::{FakeKernel, FakeSource};

pub(crate) struct Daemon {
    pub(crate) address: SocketAddr,
    pub(crate) feed: Feed,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<Result<(), RunError>>,
    pub(crate) records: mpsc::UnboundedSender<Vec<u8>>,
}

pub(crate) fn settings(args: &[&str]) -> Settings {
    let args = [&["ka-daemon", "--web.listen-address", "127.0.0.1:0"], args].concat();
    let Command::Run(args) = Cli::parse_from(args).into_command() else { unreachable!("run is the default") };
    args.settings()
}

impl Daemon {
    pub(crate) async fn start(sockets: Option<Arc<dyn SocketSource>>) -> Self {
        Self::with(settings(&[]), sockets).await
    }

    pub(crate) async fn with(settings: Settings, sockets: Option<Arc<dyn SocketSource>>) -> Self {
        let listener = server::bind(settings.listen_address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let unix_socket = settings.unix_socket.as_deref().map(|path: &Path| UnixSocket::bind(path).unwrap());
        let (records, source) = FakeSource::new();
        let feed = Feed::default();
        let parts = Parts {
            settings,
            listener,
            unix_socket,
            source,
            kernel: Arc::new(FakeKernel(Counters::default())),
            log: None,
            config: Arc::default(),
            inventory: None,
            pods: PodSource::default(),
            sockets,
            feed: feed.clone(),
            started: Instant::now(),
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(parts, async { drop(stopped.await) }));
        Self { address, feed, stop, task, records }
    }

    /// Asks it to stop and says how long it took.
    pub(crate) async fn stopped(self) -> Duration {
        let begun = Instant::now();
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap().unwrap();
        begun.elapsed()
    }
}

/// Sockets that grow older as real ones do: what they say is true at `start`.
pub(crate) struct Ageing {
    pub(crate) sockets: Vec<SocketView>,
    pub(crate) start: Duration,
    pub(crate) reads: AtomicU64,
}

impl Ageing {
    /// The start lies on a full tenth of a second of the clock that positions are told by.
    pub(crate) fn new(sockets: Vec<SocketView>) -> Self {
        let start = Duration::from_millis(u64::try_from(monotonic().as_millis()).unwrap() / 100 * 100);
        Self { sockets, start, reads: AtomicU64::new(0) }
    }
}

fn monotonic() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).try_into().unwrap()
}

impl SocketSource for Ageing {
    fn sockets(
        &self,
        _filter: &Filter,
        each: &mut dyn FnMut(SocketView) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        for socket in &self.sockets {
            let age = monotonic().checked_sub(self.start).unwrap().as_secs_f64();
            let mut socket = socket.clone();
            if let Some(timer) = &mut socket.timer {
                timer.expires_seconds -= age;
            }
            for shrinks in [&mut socket.next_probe_seconds, &mut socket.drop_in_seconds] {
                *shrinks = shrinks.map(|seconds| seconds - age);
            }
            for grows in [
                &mut socket.last_received_seconds,
                &mut socket.last_sent_seconds,
                &mut socket.last_acked_seconds,
            ] {
                *grows = grows.map(|seconds| seconds + age);
            }
            if each(socket).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// A read does what a test tells it, step by step.
pub(crate) struct Scripted {
    steps: Mutex<blocking::Receiver<Step>>,
    /// How often reads began and ended.
    pub(crate) begun: AtomicU64,
    pub(crate) ended: AtomicU64,
}

pub(crate) enum Step {
    Socket(Box<SocketView>),
    /// The same one until nobody wants more.
    Endless(Box<SocketView>),
    Fail(&'static str),
    Panic,
    End,
}

impl Scripted {
    pub(crate) fn new() -> (blocking::Sender<Step>, Arc<Self>) {
        let (sender, steps) = blocking::channel();
        let (begun, ended) = (AtomicU64::new(0), AtomicU64::new(0));
        (sender, Arc::new(Self { steps: Mutex::new(steps), begun, ended }))
    }

    fn play(&self, each: &mut dyn FnMut(SocketView) -> ControlFlow<()>) -> Result<(), SourceError> {
        loop {
            let step = self.steps.lock().unwrap().recv().unwrap_or(Step::End);
            match step {
                Step::Socket(socket) => {
                    if each(*socket).is_break() {
                        return Ok(());
                    }
                }
                Step::Endless(socket) => {
                    // Ends at last, so that a reading that nobody ends fails a test and does not hang it.
                    let begun = Instant::now();
                    while each(SocketView::clone(&socket)).is_continue() {
                        assert!(begun.elapsed() < 2 * crate::http::PATIENCE, "nobody ended the reading");
                    }
                    return Ok(());
                }
                Step::Fail(reason) => return Err(SourceError::new(reason)),
                Step::Panic => panic!("a test asked for it"),
                Step::End => return Ok(()),
            }
        }
    }
}

impl SocketSource for Scripted {
    fn sockets(
        &self,
        _filter: &Filter,
        each: &mut dyn FnMut(SocketView) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let result = self.play(each);
        self.ended.fetch_add(1, Ordering::Relaxed);
        result
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < crate::http::PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
