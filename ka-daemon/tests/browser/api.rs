//! The page before the real API, where the other tests have one that they can stop and start.

use std::sync::Arc;

use crate::chrome::Chrome;
use crate::real::{Ageing, Daemon};
use crate::{ROWS, canned};

#[test]
fn the_page_and_the_api_understand_each_other() {
    let Some(chrome) = Chrome::start() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let sockets = Arc::new(Ageing::new(canned::sockets()));
    let daemon = runtime.block_on(Daemon::start(Some(sockets)));
    let [newest, oldest] = <[_; 2]>::try_from(canned::drops()).unwrap();
    daemon.feed.dropped(oldest);
    daemon.feed.dropped(newest);

    chrome.open(&format!("http://{}/", daemon.address));
    let seen = "document.body.innerText";
    chrome.wait(&format!("{ROWS}.length === 12"), seen);
    chrome.wait("document.querySelectorAll('#drops li').length === 2", seen);
    chrome.wait("link.events?.readyState === EventSource.OPEN", seen);
    daemon.feed.dropped(canned::dropped(0, 0.0, "reset_by_probe", ["It was reset.", "Probe sooner."]));
    chrome.wait("document.querySelector('#drops .cause').textContent === 'reset_by_probe'", seen);

    // Every order and every choice of the filters is one that the API takes.
    let controls = "[...document.querySelectorAll('[data-sort], #filter option')]";
    let count = chrome.eval(&format!("{controls}.length")).as_u64().unwrap();
    assert!(count >= 8 + 6 + 3 + 6, "{count}");
    for control in 0..count {
        chrome.eval(&format!(
            "(control => {{
                link.loadedAt = null;
                if (control.value) control.parentElement.value = control.value;
                if (control.dataset.sort) control.click();
                else control.dispatchEvent(new Event('input', {{ bubbles: true }}));
            }})({controls}[{control}])"
        ));
        chrome.wait("link.loadedAt !== null", seen);
    }
    assert_eq!(chrome.text("document.querySelector('#notices').textContent"), "");
    assert_eq!(chrome.log("browser"), [""; 0]);
    drop(chrome);
    runtime.block_on(daemon.stopped());
}
