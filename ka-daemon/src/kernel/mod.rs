//! What the running kernel is: its version, its tick, and where it keeps what the programs read.
//!
//! First step of the data path. [`preflight`] says whether the machine lets the daemon work at
//! all, [`btf`] reads the kernel's type information, [`layout`] turns it into the
//! [`KernelLayout`] that [`crate::bpf`] hands to the programs. Nothing here loads or attaches.

pub mod btf;
pub mod hz;
pub mod layout;
pub mod preflight;
pub mod symbols;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use ka_common::KernelLayout;
use thiserror::Error;

use btf::{Btf, BtfError};
pub use hz::hz;
pub use layout::Degraded;
use preflight::Facts;
use symbols::{SymbolError, TimerFunctions};

/// Why the daemon cannot work with this kernel.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The machine does not let it.
    #[error(transparent)]
    Preflight(#[from] preflight::PreflightError),
    /// The type information cannot be read.
    #[error("type information {}{}: {source}", path.display(), named(*asked))]
    Btf {
        /// The file.
        path: PathBuf,
        /// It was named by `--btf`.
        asked: bool,
        /// Why.
        source: BtfError,
    },
    /// The kernel's structures are not what the programs can read.
    #[error("kernel {release}, type information {}{}: {source}", path.display(), named(*asked))]
    Layout {
        /// `uname -r`.
        release: String,
        /// The file.
        path: PathBuf,
        /// It was named by `--btf`.
        asked: bool,
        /// Why.
        source: Box<layout::LayoutError>,
    },
    /// The length of a jiffy is not known.
    #[error(transparent)]
    Hz(#[from] hz::HzError),
}

/// What there is to know of a file of type information that was named: none tells of which kernel it is.
const fn named(asked: bool) -> &'static str {
    if asked { " (by --btf; it must be that of the running kernel)" } else { "" }
}

/// The running kernel, as far as the programs must know it.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// Major, minor, patch; the patch level of a distribution's release may be 0.
    pub version: (u32, u32, u32),
    /// Where the type information came from, for people.
    pub btf_source: String,
    /// The same, for the loader.
    pub btf_path: PathBuf,
    /// It was named by `--btf`, so that it may be another kernel's.
    pub btf_asked: bool,
    /// Jiffies per second.
    pub hz: u32,
    /// Where this kernel keeps what the programs read. The function addresses are 0 where
    /// [`Self::timer_functions`] says why.
    pub layout: KernelLayout,
    /// What does not work on this kernel.
    pub degraded: Vec<Degraded>,
    /// The addresses that the tracepoint plan needs, or why they are not known: an error only
    /// where that plan is to be used.
    pub timer_functions: Result<TimerFunctions, SymbolError>,
}

impl Kernel {
    /// Looks at the running kernel; `btf` is a file to take type information from in place of the
    /// kernel's own. It must be of the running kernel: no file tells of which it is.
    ///
    /// # Errors
    /// What stands in the way, and what to do about it.
    pub fn inspect(btf: Option<&Path>) -> Result<Self, KernelError> {
        let (proc, sys) = (Path::new("/proc"), Path::new("/sys"));
        Self::inspect_with(&Facts::read(proc, sys)?, proc, sys, btf, hz()?)
    }

    /// The same over given facts and trees.
    fn inspect_with(
        facts: &Facts,
        proc: &Path,
        sys: &Path,
        btf: Option<&Path>,
        hz: u32,
    ) -> Result<Self, KernelError> {
        let version = preflight::check(facts)?;
        let (btf_path, asked) = (preflight::btf_path(btf, sys)?, btf.is_some());
        // The kernel takes a while to list its symbols, about as long as reading BTF.
        let (timer_functions, types) = std::thread::scope(|scope| {
            let symbols = scope.spawn(|| symbols::timer_functions(&proc.join("kallsyms")));
            let types = Btf::read(&btf_path);
            (symbols.join().expect("reading symbols does not panic"), types)
        });
        let types = types.map_err(|source| KernelError::Btf { path: btf_path.clone(), asked, source })?;
        let functions = timer_functions.as_ref().copied().unwrap_or_default();
        let (layout, degraded) =
            layout::resolve(&types, functions).map_err(|source| KernelError::Layout {
                release: facts.release.clone(),
                path: btf_path.clone(),
                asked,
                source: Box::new(source),
            })?;
        Ok(Self {
            release: facts.release.clone(),
            version,
            btf_source: btf_path.display().to_string(),
            btf_path,
            btf_asked: asked,
            hz,
            layout,
            degraded,
            timer_functions,
        })
    }

    /// Why sockets cannot be read by iterators: members that this kernel does not have.
    #[must_use]
    pub fn iterators_missing(&self) -> Option<String> {
        let missing = self.degraded.iter().filter(|degraded| degraded.feature == layout::members::ITERATORS);
        let missing: Vec<_> = missing.map(|degraded| degraded.missing.as_str()).collect();
        (!missing.is_empty()).then(|| format!("this kernel has no {}", missing.join(", ")))
    }

    /// Why the tracepoint plan cannot work: the reason that a timer function's address is not
    /// known. None when both are.
    #[must_use]
    pub fn timer_symbols_missing(&self) -> Option<String> {
        self.timer_functions.as_ref().err().map(ToString::to_string)
    }
}
