//! What happens while the page is open: totals, drops, losses, a pause, a daemon that goes away.

use std::time::Duration;

use ka_daemon::view::Event;
use ka_daemon::view::event::Totals;

use crate::{Open, canned, until};

const NOTICES: &str = "document.querySelector('#notices').innerText";

#[test]
fn totals_come_as_they_are_told() {
    let Some(open) = Open::canned() else { return };
    open.tell_totals();
    let shown = |id: &str| open.text_of(&format!("#t-{id}"));
    assert_eq!([shown("sockets"), shown("on"), shown("on-share")], ["1,284", "1,033", "80.5 % of them"]);
    assert_eq!([shown("tracked"), shown("unanswered"), shown("dropped")], ["1,041", "27", "2"]);
    let rate: f64 = shown("rate").parse().unwrap();
    // 72 in a second as told; how long until the page hears of it depends on how busy the machine is.
    assert!((7.2..=144.0).contains(&rate), "72 probes in about a second: {rate}");
    assert_eq!(open.text_of("#notices"), "");

    open.daemon.tell(Event::Totals(Totals { lost: 17, ..canned::totals(182_500) }));
    open.chrome.wait("document.querySelector('#t-lost').textContent === '17'", NOTICES);
    assert!(open.text_of("#notices").contains("The daemon lost records of the kernel"));
    open.daemon.tell(Event::ProbeUnanswered(canned::unanswered().into()));
    open.chrome.wait(
        "document.querySelector('#b-unanswered').title.startsWith('last: orders [2001:db8:42:3::11]:41830 to')",
        "document.querySelector('#b-unanswered').title",
    );
}

#[test]
fn drops_appear_as_they_happen_and_are_read_out() {
    let Some(open) = Open::canned() else { return };
    let drops =
        || open.chrome.eval("[...document.querySelectorAll('#drops .cause')].map(e => e.textContent)");
    assert_eq!(drops(), serde_json::json!(["keepalive_timeout", "reset_after_idle"]));
    assert!(open.text_of("#drops").contains("The peer or the path to it was gone."), "advice is shown");
    let drop = canned::dropped(3, 0.0, "user_timeout", ["orders lost its connection.", "Raise it."]);
    // Told twice, as the list may be read while an event is under way: shown once.
    open.daemon.tell(Event::Drop(Box::new(drop.clone())));
    open.daemon.tell(Event::Drop(Box::new(drop)));
    open.chrome.wait("document.querySelectorAll('#drops li').length === 3", "document.body.innerText");
    assert_eq!(drops()[0], "user_timeout");
    let say = "document.querySelector('#say').textContent";
    open.chrome.wait(&format!("{say} === 'Dropped: orders lost its connection.'"), say);
    // A storm is not read out line by line.
    for id in 4..=40 {
        let drop = canned::dropped(id, 0.0, "reset", ["a", "b"]);
        open.daemon.tell(Event::Drop(Box::new(drop)));
    }
    open.chrome.wait(&format!("{say} === '37 more connections were dropped.'"), say);
    assert_eq!(open.chrome.eval("document.querySelectorAll('#drops li').length"), 40);
}

#[test]
fn no_drop_is_said_and_lost_events_too() {
    let daemon = crate::daemon::Daemon::start(canned::sockets(), Vec::new());
    let Some(open) = Open::with(daemon) else { return };
    let none = "No connection was dropped since the daemon started.";
    open.chrome.wait(&format!("document.querySelector('#no-drops').innerText === '{none}'"), NOTICES);
    // While the page was too slow, a drop went by.
    open.daemon.known(|known| known.drops = canned::drops());
    open.daemon.tell(Event::Lost { count: 12 });
    open.chrome.wait("document.querySelectorAll('#drops li').length === 2", NOTICES);
    open.daemon.tell(Event::Lost { count: 1 });
    open.chrome.wait(&format!("{NOTICES}.includes('too slow for 13 events')"), NOTICES);
    open.chrome.click("#notices button");
    assert_eq!(open.text_of("#notices"), "");
}

#[test]
fn suspected_idle_timeouts_are_shown_where_there_are_any() {
    let daemon = crate::daemon::Daemon::start(canned::sockets(), Vec::new());
    daemon.known(|known| {
        known.idle_timeouts = vec![canned::idle_timeout(["Connections die.", "Probe."]); 21];
    });
    let Some(open) = Open::with(daemon) else { return };
    open.chrome.wait("document.querySelectorAll('#idle li').length === 20", "document.body.innerText");
    assert!(open.text_of("#idle").starts_with("Suspected idle timeouts"), "{}", open.text_of("#idle"));
    assert_eq!(open.text_of("#idle-count"), "the 20 with the most evidence, of 21");
    assert_eq!(open.text_of("#idle li"), "Connections die.\n\nProbe.");
    // They went out of sight.
    open.daemon.known(|known| known.idle_timeouts.clear());
    open.chrome.eval("void load_idle()");
    open.chrome.wait("document.querySelector('#idle').hidden", "document.body.innerText");
}

#[test]
fn a_daemon_that_is_gone_is_said_and_its_return_is_seen() {
    let Some(mut open) = Open::canned() else { return };
    assert_eq!(open.text_of("#link"), "Live");
    open.daemon.end();
    open.chrome.wait(&format!("{NOTICES}.includes('The daemon has not answered since')"), NOTICES);
    assert!(open.text_of("#notices").contains("What is shown is as of"), "{}", open.text_of("#notices"));
    assert_eq!(open.text_of("#link"), "No answer");
    assert_eq!(open.column(0).len(), 12, "what was known stays");
    open.chrome.wait("/^read \\d+ s ago$/.test(document.querySelector('#age').innerText)", NOTICES);

    // A new daemon: it counts drops from the beginning.
    open.daemon.known(|known| {
        known.sockets.truncate(3);
        known.drops = vec![canned::dropped(1, 0.0, "other", ["c", "d"])];
    });
    open.daemon.begin();
    open.wait_for_rows(3);
    open.wait_for_listener();
    open.chrome.wait("document.querySelectorAll('#drops li').length === 1", "document.body.innerText");
    open.chrome.wait(&format!("{NOTICES} === ''"), NOTICES);
    assert_eq!(open.text_of("#link"), "Live");
}

#[test]
fn nothing_is_asked_for_while_paused_or_hidden() {
    let Some(open) = Open::canned() else { return };
    let asked = || open.daemon.known(|known| known.asked.len());
    let quiet = |why: &str| {
        until(why, || open.daemon.listeners() == 0);
        let before = asked();
        // Longer than from one reading to the next.
        std::thread::sleep(Duration::from_secs(7));
        assert_eq!(asked(), before, "{why}");
    };
    open.chrome.press("p");
    assert_eq!([open.text_of("#pause"), open.text_of("#link")], ["Resume", "Paused"]);
    quiet("paused");
    // One may still look for something else: once.
    open.chrome.type_into("#text", "6379");
    open.wait_for_rows(1);
    quiet("paused, and looked for something");
    open.chrome.click("#pause");
    open.wait_for_listener();
    assert_eq!([open.text_of("#pause"), open.text_of("#link")], ["Pause", "Live"]);

    let tab = open.chrome.hide();
    quiet("hidden");
    open.chrome.show(&tab);
    open.wait_for_listener();
}
