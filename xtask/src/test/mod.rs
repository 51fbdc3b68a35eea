//! `cargo xtask test`: every test there is, stage by stage, and one closing line.
//!
//! A stage that fails does not keep the later ones from running; the exit code tells of any failure.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;

pub(crate) mod native;
mod rules;
mod schema;
pub(crate) mod tally;

use native::Binaries;
use tally::Tally;

use crate::vm::{self, MatrixSummary, VmArgs};
use crate::{ebpf, lint, packages, paths, sh};

/// Cargo's profile of all test code, so that dependencies are compiled once for it.
const PROFILE: &str = "checked";

#[derive(clap::Args)]
pub(crate) struct TestArgs {
    /// Only these stages
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Stage>,
    /// Only end-to-end scenarios whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Hook plan of the native end-to-end tests; without it the best that this kernel takes
    #[arg(long)]
    hooks: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Formatting, clippy, licences
    Lint,
    /// Unit and property tests
    Unit,
    /// Rules and routes for Prometheus and Alertmanager
    Rules,
    /// The dashboards against Grafana's own model of them
    Schema,
    /// End-to-end tests on this kernel
    Native,
    /// From a cut link to the alert in Alertmanager
    Alert,
    /// Many sockets, nothing lost
    Load,
    /// The dashboards' queries against a real Prometheus
    Boards,
    /// End-to-end tests on other kernels
    Guests,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::Rules => "rules",
            Self::Schema => "schema",
            Self::Native => "native",
            Self::Alert => "alert",
            Self::Load => "load",
            Self::Boards => "boards",
            Self::Guests => "guests",
        }
    }
}

/// A line of the closing table.
struct Row {
    stage: &'static str,
    tally: Tally,
    took: Duration,
}

pub(crate) fn run(root: &Path, args: &TestArgs) -> anyhow::Result<ExitCode> {
    let wanted = |stage: &Stage| args.only.is_empty() || args.only.contains(stage);
    let stages: Vec<Stage> = Stage::value_variants().iter().copied().filter(wanted).collect();
    let mut rows = Vec::new();

    let mut warnings = Vec::new();
    let set_up = timed("set-up", || {
        warnings = ebpf::ensure(root)?;
        Ok(Tally::default())
    });
    let ready = set_up.tally.failed == 0;
    rows.push(set_up);

    if ready {
        let mut binaries = None;
        let needs_build =
            |stage: &Stage| !matches!(stage, Stage::Lint | Stage::Unit | Stage::Rules | Stage::Schema);
        if stages.iter().any(needs_build) {
            rows.push(timed("build", || {
                binaries = Some(native::prepare(root)?);
                Ok(Tally::default())
            }));
        }
        for stage in stages {
            rows.push(timed(stage.name(), || run_stage(stage, root, args, &warnings, binaries.as_ref())));
        }
    }

    let total = report(&rows)?;
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_stage(
    stage: Stage,
    root: &Path,
    args: &TestArgs,
    ebpf_warnings: &[String],
    binaries: Option<&Binaries>,
) -> anyhow::Result<Tally> {
    let binaries = || binaries.context("not run: its programs are not there (see above)");
    let hooks = args.hooks.iter().flat_map(|hooks| ["--hooks", hooks]);
    let filter = args.filter.iter().flat_map(|filter| ["--filter", filter]);
    match stage {
        Stage::Lint => Ok(lint::checks(root, ebpf_warnings)),
        Stage::Unit => unit(root),
        Stage::Rules => rules::stage(root),
        Stage::Schema => schema::stage(root),
        Stage::Native => native::scenarios(root, binaries()?, &hooks.chain(filter).collect::<Vec<_>>()),
        Stage::Alert => native::alert(root, binaries()?, &hooks.collect::<Vec<_>>()),
        Stage::Load => native::load(root, binaries()?, &hooks.collect::<Vec<_>>()),
        Stage::Boards => native::boards(root, binaries()?, &hooks.collect::<Vec<_>>()),
        Stage::Guests => run_guests(root, binaries()?, VmArgs::every_kernel(args.filter.clone())),
    }
}

/// `cargo xtask vm`: set-up and build, then the guests alone.
pub(crate) fn guests(root: &Path, args: VmArgs) -> anyhow::Result<ExitCode> {
    ebpf::ensure(root)?;
    let binaries = native::prepare(root)?;
    let tally = run_guests(root, &binaries, args)?;
    sh::print_line(&tally.to_string())?;
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_guests(root: &Path, binaries: &Binaries, mut args: VmArgs) -> anyhow::Result<Tally> {
    packages::ensure(packages::GUESTS)?;
    args.programs = vm::GuestPrograms {
        daemon: paths::daemon(root),
        e2e: binaries.end_to_end.clone(),
        programs: binaries.programs.clone(),
    };
    let summary = vm::run(root, &args)?;
    let MatrixSummary { passed, failed, skipped, .. } = summary;
    let mut tally = Tally { passed: passed as u64, failed: failed as u64, skipped: skipped as u64 };
    if !summary.is_success() && tally.failed == 0 {
        tally += Tally::FAILURE;
    }
    Ok(tally)
}

fn unit(root: &Path) -> anyhow::Result<Tally> {
    packages::ensure(packages::BROWSER)?;
    let mut command = sh::cargo(root, "test");
    command
        // What is skipped where there is no browser fails instead.
        .env("KA_REQUIRE_CHROMIUM", "1")
        .args(["--workspace", "--exclude", "ka-ebpf", "--no-fail-fast", "--profile", PROFILE, "--target-dir"])
        .arg(paths::target(root));
    let mut tally = Tally::default();
    let status = sh::each_line(&mut command, |line| {
        if let Some(one) = Tally::from_cargo(line) {
            tally += one;
        }
        sh::print_line(line)?;
        Ok(())
    })?;
    if !status.success() && tally.failed == 0 {
        sh::say(&format!("no test failed, yet cargo test ended with {status}: see above"));
        tally += Tally::FAILURE;
    }
    Ok(tally)
}

/// Runs a stage; an error counts as one failure and is shown.
fn timed(stage: &'static str, run: impl FnOnce() -> anyhow::Result<Tally>) -> Row {
    sh::say(&format!("== {stage}"));
    let start = Instant::now();
    let tally = run().unwrap_or_else(|error| {
        sh::say(&format!("{stage} FAILED: {error:#}"));
        Tally::FAILURE
    });
    Row { stage, tally, took: start.elapsed() }
}

/// The table of stages and, last and alone on its line, the sum.
fn report(rows: &[Row]) -> anyhow::Result<Tally> {
    let mut total = Tally::default();
    sh::print_line("")?;
    sh::print_line("stage       passed  failed  skipped    seconds")?;
    for Row { stage, tally, took } in rows {
        total += *tally;
        let Tally { passed, failed, skipped } = tally;
        sh::print_line(&format!(
            "{stage:<10} {passed:>7} {failed:>7} {skipped:>8} {:>10.1}",
            took.as_secs_f64()
        ))?;
    }
    sh::print_line(&total.to_string())?;
    Ok(total)
}
