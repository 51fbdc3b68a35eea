//! `ka-daemon idle-timeouts`.

use serde_json::{Value, json};

use super::fake::{Fake, answer};
use super::{ka, told};

fn daemon(idle_timeouts: &Value) -> Fake {
    let body = json!({
        "idle_timeouts": idle_timeouts, "remote_prefixes": 3, "survived": 60, "died": 2,
        "longest_survived_seconds": 345.5, "of_a_newer_daemon": true,
    });
    let body = body.to_string();
    Fake::tcp(move |_, out| answer(out, "200 OK", &body))
}

fn limit(prefix: &str) -> Value {
    json!({
        "remote_prefix": prefix, "min_seconds": null, "max_seconds": 360.2, "survived_below": 0, "died_below": 0,
        "died_above": 14, "survived_above": 0, "died_again": 13, "confidence": 0.999,
        "summary": format!("Connections to {prefix} die.\u{1b}[2J"), "advice": "Probe sooner.",
    })
}

#[test]
fn each_limit_is_a_sentence_with_advice() {
    let fake = daemon(&json!([limit("10.0.3.0/24"), limit("2001:db8::/48")]));
    let lines =
        ["10.0.3.0/24", "2001:db8::/48"].map(|prefix| format!("Connections to {prefix} die.\u{fffd}[2J\n"));
    let ask = |options: &[&str]| {
        let arguments = [&["idle-timeouts", "--daemon", &fake.address], options].concat();
        told(&ka(&arguments).output().unwrap())
    };
    let advice = "    Probe sooner.\n";
    assert_eq!(
        ask(&[]),
        (lines.each_ref().map(|line| line.clone() + advice).concat(), String::new(), Some(0))
    );
    assert_eq!(ask(&["--brief"]), (lines.concat(), String::new(), Some(0)));
    let (out, err, code) = ask(&["--json"]);
    let prefixes: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["remote_prefix"].clone())
        .collect();
    assert_eq!(
        (prefixes, err, code),
        (vec![json!("10.0.3.0/24"), json!("2001:db8::/48")], String::new(), Some(0))
    );
    assert_eq!(fake.asked(), ["/api/v1/idle-timeouts"; 3]);
}

#[test]
fn where_there_is_none_it_says_from_how_much() {
    let fake = daemon(&json!([]));
    let expected = "No idle timeout is suspected: of 62 connections silent for 5 s or longer, 2 died of it; the longest \
                    silence that one is known to have survived is 5 min 46 s.\n";
    let output = ka(&["idle-timeouts", "--daemon", &fake.address]).output().unwrap();
    assert_eq!(told(&output), (expected.to_owned(), String::new(), Some(0)));
    let output = ka(&["idle-timeouts", "--json", "--daemon", &fake.address]).output().unwrap();
    assert_eq!(told(&output), (String::new(), String::new(), Some(0)));
}

#[test]
fn without_a_daemon_nothing_is_known() {
    let output = ka(&["idle-timeouts", "--daemon", "127.0.0.1:1"]).output().unwrap();
    let (out, err, code) = told(&output);
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(err.starts_with("ka-daemon: no daemon answers at http://127.0.0.1:1: "), "{err}");
}
