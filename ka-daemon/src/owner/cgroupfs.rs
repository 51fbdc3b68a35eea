//! From the id of a control group (v2) to its path.
//!
//! The id is the group's file handle, so `open_by_handle_at` finds it at once, also in a tree of
//! thousands. No crate wraps that call, hence `unsafe` here. Where the kernel refuses (it asks for
//! `CAP_DAC_READ_SEARCH`), the tree is walked and the inode numbers are compared: they are the ids.

use std::fs::{self, File};
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::process::{MountInfo, Process};
use rustc_hash::FxHashMap;

/// `FILEID_KERNFS`: the handle is the 64-bit id of a kernfs node, in the byte order of the machine. Since 5.5:
/// <https://github.com/torvalds/linux/blob/v5.10/include/linux/exportfs.h> (`enum fid_type`).
const FILEID_KERNFS: libc::c_int = 0xfe;
/// Between two walks.
const WALK_PAUSE: Duration = Duration::from_secs(5);
/// Groups that a walk takes in at most.
const MAX_WALKED: usize = 16_384;

/// Why paths cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum CgroupFsError {
    /// Mounts cannot be read.
    #[error("cannot read the mounts of this process: {0}")]
    Mounts(#[from] procfs::ProcError),
    /// Nothing is mounted.
    #[error(
        "no cgroup2 file system is mounted; `mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified` makes owners of \
         sockets without a process known"
    )]
    NotMounted,
    /// It cannot be opened.
    #[error("cannot open {path}, where cgroup2 is mounted: {source}")]
    Open {
        /// The mount point.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// What became of looking a group up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Its path from the root of the hierarchy, as `/proc/PID/cgroup` has it.
    Found(String),
    /// It was removed, or is outside of what is mounted here.
    Gone,
    /// Not known at the moment; ask again.
    NotYet,
}

/// The mounted cgroup2 file system.
#[derive(Debug)]
pub struct CgroupFs {
    mount: File,
    mount_point: PathBuf,
    /// What stands at the mount point, as a path from the root of the hierarchy.
    root: String,
    walk: Option<Walk>,
}

#[derive(Debug, Default)]
struct Walk {
    paths: FxHashMap<u64, String>,
    walked_at: Option<Duration>,
}

impl CgroupFs {
    /// Finds and opens it.
    ///
    /// # Errors
    /// When there is none, or it may not be opened.
    pub fn open() -> Result<Self, CgroupFsError> {
        let mounts = Process::myself()?.mountinfo()?;
        // What is mounted from further up shows more.
        let mount = mounts
            .0
            .into_iter()
            .filter(|mount| mount.fs_type == "cgroup2")
            .min_by_key(|mount: &MountInfo| mount.root.len())
            .ok_or(CgroupFsError::NotMounted)?;
        Self::at(mount.mount_point, mount.root)
    }

    fn at(mount_point: PathBuf, root: String) -> Result<Self, CgroupFsError> {
        match File::open(&mount_point) {
            Ok(mount) => Ok(Self { mount, mount_point, root, walk: None }),
            Err(source) => Err(CgroupFsError::Open { path: mount_point, source }),
        }
    }

    /// The path of the group that has this id.
    pub fn path(&mut self, id: u64, now: Duration) -> Lookup {
        if self.walk.is_none() {
            match by_handle(&self.mount, id) {
                Ok(path) => {
                    let path = in_hierarchy(&self.mount_point, &self.root, &path);
                    return path.map_or(Lookup::Gone, Lookup::Found);
                }
                Err(error) if error.raw_os_error() == Some(libc::ESTALE) => return Lookup::Gone,
                Err(error) if is_passing(&error) => return Lookup::NotYet,
                Err(error) => tracing::warn!(
                    "the kernel does not open control groups by id ({error}): {} is walked instead, which \
                     is slower; CAP_DAC_READ_SEARCH would help",
                    self.mount_point.display()
                ),
            }
        }
        self.walk.get_or_insert_default().path(id, &self.mount_point, &self.root, now)
    }
}

impl Walk {
    fn path(&mut self, id: u64, mount_point: &Path, root: &str, now: Duration) -> Lookup {
        let due = self.walked_at.is_none_or(|walked_at| now.saturating_sub(walked_at) >= WALK_PAUSE);
        if due && !self.paths.contains_key(&id) {
            self.walked_at = Some(now);
            let paths = walked(mount_point, MAX_WALKED).into_iter();
            self.paths =
                paths.filter_map(|(id, path)| Some((id, in_hierarchy(mount_point, root, &path)?))).collect();
        }
        self.paths.get(&id).cloned().map_or(Lookup::NotYet, Lookup::Found)
    }
}

/// Whether a call that failed may do better later.
fn is_passing(error: &io::Error) -> bool {
    let passing = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINTR];
    error.raw_os_error().is_some_and(|number| passing.contains(&number))
}

/// Turns a path of the file system into one of the hierarchy.
fn in_hierarchy(mount_point: &Path, root: &str, path: &Path) -> Option<String> {
    let below = path.strip_prefix(mount_point).ok()?.to_str()?;
    Some(format!("{}/{below}", root.trim_end_matches('/')))
}

/// `struct file_handle` with an id of kernfs, as `open_by_handle_at(2)` wants it.
#[repr(C)]
struct KernfsHandle {
    handle_bytes: libc::c_uint,
    handle_type: libc::c_int,
    /// In bytes: after two 32-bit members, the C struct has its bytes without alignment.
    id: [u8; 8],
}

const _: () = {
    assert!(size_of::<KernfsHandle>() == 16);
    assert!(offset_of!(KernfsHandle, handle_bytes) == offset_of!(libc::file_handle, handle_bytes));
    assert!(offset_of!(KernfsHandle, handle_type) == offset_of!(libc::file_handle, handle_type));
    assert!(offset_of!(KernfsHandle, id) == offset_of!(libc::file_handle, f_handle));
};

/// Where the group of an id is in the file system.
fn by_handle(mount: &File, id: u64) -> io::Result<PathBuf> {
    let mut handle = KernfsHandle { handle_bytes: 8, handle_type: FILEID_KERNFS, id: id.to_ne_bytes() };
    // SAFETY: `handle` lives through the call and begins with a `struct file_handle` (the offsets are asserted
    // above), followed by the `handle_bytes` bytes that it announces; the kernel only reads it. `mount` is open.
    let result = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            (&raw mut handle).cast::<libc::file_handle>(),
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened this descriptor for this call; nothing else has it.
    let group = unsafe { OwnedFd::from_raw_fd(result) };
    fs::read_link(format!("/proc/self/fd/{}", group.as_raw_fd()))
}

/// Inode number and path of `mount_point` and of every folder below, breadth first, `limit` at most.
fn walked(mount_point: &Path, limit: usize) -> Vec<(u64, PathBuf)> {
    let mut found = Vec::new();
    // What vanishes meanwhile has no sockets to be asked for.
    if let Ok(metadata) = fs::metadata(mount_point) {
        found.push((std::os::unix::fs::MetadataExt::ino(&metadata), mount_point.to_path_buf()));
    }
    let mut next = 0;
    while let Some((_, folder)) = found.get(next) {
        next += 1;
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            if found.len() >= limit {
                tracing::warn!("more than {limit} control groups: some stay unknown");
                return found;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push((entry.ino(), entry.path()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    /// The mounted file system, with groups that it has; none where this machine has cgroup v1 alone.
    fn mounted() -> Option<(CgroupFs, Vec<(u64, PathBuf)>)> {
        match CgroupFs::open() {
            Ok(cgroupfs) => {
                let groups = walked(&cgroupfs.mount_point, 20);
                Some((cgroupfs, groups))
            }
            Err(CgroupFsError::NotMounted) => {
                eprintln!("skipped: no cgroup2 is mounted here");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn walking(cgroupfs: &CgroupFs) -> CgroupFs {
        let walked = CgroupFs::at(cgroupfs.mount_point.clone(), cgroupfs.root.clone()).unwrap();
        CgroupFs { walk: Some(Walk::default()), ..walked }
    }

    #[test]
    fn each_group_is_found_by_its_id() {
        let Some((mut cgroupfs, groups)) = mounted() else { return };
        let mut walking = walking(&cgroupfs);
        assert!(!groups.is_empty());
        for (id, path) in groups {
            let expected = Lookup::Found(in_hierarchy(&cgroupfs.mount_point, &cgroupfs.root, &path).unwrap());
            assert_eq!(cgroupfs.path(id, NOW), expected, "{}", path.display());
            assert_eq!(walking.path(id, NOW), expected, "{}", path.display());
        }
    }

    #[test]
    fn a_removed_group_is_gone() {
        let Some((mut cgroupfs, _)) = mounted() else { return };
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root may make a control group");
            return;
        }
        let mut walking = walking(&cgroupfs);
        assert_eq!(walking.path(u64::MAX, NOW), Lookup::NotYet);
        let name = format!("ka-test-{}.scope", std::process::id());
        let path = cgroupfs.mount_point.join(&name);
        fs::create_dir(&path).unwrap();
        let id = fs::metadata(&path).unwrap().ino();
        let found = cgroupfs.path(id, NOW);
        let too_early = walking.path(id, Duration::from_secs(4));
        let walked = walking.path(id, WALK_PAUSE);
        fs::remove_dir(&path).unwrap();
        let expected = Lookup::Found(in_hierarchy(&cgroupfs.mount_point, &cgroupfs.root, &path).unwrap());
        assert_eq!((&found, &too_early, &walked), (&expected, &Lookup::NotYet, &expected));
        assert_eq!(cgroupfs.path(id, NOW), Lookup::Gone);
        assert!(cgroupfs.walk.is_none() || cgroupfs.path(id, WALK_PAUSE) == Lookup::NotYet);
    }

    #[test]
    fn what_is_mounted_from_further_down_keeps_its_whole_path() {
        let at = |root, path| in_hierarchy(Path::new("/mnt/cg"), root, Path::new(path));
        assert_eq!(at("/", "/mnt/cg").as_deref(), Some("/"));
        assert_eq!(at("/", "/mnt/cg/a/b").as_deref(), Some("/a/b"));
        assert_eq!(at("/pod/x", "/mnt/cg/a").as_deref(), Some("/pod/x/a"));
        assert_eq!(at("/..", "/mnt/cg/a").as_deref(), Some("/../a"));
        assert_eq!(at("/", "/elsewhere/a"), None);
    }
}
