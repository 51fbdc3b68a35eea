//! A Prometheus of Debian's package, as a process that scrapes one daemon every second.
//! Needs `unsafe` for `prctl`, which no crate here wraps.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// A folder that goes with this.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

/// A running Prometheus; it ends with this, and its data with it.
#[derive(Debug)]
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: Folder,
}

/// What of a graph's time range is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Seconds since 1970.
    pub(crate) end: f64,
    pub(crate) length: Duration,
    pub(crate) step: Duration,
}

/// A series and its values by time.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Value,
    pub(crate) values: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }
}

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("ka-e2e-boards-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os("KA_E2E_KEEP").is_none() {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

impl Prometheus {
    pub(crate) fn start(daemon: SocketAddr, folder: Folder) -> Result<Self> {
        let config = folder.file("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: ka\n    \
             static_configs: [{{targets: ['{daemon}'], labels: {{instance: node-1}}}}]\n"
        );
        fs::write(&config, text).context("configuration of prometheus")?;
        let port = TcpListener::bind("127.0.0.1:0").context("no free port (is lo up?)")?.local_addr()?.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let log = fs::File::create(folder.file("log")).context("log of prometheus")?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.file("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("log of prometheus")?)
            .stderr(log);
        // SAFETY: prctl is async-signal-safe and takes no pointers here.
        unsafe {
            command.pre_exec(|| {
                // It ends with this program, also when that is killed.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let child = command.spawn().context("cannot start prometheus (Debian's package prometheus)")?;
        let mut prometheus = Self { child, address, folder };
        prometheus.wait_ready()?;
        Ok(prometheus)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !matches!(self.ask("GET", "/-/ready", ""), Ok((200, _))) {
            let log = || fs::read_to_string(self.folder.file("log")).unwrap_or_default();
            if let Some(status) = self.child.try_wait().context("prometheus")? {
                bail!("prometheus ended before it was ready: {status}\n{}", log());
            }
            ensure!(Instant::now() < deadline, "prometheus is not ready after a minute\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// A query at a moment.
    pub(crate) fn at(&self, query: &str, time: f64) -> Result<Vec<Series>> {
        self.query("/api/v1/query", &[("query", query), ("time", &time.to_string())])
    }

    /// A query at each step of a graph, which lie at multiples of their length, as Grafana's do.
    pub(crate) fn over(&self, query: &str, span: &Span) -> Result<Vec<Series>> {
        let step = span.step.as_secs_f64();
        let aligned = |time: f64| ((time / step).floor() * step).to_string();
        // The last step begins at or after the end, so that nothing lies behind it.
        let (start, end) = (aligned(span.end - span.length.as_secs_f64()), aligned(span.end + step));
        let form = [("query", query), ("start", &start), ("end", &end), ("step", &step.to_string())];
        self.query("/api/v1/query_range", &form)
    }

    fn query(&self, path: &str, form: &[(&str, &str)]) -> Result<Vec<Series>> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let (status, body) = self.ask("POST", path, &form)?;
        let answer: Value = serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))?;
        ensure!(status == 200 && answer["status"] == "success", "{status}: {}", answer["error"]);
        let result = answer["data"]["result"].as_array().with_context(|| format!("no series in {body}"))?;
        result.iter().map(series).collect()
    }

    /// By HTTP/1.0, so that the answer comes in one piece.
    fn ask(&self, method: &str, path: &str, form: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{form}",
            self.address,
            form.len()
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text).with_context(|| format!("{method} {path}"))?;
        let (head, body) = text.split_once("\r\n\r\n").context("no end of the HTTP header")?;
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no HTTP status")?;
        Ok((status, body.to_owned()))
    }

    /// Ends it and removes its data.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).context("pid")?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).context("SIGTERM")?;
        let status = self.child.wait().context("prometheus")?;
        ensure!(status.success(), "prometheus ended with {status}");
        Ok(())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail where it ended as asked, which is the ordinary case.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> Result<f64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("a clock before 1970")?;
    Ok(since.as_secs_f64())
}

fn series(result: &Value) -> Result<Series> {
    let pairs = match (result.get("values"), result.get("value")) {
        (Some(values), _) => values.as_array().cloned().unwrap_or_default(),
        (None, Some(value)) => vec![value.clone()],
        (None, None) => bail!("a series without values: {result}"),
    };
    let pair = |pair: &Value| {
        let value = pair[1].as_str().and_then(|text| text.parse().ok());
        Ok((pair[0].as_f64().context("a time")?, value.with_context(|| format!("a value: {pair}"))?))
    };
    Ok(Series { labels: result["metric"].clone(), values: pairs.iter().map(pair).collect::<Result<_>>()? })
}
