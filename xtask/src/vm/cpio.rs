//! Writes an initramfs: the `newc` cpio format that the kernel unpacks, without a staging folder or root.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// File type bits of `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// An archive in memory. Parents of an entry are made on the way; a path is entered once, the first wins.
#[derive(Clone, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entered: BTreeSet<String>,
}

impl Archive {
    /// A folder and its parents.
    pub(super) fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            self.entry(&path[..end], DIRECTORY | 0o755, (0, 0), &[]);
        }
    }

    /// A regular file with this content.
    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.parents(path);
        self.entry(path.trim_matches('/'), REGULAR | permissions, (0, 0), content);
    }

    /// A copy of a file of this machine (what a symbolic link points to, not the link).
    pub(super) fn copy(&mut self, path: &str, source: &Path) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        if self.has(path) {
            return Ok(());
        }
        let content = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        let meta = fs::metadata(source).with_context(|| format!("cannot read {}", source.display()))?;
        self.file(path, meta.permissions().mode() & 0o777, &content);
        Ok(())
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path.trim_matches('/'), SYMLINK | 0o777, (0, 0), target.as_bytes());
    }

    /// A character device.
    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path.trim_matches('/'), CHARACTER_DEVICE | 0o600, (major, minor), &[]);
    }

    /// Whether the path was entered.
    pub(super) fn has(&self, path: &str) -> bool {
        self.entered.contains(path.trim_matches('/'))
    }

    /// The archive, closed.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.write("TRAILER!!!", 0, (0, 0), 0, &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.trim_matches('/').rsplit_once('/') {
            self.folder(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        if !path.is_empty() && self.entered.insert(path.to_owned()) {
            self.write(path, mode, device, self.entered.len(), content);
        }
    }

    /// One header (13 fields of 8 hex digits), the name, the content; each padded to 4 bytes.
    fn write(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), inode: usize, content: &[u8]) {
        let header = format!(
            "070701{inode:08x}{mode:08x}{uid:08x}{gid:08x}{links:08x}{mtime:08x}{size:08x}{dev:08x}{dev:08x}\
             {major:08x}{minor:08x}{name_size:08x}{check:08x}",
            uid = 0,
            gid = 0,
            links = 1,
            mtime = 0,
            size = content.len(),
            dev = 0,
            name_size = name.len() + 1,
            check = 0,
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_once() {
        let mut archive = Archive::default();
        archive.file("/a/b/one", 0o644, b"1");
        archive.file("/a/b/two", 0o755, b"22");
        archive.file("/a/b/two", 0o755, b"again");
        archive.link("a/sh", "b/one");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(text.matches("070701").count(), 6, "a, a/b, one, two, sh, trailer");
        let at = |needle: &str| text.find(needle).unwrap();
        assert!(at("a\0") < at("a/b\0") && at("a/b\0") < at("a/b/one\0"));
        assert!(!text.contains("again"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn a_header_has_the_size_and_mode_of_its_file() {
        let mut archive = Archive::default();
        archive.file("x", 0o755, b"hello");
        let text = String::from_utf8_lossy(&archive.finish()).into_owned();
        assert_eq!(&text[14..22], "000081ed");
        assert_eq!(&text[54..62], "00000005");
        assert_eq!(&text[110..117], "x\0hello");
    }
}
