//! Usable by keyboard and screen reader, readable in both themes and on a narrow screen.

use serde_json::{Value, json};

use crate::{Open, key};

/// Below this, text of ordinary size is hard to read (WCAG 1.4.3).
const CONTRAST: f64 = 4.5;

/// Every text that is seen whose contrast with what it stands on is too low, as `"text" ratio`.
const TOO_FAINT: &str = r#"(() => {
  const parse = text => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => e ? over(parse(getComputedStyle(e).backgroundColor), ground(e.parentElement)) : [255, 255, 255, 1];
  const found = [], seen = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walk.nextNode();) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.checkVisibility({ checkOpacity: true }) || e.closest('.only-read, script')) continue;
    const under = ground(e), text = over(parse(getComputedStyle(e).color), under);
    const [bright, dark] = [light(text), light(under)].sort((a, b) => b - a);
    const ratio = (bright + 0.05) / (dark + 0.05);
    seen.add(getComputedStyle(e).color);
    if (ratio < LIMIT) found.push(`"${node.data.trim()}" ${ratio.toFixed(2)}`);
  }
  return { found, colours: seen.size };
})()"#;

fn assert_readable(open: &Open, theme: &str) {
    let result = open.chrome.eval(&TOO_FAINT.replace("LIMIT", &CONTRAST.to_string()));
    assert_eq!(result["found"], json!([]), "{theme}");
    assert!(
        result["colours"].as_u64().unwrap() >= 6,
        "{theme}: what was looked at has few colours: {result}"
    );
}

fn background(open: &Open) -> String {
    open.chrome.text("getComputedStyle(document.body).backgroundColor")
}

fn system_theme(open: &Open, scheme: &str) {
    let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    open.chrome.devtools("Emulation.setEmulatedMedia", &features);
}

#[test]
fn both_themes_are_readable_and_a_choice_is_kept() {
    let Some(open) = Open::canned() else { return };
    open.tell_totals();
    open.daemon.tell(ka_daemon::view::Event::Lost { count: 3 });
    open.chrome.click("summary");
    open.chrome.click(".more");
    open.chrome.wait("document.querySelectorAll('#notices p').length === 1", "document.body.innerText");
    system_theme(&open, "light");
    assert_eq!(background(&open), "rgb(243, 245, 247)");
    assert_readable(&open, "light");
    system_theme(&open, "dark");
    assert_eq!(background(&open), "rgb(14, 18, 22)");
    assert_readable(&open, "dark");

    // One's own choice wins over the system's, and outlives the page.
    assert_eq!(open.text_of("#theme"), "Theme: system");
    open.chrome.click("#theme");
    assert_eq!(
        (open.text_of("#theme"), background(&open)),
        ("Theme: light".into(), "rgb(243, 245, 247)".into())
    );
    open.chrome.open(&open.daemon.url());
    assert_eq!(
        (open.text_of("#theme"), background(&open)),
        ("Theme: light".into(), "rgb(243, 245, 247)".into())
    );
    system_theme(&open, "light");
    open.chrome.click("#theme");
    assert_eq!((open.text_of("#theme"), background(&open)), ("Theme: dark".into(), "rgb(14, 18, 22)".into()));
    open.chrome.click("#theme");
    assert_eq!(
        (open.text_of("#theme"), background(&open)),
        ("Theme: system".into(), "rgb(243, 245, 247)".into())
    );
}

/// What a browser tells a screen reader.
fn tree(open: &Open) -> Vec<Value> {
    open.chrome.devtools("Accessibility.enable", &json!({}));
    let tree = open.chrome.devtools("Accessibility.getFullAXTree", &json!({}));
    tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] == false).cloned().collect()
}

#[test]
fn a_screen_reader_is_told_all_of_it() {
    let Some(open) = Open::canned() else { return };
    open.tell_totals();
    open.chrome.click("summary");
    open.chrome.click(".more");
    // Narrow too: the cards must stay a table.
    for width in [1280, 400] {
        open.narrow(width);
        let nodes = tree(&open);
        let role = |node: &Value| node["role"]["value"].as_str().unwrap_or_default().to_owned();
        let name = |node: &Value| node["name"]["value"].as_str().unwrap_or_default().to_owned();
        let property = |node: &Value, name: &str| {
            let properties = node["properties"].as_array().into_iter().flatten();
            properties
                .clone()
                .find(|property| property["name"] == name)
                .map(|property| property["value"]["value"].clone())
        };
        let count = |wanted: &str| nodes.iter().filter(|node| role(node) == wanted).count();

        let controls: Vec<_> = nodes
            .iter()
            .filter(|node| property(node, "focusable") == Some(json!(true)) && role(node) != "RootWebArea")
            .collect();
        // The skip link, two buttons, four links, five controls of the filter, eight headings, twelve rows, the help.
        assert!(controls.len() >= 33, "{width}: {}", controls.len());
        let unnamed: Vec<_> = controls.iter().filter(|node| name(node).is_empty()).collect();
        assert!(unnamed.is_empty(), "{width}: controls without a name: {unnamed:?}");

        assert_eq!(count("table"), 1, "{width}");
        // The heads, the sockets, and all of one.
        assert_eq!((count("row"), count("columnheader"), count("rowheader")), (1 + 12 + 1, 8, 12), "{width}");
        let timer = nodes.iter().find(|node| role(node) == "columnheader" && name(node).starts_with("Timer"));
        assert!(timer.is_some(), "{width}: the heads have names");
        assert!(
            count("main") == 1 && count("banner") == 1 && count("navigation") == 1 && count("search") == 1
        );

        let live: Vec<_> =
            nodes.iter().filter(|node| property(node, "live").is_some_and(|live| live != "")).collect();
        assert!(
            live.iter().all(|node| property(node, "live") == Some(json!("polite"))),
            "nothing interrupts"
        );
        assert!(live.iter().any(|node| role(node) == "status"), "{width}");
    }
    let headings = "[...document.querySelectorAll('h1, h2, h3, h4')].map(h => h.tagName).join(' ')";
    assert_eq!(open.chrome.text(headings), "H1 H2 H2 H2 H2");
    assert_eq!(open.chrome.text("document.documentElement.lang"), "en");
    // What changes each second must not be read out each second.
    assert_eq!(
        open.chrome.eval("document.querySelector('#age, .totals').closest('[role=status], [aria-live]')"),
        Value::Null
    );
}

#[test]
fn the_keyboard_reaches_everything_and_shows_where_it_is() {
    let Some(open) = Open::canned() else { return };
    open.chrome.press(key::TAB);
    assert_eq!(open.chrome.text("document.activeElement.textContent"), "Skip to the sockets");
    assert_eq!(
        open.chrome.eval("document.activeElement.getBoundingClientRect().top >= 0"),
        true,
        "it comes into view"
    );
    let mut reached = Vec::new();
    for _ in 0..32 {
        open.chrome.press(key::TAB);
        let here = open.chrome.eval(
            "[document.activeElement.id || document.activeElement.dataset.sort || document.activeElement.textContent,
              getComputedStyle(document.activeElement).outlineStyle]",
        );
        assert_eq!(here[1], "solid", "the focus is seen on {}", here[0]);
        reached.push(here[0].as_str().unwrap().to_owned());
    }
    let order = [
        "pause",
        "theme",
        "Metrics",
        "drops",
        "text",
        "at_risk",
        "local",
        "process",
        "All of 10.42.3.17:50912 to 10.96.12.8:5432",
    ];
    let mut rest = reached.iter();
    for next in order {
        assert!(rest.any(|at| at == next), "{next} is not reached in order: {reached:?}");
    }

    open.chrome.press("/");
    assert_eq!(open.chrome.text("document.activeElement.id"), "text");
    open.chrome.press("p/");
    assert_eq!(
        open.chrome.text("document.activeElement.value"),
        "p/",
        "keys of a letter are letters where one types"
    );
    assert_eq!(open.text_of("#pause"), "Pause");
    // What was typed finds nothing, which moves what is below the table: not while it is clicked.
    open.wait_for_rows(0);
    // They can be turned off.
    open.chrome.click("summary");
    open.chrome.click("#keys");
    open.chrome.eval("document.activeElement.blur()");
    open.chrome.press("p");
    assert_eq!(open.text_of("#pause"), "Pause");
}

#[test]
fn nothing_scrolls_sideways_and_motion_is_left_out_on_demand() {
    let Some(open) = Open::canned() else { return };
    open.tell_totals();
    open.chrome.click(".more");
    for width in [1280, 860, 400, 320] {
        open.narrow(width);
        let over = open.chrome.eval("document.documentElement.scrollWidth - innerWidth");
        assert!(over.as_i64().unwrap() <= 0, "{over} pixels too wide at {width}");
        let cut = open.chrome.eval(
            "[...document.querySelectorAll('#rows :is(th, td), thead button, #filter :is(input, select)')]
                .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.textContent)",
        );
        assert_eq!(cut, json!([]), "cut off at {width}");
    }
    // The browser is started with less motion asked for.
    open.chrome.eval("document.querySelector('#drops li').classList.add('new')");
    assert_eq!(
        open.chrome.text("getComputedStyle(document.querySelector('#drops li')).animationName"),
        "none"
    );
}

impl Open {
    /// A screen of this width.
    pub(crate) fn narrow(&self, width: u32) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.chrome.devtools("Emulation.setDeviceMetricsOverride", &size);
    }
}
