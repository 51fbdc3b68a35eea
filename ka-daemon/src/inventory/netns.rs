//! The network namespaces of the node: how they are found and entered.
//!
//! Nothing here keeps a namespace open longer than it is looked at: whoever holds one keeps it alive.
//! `unsafe`: one ioctl that no crate wraps.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use procfs::FromRead as _;
use procfs::process::MountInfos;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where a namespace can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A process that lives in it: the file that says so.
    Process(PathBuf),
    /// Another file that names it: a mount, or a descriptor.
    File(PathBuf),
    /// A socket in it.
    Socket {
        /// Of this process.
        pid: u32,
        /// Its descriptor there.
        fd: u32,
    },
}

impl Place {
    /// Whether a file other than a process's own names it.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// Namespaces, by inode, and where each can be opened: more than one place, since processes end.
pub type Places = BTreeMap<u32, Vec<Place>>;

/// Places of each kind that are remembered of a namespace.
const PLACES: usize = 3;

/// Adds a place of a namespace.
pub fn add(places: &mut Places, netns: u32, place: Place) {
    let known = places.entry(netns).or_default();
    let kind = std::mem::discriminant(&place);
    if known.iter().filter(|known| std::mem::discriminant(*known) == kind).count() < PLACES {
        known.push(place);
    }
}

/// The namespaces that processes live in, and those that are kept by a mount (`ip netns add`, container
/// runtimes). What vanishes meanwhile is left out.
#[must_use]
pub fn discover(proc: &Path) -> Places {
    let mut places = Places::new();
    let Ok(entries) = fs::read_dir(proc) else { return places };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            let path = proc.join(name).join("ns/net");
            if let Some(netns) = inode(&path) {
                add(&mut places, netns, Place::Process(path));
            }
        }
    }
    // The mounts of the first process too: the daemon may live in a container.
    for (pid, root) in [("self", PathBuf::from("/")), ("1", proc.join("1/root"))] {
        for (netns, mounted) in mounts(&proc.join(pid)) {
            let path = mounted.strip_prefix("/").map_or_else(|_| mounted.clone(), |path| root.join(path));
            add(&mut places, netns, Place::File(path));
        }
    }
    places
}

fn inode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().and_then(|meta| u32::try_from(meta.ino()).ok())
}

/// Whether a descriptor names a namespace of the network, and which.
#[must_use]
pub fn named_by(proc: &Path, pid: u32, fd: u32) -> Option<(u32, PathBuf)> {
    let path = proc.join(pid.to_string()).join("fd").join(fd.to_string());
    let target = fs::read_link(&path).ok()?;
    Some((number(target.to_str()?)?, path))
}

/// `net:[4026531840]`
fn number(text: &str) -> Option<u32> {
    text.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

fn mounts(process: &Path) -> Vec<(u32, PathBuf)> {
    let mounts = MountInfos::from_file(process.join("mountinfo"));
    let mounts = mounts.into_iter().flatten().filter(|mount| mount.fs_type == "nsfs");
    mounts.filter_map(|mount| Some((number(&mount.root)?, mount.mount_point))).collect()
}

/// The calling thread's own namespace, to come back to.
#[derive(Debug)]
pub struct Home {
    file: File,
    /// Its inode.
    pub netns: u32,
}

impl Home {
    /// Where the calling thread is now.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn here() -> io::Result<Self> {
        let file = File::open("/proc/thread-self/ns/net")?;
        let netns = u32::try_from(file.metadata()?.ino()).map_err(io::Error::other)?;
        Ok(Self { file, netns })
    }

    /// Does something in each namespace, or tells it why that one cannot be entered. One whose places
    /// are all gone, as the processes that led there have ended, is looked for once more; one that is not
    /// found leaves the places.
    ///
    /// # Panics
    /// As [`Self::visit`].
    pub fn visit_each(
        &self,
        places: &mut Places,
        mut work: impl FnMut(u32, io::Result<()>) -> ControlFlow<()>,
    ) {
        let mut lost = Places::new();
        for (netns, at) in &*places {
            let flow = match self.visit(*netns, at, || work(*netns, Ok(()))) {
                Ok(flow) => flow,
                Err(error) if gone(&error) => {
                    lost.insert(*netns, Vec::new());
                    continue;
                }
                Err(error) => work(*netns, Err(error)),
            };
            if flow.is_break() {
                return;
            }
        }
        if lost.is_empty() {
            return;
        }
        for (netns, at) in discover(Path::new("/proc")) {
            lost.entry(netns).and_modify(|found| *found = at);
        }
        for (netns, at) in lost {
            let flow = match self.visit(netns, &at, || work(netns, Ok(()))) {
                Ok(flow) => {
                    places.insert(netns, at);
                    flow
                }
                Err(error) => {
                    places.remove(&netns);
                    work(netns, Err(error))
                }
            };
            if flow.is_break() {
                return;
            }
        }
    }

    /// Does something in another namespace, and comes back.
    ///
    /// # Errors
    /// The namespace is gone, is another one by now, or may not be entered.
    ///
    /// # Panics
    /// When the thread cannot come back: nothing that it did from then on would be right.
    pub fn visit<T>(&self, netns: u32, places: &[Place], work: impl FnOnce() -> T) -> io::Result<T> {
        if netns == self.netns {
            return Ok(work());
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the namespace is gone");
        let opened = places.iter().find_map(|place| match open(netns, place) {
            Ok(file) => Some(file),
            Err(error) => {
                last = error;
                None
            }
        });
        let Some(there) = opened else { return Err(last) };
        move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))?;
        let done = work();
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("a thread can return to the namespace it came from");
        Ok(done)
    }
}

/// The process that led there has ended, or the file is unmounted.
#[must_use]
pub fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn open(netns: u32, place: &Place) -> io::Result<OwnedFd> {
    let file = match place {
        Place::Process(path) | Place::File(path) => OwnedFd::from(File::open(path)?),
        Place::Socket { pid, fd } => of_socket(*pid, *fd)?,
    };
    let stat = rustix::fs::fstat(&file)?;
    if stat.st_ino == u64::from(netns) {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, "the namespace is gone"))
    }
}

/// The namespace of another process's socket: a copy of the descriptor is asked.
fn of_socket(pid: u32, fd: u32) -> io::Result<OwnedFd> {
    let (pid, fd) = (pid.cast_signed(), fd.cast_signed());
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let socket = pidfd_getfd(&process, fd, PidfdGetfdFlags::empty())?;
    // SAFETY: the kernel answers `SIOCGSKNS` with a new descriptor, which nobody else owns.
    Ok(unsafe { rustix::ioctl::ioctl(&socket, NamespaceOf)? })
}

/// `SIOCGSKNS`: the namespace of a socket, as a descriptor.
struct NamespaceOf;

// SAFETY: the request takes no argument, and its answer is a descriptor.
unsafe impl Ioctl for NamespaceOf {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        SIOCGSKNS
    }

    fn as_ptr(&mut self) -> *mut core::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(answer: IoctlOutput, _: *mut core::ffi::c_void) -> rustix::io::Result<OwnedFd> {
        // SAFETY: as the trait promises, this is the answer of the request above.
        Ok(unsafe { OwnedFd::from_raw_fd(answer) })
    }
}

/// `include/uapi/linux/sockios.h`
const SIOCGSKNS: Opcode = 0x894C;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::namespace::{KernelCounts, Sysctls};

    #[test]
    fn a_namespace_is_known_by_its_number() {
        assert_eq!(number("net:[4026531840]"), Some(4_026_531_840));
        for other in ["mnt:[4026531840]", "net:[x]", "net:[1", "socket:[7]", ""] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn the_own_namespace_is_found_and_readable() {
        let home = Home::here().unwrap();
        assert!(discover(Path::new("/proc")).contains_key(&home.netns));
        home.visit(home.netns, &[], || KernelCounts::read().unwrap()).unwrap();
        assert!(Sysctls::read().unwrap().keepcnt > 0);
    }

    #[test]
    fn a_place_that_names_something_else_is_not_entered() {
        let home = Home::here().unwrap();
        let own = Place::File("/proc/self/ns/net".into());
        for places in [vec![], vec![own]] {
            let error = home.visit(1, &places, || ()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_namespace_whose_places_are_gone_is_found_again() {
        let home = Home::here().unwrap();
        // As if the thread lived elsewhere: its own namespace is never opened.
        let elsewhere = Home { file: File::open("/proc/thread-self/ns/net").unwrap(), netns: 1 };
        let dead = Place::Process("/proc/0/ns/net".into());
        let mut places = Places::from([(home.netns, vec![dead.clone()]), (2, vec![dead.clone()])]);
        let mut seen = Vec::new();
        elsewhere.visit_each(&mut places, |netns, visited| {
            seen.push((netns, visited.map_err(|error| gone(&error))));
            ControlFlow::Continue(())
        });
        seen.sort_unstable();
        assert_eq!(seen, [(2, Err(true)), (home.netns, Ok(()))]);
        assert_eq!(places.keys().collect::<Vec<_>>(), [&home.netns]);
        assert!(!places[&home.netns].contains(&dead));
    }

    #[test]
    fn many_processes_leave_room_for_what_outlives_them() {
        let mut places = Places::new();
        let mount = Place::File("/run/netns/a".into());
        for pid in 0..9 {
            add(&mut places, 7, Place::Process(format!("/proc/{pid}/ns/net").into()));
        }
        add(&mut places, 7, mount.clone());
        assert_eq!((places[&7].len(), places[&7].last()), (PLACES + 1, Some(&mount)));
    }

    #[test]
    fn a_socket_leads_to_its_namespace() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let fd = u32::try_from(std::os::fd::AsRawFd::as_raw_fd(&socket)).unwrap();
        let place = Place::Socket { pid: std::process::id(), fd };
        assert!(open(Home::here().unwrap().netns, &place).is_ok());
        assert_eq!(open(1, &place).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
