//! Holds a socket's lock as a slow process does: a `recv` into a page that nobody provides yet
//! (userfaultfd) sleeps inside the kernel's copy, with `lock_sock` held.
//! Needs `unsafe` for the userfaultfd system calls, which no crate here wraps.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd as _;

use crate::tcp::Tcp;

const PAGE: usize = 4096;
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFDIO_ZEROPAGE: libc::c_ulong = 0xc020_aa04;
const REGISTER_MODE_MISSING: u64 = 1;

#[repr(C)]
struct Api {
    version: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register` and `struct uffdio_zeropage`: a range, a mode, a result.
#[repr(C)]
struct Range {
    start: u64,
    len: u64,
    mode: u64,
    result: u64,
}

/// A page that faults until [`HeldLock::release`].
#[derive(Debug)]
struct MissingPage {
    address: usize,
    uffd: OwnedFd,
}

impl MissingPage {
    fn new() -> Result<Self> {
        // SAFETY: the system call takes no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
        ensure!(fd >= 0, "userfaultfd: {}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new and nobody else owns it.
        let uffd = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).context("userfaultfd")?) };
        let mut api = Api { version: 0xaa, features: 0, ioctls: 0 };
        ioctl(&uffd, UFFDIO_API, &raw mut api, "UFFDIO_API")?;
        // SAFETY: a new private mapping at an address of the kernel's choice.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        ensure!(page != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        let page = Self { address: page as usize, uffd };
        let mut range = page.range(REGISTER_MODE_MISSING);
        ioctl(&page.uffd, UFFDIO_REGISTER, &raw mut range, "UFFDIO_REGISTER")?;
        Ok(page)
    }

    fn range(&self, mode: u64) -> Range {
        Range { start: self.address as u64, len: PAGE as u64, mode, result: 0 }
    }

    /// Waits until someone touches the page.
    fn wait_touched(&self) -> Result<()> {
        let mut fds = [PollFd::new(self.uffd.as_fd(), PollFlags::POLLIN)];
        let n = poll(&mut fds, PollTimeout::from(30_000_u16)).context("poll of userfaultfd")?;
        ensure!(n == 1, "the reader did not reach the page within 30 s");
        Ok(())
    }

    fn provide(&self) -> Result<()> {
        let mut range = self.range(0);
        ioctl(&self.uffd, UFFDIO_ZEROPAGE, &raw mut range, "UFFDIO_ZEROPAGE")
    }
}

impl Drop for MissingPage {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's own; the reader thread has been joined.
        unsafe { libc::munmap(self.address as *mut libc::c_void, PAGE) };
    }
}

fn ioctl<T>(fd: &OwnedFd, request: libc::c_ulong, argument: *mut T, name: &str) -> Result<()> {
    // SAFETY: each request is paired with its structure by the callers in this module.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, argument) };
    if result != 0 {
        bail!("{name}: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

/// A socket whose lock a sleeping reader holds.
#[derive(Debug)]
pub(crate) struct HeldLock {
    page: MissingPage,
    reader: Option<std::thread::JoinHandle<isize>>,
}

impl HeldLock {
    /// Takes the lock. The socket must have a byte to read, else the reader would sleep without it.
    pub(crate) fn take(socket: &Tcp) -> Result<Self> {
        let mut fds = [PollFd::new(socket.raw().as_fd(), PollFlags::POLLIN)];
        let n = poll(&mut fds, PollTimeout::from(30_000_u16)).context("poll")?;
        ensure!(n == 1, "nothing to read within 30 s");
        let page = MissingPage::new()?;
        let (fd, address) = (socket.fd(), page.address);
        let reader = std::thread::spawn(move || {
            // SAFETY: the page stays mapped until this thread is joined.
            unsafe { libc::recv(fd, address as *mut libc::c_void, 1, 0) }
        });
        let held = Self { page, reader: Some(reader) };
        held.page.wait_touched()?;
        Ok(held)
    }

    /// Holds it for a while, then lets go.
    pub(crate) fn hold_for(self, time: Duration) -> Result<()> {
        std::thread::sleep(time);
        self.release()
    }

    /// Gives the page, so that the reader ends and the lock is free.
    pub(crate) fn release(mut self) -> Result<()> {
        self.page.provide()?;
        let reader = self.reader.take().context("already released")?;
        let read = reader.join().ok().context("the reader panicked")?;
        ensure!(read == 1, "recv under the lock returned {read}");
        Ok(())
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            // On the way out of a failed scenario; the failure itself is what is reported.
            drop(self.page.provide());
            drop(reader.join());
        }
    }
}
