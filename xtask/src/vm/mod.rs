//! `cargo xtask vm`: the end-to-end tests in stock Debian kernels, each booted once in qemu for all hook plans.
//!
//! In order: `kernel` finds and caches the kernels (`apt` fetches them, `btf` takes their type information),
//! `image` packs the guest's files (`cpio`), `guest` runs qemu and watches its console, `console` reads what the
//! guest's first process (`init.sh`) prints, `report` turns it into one line per kernel and plan.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::{paths, sh};

mod apt;
mod btf;
mod console;
mod cpio;
mod guest;
mod image;
mod kernel;
mod report;

pub(crate) use report::MatrixSummary;
use report::Row;

/// The plans that every kernel is tested with, in this order.
const PLANS: [&str; 3] = ["fentry", "kprobe", "tracepoint"];

/// What `cargo xtask vm` takes; `programs` is filled in by whoever built them.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct VmArgs {
    /// Kernel series to test; may be given more than once [default: all]
    #[arg(long = "kernel", value_name = "V", value_parser = kernel::series_names())]
    pub(crate) kernels: Vec<String>,
    /// Hook plan to test; may be given more than once [default: all]
    #[arg(long = "hooks", value_name = "P", value_parser = PLANS)]
    pub(crate) hooks: Vec<String>,
    /// Boot the first kernel chosen into a shell instead of the tests
    #[arg(long)]
    pub(crate) shell: bool,
    /// Only the scenarios whose name contains this
    #[arg(long, value_name = "NAME")]
    pub(crate) filter: Option<String>,
    /// Guests at the same time
    #[arg(long, value_name = "N", default_value_t = JOBS, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,
    /// Set by the caller, not on the command line
    #[arg(skip)]
    pub(crate) programs: GuestPrograms,
}

/// Guests at the same time, where nobody says otherwise: each has two busy virtual CPUs, and probes of
/// 1 s must be answered in time.
const JOBS: u16 = 1;

impl VmArgs {
    /// The whole matrix.
    pub(crate) fn every_kernel(filter: Option<String>) -> Self {
        Self {
            kernels: Vec::new(),
            hooks: Vec::new(),
            shell: false,
            filter,
            jobs: JOBS,
            programs: GuestPrograms::default(),
        }
    }
}

/// The programs under test, as built on this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct GuestPrograms {
    /// `ka-daemon`, at `/ka/ka-daemon` in the guest.
    pub(crate) daemon: PathBuf,
    /// The end-to-end test binary, at `/ka/e2e`.
    pub(crate) e2e: PathBuf,
    /// Folder of the small programs the tests start, at `/ka/programs`.
    pub(crate) programs: PathBuf,
}

/// Runs the matrix, prints a line per kernel and plan as it ends, and returns all of them.
pub(crate) fn run(root: &Path, args: &VmArgs) -> anyhow::Result<MatrixSummary> {
    let started = Instant::now();
    let store = paths::cache(root).join("vm");
    let machine = guest::Machine::find(&store)?;
    sh::say(&machine.describe());
    let kernels = kernel::provide(&store, &args.kernels)?;
    let common = image::common(&args.programs)?;
    if args.shell {
        let kernel = kernels.first().context("no kernel was chosen")?;
        guest::shell(&machine, kernel, &image::write(&store, kernel, &common, None)?)?;
        return Ok(MatrixSummary::default());
    }
    let plans: Vec<String> =
        if args.hooks.is_empty() { PLANS.map(str::to_owned).to_vec() } else { args.hooks.clone() };
    let mut jobs = VecDeque::new();
    for kernel in kernels {
        let initrd = image::write(&store, &kernel, &common, args.filter.as_deref())?;
        jobs.push_back(guest::Job {
            initrd,
            log: store.join(format!("logs/{}.log", kernel.version)),
            kernel,
        });
    }
    let rows = run_jobs(&machine, jobs, &plans, usize::from(args.jobs))?;
    let summary = MatrixSummary::new(rows);
    sh::print_line(&format!("guests: {summary} in {} s", started.elapsed().as_secs()))?;
    Ok(summary)
}

/// Works the guests off with `workers` of them at a time; rows come back in the order of the kernels.
fn run_jobs(
    machine: &guest::Machine,
    jobs: VecDeque<guest::Job>,
    plans: &[String],
    workers: usize,
) -> anyhow::Result<Vec<Row>> {
    let queue = Arc::new(Mutex::new(jobs.into_iter().enumerate().collect::<VecDeque<_>>()));
    let mut finished = Vec::new();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                let queue = Arc::clone(&queue);
                scope.spawn(move || -> anyhow::Result<Vec<(usize, Vec<Row>)>> {
                    let mut done = Vec::new();
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some((index, job)) = next else { return Ok(done) };
                        let rows = guest::run(machine, &job, plans)?;
                        for row in &rows {
                            row.print()?;
                        }
                        done.push((index, rows));
                    }
                })
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(done) => finished.extend(done?),
                Err(_) => bail!("a thread that runs guests panicked"),
            }
        }
        Ok(())
    })?;
    finished.sort_by_key(|(index, _)| *index);
    Ok(finished.into_iter().flat_map(|(_, rows)| rows).collect())
}
