//! What others chose stays text, and the page speaks to nobody but its daemon.

use ka_daemon::view::Event;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::{Open, canned};

/// Every address that the page asked for, of whatever kind.
fn requests(open: &Open) -> Vec<String> {
    let urls = open.chrome.log("performance").into_iter().filter_map(|entry| {
        let entry: Value = serde_json::from_str(&entry).unwrap();
        let message = &entry["message"];
        let asks = ["Network.requestWillBeSent", "Network.webSocketCreated"];
        asks.iter().any(|method| message["method"] == *method).then(|| {
            let request = &message["params"];
            request["request"]["url"].as_str().or(request["url"].as_str()).unwrap().to_owned()
        })
    });
    urls.collect()
}

#[test]
fn names_that_hold_markup_are_shown_as_names() {
    let mut sockets = canned::sockets();
    sockets.push(canned::hostile());
    let words = [canned::HOSTILE, canned::HOSTILE];
    let daemon = Daemon::start(sockets, vec![canned::dropped(1, 0.0, canned::HOSTILE, words)]);
    daemon.known(|known| known.idle_timeouts = vec![canned::idle_timeout(words)]);
    let Some(open) = Open::with(daemon) else { return };
    open.chrome.wait("!document.querySelector('#idle').hidden", "document.body.innerText");
    open.daemon.tell(Event::Drop(Box::new(canned::dropped(2, 0.0, canned::HOSTILE, words))));
    open.chrome.wait("document.querySelectorAll('#drops li').length === 2", "document.body.innerText");
    open.chrome.type_into("#text", "onerror");
    open.wait_for_rows(1);
    open.chrome.click(".more");
    assert_eq!(open.column(7), [format!("{} 666", canned::HOSTILE)]);
    let shown = open.text_of("main");
    // The process and the policy in the row; process, executable, preset, policy and advice below it; three words in
    // each of two drops; two in an idle timeout.
    assert_eq!(shown.matches(canned::HOSTILE).count(), 2 + 5 + 6 + 2, "{shown}");
    assert_eq!(open.chrome.eval("document.querySelectorAll('main img, main script, main iframe').length"), 0);
    assert_eq!(open.chrome.text("document.title"), "ka: TCP keepalive of this node");
    assert_eq!(open.chrome.log("browser"), [""; 0]);
}

#[test]
fn it_runs_under_its_policy_without_errors_and_asks_nobody_else() {
    let Some(open) = Open::canned() else { return };
    open.tell_totals();
    open.chrome.click(".more");
    open.chrome.click("summary");
    open.chrome.click("#theme");
    let origin = open.daemon.url();
    let asked = requests(&open);
    let expected = ["", "api/v1/sockets", "api/v1/drops", "api/v1/idle-timeouts", "api/v1/events"];
    for path in expected {
        assert!(asked.iter().any(|url| url.starts_with(&format!("{origin}{path}"))), "{path}: {asked:?}");
    }
    let elsewhere: Vec<_> =
        asked.iter().filter(|url| !url.starts_with(&origin) && !url.starts_with("data:")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    // Violations of the policy are errors of the console.
    assert_eq!(open.chrome.log("browser"), [""; 0]);
}

/// The policy holds, and these tests would see it broken.
#[test]
fn the_policy_stops_what_is_not_the_page_itself() {
    let Some(open) = Open::canned() else { return };
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("http://{}/x.png", elsewhere.local_addr().unwrap());
    let attempts = [
        // A handler and a style in markup: refused already as text that becomes markup.
        "document.body.innerHTML = '<p onclick=\"1\">'",
        "document.body.setAttribute('style', 'color: red')",
        "document.head.append(Object.assign(document.createElement('style'), { textContent: 'p { color: red }' }))",
        &format!("document.body.append(Object.assign(document.createElement('img'), {{ src: '{url}' }}))"),
        &format!("fetch('{url}').catch(() => 0)"),
    ];
    for attempt in attempts {
        open.chrome.eval(&format!("(() => {{ try {{ {attempt} }} catch {{}} }})()"));
        let mut log = Vec::new();
        crate::until(attempt, || {
            log.extend(open.chrome.log("browser"));
            !log.is_empty()
        });
        let told = |line: &String| line.contains("Content Security Policy") || line.contains("TrustedHTML");
        assert!(log.iter().any(told), "{attempt}: {log:?}");
    }
    let nobody = elsewhere.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "the page connected to elsewhere");
}

#[test]
fn its_headers_say_what_a_browser_may_do() {
    let Some(open) = Open::canned() else { return };
    let headers = open.chrome.devtools(
        "Runtime.evaluate",
        &json!({
            "expression": "fetch('/').then(answer => Object.fromEntries(answer.headers))",
            "awaitPromise": true, "returnByValue": true,
        }),
    );
    let headers = &headers["result"]["value"];
    assert_eq!(headers["content-security-policy"], ka_daemon::api::page::POLICY);
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
}
