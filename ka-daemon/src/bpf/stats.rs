//! What the kernel knows about a loaded program: runs, time, and runs it skipped.
//! `unsafe`: one raw call, since aya does not tell the runs that the kernel skipped.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use aya::{
    programs::ProgramFd,
    sys::{Stats, enable_stats},
};

use super::{BpfError, error::chain};

/// The kernel's counts of one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProgramInfo {
    /// Runs, where the kernel collects BPF statistics.
    pub runs: Option<u64>,
    /// Time in runs in ns, where the kernel collects BPF statistics.
    pub run_ns: Option<u64>,
    /// Runs that the kernel skipped for recursion (counted since 5.12).
    pub missed: u64,
}

/// Has the kernel collect statistics for as long as the descriptor lives.
pub(super) fn enable() -> Result<OwnedFd, BpfError> {
    enable_stats(Stats::RunTime).map_err(|error| BpfError::Stats(chain(&error)))
}

/// `struct bpf_prog_info`, of which only the end is wanted. The kernel fills what it knows and
/// leaves the rest as it was: zeros.
#[repr(C, align(8))]
struct RawInfo {
    before: [u8; 192],
    run_time_ns: u64,
    run_count: u64,
    recursion_misses: u64,
    after: [u8; 64],
}

#[repr(C)]
struct ObjGetInfo {
    fd: u32,
    length: u32,
    info: u64,
}

const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

pub(super) fn program(fd: &ProgramFd) -> Option<ProgramInfo> {
    // SAFETY: integers only.
    let mut raw: RawInfo = unsafe { std::mem::zeroed() };
    let mut request = ObjGetInfo {
        fd: u32::try_from(fd.as_fd().as_raw_fd()).ok()?,
        length: u32::try_from(size_of::<RawInfo>()).ok()?,
        info: (&raw mut raw) as u64,
    };
    // SAFETY: the request names a buffer of the length it tells, and both outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw mut request, size_of::<ObjGetInfo>())
    };
    if result != 0 {
        return None;
    }
    // Without statistics the kernel leaves both at 0.
    let collected = raw.run_count > 0;
    Some(ProgramInfo {
        runs: collected.then_some(raw.run_count),
        run_ns: collected.then_some(raw.run_time_ns),
        missed: raw.recursion_misses,
    })
}
