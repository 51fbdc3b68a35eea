//! A folder for a test, removed at its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Made of this process's id and a number, so that tests do not meet.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ka-owner-{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.0.join(below)
    }

    /// Makes a folder.
    pub(super) fn make(&self, below: &str) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Makes a symbolic link that leads nowhere.
    pub(super) fn link(&self, below: &str) {
        std::os::unix::fs::symlink("/nowhere", self.path(below)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing depends on it, and a failing test must not panic twice.
        drop(fs::remove_dir_all(&self.0));
    }
}
