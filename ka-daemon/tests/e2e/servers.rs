//! Prometheus and Alertmanager as processes: start, ask, and nothing left behind.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::daemon::ends_with_us;

/// A folder that is removed in the end.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("ka-e2e-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.0.join(name), text).with_context(|| format!("cannot write {name}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os("KA_E2E_KEEP").is_none() {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

/// A port of 127.0.0.1 that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no free port (is lo up?)")?.local_addr()?)
}

/// A server that speaks HTTP.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    address: SocketAddr,
    output: PathBuf,
}

impl Server {
    /// Starts the first of these programs that there is, and waits until it says that it is ready.
    pub(crate) fn start(
        names: &[&'static str],
        args: &[String],
        address: SocketAddr,
        folder: &Folder,
    ) -> Result<Self> {
        for &name in names {
            let output = folder.path().join(format!("{name}.log"));
            let file = File::create(&output).with_context(|| format!("the output of {name}"))?;
            let mut command = Command::new(name);
            command.args(args).current_dir(folder.path()).stdin(Stdio::null());
            command.stdout(file.try_clone().context("the output")?).stderr(file);
            ends_with_us(&mut command);
            match command.spawn() {
                Ok(child) => {
                    let mut server = Self { name, child, address, output };
                    server.wait_ready()?;
                    return Ok(server);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot start {name}")),
            }
        }
        bail!("none of {names:?} is on PATH");
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !matches!(self.get("/-/ready"), Ok((200, _))) {
            let name = self.name;
            if let Some(status) = self.child.try_wait().context("wait for a server")? {
                bail!("{name} ended before it was ready: {status}\n{}", self.said());
            }
            ensure!(Instant::now() < deadline, "{name} is not ready after 30 s\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The end of what it wrote to standard output and error.
    pub(crate) fn said(&self) -> String {
        let text = fs::read_to_string(&self.output).unwrap_or_else(|error| format!("(no output: {error})"));
        let lines: Vec<_> = text.lines().collect();
        format!("{}:\n{}", self.name, lines[lines.len().saturating_sub(30)..].join("\n"))
    }

    /// GET: status and body. HTTP/1.0, so that no answer comes in chunks.
    fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).with_context(|| format!("GET {path}"))?;
        let (head, body) = text.split_once("\r\n\r\n").context("no end of the HTTP header")?;
        let status =
            head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
        Ok((status, body.to_owned()))
    }

    /// What a path of its API answers.
    pub(crate) fn json(&self, path: &str) -> Result<Value> {
        let (status, body) = self.get(path)?;
        ensure!(status == 200, "{} answers {path} with {status}: {body}", self.name);
        serde_json::from_str(&body).with_context(|| format!("{} {path}", self.name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail where it ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
