//! A headless Chromium, driven by Debian's chromedriver over the W3C's protocol for it.
//!
//! The clients on offer bring an HTTP stack of their own, or a licence (MPL-2.0) that is
//! not shipped here; what these tests need of the protocol is this file.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// How long anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);
/// How a reference to an element is written.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser with one tab. It ends with this.
pub(crate) struct Chrome {
    runtime: Runtime,
    driver: Child,
    port: u16,
    session: String,
}

impl Chrome {
    /// Starts one; none where there is no chromedriver and nobody demands it.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = chromedriver() else {
            assert!(
                std::env::var_os("KA_REQUIRE_CHROMIUM").is_none(),
                "KA_REQUIRE_CHROMIUM is set, and chromedriver is not on PATH: install chromium and its driver"
            );
            // Not by a macro, whose output the test harness would hide.
            std::io::stderr()
                .write_all(b"SKIPPED: a test of the page, as chromedriver is not on PATH (`cargo xtask test` sees to it)\n")
                .unwrap();
            return None;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut driver = Command::new(program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| {
                line.unwrap().split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
            })
            .expect("chromedriver says its port");
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut chrome = Self { runtime, driver, port, session: String::new() };
        let arguments = [
            "--headless=new",
            // It opens nothing but our own page, and containers often lack what the sandbox needs.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--no-proxy-server",
            "--force-prefers-reduced-motion",
            "--hide-scrollbars",
            "--lang=en",
            "--window-size=1280,900",
        ];
        let session = chrome.request(
            &Method::POST,
            "/session",
            &json!({ "capabilities": { "alwaysMatch": {
                "browserName": "chrome",
                "goog:chromeOptions": { "args": arguments },
                "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            } } }),
        );
        session["sessionId"].as_str().expect("a session has an id").clone_into(&mut chrome.session);
        Some(chrome)
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The value of an expression in the page.
    pub(crate) fn eval(&self, expression: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": format!("return ({expression});"), "args": [] }))
    }

    pub(crate) fn text(&self, expression: &str) -> String {
        self.eval(expression).as_str().unwrap_or_else(|| panic!("{expression} is no text")).to_owned()
    }

    /// Waits until an expression is true; shows another one, such as what is seen instead, if it never is.
    pub(crate) fn wait(&self, expression: &str, instead: &str) {
        let start = Instant::now();
        while self.eval(expression) != json!(true) {
            assert!(
                start.elapsed() < PATIENCE,
                "never true: {expression}; {instead}: {}; the console says: {:?}",
                self.eval(instead),
                self.log("browser")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Clicks with the mouse: what is hidden, or covered by something else, fails.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into an element; see the protocol's list of key codes for what is not a letter.
    pub(crate) fn type_into(&self, selector: &str, keys: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/value"), &json!({ "text": keys }));
    }

    /// Types whatever has the focus.
    pub(crate) fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let source = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", &json!({ "actions": [source] }));
    }

    /// A command of `DevTools`.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// What was logged since this was last asked for: `browser` (the console) or `performance`
    /// (the network among others).
    pub(crate) fn log(&self, kind: &str) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": kind }));
        let message = |entry: &Value| entry["message"].as_str().unwrap().to_owned();
        entries.as_array().unwrap().iter().map(message).collect()
    }

    /// Opens another tab before this one, so that this one is hidden, and returns its handle.
    pub(crate) fn hide(&self) -> String {
        let this = self.request(&Method::GET, &self.path("/window"), &Value::Null);
        let other = self.post("/window/new", &json!({ "type": "tab" }));
        self.post("/window", &json!({ "handle": other["handle"] }));
        this.as_str().unwrap().to_owned()
    }

    /// Brings a tab back.
    pub(crate) fn show(&self, tab: &str) {
        self.post("/window", &json!({ "handle": tab }));
        self.devtools("Page.bringToFront", &json!({}));
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    fn path(&self, rest: &str) -> String {
        format!("/session/{}{rest}", self.session)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.request(&Method::POST, &self.path(path), body)
    }

    #[track_caller]
    fn request(&self, method: &Method, path: &str, body: &Value) -> Value {
        let answer = self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, exchange(self.port, method, path, body)).await
        });
        let mut answer = answer.unwrap_or_else(|_| panic!("{path} takes more than {PATIENCE:?}"));
        let value = answer["value"].take();
        assert!(value["error"].is_null(), "{method} {path} {body}: {value}");
        value
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let path = self.path("");
            let end = exchange(self.port, &Method::DELETE, &path, &Value::Null);
            let ended = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, end).await });
            assert!(ended.is_ok() || std::thread::panicking(), "the browser does not end");
        }
        let ended = self.driver.kill().and_then(|()| self.driver.wait());
        assert!(ended.is_ok() || std::thread::panicking(), "chromedriver does not end: {ended:?}");
    }
}

async fn exchange(port: u16, method: &Method, path: &str, body: &Value) -> Value {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, format!("127.0.0.1:{port}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .unwrap();
    let exchange = async {
        let answer = sender.send_request(request).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes()
    };
    tokio::select! {
        answer = exchange => serde_json::from_slice(&answer).unwrap(),
        ended = connection => panic!("chromedriver hung up: {ended:?}"),
    }
}

fn chromedriver() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("chromedriver")).find(|file| file.is_file())
}
