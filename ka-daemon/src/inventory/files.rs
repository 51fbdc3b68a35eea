//! Which process holds which socket or names which network namespace, from `/proc`, where the kernel has no iterator of open files: a
//! system call for each open file of the node.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use ka_common::FileRow;
use procfs::process::{FDTarget, Process};

/// What `/proc` does not tell of a socket, in place of its network namespace.
pub(super) const UNKNOWN_NETNS: u32 = u32::MAX;

/// Tells each descriptor that names a socket or a network namespace, of whatever kind: `/proc` does not say which. What cannot
/// be read belongs to a process that is gone.
///
/// # Errors
/// `/proc` cannot be read.
pub(super) fn rows(proc: &Path, each: &mut dyn FnMut(&FileRow) -> ControlFlow<()>) -> io::Result<()> {
    let ticks = procfs::ticks_per_second();
    for entry in fs::read_dir(proc)? {
        let path = entry?.path();
        let is_process = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
        if is_process && process(path, ticks, each).is_some_and(|flow| flow.is_break()) {
            break;
        }
    }
    Ok(())
}

fn process(
    path: std::path::PathBuf,
    ticks: u64,
    each: &mut dyn FnMut(&FileRow) -> ControlFlow<()>,
) -> Option<ControlFlow<()>> {
    let process = Process::new_with_root(path).ok()?;
    let stat = process.stat().ok()?;
    let mut comm = [0; 16];
    let name = &stat.comm.as_bytes()[..stat.comm.len().min(15)];
    comm[..name.len()].copy_from_slice(name);
    let start_ns = u64::try_from(u128::from(stat.starttime) * 1_000_000_000 / u128::from(ticks)).ok()?;
    for file in process.fd().ok()?.flatten() {
        let (inode, netns) = match file.target {
            FDTarget::Socket(inode) => (inode, UNKNOWN_NETNS),
            FDTarget::Net(inode) => (inode, 0),
            FDTarget::Path(_)
            | FDTarget::Pipe(_)
            | FDTarget::AnonInode(_)
            | FDTarget::MemFD(_)
            | FDTarget::Other(..) => continue,
        };
        let (pid, fd) = (u32::try_from(stat.pid).ok()?, u32::try_from(file.fd).ok()?);
        if each(&FileRow { inode, start_ns, comm, pid, fd, netns, reserved: 0 }).is_break() {
            return Some(ControlFlow::Break(()));
        }
    }
    Some(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn an_own_socket_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut found = Vec::new();
        rows(Path::new("/proc"), &mut |row| {
            if row.pid == std::process::id() {
                found.push(row.fd);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(found.contains(&u32::try_from(listener.as_raw_fd()).unwrap()), "{found:?}");
    }
}
