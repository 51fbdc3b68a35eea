//! The lookup against a plain one that tries every pattern, the built-in presets, and their table.

use proptest::prelude::*;

use super::*;

const ANY: Expected = Expected::Any;
const SET: Expected = Expected::Set;
const SYSCTL: Expected = Expected::Sysctl;

fn pattern([keepidle, keepintvl, keepcnt]: [Expected; 3]) -> Pattern {
    Pattern { keepidle, keepintvl, keepcnt }
}

fn preset(name: &str, patterns: &[[Expected; 3]], processes: &[&str]) -> Preset {
    Preset {
        name: name.into(),
        title: name.to_owned(),
        patterns: patterns.iter().copied().map(pattern).collect(),
        processes: processes.iter().map(|&process| process.to_owned()).collect(),
        sources: Vec::new(),
        read: None,
        note: None,
    }
}

fn settings([keepidle, keepintvl, keepcnt]: [u32; 3]) -> Settings {
    let set = |value| (value != 0).then_some(value);
    Settings { keepidle: set(keepidle), keepintvl: set(keepintvl), keepcnt: set(keepcnt) }
}

/// Whether a glob matches, one character after the other.
fn globs(glob: &str, text: &str) -> bool {
    let Some(first) = glob.chars().next() else { return text.is_empty() };
    let rest = &glob[first.len_utf8()..];
    let after_one = |rest| text.chars().next().is_some_and(|one| globs(rest, &text[one.len_utf8()..]));
    match first {
        '*' => globs(rest, text) || after_one(glob),
        '?' => after_one(rest),
        '[' => {
            let (set, rest) = rest.split_once(']').unwrap();
            text.starts_with(|one| set.contains(one)) && after_one(rest)
        }
        letter => text.starts_with(letter) && after_one(rest),
    }
}

/// What the rules say, word for word: of all that match, the one that says most.
fn plainly<'a>(list: &'a [Preset], settings: &Settings, comm: &str) -> Option<&'a str> {
    let raw = [settings.keepidle, settings.keepintvl, settings.keepcnt];
    let mut best: Option<((u8, usize, usize), &str)> = None;
    for preset in list {
        let named = if preset.processes.is_empty() {
            Some(0)
        } else if preset.processes.iter().any(|process| process == comm) {
            Some(2)
        } else {
            preset.processes.iter().any(|process| globs(process, comm)).then_some(1)
        };
        let Some(named) = named else { continue };
        for pattern in &preset.patterns {
            let parts = [pattern.keepidle, pattern.keepintvl, pattern.keepcnt];
            let fits = parts.iter().zip(raw).all(|(part, raw)| match part {
                Expected::Any => true,
                Expected::Set => raw.is_some(),
                Expected::Sysctl => raw.is_none(),
                Expected::Value(value) => raw == Some(*value),
            });
            if !fits {
                continue;
            }
            let given = parts.iter().filter(|part| **part != Expected::Any).count();
            let vague = parts.iter().filter(|part| **part == Expected::Set).count();
            let rank = (named, given, given - vague);
            if best.is_none_or(|(known, _)| rank > known) {
                best = Some((rank, &preset.name));
            }
        }
    }
    best.map(|(_, name)| name)
}

fn agree(list: &[Preset], values: &[u32], comms: &[&str]) {
    let presets = Presets::new(list.to_vec());
    for &idle in values {
        for &interval in values {
            for &count in values {
                for comm in comms {
                    let settings = settings([idle, interval, count]);
                    let found = presets.look(&settings, comm).map(|preset| &*preset.name);
                    let expected = plainly(list, &settings, comm);
                    assert_eq!(found, expected, "{settings:?} {comm} in {list:?}");
                }
            }
        }
    }
}

/// Every pair of one-pattern presets over a small world, in both orders.
#[test]
fn looks_as_the_rules_say_for_every_pair() {
    let parts = [ANY, SET, SYSCTL, Expected::Value(1)];
    let processes: [&[&str]; 3] = [&[], &["a"], &["a*"]];
    let mut all = Vec::new();
    for idle in parts {
        for interval in parts {
            for count in parts {
                all.extend(processes.map(|processes| ([[idle, interval, count]], processes)));
            }
        }
    }
    for (first, first_processes) in &all {
        for (second, second_processes) in &all {
            let list =
                vec![preset("first", first, first_processes), preset("second", second, second_processes)];
            agree(&list, &[0, 1, 2], &["a", "b"]);
        }
    }
}

fn any_expected() -> impl Strategy<Value = Expected> {
    prop_oneof![Just(ANY), Just(SET), Just(SYSCTL), (1..4_u32).prop_map(Expected::Value)]
}

fn any_preset() -> impl Strategy<Value = Preset> {
    let pattern = [any_expected(), any_expected(), any_expected()];
    let process = prop::sample::select(vec!["a", "ab", "b", "a*", "?", "[ab]*", "*"]);
    (prop::collection::vec(pattern, 1..4), prop::collection::vec(process, 0..3))
        .prop_map(|(patterns, processes)| preset("", &patterns, &processes))
}

proptest! {
    #[test]
    fn looks_as_the_rules_say_for_many(list in prop::collection::vec(any_preset(), 0..12)) {
        let named = list.into_iter().enumerate().map(|(place, preset)| Preset { name: place.to_string().into(), ..preset });
        agree(&named.collect::<Vec<_>>(), &[0, 1, 2, 3, 4], &["", "a", "ab", "b", "abc"]);
    }
}

#[test]
fn a_setting_of_zero_is_one_that_was_not_set() {
    let presets = Presets::new(vec![preset("x", &[[SYSCTL, SET, ANY]], &[])]);
    let zero = Settings { keepidle: Some(0), keepintvl: Some(1), keepcnt: Some(0) };
    assert!(presets.look(&zero, "").is_some());
    assert!(presets.look(&Settings { keepintvl: Some(0), ..zero }, "").is_none());
}

#[test]
fn the_most_specific_wins_and_the_first_of_equals() {
    let one = |name, patterns: [Expected; 3], processes: &[&str]| preset(name, &[patterns], processes);
    let value = Expected::Value(1);
    let presets = Presets::new(vec![
        one("vague", [value, ANY, ANY], &[]),
        one("set", [value, value, SET], &[]),
        one("exact", [value, value, value], &[]),
        one("exact too", [value, value, value], &[]),
        one("by glob", [value, ANY, ANY], &["pro*"]),
        one("by name", [value, ANY, ANY], &["program"]),
    ]);
    let look = |raw, comm| presets.look(&settings(raw), comm).map(|preset| &*preset.name);
    assert_eq!(look([1, 2, 2], "x"), Some("vague"));
    assert_eq!(look([1, 1, 2], "x"), Some("set"));
    assert_eq!(look([1, 1, 1], "x"), Some("exact"));
    assert_eq!(look([1, 1, 1], "pros"), Some("by glob"));
    assert_eq!(look([1, 1, 1], "program"), Some("by name"));
    assert_eq!(look([2, 1, 1], "program"), None);
}

/// Settings that were read from the sockets of running programs, and what they must be taken for.
#[test]
fn known_programs_are_recognized_and_others_are_not() {
    let presets = Presets::builtin();
    for (raw, comm, expected) in [
        ([15, 15, 0], "server", Some("go")),
        ([15, 15, 9], "server", Some("go")),
        ([15, 15, 9], "nginx", Some("go")),
        ([1, 15, 9], "server", Some("go")),
        ([30, 15, 9], "kubelet", Some("go")),
        ([30, 30, 0], "kubelet", Some("go")),
        ([1, 1, 0], "server", None),
        ([1, 1, 3], "nginx", None),
        ([0, 0, 0], "nginx", Some("nginx")),
        ([60, 60, 9], "curl", Some("curl")),
        ([60, 60, 0], "curl", Some("curl")),
        ([1, 1, 9], "curl", None),
        ([1, 1, 10], "node", Some("nodejs")),
        ([7200, 1, 10], "MainThread", Some("nodejs")),
        ([0, 1, 10], "node", None),
        ([0, 0, 0], "java", Some("java")),
        ([0, 0, 0], "python3", None),
        ([0, 0, 0], "", None),
        ([0, 0, 0], "postgres", Some("postgresql")),
        ([0, 0, 0], "pg_dump", Some("libpq")),
        ([0, 0, 0], "sshd", Some("openssh")),
        ([0, 0, 0], "sshd-session", Some("openssh")),
        ([300, 100, 3], "redis-server", Some("redis")),
        ([300, 100, 3], "valkey-server", Some("redis")),
        ([15, 5, 3], "redis-cli", Some("hiredis")),
        ([30, 5, 3], "api", Some("go-redis")),
        ([15, 15, 3], "tokio-runtime-w", Some("reqwest")),
        ([7200, 75, 9], "x", None),
    ] {
        let found = presets.look(&settings(raw), comm).map(|preset| &*preset.name);
        assert_eq!(found, expected, "{raw:?} {comm}");
    }
}

/// Each built-in pattern leads to its own preset: none hides another.
#[test]
fn no_builtin_pattern_is_out_of_reach() {
    let presets = Presets::builtin();
    for preset in presets.iter() {
        for pattern in &preset.patterns {
            let raw = pattern.parts().map(|part| match part {
                Expected::Any | Expected::Sysctl => 0,
                Expected::Set => 4321,
                Expected::Value(value) => value,
            });
            let comm = preset.processes.first().map_or("", String::as_str).replace('*', "x");
            let found = presets.look(&settings(raw), &comm).map(|preset| &*preset.name);
            assert_eq!(found, Some(&*preset.name), "{pattern:?}");
        }
    }
}

#[test]
fn each_builtin_preset_says_where_it_was_read_and_when() {
    for preset in builtin() {
        let name = &preset.name;
        assert!(!preset.sources.is_empty() && *preset.title != **name, "{name}");
        let date = preset.read.as_deref().unwrap_or_default();
        let shape = date.replace(|one: char| one.is_ascii_digit(), "0");
        assert_eq!(shape, "0000-00-00", "{name}: {date}");
    }
}

#[test]
fn the_table_has_a_row_for_each_pattern() {
    let value = Expected::Value;
    let mut one = preset("x", &[[value(1), SYSCTL, SET], [ANY, value(2), value(3)]], &["a", "b*"]);
    one.title = "X | y".into();
    one.note = Some("A note.".into());
    one.sources = vec!["a source".into()];
    one.read = Some("2026-11-25".into());
    let expected = "\
| preset | idle | interval | count | process | what sets it |
| --- | --- | --- | --- | --- | --- |
| `x` | 1 | sysctl | set | `a`, `b*` | X \\| y |
| `x` | any | 2 | 3 | `a`, `b*` | X \\| y |

## Sources

`x`: A note. Read on 2026-11-25.

- a source
";
    assert_eq!(table(&[one]), expected);
}
