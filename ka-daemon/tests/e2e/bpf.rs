//! BPF programs as the kernel tells of them.
//! Needs `unsafe` for `bpf`, which no crate here wraps for this.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};

const BPF_PROG_GET_NEXT_ID: libc::c_long = 11;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// Ids of every BPF program on the machine.
pub(crate) fn loaded() -> Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    // start_id, next_id, open_flags of the attribute union.
    let mut attr = [0_u32; 4];
    loop {
        // SAFETY: the attribute is valid for its length; the kernel writes next_id into it.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_PROG_GET_NEXT_ID, attr.as_mut_ptr(), size_of_val(&attr))
        };
        if result != 0 {
            let error = io::Error::last_os_error();
            ensure!(error.raw_os_error() == Some(libc::ENOENT), "BPF_PROG_GET_NEXT_ID: {error}");
            return Ok(ids);
        }
        ids.insert(attr[1]);
        attr[0] = attr[1];
    }
}

/// A program, kept loaded for as long as this is.
#[derive(Debug)]
pub(crate) struct Program(OwnedFd);

/// `struct bpf_prog_info`, of which only two members are wanted.
#[repr(C, align(8))]
struct Info {
    before: [u8; 64],
    name: [u8; 16],
    between: [u8; 120],
    run_count: u64,
}

#[repr(C)]
struct ObjGetInfo {
    fd: u32,
    length: u32,
    info: u64,
}

impl Program {
    /// Opens it.
    pub(crate) fn open(id: u32) -> Result<Self> {
        let attr = [id, 0, 0, 0];
        // SAFETY: the attribute is valid for its length.
        let fd =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_GET_FD_BY_ID, attr.as_ptr(), size_of_val(&attr)) };
        ensure!(fd >= 0, "BPF_PROG_GET_FD_BY_ID of {id}: {}", io::Error::last_os_error());
        // SAFETY: the kernel gave a new descriptor, which nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).context("descriptor")?) }))
    }

    /// Whether it has this name, of which the kernel keeps 15 bytes.
    pub(crate) fn is_named(&self, name: &str) -> Result<bool> {
        let kept = &name.as_bytes()[..name.len().min(15)];
        Ok(self.info()?.name.starts_with(&[kept, &[0]].concat()))
    }

    /// How often it ran while the kernel collected BPF statistics.
    pub(crate) fn runs(&self) -> Result<u64> {
        Ok(self.info()?.run_count)
    }

    fn info(&self) -> Result<Info> {
        let mut info = Info { before: [0; 64], name: [0; 16], between: [0; 120], run_count: 0 };
        let mut request = ObjGetInfo {
            fd: u32::try_from(self.0.as_raw_fd()).context("descriptor")?,
            length: u32::try_from(size_of::<Info>()).context("length")?,
            info: (&raw mut info) as u64,
        };
        // SAFETY: the request names a buffer of the length it tells, and both outlive the call.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw mut request, size_of::<ObjGetInfo>())
        };
        ensure!(result == 0, "BPF_OBJ_GET_INFO_BY_FD: {}", io::Error::last_os_error());
        Ok(info)
    }
}
