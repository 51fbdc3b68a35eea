//! `ka-daemon drops`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::fake::{Fake, answer, begin, event, part};
use super::{dropped, ka, told};

fn kept(drops: &[Value]) -> String {
    json!({ "drops": drops }).to_string()
}

fn three() -> Fake {
    let drops = [dropped(3, 3, "reset"), dropped(1, 1, "aborted"), dropped(2, 2, "reset")];
    Fake::tcp(move |_, out| answer(out, "200 OK", &kept(&drops)))
}

#[test]
fn drops_are_told_the_oldest_first_with_advice() {
    let fake = three();
    let line =
        |id: u64, cause| format!("1970-01-01T00:00:0{id}+00:00 {cause} server lost connection {id}.\n");
    let advice = "    Look at the path.\n";
    let all = [line(1, "aborted"), line(2, "reset"), line(3, "reset")];
    for (options, expected) in [
        (&[][..], all.iter().flat_map(|line| [line.as_str(), advice]).collect::<String>()),
        (&["--brief", "--limit", "2"], all[1..].concat()),
        (&["--brief", "--cause", "aborted,other"], all[0].clone()),
        (&["--brief", "--process", "server", "-n1"], all[2].clone()),
        (&["--pod", "other"], String::new()),
    ] {
        let output = ka(&[&["drops", "--daemon", &fake.address], options].concat()).output().unwrap();
        assert_eq!(told(&output), (expected, String::new(), Some(0)), "{options:?}");
    }
    assert_eq!(fake.asked(), ["/api/v1/drops?limit=1000"; 5]);
}

#[test]
fn json_is_an_object_a_line() {
    let fake = three();
    let (out, err, code) = told(&ka(&["drops", "--json", "--daemon", &fake.address]).output().unwrap());
    let ids: Vec<Value> =
        out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!((ids, err.as_str(), code), (vec![json!(1), json!(2), json!(3)], "", Some(0)));
}

#[test]
fn without_a_daemon_there_are_none() {
    for follow in [&[][..], &["--follow"]] {
        let output = ka(&[&["drops", "--daemon", "127.0.0.1:1"], follow].concat()).output().unwrap();
        let expected = "ka-daemon: no daemon answers at http://127.0.0.1:1: Connection refused (os error 111); start \
                        it with `ka-daemon run`, or tell by --daemon where it is\n";
        assert_eq!(told(&output), (String::new(), expected.to_owned(), Some(1)));
    }
}

/// First a daemon that keeps one drop and tells of a second, which is in the list already when it is told
/// first; then the same daemon after a cut, with one that was missed; then a restarted one.
#[test]
fn following_outconnections_the_daemon_and_tells_each_drop_once() {
    let (connections, lists) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fake = Fake::tcp(move |path, out| match path {
        "/api/v1/drops?limit=1000" => {
            let drops = match lists.fetch_add(1, Ordering::SeqCst) {
                0 => vec![dropped(1, 1, "reset"), dropped(2, 2, "reset")],
                1 => vec![
                    dropped(1, 1, "reset"),
                    dropped(2, 2, "reset"),
                    dropped(3, 3, "reset"),
                    dropped(4, 4, "reset"),
                ],
                _ => vec![dropped(1, 5, "reset")],
            };
            answer(out, "200 OK", &kept(&drops))
        }
        "/api/v1/events?kinds=drop,totals" => {
            begin(out)?;
            match connections.fetch_add(1, Ordering::SeqCst) {
                0 => {
                    event(out, "drop", &dropped(2, 2, "reset"))?;
                    event(out, "solar_flare", &json!({}))?;
                    event(out, "lost", &json!({"count": 7}))?;
                    event(out, "drop", &dropped(3, 3, "reset"))?;
                    // Cut off, not ended.
                    Ok(())
                }
                1 => part(out, ""),
                _ => {
                    event(out, "drop", &dropped(2, 6, "reset"))?;
                    std::thread::sleep(std::time::Duration::from_mins(1));
                    Ok(())
                }
            }
        }
        other => panic!("{other}"),
    });
    let mut command = ka(&["drops", "--follow", "--brief", "--daemon", &fake.address]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let told_lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let times: Vec<String> = told_lines.take(6).map(|line| line.unwrap()[..19].to_owned()).collect();
    child.kill().unwrap();
    let (_, err, _) = told(&child.wait_with_output().unwrap());
    assert_eq!(times, [1, 2, 3, 4, 5, 6].map(|second| format!("1970-01-01T00:00:0{second}")));
    let said: Vec<&str> = err.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    let again = format!("the daemon at {} answers again", fake.address);
    assert_eq!(
        said,
        ["too slow a reader", "lost the daemon", again.as_str(), "lost the daemon", again.as_str(),],
        "{err}"
    );
    assert!(err.contains("it ended the stream of events; trying again each second"), "{err}");
}
