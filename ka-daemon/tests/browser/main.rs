//! The page in a real browser, before a fake daemon: what it shows, how it is used, what it must not do.
//!
//! Needs chromedriver and Chromium. Without them each test says that it is skipped, and with
//! `KA_REQUIRE_CHROMIUM` set, as `cargo xtask test` does, it fails.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../api/http.rs"]
#[expect(dead_code, reason = "the tests of the API use the rest")]
mod http;
#[path = "../api/daemon.rs"]
#[expect(dead_code, reason = "the tests of the API use the rest")]
mod real;
#[path = "../support/mod.rs"]
mod support;

mod access;
mod api;
mod canned;
mod chrome;
mod daemon;
mod live;
mod safety;
mod shots;
mod table;

use std::time::{Duration, Instant};

use ka_daemon::view::Event;

use chrome::Chrome;
use daemon::Daemon;

/// Keys by the protocol's codes.
mod key {
    pub(crate) const TAB: &str = "\u{e004}";
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const ESCAPE: &str = "\u{e00c}";
    pub(crate) const END: &str = "\u{e010}";
    pub(crate) const HOME: &str = "\u{e011}";
    pub(crate) const UP: &str = "\u{e013}";
    pub(crate) const DOWN: &str = "\u{e015}";
}

/// The page, open and filled.
struct Open {
    chrome: Chrome,
    daemon: Daemon,
}

impl Open {
    /// The canned node; none where there is no browser.
    fn canned() -> Option<Self> {
        Self::with(Daemon::start(canned::sockets(), canned::drops()))
    }

    fn with(daemon: Daemon) -> Option<Self> {
        let chrome = Chrome::start()?;
        chrome.open(&daemon.url());
        let open = Self { chrome, daemon };
        open.wait_for_rows(open.daemon.known(|known| known.sockets.len()));
        open.wait_for_listener();
        Some(open)
    }

    fn wait_for_rows(&self, count: usize) {
        self.chrome.wait(&format!("{ROWS}.length === {count}"), "document.body.innerText");
    }

    fn wait_for_listener(&self) {
        self.chrome.wait("link.events?.readyState === EventSource.OPEN", "document.body.innerText");
        until("the page listens", || self.daemon.listeners() == 1);
    }

    /// The text of a column, row by row, with notes after a space.
    fn column(&self, number: usize) -> Vec<String> {
        let cells = self.chrome.eval(&format!(
            "{ROWS}.map(row => [...row.cells[{number}].childNodes].filter(node => node.tagName !== 'BUTTON')
                .map(node => node.textContent).join(' ').replace(/ +/g, ' '))"
        ));
        cells.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    fn text_of(&self, selector: &str) -> String {
        self.chrome.text(&format!("document.querySelector('{selector}').innerText"))
    }

    /// Two totals, a second apart, so that there is a rate.
    fn tell_totals(&self) {
        self.daemon.tell(Event::Totals(canned::totals(182_340)));
        std::thread::sleep(Duration::from_secs(1));
        self.daemon.tell(Event::Totals(canned::totals(182_412)));
        self.chrome.wait(
            "document.querySelector('#t-sent').textContent === '182,412 sent'",
            "document.body.innerText",
        );
    }
}

/// The rows of sockets, without those that show all of one.
const ROWS: &str = "[...document.querySelectorAll('#rows > tr:not(.detail)')]";

/// Waits until something is so on this side.
#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_mins(1), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
