//! What `ka` costs, measured on this machine beside the budgets of its design: one table, one row
//! a figure. `cargo xtask bench` builds everything and runs it as root.
//!
//! Each part stands in a module of its own: [`kernel`] times the programs, [`apply`] the table,
//! [`loss`] floods the ring buffer, [`daemon`] watches the real process under load, [`inventory`] reads
//! sockets beside `ss`.

mod apply;
mod daemon;
mod empty;
mod inventory;
mod kernel;
mod loss;
mod reading;
mod report;
mod sockets;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use report::Row;

#[derive(Parser)]
#[command(about = "Benchmarks of ka; needs root")]
struct Args {
    #[command(subcommand)]
    worker: Option<Hidden>,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// The daemon to measure
    #[arg(long, env = "KA_DAEMON", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/ka-daemon"))]
    daemon: PathBuf,
    /// The object with the empty programs
    #[arg(long, env = "KA_EBPF_BENCH_OBJECT", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/ka-ebpf-bench"))]
    object: PathBuf,
}

#[derive(Subcommand)]
enum Hidden {
    /// Holds connections until its standard input ends
    #[command(hide = true)]
    Worker(sockets::Worker),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Kernel time of a probe and of an unrelated timer
    Kernel,
    /// Records decoded and applied per second
    Apply,
    /// Loss at 200,000 records per second
    Loss,
    /// The daemon with 100,000 sockets: CPU, memory, /metrics
    Daemon,
    /// Reading 100,000 sockets, beside ss
    Inventory,
    /// Start to ready
    Start,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Hidden::Worker(worker)) = &args.worker {
        return worker.run();
    }
    let wanted = |part: &Part| args.only.is_empty() || args.only.contains(part);
    let mut rows = Vec::new();
    for part in Part::value_variants().iter().filter(|part| wanted(part)) {
        let name = part.to_possible_value().context("no part is skipped")?.get_name().to_owned();
        report::progress(&format!("{name}: measuring"))?;
        let measured = match part {
            Part::Kernel => kernel::measure(&args.object),
            Part::Apply => apply::measure(),
            Part::Loss => loss::measure(&args.object),
            Part::Daemon => daemon::load(&args.daemon),
            Part::Inventory => inventory::measure(),
            Part::Start => daemon::start(&args.daemon),
        };
        match measured {
            Ok(more) => rows.extend(more.into_iter().map(|row| row.of(&name))),
            Err(error) => rows.push(Row::failed(&error).of(&name)),
        }
    }
    report::table(&rows)
}
