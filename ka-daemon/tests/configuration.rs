//! The configuration file from outside: the documents agree with the program, `check --config`, `run
//! --config`, and SIGHUP.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ka_daemon::config::{Config, Live};
use ka_daemon::preset::{self, Settings};
use support::golden;
use tokio::signal::unix::{SignalKind, signal};

const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const PRESETS: &str = include_str!("../../docs/presets.md");

/// A file that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ka-{name}-{}.yaml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn daemon(args: &[&str], environment: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ka-daemon"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KA_")) {
        command.env_remove(name);
    }
    command.args(args).envs(environment.iter().copied()).output().unwrap()
}

fn check(file: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let args = [&["check", "--config", file.to_str().unwrap()], more].concat();
    let output = daemon(&args, &[]);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What stands between two marks.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    text.split_once(begin).unwrap().1.split_once(end).unwrap().0
}

fn example() -> &'static str {
    between(CONFIGURATION, "```yaml\n", "```\n")
}

fn of_count(count: u32) -> String {
    format!("presets:\n- {{name: a, match: [{{keepcnt: {count}}}]}}\n")
}

fn count_is_known(config: &Config, count: u32) -> bool {
    let settings = Settings { keepidle: Some(9_999), keepintvl: Some(9_999), keepcnt: Some(count) };
    config.presets.look(&settings, "x").is_some()
}

#[test]
fn the_documented_example_is_valid_and_says_what_it_claims() {
    let config = Config::parse(example(), "docs/configuration.md").unwrap();
    assert_eq!(config.own_presets, 2);
    let look = |values: [u32; 3], comm| {
        let [idle, interval, count] = values.map(|value| (value != 0).then_some(value));
        let settings = Settings { keepidle: idle, keepintvl: interval, keepcnt: count };
        config.presets.look(&settings, comm).map(|preset| &*preset.name)
    };
    assert_eq!(look([45, 15, 4], "billing-worker"), Some("billing-pool"));
    assert_eq!(look([45, 3, 0], "billing"), Some("billing-pool"));
    assert_eq!(look([60, 10, 6], "nginx"), Some("nginx-edge"));
    assert_eq!(look([15, 15, 9], "server"), Some("go"));
}

/// An example that says all that can be said must not lag behind.
#[test]
fn the_documented_example_has_every_field() {
    for (wrong, base) in
        [("x: 1\n", ""), ("presets:\n- {x: 1}\n", ""), ("presets:\n- {name: a, match: [{x: 1}]}\n", "")]
    {
        let error = Config::parse(&format!("{base}{wrong}"), "f").unwrap_err().to_string();
        let accepted: Vec<_> = error.rsplit_once("accepted are ").unwrap().1.split(", ").collect();
        assert!(accepted.len() > 1, "{error}");
        for field in accepted {
            let key = format!("{}:", field.trim_matches('`'));
            assert!(example().contains(&key), "{key} is not in the example of docs/configuration.md");
        }
    }
}

#[test]
fn the_documented_error_is_the_one_that_is_given() {
    let text = "presets:\n  - name: a\n    match:\n      - {keepidel: 5}\n";
    let error = Config::parse(text, "/etc/ka/ka.yaml").unwrap_err().to_string();
    assert!(CONFIGURATION.contains(&format!("\n{error}\n")), "{error}");
}

#[test]
fn the_documented_presets_are_the_builtin_ones() {
    let (before, rest) = PRESETS.split_once("<!-- builtin -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->\n").unwrap();
    let table = preset::table(preset::builtin());
    golden("../docs/presets.md", &format!("{before}<!-- builtin -->\n\n{table}\n<!-- end -->\n{after}"));
}

#[test]
fn check_accepts_a_good_file_and_needs_no_kernel() {
    let file = Scratch::new("good", example());
    let (code, stdout, stderr) = check(&file.0, &[]);
    let all = preset::builtin().len() + 2;
    let expected = format!("{}: valid; presets: 2 of its own, {all} in all\n", file.0.display());
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), expected.as_str(), ""));

    let (code, stdout, _) = check(&file.0, &["--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let expected = serde_json::json!({
        "file": file.0, "valid": true, "own_presets": 2, "presets": all, "error": null, "place": null,
    });
    assert_eq!((code, verdict), (Some(0), expected));
}

#[test]
fn check_refuses_a_wrong_file_with_its_place() {
    let file = Scratch::new("wrong", "presets:\n- name: a\n  match: [{keepcnt: 0}]\n");
    let path = file.0.display();
    let field = "presets[0].match[0].keepcnt";
    let message = "0 is not a count from 1 to 127, `sysctl` (nothing set on the socket) or `set` (any value)";
    let (code, stdout, stderr) = check(&file.0, &[]);
    let expected = format!("ka-daemon: {path}:3:21: {field}: {message}\n");
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(1), "", expected.as_str()));

    let (code, stdout, _) = check(&file.0, &["--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let expected = serde_json::json!({
        "file": file.0, "valid": false, "own_presets": null, "presets": null,
        "error": format!("{path}:3:21: {field}: {message}"),
        "place": {"file": file.0, "line": 3, "column": 21, "field": field, "message": message},
    });
    assert_eq!((code, verdict), (Some(1), expected));
}

#[test]
fn a_file_that_is_not_there_is_named_once() {
    let (code, _, stderr) = check(Path::new("/nowhere/ka.yaml"), &[]);
    let expected = "ka-daemon: cannot read /nowhere/ka.yaml, the value of --config: \
                    No such file or directory (os error 2)\n";
    assert_eq!((code, stderr.as_str()), (Some(1), expected));
}

#[test]
fn check_of_a_file_takes_no_options_of_the_kernel() {
    let (code, _, stderr) = check(Path::new("/nowhere/ka.yaml"), &["--strict"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("'--config <FILE>' cannot be used with '--strict'"), "{stderr}");
}

#[test]
fn run_refuses_a_wrong_file_before_anything_else() {
    let file = Scratch::new("run", "presets: 1\n");
    let expected = format!("ka-daemon: {}:1:10: presets: expected a list\n", file.0.display());
    let by_option = daemon(&["run", "--config", file.0.to_str().unwrap()], &[]);
    let by_variable = daemon(&[], &[("KA_CONFIG_FILE", &file.0)]);
    for output in [by_option, by_variable] {
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.ends_with(&expected), "{said}");
        assert!(!said.contains("kernel"), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}

/// The one test here that sends signals: to this very process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_reads_the_file_again_and_a_wrong_one_changes_nothing() {
    let file = Scratch::new("hangup", &of_count(3));
    let hangups = signal(SignalKind::hangup()).unwrap();
    let live = Arc::new(Live::open(Some(&file.0)).unwrap());
    let following = tokio::spawn(Arc::clone(&live).follow(hangups));
    let hang_up = || nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).unwrap();
    let until_known = async |count| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !count_is_known(&live.load(), count) {
            assert!(Instant::now() < deadline, "{count} is not in force");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(count_is_known(&live.load(), 3));

    file.write(&of_count(4));
    assert!(!count_is_known(&live.load(), 4), "nothing changes before the signal");
    hang_up();
    until_known(4).await;
    assert!(!count_is_known(&live.load(), 3));

    // Signals may be merged, so the wrong file is given time to be read before the next good one.
    file.write(&of_count(0));
    hang_up();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(count_is_known(&live.load(), 4), "the old one stays");
    assert!(!following.is_finished());

    file.write(&of_count(5));
    hang_up();
    until_known(5).await;
    following.abort();
}
