//! The configuration file from outside: the documents agree with the program, `check --config`, `run
//! --config`, and SIGHUP.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ka_daemon::config::{Config, Live};
use ka_daemon::policy::Severity;
use ka_daemon::preset::{self, Settings};
use support::golden;
use tokio::signal::unix::{SignalKind, signal};

const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const PRESETS: &str = include_str!("../../docs/presets.md");
const POLICIES: &str = include_str!("../../docs/policies.md");
const EXAMPLES: &str = include_str!("../../docs/examples/policies.yaml");

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

/// A preset and a policy of this number.
fn of_count(count: u32) -> String {
    format!(
        "presets:\n- {{name: a, match: [{{keepcnt: {count}}}]}}\npolicies:\n- {{name: a, idle_limit: {count}s}}\n"
    )
}

fn count_is_known(config: &Config, count: u32) -> bool {
    let settings = Settings { keepidle: Some(9_999), keepintvl: Some(9_999), keepcnt: Some(count) };
    let limit = Duration::from_secs(count.into());
    let policy = config.policies.iter().any(|policy| policy.idle_limit == limit);
    assert_eq!(config.presets.look(&settings, "x").is_some(), policy, "one half of a file is in force");
    policy
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
    let policies: Vec<_> = config
        .policies
        .iter()
        .map(|policy| (&*policy.name, policy.idle_limit.as_secs(), policy.severity))
        .collect();
    assert_eq!(policies, [("aws-nlb", 350, Severity::Critical), ("conntrack", 432_000, Severity::Info)]);
}

/// The examples are used as they stand.
#[test]
fn the_shipped_policies_are_valid_and_say_where_they_were_read_and_when() {
    let config = Config::parse(EXAMPLES, "docs/examples/policies.yaml").unwrap();
    let limits: Vec<_> =
        config.policies.iter().map(|policy| (&*policy.name, policy.idle_limit.as_secs())).collect();
    let expected = [
        ("aws-nlb", 350),
        ("aws-nat-gateway", 350),
        ("aws-alb", 60),
        ("azure-load-balancer", 240),
        ("google-cloud", 600),
        ("ipvs", 900),
        ("ec2-nitro-v6", 350),
        ("ec2-connection-tracking", 432_000),
        ("conntrack", 432_000),
        ("nginx-keepalive", 75),
        ("nginx-http2-before-1-19-7", 180),
    ];
    assert_eq!(limits, expected);
    let table = Table::of(POLICIES);
    for policy in config.policies.iter() {
        let name = &policy.name;
        assert!(!policy.sources.is_empty(), "{name}");
        assert!(policy.sources.iter().all(|source| source.starts_with("https://")), "{name}");
        let date = policy.read.as_deref().unwrap_or_default();
        assert_eq!(date.replace(|one: char| one.is_ascii_digit(), "0"), "0000-00-00", "{name}: {date}");
        assert_ne!(policy.conditions.in_words(), "every connection", "{name}: nobody has it on every way");
        assert_eq!(table.limit(name), Some(policy.idle_limit.as_secs()), "{name} in docs/policies.md");
    }
}

/// The table of docs/policies.md: name and limit.
struct Table(Vec<(String, u64)>);

impl Table {
    fn of(document: &str) -> Self {
        let rows = document.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let name = cells.next()?.strip_suffix('`')?;
            let limit = cells.next()?.strip_suffix(" s")?.replace(',', "");
            Some((name.to_owned(), limit.parse().ok()?))
        });
        Self(rows.collect())
    }

    fn limit(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, limit)| *limit)
    }
}

/// An example that says all that can be said must not lag behind.
#[test]
fn the_documented_example_has_every_field() {
    for wrong in [
        "x: 1\n",
        "presets:\n- {x: 1}\n",
        "presets:\n- {name: a, match: [{x: 1}]}\n",
        "policies:\n- {x: 1}\n",
    ] {
        let error = Config::parse(wrong, "f").unwrap_err().to_string();
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
    let expected = format!(
        "{}: valid; presets: 2 of its own, {all} in all; policies: 2
  aws-nlb    5 min 50 s, critical: remote 10.20.0.0/16, 2001:db8:20::/48; remote_ports 443, 8000-8999; local \
         10.0.0.0/8; local_ports 1024-65535; namespace shop, shop-*; pod cart-*; container web; service billing; comm \
         billing, java*
  conntrack  5 d, info: every connection\n",
        file.0.display()
    );
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), expected.as_str(), ""));

    let (code, stdout, _) = check(&file.0, &["--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let expected = serde_json::json!({
        "file": file.0, "valid": true, "own_presets": 2, "presets": all, "error": null, "place": null,
        "policies": [
            {
                "name": "aws-nlb", "idle_limit_seconds": 350.0, "severity": "critical",
                "conditions": {
                    "remote": ["10.20.0.0/16", "2001:db8:20::/48"], "remote_ports": ["443", "8000-8999"],
                    "local": ["10.0.0.0/8"], "local_ports": ["1024-65535"], "namespace": ["shop", "shop-*"],
                    "pod": ["cart-*"], "container": ["web"], "service": ["billing"], "comm": ["billing", "java*"],
                },
            },
            {"name": "conntrack", "idle_limit_seconds": 432_000.0, "severity": "info", "conditions": {}},
        ],
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
        "file": file.0, "valid": false, "own_presets": null, "presets": null, "policies": null,
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
    // Where a policy alone is wrong, nothing of the file is used.
    file.write(&of_count(5).replace("5s", "5"));
    hang_up();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(count_is_known(&live.load(), 4), "the old one stays");

    file.write(&of_count(5));
    hang_up();
    until_known(5).await;
    following.abort();
}
