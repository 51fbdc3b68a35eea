//! Ties the data path together: inspect, attach, serve, and undo it all on shutdown.
//!
//! [`start`] does the real thing; [`run`] takes any source of records, so that tests drive
//! everything behind the ring buffer without a kernel.

pub mod owner;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use self::owner::{Owner, Reader};
use crate::api::server::{self, ListenError};
use crate::api::unix::UnixSocket;
use crate::api::{App, Feed, Health, Readiness, SocketSource, router};
use crate::bpf::{BpfError, KernelHooks, Options};
use crate::cli::settings::{Rtt, Settings, Source};
use crate::config::{self, ConfigError};
use crate::events::log::LogError;
use crate::events::tell::Teller;
use crate::events::{Pump, RecordLog, RecordSource};
use crate::inventory::directory::Directory;
use crate::inventory::list::Listing;
use crate::inventory::peers::Peers;
use crate::inventory::source::Iterators;
use crate::inventory::{self, service};
use crate::kernel::{Kernel, KernelError};
use crate::metrics::{Build, Observed, Page, PageError};
use crate::owner::{PodSource, Sources};
use crate::status::KernelSide;
use crate::table::{Clock, Limits, Snapshot, SocketTable};

/// Time for requests in progress.
const SERVER_LIMIT: Duration = Duration::from_millis(1500);
/// Time for the kernel to detach. Where it takes longer it goes on as the process ends.
const DETACH_LIMIT: Duration = Duration::from_millis(1500);
/// Time for the owner to take what still waits. It needs milliseconds; a machine too busy to give it those
/// gets more time rather than a failure, and the records.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Why the daemon could not start, or ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel lacks something, or it cannot be found out.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The programs cannot be attached.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// The configuration cannot be read, or is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No handler for SIGHUP.
    #[error("cannot receive SIGHUP: {0}")]
    Hangup(#[source] io::Error),
    /// The record log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The address cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metrics contradict each other.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The thread that attaches ended early.
    #[error("attaching to the kernel ended early: {0}")]
    Attach(String),
    /// The owner of the table ended early.
    #[error("reading records ended early: {0}")]
    Owner(String),
    /// The inventory could not start, or ended early.
    #[error("reading sockets ended early: {0}")]
    Inventory(String),
    /// The server ended early.
    #[error("serving HTTP ended early: {0}")]
    Server(String),
}

/// The kernel side, or a fake of it.
pub trait KernelStatus: Send + Sync + 'static {
    /// What is attached and how it fares.
    fn status(&self) -> KernelSide;
    /// Detaches everything. Blocks for as long as the kernel takes: it waits for every processor.
    fn detach(&self);
}

impl KernelStatus for KernelHooks {
    fn status(&self) -> KernelSide {
        Self::status(self)
    }

    fn detach(&self) {
        Self::detach_all(self);
    }
}

/// What [`run`] runs with.
pub struct Parts<S> {
    /// The options in force.
    pub settings: Settings,
    /// Where HTTP is served.
    pub listener: TcpListener,
    /// Where else it is served.
    pub unix_socket: Option<UnixSocket>,
    /// Where records come from.
    pub source: S,
    /// What is attached; detached before the last records are read.
    pub kernel: Arc<dyn KernelStatus>,
    /// Where each record is written.
    pub log: Option<RecordLog>,
    /// The configuration.
    pub config: Arc<config::Live>,
    /// Reads every socket of the node; none: no inventory, and owners stay unknown.
    pub inventory: Option<inventory::read::Reader>,
    /// Where the API reads sockets from in place of the inventory.
    pub sockets: Option<Arc<dyn SocketSource>>,
    /// What happens, for the API.
    pub feed: Feed,
    /// Names of pods from the Kubernetes API.
    pub pods: PodSource,
    /// When the daemon started.
    pub started: Instant,
}

/// Completes at SIGTERM or SIGINT.
///
/// # Errors
/// When a handler cannot be installed.
pub fn signals() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    })
}

/// Inspects the kernel, attaches, and serves until `shutdown`. What can fail without touching the
/// kernel is tried first; nothing stays attached after an error.
///
/// # Errors
/// Each with what to do about it.
pub async fn start(
    settings: Settings,
    started: Instant,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let Build { version, revision, rustc } = Build::THIS;
    tracing::info!("ka-daemon {version}, revision {revision}, {rustc}");
    // Before the file is read: a signal that comes meanwhile means a newer file.
    let hangups = signal(SignalKind::hangup()).map_err(RunError::Hangup)?;
    let config = config::Live::open(settings.config.as_deref())?;
    let log = settings.record_log.as_deref().map(RecordLog::create).transpose()?;
    let listener = server::bind(settings.listen_address).await?;
    let unix_socket = settings.unix_socket.as_deref().map(UnixSocket::bind).transpose()?;
    let mut shutdown = std::pin::pin!(shutdown);
    let (hz, hooks) = tokio::select! {
        attached = attach(settings.btf.clone(), options(&settings)) => attached?,
        () = &mut shutdown => {
            // The thread that attaches goes on until the process ends, and with it all that it attached.
            tracing::info!("stopped before everything was attached");
            return Ok(());
        }
    };
    let source = hooks.source()?;
    let hooks = Arc::new(hooks);
    let iterators: Arc<dyn Iterators> = Arc::clone(&hooks) as _;
    let pods = PodSource::start(settings.kubernetes.as_ref());
    let sources = Sources { pods: pods.names(), ..Sources::default() };
    let directory = Arc::new(Mutex::new(Directory::new(Arc::clone(&iterators), sources)));
    let inventory = Some(inventory::read::Reader::new(iterators, directory, hz));
    let config = Arc::new(config);
    let parts = Parts {
        settings,
        listener,
        unix_socket,
        source,
        kernel: hooks,
        log,
        config: Arc::clone(&config),
        inventory,
        sockets: None,
        feed: Feed::default(),
        pods,
        started,
    };
    tokio::select! {
        result = run(parts, shutdown) => result,
        never = config.follow(hangups) => match never {},
    }
}

/// Inspects the kernel and attaches, on a thread of its own: both block, with a large table for seconds. Tells
/// the kernel's tick rate, too.
async fn attach(btf: Option<PathBuf>, options: Options) -> Result<(u32, KernelHooks), RunError> {
    let slow = move || {
        let kernel = Kernel::inspect(btf.as_deref())?;
        Ok((kernel.hz, KernelHooks::attach(&kernel, &options)?))
    };
    match tokio::task::spawn_blocking(slow).await {
        Ok(attached) => attached,
        Err(error) => Err(RunError::Attach(error.to_string())),
    }
}

/// What the kernel side is told.
#[must_use]
pub fn options(settings: &Settings) -> Options {
    Options {
        hooks: settings.hooks,
        ring_bytes: settings.ring_buffer_bytes,
        max_sockets: settings.max_sockets,
        idle_floor: settings.idle_floor,
        rtt_exact: settings.rtt == Rtt::Exact,
        bpf_stats: settings.bpf_stats,
        iterators: settings.inventory == Source::Auto,
    }
}

/// Serves what a source tells until `shutdown`, then stops accepting, detaches, takes what still
/// waits and returns.
///
/// # Errors
/// When a task ends before it was asked to; the daemon is not ready from then on.
pub async fn run<S: RecordSource + Send + 'static>(
    parts: Parts<S>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let Parts {
        settings,
        listener,
        unix_socket,
        source,
        kernel,
        log,
        config,
        inventory,
        sockets,
        feed,
        pods,
        started,
    } = parts;
    let status = kernel.status();
    let limits = Limits {
        max_sockets: usize::try_from(settings.max_sockets).unwrap_or(usize::MAX),
        idle_floor: settings.idle_floor,
        max_owners: settings.max_owners,
        owner_labels: settings.owner_labels,
    };
    let clock = Clock::new(status.hz);
    let teller = Teller::new(feed.clone(), Arc::clone(&config));
    let mut pump = Pump::new(SocketTable::new(clock, limits), log).with_teller(teller);
    if let Some(inventory) = &inventory {
        pump = pump.with_owners(inventory.lookup());
    }
    let (owner, reader) = Owner::new(pump, source);
    let listing = inventory.map(|reader_of_sockets| Listing {
        reader: reader_of_sockets,
        table: Some(reader.table()),
        config,
        peers: Peers::default(),
        clock,
    });
    let sockets = sockets.or_else(|| listing.clone().map(|listing| Arc::new(listing) as _));
    let (inventory, mut inventory_ended) =
        service::start(listing, settings.inventory_interval, settings.inventory_max_cpu)
            .map_err(|error| RunError::Inventory(error.to_string()))?;
    let observed: Arc<dyn Observed> = Arc::new(Live { reader: reader.clone(), kernel: Arc::clone(&kernel) });
    let page = Page::new(Arc::clone(&observed), Build::THIS)?;
    let health = Health::starting();
    let address = listener.local_addr().map_err(|error| RunError::Server(error.to_string()))?;
    let places = places(&settings, address, unix_socket.as_ref());
    let stopping = feed.clone();
    let app = App {
        health: health.clone(),
        reader,
        observed,
        page,
        settings,
        started,
        feed,
        sockets,
        inventory,
        pods,
    };
    let app = router(app);

    let (stop_owner, owner_stopped) = oneshot::channel();
    let (stop_server, server_stopped) = oneshot::channel::<()>();
    let mut owner = tokio::spawn(owner.run(owner_stopped));
    let mut server = tokio::spawn(server::serve(listener, unix_socket, app, async move {
        // A dropped sender means the same.
        drop(server_stopped.await);
    }));
    health.set(Readiness::Ready);
    report(&status);
    let ready_ms = started.elapsed().as_millis();
    tracing::info!("serving {places}; ready in {ready_ms} ms");

    let ended_early = tokio::select! {
        () = shutdown => None,
        result = &mut owner => Some(RunError::Owner(reason(result))),
        result = &mut server => Some(RunError::Server(reason(result.map(Ok::<(), io::Error>)))),
        () = inventory_ended.wait() => Some(RunError::Inventory("it stopped by itself".to_owned())),
    };
    let why = ended_early.as_ref().map_or_else(|| "stopping".to_owned(), ToString::to_string);
    health.set(Readiness::NotReady(why));
    // Answers that would not end by themselves end.
    stopping.close();
    drop(stop_server);
    if !server.is_finished() {
        in_time("serving HTTP", SERVER_LIMIT, server).await;
    }
    // On a thread of its own: a worker that waits for the kernel would hold up the tasks queued on it.
    let detach = tokio::task::spawn_blocking(move || kernel.detach());
    let detached = in_time("detaching", DETACH_LIMIT, detach).await;
    drop(stop_owner);
    match ended_early {
        Some(error) => Err(error),
        None => match tokio::time::timeout(DRAIN_LIMIT, owner).await {
            Ok(Ok(Ok(()))) => {
                let told = if detached { "everything is detached" } else { "the kernel still detaches" };
                tracing::info!("stopped; {told}");
                Ok(())
            }
            Ok(result) => Err(RunError::Owner(reason(result))),
            Err(_) => Err(RunError::Owner("it did not stop in time".to_owned())),
        },
    }
}

/// Where what is served, for the log.
fn places(settings: &Settings, address: SocketAddr, unix: Option<&UnixSocket>) -> String {
    let whole = settings.expose_sockets || address.ip().to_canonical().is_loopback();
    let tcp = if whole {
        format!("http://{address}/")
    } else {
        format!("http://{address}/metrics, and to this machine alone the page and the API")
    };
    unix.map_or_else(|| tcp.clone(), |unix| format!("{tcp}, and {}", unix.path().display()))
}

/// Whether a task ended well within a time.
async fn in_time(what: &str, limit: Duration, task: JoinHandle<()>) -> bool {
    match tokio::time::timeout(limit, task).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => tracing::error!(%error, "{what} failed while it stopped"),
        Err(_) => tracing::warn!("{what} did not end in time"),
    }
    false
}

fn reason(result: Result<io::Result<()>, JoinError>) -> String {
    match result {
        Ok(Ok(())) => "it stopped by itself".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    }
}

/// The facts of the start, one a line.
fn report(kernel: &KernelSide) {
    tracing::info!("kernel {}, HZ {}, BTF from {}", kernel.release, kernel.hz, kernel.btf);
    for intent in &kernel.intents {
        let plan = intent.plan.map_or("none", crate::status::Plan::label);
        tracing::info!("{}: {plan} ({})", intent.intent.label(), intent.reason);
    }
}

/// The running daemon, as page and status see it.
struct Live {
    reader: Reader,
    kernel: Arc<dyn KernelStatus>,
}

impl Observed for Live {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.reader.snapshot()
    }

    fn kernel(&self) -> KernelSide {
        self.kernel.status()
    }
}
