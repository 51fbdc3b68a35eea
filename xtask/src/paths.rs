//! Where everything that xtask makes lies: all of it under the workspace's `target/`.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::sh;

/// Cargo's target folder. Fixed, whatever `CARGO_TARGET_DIR` says: the place of the binary is a contract.
pub(crate) fn target(root: &Path) -> PathBuf {
    root.join("target")
}

/// xtask's own caches.
pub(crate) fn cache(root: &Path) -> PathBuf {
    target(root).join("ka")
}

/// The finished eBPF objects; the daemon's build script includes them from here.
pub(crate) fn bpf_objects(root: &Path) -> PathBuf {
    target(root).join("bpf")
}

/// The release daemon.
pub(crate) fn daemon(root: &Path) -> PathBuf {
    target(root).join("release/ka-daemon")
}

/// Programs that only tests need and that are built from source here.
pub(crate) fn test_programs(root: &Path) -> PathBuf {
    cache(root).join("programs")
}

/// Held while the caches are written; released when dropped, also by a kill.
pub(crate) struct CacheLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl CacheLock {
    /// Waits for any other xtask that writes the caches of this workspace.
    pub(crate) fn acquire(root: &Path) -> anyhow::Result<Self> {
        let folder = cache(root);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                sh::say("waiting for another cargo xtask of this workspace to finish its set-up");
                file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        Ok(Self(file))
    }
}

/// Puts `content` at `path` only where it differs, in one step: an unchanged file keeps its time stamp, and
/// whoever depends on it is not built again.
pub(crate) fn write_if_changed(path: &Path, content: &[u8]) -> anyhow::Result<bool> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(false);
    }
    let folder = path.parent().context("a file path has a parent")?;
    let name = path.file_name().context("a file path has a name")?.to_string_lossy();
    let draft = folder.join(format!(".{name}.{}", std::process::id()));
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(&draft, content).with_context(|| format!("cannot write {}", draft.display()))?;
    fs::rename(&draft, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_file_keeps_its_time_stamp() {
        let folder = std::env::temp_dir().join(format!("ka-xtask-write-{}", std::process::id()));
        let path = folder.join("object");
        assert!(write_if_changed(&path, b"one").unwrap());
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(!write_if_changed(&path, b"one").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        assert!(write_if_changed(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no draft stays behind");
        fs::remove_dir_all(&folder).unwrap();
    }
}
