//! What is accepted, each error with its place, and that no input panics.

use proptest::prelude::*;

use super::*;
use crate::preset::Settings;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "ka.yaml").map_err(|error| error.to_string())
}

/// The name of the preset that values set on a socket look like.
fn look(config: &Config, [idle, interval, count]: [u32; 3], comm: &str) -> Option<String> {
    let settings = Settings { keepidle: Some(idle), keepintvl: Some(interval), keepcnt: Some(count) };
    config.presets.look(&settings, comm).map(|preset| preset.name.to_string())
}

const FULL: &str = "\
builtin_presets: true
presets:
  - name: our-pool   # a comment
    title: Our pool
    match:
      - {keepidle: 40, keepintvl: 5, keepcnt: 4}
      - keepidle: set
        keepintvl: sysctl
    processes: [api, \"work*\"]
    sources: [\"https://example.org/pool\"]
    read: 2026-11-25
    note: >-
      Folded
      text.
policies:
  - name: lb
    idle_limit: 350s
    remote: [10.0.0.0/8]
    remote_ports: [443, 8000-8999]
    pod: [\"cart-*\"]
";

#[test]
fn a_full_file_is_read() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.own_presets, 1);
    let first = config.presets.iter().next().unwrap();
    assert_eq!((&*first.name, first.title.as_str()), ("our-pool", "Our pool"));
    assert_eq!(first.patterns.len(), 2);
    assert_eq!(first.processes, ["api", "work*"]);
    assert_eq!(first.sources, ["https://example.org/pool"]);
    assert_eq!(first.read.as_deref(), Some("2026-11-25"));
    assert_eq!(first.note.as_deref(), Some("Folded text."));
    assert_eq!(look(&config, [40, 5, 4], "api").as_deref(), Some("our-pool"));
    assert_eq!(look(&config, [40, 5, 4], "worker-1").as_deref(), Some("our-pool"));
    assert_eq!(look(&config, [41, 0, 9], "api").as_deref(), Some("our-pool"));
    assert_eq!(look(&config, [40, 5, 4], "other"), None);
    assert_eq!(look(&config, [15, 15, 9], "other").as_deref(), Some("go"));
}

#[test]
fn an_empty_file_and_empty_lists_mean_what_holds_without_a_file() {
    let all = Config::default().presets.iter().count();
    for text in ["", "# nothing\n", "---\n", "{}", "presets:\n", "presets: []\n", "\u{feff}presets:\n"] {
        let config = parse(text).unwrap();
        assert_eq!((config.own_presets, config.presets.iter().count()), (0, all), "{text:?}");
    }
}

#[test]
fn own_presets_replace_builtin_ones_by_name_and_come_first() {
    let text = "presets:\n- {name: go, match: [{keepidle: 7}]}\n- {name: x, match: [{keepidle: 60, keepintvl: 60, keepcnt: 9}]}\n";
    let config = parse(text).unwrap();
    assert_eq!(look(&config, [15, 15, 9], ""), None, "the built-in `go` is replaced as a whole");
    assert_eq!(look(&config, [7, 1, 1], "").as_deref(), Some("go"));
    assert_eq!(look(&config, [60, 60, 9], "").as_deref(), Some("x"), "of equals, the own one");
    assert_eq!(config.presets.iter().filter(|preset| &*preset.name == "go").count(), 1);
}

#[test]
fn builtin_presets_can_be_switched_off() {
    let config = parse("builtin_presets: false\npresets:\n- {name: x, match: [{keepcnt: 3}]}\n").unwrap();
    assert_eq!(config.presets.iter().count(), 1);
    assert_eq!(parse("builtin_presets: false\n").unwrap().presets.iter().count(), 0);
}

#[test]
fn each_error_names_place_field_and_what_is_accepted() {
    let seconds = "seconds from 1 to 32767, `sysctl` (nothing set on the socket) or `set` (any value)";
    let count = "a count from 1 to 127, `sysctl` (nothing set on the socket) or `set` (any value)";
    let fields = "`name`, `title`, `match`, `processes`, `sources`, `read`, `note`";
    let kinds = "`keepidle`, `keepintvl`, `keepcnt`";
    let of = |head: &str, value: &str| format!("presets:\n- name: a\n  match:\n  - {head}: {value}\n");
    let idle = |value: &str, shown: &str| {
        let expected = format!("4:15: presets[0].match[0].keepidle: {shown} is not {seconds}");
        (of("keepidle", value), expected)
    };
    let mut cases = vec![
        idle("0", "0"),
        idle("32768", "32768"),
        idle("-4", "-4"),
        idle("15s", "\"15s\""),
        idle("\"15\"", "\"15\""),
        idle("1.5", "1.5"),
        idle("true", "true"),
        idle("18446744073709551616", "18446744073709552000"),
        (of("keepcnt", "128"), format!("4:14: presets[0].match[0].keepcnt: 128 is not {count}")),
        (
            of("keepidel", "5"),
            format!(
                "4:5: presets[0].match[0].keepidel: there is no such field (did you mean `keepidle`?); accepted are {kinds}"
            ),
        ),
        (
            of("backoff", "5"),
            format!("4:5: presets[0].match[0].backoff: there is no such field; accepted are {kinds}"),
        ),
    ];
    let fixed = [
        ("preset: []\n", "1:1: preset: there is no such field (did you mean `presets`?); accepted are `builtin_presets`, `presets`, `policies`".to_owned()),
        ("presets:\n- name: a\n  Match: []\n", format!("3:3: presets[0].Match: there is no such field (did you mean `match`?); accepted are {fields}")),
        ("presets: 5\n", "1:10: presets: expected a list".to_owned()),
        ("presets:\n  go:\n    match: []\n", "2:3: presets: expected a list".to_owned()),
        ("presets:\n- go\n", "2:3: presets[0]: expected a mapping, as in `key: value`".to_owned()),
        ("[1]\n", "1:1: expected a mapping, as in `key: value`".to_owned()),
        ("builtin_presets: maybe\n", "1:18: builtin_presets: expected true or false".to_owned()),
        ("builtin_presets: yes\n", "1:18: builtin_presets: expected true or false".to_owned()),
        ("presets:\n- match: [{keepcnt: 3}]\n", "2:3: presets[0]: `name` is missing".to_owned()),
        ("presets:\n- name: a\n", "2:3: presets[0]: `match` is missing".to_owned()),
        ("presets:\n- name: a\n  name: b\n", "3:3: presets[0]: `name` is given twice".to_owned()),
        ("presets:\n- name: [a]\n", "2:9: presets[0].name: expected text".to_owned()),
        ("presets:\n- name:\n  match: [{keepcnt: 3}]\n", "2:7: presets[0].name: expected text".to_owned()),
        ("presets:\n- name: Go\n  match: [{keepcnt: 3}]\n", "2:9: presets[0].name: \"Go\" is no name: expected lower-case letters, digits and `-`".to_owned()),
        ("presets:\n- name: \"\"\n  match: [{keepcnt: 3}]\n", "2:9: presets[0].name: \"\" is no name: expected lower-case letters, digits and `-`".to_owned()),
        ("presets:\n- {name: a, match: [{keepcnt: 3}]}\n- {name: b, match: [{keepcnt: 3}]}\n- {name: a, match: [{keepcnt: 4}]}\n", "4:10: presets[2].name: `a` is the name of a preset at line 2 already; to give it more settings, add them to its `match`".to_owned()),
        ("presets:\n- name: a\n  match: []\n", "2:9: presets[0].match: expected at least one of `keepidle`, `keepintvl` and `keepcnt` in a list, such as `- {keepidle: 60, keepintvl: 10, keepcnt: sysctl}`".to_owned()),
        ("presets:\n- name: a\n  match: [{keepcnt: 3}, {}]\n", "3:25: presets[0].match[1]: expected at least one of `keepidle`, `keepintvl` and `keepcnt`".to_owned()),
        ("presets:\n- name: a\n  match:\n  - keepcnt: sysctl\n", "4:5: presets[0].match[0]: this is what a socket has on which nothing was set: name the `processes` that it is to match".to_owned()),
        ("presets:\n- name: a\n  match: [{keepcnt: 3}]\n  processes: nginx\n", "4:14: presets[0].processes: expected a list".to_owned()),
        ("presets:\n- name: a\n  match: [{keepcnt: 3}]\n  processes: [nginx, \"\"]\n", "4:22: presets[0].processes[1]: a process has a name: expected it as in /proc/PID/comm, or a glob such as `nginx*`".to_owned()),
        ("presets:\n- name: a\n  match: [{keepcnt: 3}]\n  processes: [kube-controller-manager]\n", "4:15: presets[0].processes[0]: \"kube-controller-manager\" never matches: /proc/PID/comm holds the first 15 bytes of a name, here \"kube-controller\"".to_owned()),
        ("presets:\n- name: a\n  match: [{keepcnt: 3}]\n  processes: [\"[a\"]\n", "4:15: presets[0].processes[0]: \"[a\" is no glob: invalid range pattern at character 1".to_owned()),
        ("presets: [\n", "1:10: presets: unclosed bracket '['".to_owned()),
        ("---\n{}\n---\n{}\n", "4:1: expected one document: remove what follows `---`".to_owned()),
        ("presets: *nope\n", "1:10: alias references unknown anchor".to_owned()),
    ];
    cases.extend(fixed.map(|(text, expected)| (text.to_owned(), expected)));
    for (text, expected) in cases {
        assert_eq!(parse(&text).unwrap_err(), format!("ka.yaml:{expected}"), "{text}");
    }
}

#[test]
fn the_kernels_limits_are_accepted() {
    let text = "presets:\n- {name: a-0, match: [{keepidle: 32767, keepintvl: 1, keepcnt: 127}]}\n";
    assert_eq!(look(&parse(text).unwrap(), [32_767, 1, 127], "").as_deref(), Some("a-0"));
}

#[test]
fn anchors_spare_repetition() {
    let text = "presets:\n- {name: a, match: &m [{keepcnt: 3}], processes: [x]}\n- {name: b, match: *m, processes: [y]}\n";
    assert_eq!(look(&parse(text).unwrap(), [1, 1, 3], "y").as_deref(), Some("b"));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = std::env::temp_dir().join(format!("ka-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let told = |path: &Path| Config::load(path).unwrap_err().to_string();
    let missing = folder.join("missing.yaml");
    let expected = format!("cannot read {}, the value of --config: No such file", missing.display());
    assert!(told(&missing).starts_with(&expected), "{}", told(&missing));
    assert!(told(&folder).contains("Is a directory"), "{}", told(&folder));

    let file = folder.join("ka.yaml");
    std::fs::write(&file, b"# one\npresets: \xff\n").unwrap();
    assert_eq!(told(&file), format!("{}:2:10: expected text in UTF-8", file.display()));
    let exact = usize::try_from(SIZE_MAX).unwrap();
    std::fs::write(&file, "#".repeat(exact)).unwrap();
    Config::load(&file).unwrap();
    std::fs::write(&file, "#".repeat(exact + 1)).unwrap();
    assert!(told(&file).contains("larger than 1 MiB"), "{}", told(&file));
    // Endless, and no regular file.
    assert!(told(Path::new("/dev/zero")).contains("larger than 1 MiB"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_wrong_file_leaves_the_old_configuration_in_force() {
    let file = std::env::temp_dir().join(format!("ka-live-{}.yaml", std::process::id()));
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let of = |count: u32| format!("presets:\n- {{name: a, match: [{{keepcnt: {count}}}]}}\n");
    write(&of(3));
    let live = Live::open(Some(&file)).unwrap();
    let held = live.load();
    assert_eq!(look(&live.load(), [1, 1, 3], "").as_deref(), Some("a"));

    write(&of(4));
    live.reload().unwrap();
    assert_eq!(look(&live.load(), [1, 1, 3], ""), None);
    assert_eq!(look(&live.load(), [1, 1, 4], "").as_deref(), Some("a"));
    assert_eq!(look(&held, [1, 1, 3], "").as_deref(), Some("a"), "who holds one keeps it");

    write(&of(0));
    let error = live.reload().unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:2:", file.display())), "{error}");
    std::fs::remove_file(&file).unwrap();
    live.reload().unwrap_err();
    assert_eq!(look(&live.load(), [1, 1, 4], "").as_deref(), Some("a"));

    // Policies and presets are of one file.
    write(&format!("{}policies: [{{name: b, idle_limit: 60s}}]\n", of(5)));
    live.reload().unwrap();
    write(&format!("{}policies: [{{name: b, idle_limit: 0s}}]\n", of(6)));
    live.reload().unwrap_err();
    let config = live.load();
    assert_eq!((config.policies.iter().len(), look(&config, [1, 1, 5], "").as_deref()), (1, Some("a")));
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    let live = Live::open(None).unwrap();
    assert_eq!(live.reload().unwrap().own_presets, 0);
    assert_eq!(look(&live.load(), [15, 15, 9], "").as_deref(), Some("go"));
}

/// An error must lead somewhere: to a line of the text, or the one after it.
fn is_sound(text: &str) {
    match Config::parse(text, "f") {
        Ok(_) => {}
        Err(ConfigError::Invalid(invalid)) => {
            assert!(invalid.line <= text.lines().count() as u64 + 1, "{invalid}");
            assert!(!invalid.message.is_empty() && !invalid.message.contains(" at line "), "{invalid}");
        }
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        is_sound(&text);
    }

    #[test]
    fn no_text_of_yaml_panics(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "presets", "builtin_presets", "name", "match", "keepidle", "processes", "value", "policies",
            "idle_limit", "350s", "remote", "remote_ports", "1-2", "10.0.0.0/8", ":", ": ", "- ", "\n",
            "\n  ", "\n    ", "[", "]", "{", "}", ",", "'", "\"", "&a ", "*a", "<<", "!!str ", "!x ", "#", "|", ">-",
            "---", "...", "\t", "1", "-1", "1e400", ".nan", "0x7f", "~", "true", "sysctl", "set", "\u{feff}", "%YAML 1.2", "é",
        ]), 0..40),
    ) {
        is_sound(&pieces.concat());
    }

    /// A good file with something put in, left out or replaced.
    #[test]
    fn no_damaged_file_panics(at in 0..FULL.len(), length in 0..12_usize, put in "[ -~\n\t]{0,6}") {
        let end = (at + length).min(FULL.len());
        is_sound(&format!("{}{put}{}", &FULL[..at], &FULL[end..]));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(text) = yaml::text(&bytes, "f") {
            is_sound(text);
        }
    }
}
