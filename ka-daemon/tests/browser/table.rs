//! The table: what it says of each socket, in which order, of which sockets, and all of one.

use serde_json::json;

use crate::canned::{self, socket};
use crate::daemon::Daemon;
use crate::{Open, key};

/// Local ends in the order of `sort=nearest`.
const NEAREST: [&str; 12] = [
    "10.42.3.17:50912",
    "[2001:db8:42:3::11]:41830",
    "10.0.0.5:9092",
    "10.0.0.5:5432",
    "10.0.0.5:8443",
    "10.42.3.17:50914",
    "10.0.0.5:871",
    "[fe80::5054:ff:fe12:3456]:22",
    "10.0.0.5:443",
    "10.0.0.5:443",
    "10.0.0.5:34566",
    "[::]:443",
];

#[test]
fn every_socket_is_told_in_words() {
    let Some(open) = Open::canned() else { return };
    assert_eq!(open.column(0), NEAREST);
    let remote = open.column(1);
    assert_eq!(remote[1], "[2001:db8:9a:1f00:c0de:77ff:fe31:9]:6379");
    assert_eq!(remote[4], "198.51.100.23:61544", "a v4-mapped address is the IPv4 address that it is");
    assert_eq!(remote[11], "–", "a listener has no remote end");
    assert_eq!(open.column(2)[9], "TIME-WAIT");
    assert_eq!(
        open.column(3)[..8],
        [
            "15 s / 15 s / 9 socket",
            "60 s / 15 s / 5 socket",
            "off at risk: aws-nlb",
            "60 s / 10 s / 6 socket, count sysctl",
            "15 s / 15 s / 9 socket",
            "15 s / 15 s / 9 socket",
            "60 s / 60 s / 3 socket",
            "7200 s / 75 s / 9 sysctl",
        ]
    );
    let title = open.chrome.text(&format!("{}[0].cells[3].title", crate::ROWS));
    assert_eq!(title, "idle / interval / count, set by socket; looks like go");
    assert_eq!(
        open.column(4),
        [
            "6 of 9 unanswered dropped in 49.2 s",
            "2 of 5 unanswered dropped in 56.8 s",
            "window probe in 6.4 s 3 unanswered",
            "probe in 39.0 s",
            "probe in 5.6 s",
            "probe in 12.3 s",
            "probe in 26.9 s",
            "probe in 39 min 30 s",
            "probe in 1 h 54 min",
            "forgotten in 41.6 s",
            "sends again in 1.6 s data not acknowledged",
            "–",
        ]
    );
    assert_eq!(open.column(5)[7..12], ["1 h 21 min", "5 min 53 s", "–", "3.2 s", "–"]);
    assert_eq!(open.column(6)[1], "18.3 ms");
    assert_eq!(open.column(6)[0], "412 µs");
    let owner = open.column(7);
    assert_eq!(owner[0], "api-gateway 48211 shop/api-gateway-7d9c5b4f6-x2kqp · server");
    assert_eq!((owner[6].as_str(), owner[9].as_str()), ("~kernel", "–"));
    assert_eq!(open.text_of("#count"), "12 sockets");
}

#[test]
fn a_heading_sorts_by_mouse_and_by_keyboard() {
    let Some(open) = Open::canned() else { return };
    let sorted =
        || open.chrome.text("[...document.querySelectorAll('thead th')].map(th => th.ariaSort).join(' ')");
    assert_eq!(sorted(), "none none none none ascending none none none");

    open.chrome.click("[data-sort=process]");
    open.chrome.wait("document.querySelector('#say').textContent === '12 sockets found.'", "location.href");
    assert_eq!(sorted(), "none none none none none none none ascending");
    let owners: Vec<_> =
        open.column(7).iter().map(|text| text.split(' ').next().unwrap().to_owned()).collect();
    assert!(owners[..11].is_sorted() && owners[11] == "–", "by name, unknown last: {owners:?}");

    // Back to the heading before, with the keyboard alone.
    open.chrome.eval("document.querySelector('[data-sort=idle]').focus()");
    open.chrome.press(key::ENTER);
    open.chrome.wait(&format!("{}[0].cells[5].textContent === '1 h 21 min'", crate::ROWS), "location.href");
    assert_eq!(sorted(), "none none none none none descending none none");
    assert_eq!(open.chrome.text("document.activeElement.textContent"), "Idle", "the focus stays");
    assert_eq!(open.chrome.text("location.hash"), "#sort=idle");
}

#[test]
fn filters_narrow_the_table_and_stay_in_the_address() {
    let Some(open) = Open::canned() else { return };
    open.chrome.type_into("#text", "ORDERS 6379");
    open.wait_for_rows(1);
    assert_eq!(open.text_of("#count"), "1 socket");
    assert_eq!(open.chrome.text("document.querySelector('#say').textContent"), "1 socket found.");
    open.chrome.eval("document.querySelector('#text').select()");
    open.chrome.type_into("#text", "nobody");
    open.wait_for_rows(0);
    assert_eq!(open.text_of("#empty"), "No socket matches.");

    open.chrome.open("about:blank");
    open.chrome.open(&format!("{}#state=ESTABLISHED&keepalive=off&sort=process", open.daemon.url()));
    open.wait_for_rows(2);
    assert_eq!(open.column(0), ["10.0.0.5:34566", "10.0.0.5:9092"]);
    let values = "[...document.querySelectorAll('#filter select')].map(select => select.value).join(' ')";
    assert_eq!(open.chrome.text(values), "ESTABLISHED off  ");
}

#[test]
fn policies_that_would_cut_a_socket_are_told_with_what_to_set() {
    let Some(open) = Open::canned() else { return };
    assert_eq!(open.column(3)[2], "off at risk: aws-nlb");
    assert_eq!(open.column(3)[10], "off", "under no policy");
    assert_eq!(open.column(3)[7], "7200 s / 75 s / 9 sysctl", "its peer probes");
    let options =
        "[...document.querySelectorAll('#policy option')].map(option => option.textContent).join('|')";
    open.chrome.wait(&format!("{options} === 'any or none|aws-nlb (5 min 50 s)'"), options);

    open.chrome.open("about:blank");
    open.chrome.open(&format!("{}#policy=aws-nlb&sort=local", open.daemon.url()));
    open.wait_for_rows(2);
    let told = |place: usize| {
        open.chrome.eval(&format!("document.querySelectorAll('.more')[{place}].click()"));
        let words = open
            .chrome
            .eval("[...document.querySelectorAll('.detail .sentence dd')].map(dd => dd.textContent)");
        open.chrome.eval(&format!("document.querySelectorAll('.more')[{place}].click()"));
        words
    };
    assert_eq!(told(0), json!(["aws-nlb, 5 min 50 s: keepalive is off", canned::ADVICE]));
    assert_eq!(
        told(1),
        json!(["aws-nlb, 5 min 50 s: only its peer probes", "A single lost probe is fatal."])
    );

    open.chrome.open("about:blank");
    open.chrome.open(&format!("{}#at_risk=policies", open.daemon.url()));
    open.wait_for_rows(1);
    assert_eq!(open.column(0), ["10.0.0.5:9092"]);
    // One that is gone is still what was asked for.
    open.chrome.open("about:blank");
    open.chrome.open(&format!("{}#policy=gone", open.daemon.url()));
    open.wait_for_rows(0);
    let shown = format!("{options} + policies.hidden");
    open.chrome.wait(&format!("{shown} === 'any or none|gone|aws-nlb (5 min 50 s)false'"), &shown);
}

#[test]
fn what_the_api_refuses_is_said_in_its_words() {
    let Some(open) = Open::canned() else { return };
    open.chrome.eval("(at_risk.options[2].value = 'soon', at_risk.selectedIndex = 2, at_risk.dispatchEvent(new Event('input', { bubbles: true })))");
    let notice = "document.querySelector('#notices').innerText";
    open.chrome.wait(&format!("{notice} !== ''"), notice);
    let text = open.chrome.text(notice);
    let begin = "The daemon refuses to list sockets: invalid value \"soon\" for parameter \"at_risk\"";
    assert!(text.starts_with(begin), "{text}");
    open.chrome
        .eval("(at_risk.selectedIndex = 0, at_risk.dispatchEvent(new Event('input', { bubbles: true })))");
    open.chrome.wait(&format!("{notice} === ''"), notice);
}

#[test]
fn a_row_opens_to_all_that_is_known_and_stays_so() {
    let Some(open) = Open::canned() else { return };
    let focus = "document.activeElement.textContent";
    open.chrome.eval("document.querySelector('.more').focus()");
    open.chrome.press(key::DOWN);
    assert_eq!(
        open.chrome.text(focus),
        "All of [2001:db8:42:3::11]:41830 to [2001:db8:9a:1f00:c0de:77ff:fe31:9]:6379"
    );
    open.chrome.press(key::END);
    assert_eq!(open.chrome.text(focus), "All of [::]:443 to [::]:0");
    open.chrome.press(key::HOME);
    open.chrome.press(key::DOWN);
    open.chrome.press(key::DOWN);
    open.chrome.press(key::UP);
    open.chrome.press(key::ENTER);
    assert_eq!(open.chrome.text("document.activeElement.ariaExpanded"), "true");
    let controlled = "document.getElementById(document.activeElement.getAttribute('aria-controls'))";
    let fields = open.chrome.eval(&format!(
        "Object.fromEntries([...{controlled}.querySelectorAll('dl > div')].map(div => [...div.children].map(e => e.textContent)))"
    ));
    assert_eq!(
        fields,
        json!({
            "At risk of": "no policy", "What to set": "–",
            "Keepalive": "on", "First probe after": "60 s idle (socket)", "Then every": "15 s (socket)",
            "Dropped after": "5 unanswered (socket)", "Settings look like": "–", "TCP_USER_TIMEOUT": "not set",
            "Timer": "keepalive, in 11.8 s", "Probes out": "2", "Next probe": "in 11.8 s",
            "Dropped if silent": "in 56.8 s", "Last received": "78.2 s ago", "Last sent": "78.2 s ago",
            "Last acknowledged": "78.2 s ago", "Last round trip of a probe": "18.3 ms", "Receive queue": "0",
            "Send queue": "0", "Process": "orders, pid 51877", "Executable": "/usr/bin/orders", "systemd unit": "–",
            "Pod": "shop/orders-5f6d8c9b7-m4tzw", "Pod UID": "–", "Container": "orders", "Container id": "–",
            "User id": "1000", "Inode": "2002", "Network namespace": "4026531840", "Control group id": "5311",
        })
    );

    // The next reading: another order, one socket less; what is open and has the focus stays.
    open.daemon.known(|known| {
        known.sockets.remove(0);
        known.sockets[0].drop_in_seconds = Some(999.0);
        known.sockets[0].timer.as_mut().unwrap().probes_out = 0;
    });
    open.wait_for_rows(11);
    let order = open.column(0);
    assert_eq!((order[0].as_str(), order[5].as_str()), (NEAREST[2], NEAREST[1]), "it moved down: {order:?}");
    assert!(open.chrome.text(focus).starts_with("All of [2001:db8:42:3::11]:41830"));
    assert_eq!(
        open.chrome.eval(&format!("{controlled}.previousSibling === document.activeElement.closest('tr')")),
        true,
        "what is open stays below its row"
    );
    assert!(open.chrome.text(&format!("{controlled}.innerText")).contains("Probes out\n0"));
    open.chrome.press(key::ESCAPE);
    assert_eq!(open.chrome.eval("document.querySelectorAll('.detail').length"), 0);
}

#[test]
fn of_many_sockets_the_first_are_shown_and_more_on_demand() {
    let many = (0..450_u32).map(|n| {
        socket(&format!("10.1.{}.{}:4000", n / 250, n % 250), "10.2.0.1:443", |s| s.inode = u64::from(n) + 1)
    });
    let daemon = Daemon::start(many.collect(), Vec::new());
    daemon.known(|known| known.drops = canned::drops());
    let Some(chrome) = crate::chrome::Chrome::start() else { return };
    chrome.open(&daemon.url());
    let open = Open { chrome, daemon };
    open.wait_for_rows(200);
    assert_eq!(open.text_of("#count"), "the first 200 of 450; narrow it down to see others");
    open.chrome.click("#show-more");
    open.wait_for_rows(400);
    open.chrome.click("#show-more");
    open.wait_for_rows(450);
    assert_eq!(open.chrome.eval("document.querySelector('#show-more').hidden"), true);
}
