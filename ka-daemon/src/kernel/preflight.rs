//! Whether this machine lets the daemon do its work, told before anything is loaded: each obstacle
//! has an error of its own that says what to do about it.
//!
//! Pure over [`Facts`]; [`Facts::read`] fills them from `/proc` and `/sys`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Oldest kernel that is supported and tested.
pub const OLDEST: (u32, u32, u32) = (5, 10, 0);
/// Where the kernel shows its own type information.
pub const KERNEL_BTF: &str = "kernel/btf/vmlinux";

const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
/// From this version on BPF memory counts for the control group, not for `RLIMIT_MEMLOCK`.
const NO_MEMLOCK: (u32, u32, u32) = (5, 11, 0);

/// What stands in the way.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PreflightError {
    /// The processor is not supported.
    #[error("{arch} is not supported: ka runs on little-endian x86_64 and aarch64")]
    Architecture {
        /// The architecture.
        arch: String,
    },
    /// The kernel's release says no version.
    #[error("cannot tell the kernel's version from its release {release:?}; please report it")]
    Release {
        /// `uname -r`.
        release: String,
    },
    /// The kernel is too old.
    #[error("kernel {release} is too old: ka needs 5.10 or later (ring buffer, typed tracepoints)")]
    KernelTooOld {
        /// `uname -r`.
        release: String,
    },
    /// The daemon runs in a user namespace.
    #[error(
        "this is a user namespace, where no capability counts for BPF: run ka in the machine's own user \
         namespace (not in a rootless container; with Docker --privileged or the capabilities below, and \
         without userns-remap)"
    )]
    UserNamespace,
    /// A capability is missing.
    #[error(
        "{capability} is missing ({purpose}): run as root, or give the program CAP_BPF and CAP_PERFMON (or \
         CAP_SYS_ADMIN in their place), CAP_SYSLOG, and on kernels before 5.11 CAP_SYS_RESOURCE or an \
         unlimited RLIMIT_MEMLOCK (systemd: AmbientCapabilities=, LimitMEMLOCK=, Docker: --cap-add, Kubernetes: securityContext.capabilities.add)"
    )]
    Capability {
        /// Its name.
        capability: &'static str,
        /// What it is needed for.
        purpose: &'static str,
    },
    /// The kernel is locked down.
    #[error(
        "the kernel is locked down for confidentiality, and refuses that BPF programs read its memory: \
         boot with lockdown=integrity or without lockdown= ({} shows the state)",
        path.display()
    )]
    Lockdown {
        /// Where that was read.
        path: PathBuf,
    },
    /// The kernel shows no type information.
    #[error(
        "{} does not exist: the kernel is built without CONFIG_DEBUG_INFO_BTF, or /sys is not mounted here; \
         take a kernel that has it, or give its BTF by --btf PATH",
        path.display()
    )]
    NoBtf {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file given by `--btf` is not there.
    #[error("--btf {}: there is no such file", path.display())]
    NoBtfFile {
        /// The file.
        path: PathBuf,
    },
    /// A file that tells about the machine cannot be read.
    #[error("cannot read {}: {kind} (is /proc mounted?)", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// A file that tells about the machine does not hold what it should.
    #[error("{} does not hold {what}; is something else than the kernel's /proc mounted there?", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
}

/// What the checks look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The processor architecture, as Rust names it.
    pub arch: String,
    /// Whether numbers are little endian.
    pub little_endian: bool,
    /// `uname -r`.
    pub release: String,
    /// Effective capabilities, a bit each.
    pub capabilities: u64,
    /// Whether `RLIMIT_MEMLOCK` can be lifted without a capability: its hard limit is unlimited.
    pub memlock_unlimited: bool,
    /// Whether user 0 here is user 0 of the machine.
    pub initial_user_namespace: bool,
    /// Contents of `/sys/kernel/security/lockdown`; none where the kernel has no lockdown.
    pub lockdown: Option<String>,
    /// Where it was looked for.
    pub lockdown_path: PathBuf,
}

impl Facts {
    /// Reads the facts of this machine from its `/proc` and `/sys`.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn read(proc: &Path, sys: &Path) -> Result<Self, PreflightError> {
        let read = |path: PathBuf| match fs::read_to_string(&path) {
            Ok(text) => Ok((path, text)),
            Err(error) => Err(PreflightError::Unreadable { path, kind: error.kind() }),
        };
        let (_, release) = read(proc.join("sys/kernel/osrelease"))?;
        let (status_path, status) = read(proc.join("self/status"))?;
        let capabilities = status
            .lines()
            .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok())
            .ok_or(PreflightError::Malformed {
                path: status_path,
                what: "effective capabilities (CapEff)",
            })?;
        let (_, limits) = read(proc.join("self/limits"))?;
        let (_, uid_map) = read(proc.join("self/uid_map"))?;
        let lockdown_path = sys.join("kernel/security/lockdown");
        Ok(Self {
            arch: std::env::consts::ARCH.to_owned(),
            little_endian: cfg!(target_endian = "little"),
            release: release.trim().to_owned(),
            capabilities,
            memlock_unlimited: hard_memlock(&limits) == Some("unlimited"),
            initial_user_namespace: is_identity(&uid_map),
            // Not there without securityfs or without the lockdown module: then nothing is locked.
            lockdown: fs::read_to_string(&lockdown_path).ok(),
            lockdown_path,
        })
    }

    /// The kernel takes `CAP_SYS_ADMIN`, from which both were split off in 5.8, for either of
    /// `CAP_BPF` and `CAP_PERFMON`.
    fn has(&self, capability: u32) -> bool {
        let holds = |bit: u32| self.capabilities >> bit & 1 == 1;
        holds(capability) || matches!(capability, CAP_BPF | CAP_PERFMON) && holds(CAP_SYS_ADMIN)
    }
}

/// The hard limit of locked memory, from `/proc/PID/limits`.
fn hard_memlock(limits: &str) -> Option<&str> {
    limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?.split_whitespace().nth(1)
}

/// Whether every user is itself: one line, 0 to 0, all of them.
fn is_identity(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Checks all but BTF, the cheapest first, and gives the kernel's version.
///
/// `CAP_SYSLOG` is not demanded here: only the tracepoint plan needs it, and
/// [`SymbolError::Hidden`](super::symbols::SymbolError::Hidden) tells when it is missing.
///
/// # Errors
/// The first obstacle.
pub fn check(facts: &Facts) -> Result<(u32, u32, u32), PreflightError> {
    if !facts.little_endian || !matches!(facts.arch.as_str(), "x86_64" | "aarch64") {
        let endian = if facts.little_endian { "" } else { " (big endian)" };
        return Err(PreflightError::Architecture { arch: format!("{}{endian}", facts.arch) });
    }
    let release = || facts.release.clone();
    let version = version(&facts.release).ok_or_else(|| PreflightError::Release { release: release() })?;
    if version < OLDEST {
        return Err(PreflightError::KernelTooOld { release: release() });
    }
    let mut needed = vec![
        (CAP_BPF, "CAP_BPF", "loading BPF programs"),
        (CAP_PERFMON, "CAP_PERFMON", "reading kernel memory in BPF programs"),
    ];
    if version < NO_MEMLOCK && !facts.memlock_unlimited {
        needed.push((CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE", "raising RLIMIT_MEMLOCK for BPF maps"));
    }
    if let Some((_, capability, purpose)) = needed.into_iter().find(|(bit, ..)| !facts.has(*bit)) {
        return Err(PreflightError::Capability { capability, purpose });
    }
    if !facts.initial_user_namespace {
        return Err(PreflightError::UserNamespace);
    }
    if facts.lockdown.as_ref().is_some_and(|state| state.contains("[confidentiality]")) {
        return Err(PreflightError::Lockdown { path: facts.lockdown_path.clone() });
    }
    Ok(version)
}

/// The file to take type information from: the one that was asked for, else the kernel's own.
///
/// # Errors
/// It does not exist.
pub fn btf_path(asked: Option<&Path>, sys: &Path) -> Result<PathBuf, PreflightError> {
    let own = sys.join(KERNEL_BTF);
    match asked {
        Some(path) if path.exists() => Ok(path.into()),
        Some(path) => Err(PreflightError::NoBtfFile { path: path.into() }),
        None if own.exists() => Ok(own),
        None => Err(PreflightError::NoBtf { path: own }),
    }
}

/// Major, minor and patch of a release such as `6.1.0-44-cloud-amd64` or `7.3-rc1`.
#[must_use]
pub fn version(release: &str) -> Option<(u32, u32, u32)> {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    let mut parts = release[..end].split('.').map(str::parse);
    let major = parts.next()?.ok()?;
    let minor = parts.next()?.ok()?;
    let patch = parts.next().and_then(Result::ok).unwrap_or(0);
    Some((major, minor, patch))
}
