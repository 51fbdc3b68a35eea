//! The unix socket of `--web.unix-socket`: for its owner alone, taken over from a daemon that died, left
//! to one that lives, and removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

use super::server::ListenError;

/// Connections that wait in the kernel.
const BACKLOG: i32 = 128;

/// A listening unix socket; its file goes when this does.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, to remove no file but its own.
    file: (u64, u64),
}

impl UnixSocket {
    /// Listens at a path, with mode 0600 from the first moment.
    ///
    /// # Errors
    /// A living daemon listens there, the path holds something else, or it cannot be made.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Unix { path: path.to_owned(), source };
        clear(path)?;
        let listener = listen(path).map_err(failed)?;
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), file: (metadata.dev(), metadata.ino()) })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).map(|now| (now.dev(), now.ino()) == self.file);
        match ours {
            Ok(true) => {
                if let Err(error) = fs::remove_file(&self.path) {
                    tracing::warn!(%error, "cannot remove {}", self.path.display());
                }
            }
            Ok(false) => tracing::warn!("{} is another's by now and stays", self.path.display()),
            Err(error) => tracing::debug!(%error, "{} is gone already", self.path.display()),
        }
    }
}

/// Removes what a dead daemon left.
fn clear(path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::Unix { path: path.to_owned(), source };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NoSocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ListenError::Taken { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!("{} was left by a daemon that died; it is replaced", path.display());
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux makes the file with the mode of the socket: at no moment is it open to others.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    UnixListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ka-unix-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[tokio::test]
    async fn it_is_for_its_owner_and_goes_at_the_end() {
        let folder = Folder::new("mode");
        let path = folder.0.join("ka.sock");
        let socket = UnixSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_one_is_replaced_and_a_living_one_is_not() {
        let folder = Folder::new("stale");
        let path = folder.0.join("ka.sock");
        // Closing leaves the file, as a daemon that was killed does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = UnixSocket::bind(&path).unwrap();
        let error = UnixSocket::bind(&path).unwrap_err().to_string();
        let expected = format!(
            "cannot listen on {}, the value of --web.unix-socket: another process listens there; stop it or choose \
             another path",
            path.display()
        );
        assert_eq!(error, expected);
        UnixStream::connect(&path).unwrap();
        drop(socket);
    }

    #[tokio::test]
    async fn what_is_not_its_own_is_left_alone() {
        let folder = Folder::new("other");
        let path = folder.0.join("file");
        fs::write(&path, "precious").unwrap();
        let error = UnixSocket::bind(&path).unwrap_err().to_string();
        assert!(error.contains("--web.unix-socket") && error.contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

        let path = folder.0.join("ka.sock");
        let socket = UnixSocket::bind(&path).unwrap();
        fs::rename(&path, folder.0.join("moved")).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(socket);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

        for wrong in [folder.0.join("no/such/folder.sock"), folder.0.join("x".repeat(200))] {
            let error = UnixSocket::bind(&wrong).unwrap_err().to_string();
            assert!(
                error.contains("--web.unix-socket") && error.contains(wrong.to_str().unwrap()),
                "{error}"
            );
        }
    }
}
