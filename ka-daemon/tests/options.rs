//! Wrong options, typed at the real program: each error names the option, the value and what is
//! accepted, and the exit code is 2.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn daemon(args: &[&str]) -> Output {
    daemon_with(args, &[])
}

fn daemon_with(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ka-daemon"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KA_")) {
        command.env_remove(name);
    }
    command.args(args).env_remove("NODE_NAME").envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn wrong_values_are_named() {
    let page = rustix::param::page_size();
    let ring =
        format!("expected a power of two from {page} to 1073741824 bytes, such as 65536, 512KiB or 16MiB");
    let address =
        "expected IP:PORT, such as 127.0.0.1:10435, or 0.0.0.0:10435 or [::]:10435 for all addresses";
    let share =
        "expected a percentage from 0.33 to 100, such as 1 or 2.5; --inventory-interval makes readings rarer";
    let floor = "expected a duration from 100ms to 1day, such as 500ms, 10s or 1m";
    let host = "expected the name of a host without a port, such as ka.example.org";
    let sockets = "expected a whole number from 1 to 16777216";
    for (option, name, value, accepted) in [
        ("--web.listen-address", "IP:PORT", "localhost", address),
        ("--web.listen-address", "IP:PORT", "127.0.0.1:70000", address),
        ("--web.allowed-host", "NAME", "ka.example:80", host),
        ("--web.allowed-host", "NAME", "http://ka.example", host),
        ("--web.allowed-host", "NAME", "*", host),
        ("--web.allowed-host", "NAME", "", host),
        ("--max-sockets", "N", "0", sockets),
        ("--max-sockets", "N", "many", sockets),
        ("--max-sockets", "N", "16777217", sockets),
        ("--idle-floor", "DURATION", "10", floor),
        ("--idle-floor", "DURATION", "0s", floor),
        ("--idle-floor", "DURATION", "2days", floor),
        ("--inventory-max-cpu", "PERCENT", "0", share),
        ("--inventory-max-cpu", "PERCENT", "101", share),
        ("--inventory-max-cpu", "PERCENT", "NaN", share),
        ("--ring-buffer-size", "BYTES", "0", &ring),
        ("--ring-buffer-size", "BYTES", "100000", &ring),
        ("--ring-buffer-size", "BYTES", "2GiB", &ring),
        ("--ring-buffer-size", "BYTES", "16 MB", &ring),
    ] {
        let output = daemon(&[option, value]);
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = format!("error: invalid value '{value}' for '{option} <{name}>': {accepted}\n");
        assert!(said.starts_with(&expected), "{option} {value}: {said}");
        assert_eq!(output.status.code(), Some(2), "{option} {value}");
    }
}

#[test]
fn wrong_choices_list_the_right_ones() {
    for (option, choices) in [
        ("--hooks", "[possible values: auto, fentry, kprobe, tracepoint]"),
        ("--rtt", "[possible values: simple, exact]"),
        ("--log.level", "[possible values: error, warn, info, debug, trace]"),
        ("--log.format", "[possible values: text, json]"),
    ] {
        let output = daemon(&["run", option, "wrong"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: invalid value 'wrong' for ") && said.contains(option), "{said}");
        assert!(said.contains(choices), "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn wrong_variables_are_named() {
    for (variable, value, expected) in [
        (
            "KA_MAX_SOCKETS",
            "x",
            "invalid value 'x' for 'environment variable KA_MAX_SOCKETS (--max-sockets <N>)'",
        ),
        ("KA_HOOKS", "", "a value is required for 'environment variable KA_HOOKS (--hooks <PLAN>)'"),
        ("KA_HOOKS", "best", "invalid value 'best' for 'environment variable KA_HOOKS (--hooks <PLAN>)'"),
        (
            "KA_BPF_STATS",
            "maybe",
            "invalid value 'maybe' for 'environment variable KA_BPF_STATS (--bpf-stats)'",
        ),
        ("KA_LOG_LEVEL", "loud", "environment variable KA_LOG_LEVEL (--log.level <LEVEL>)"),
    ] {
        for command in [&[][..], &["run"]] {
            let output = daemon_with(command, &[(variable, value)]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains(expected), "{variable}={value}: {said}");
            assert_eq!(output.status.code(), Some(2), "{variable}={value}");
        }
    }
    let output = daemon_with(&["--max-sockets", "0"], &[("KA_MAX_SOCKETS", "x")]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("invalid value '0' for '--max-sockets <N>'"), "the command line wins: {said}");
}

#[test]
fn variables_of_switches_take_the_usual_words() {
    // A wrong value of another option ends the program once the variable was taken.
    for word in ["1", "true", "yes", "on", "0", "false", "no", "OFF"] {
        for variable in ["KA_BPF_STATS", "KA_WEB_EXPOSE_SOCKETS"] {
            let output = daemon_with(&["--web.unix-socket", "/nowhere/at/all"], &[(variable, word)]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!said.contains(variable), "{variable}={word}: {said}");
            assert_eq!(output.status.code(), Some(1), "{variable}={word}: {said}");
        }
    }
    #[cfg(feature = "kubernetes")]
    for (word, code) in [("1", 2), ("Yes", 2), ("on", 2), ("no", 1)] {
        let output = daemon_with(&["--web.unix-socket", "/nowhere/at/all"], &[("KA_KUBERNETES", word)]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "KA_KUBERNETES={word} needs a node: {said}");
    }
}

#[test]
fn what_cannot_be_had_is_an_error_before_anything_is_attached() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = daemon(&["--web.listen-address", &address]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!("cannot listen on {address}, the value of --web.listen-address")),
        "{said}"
    );
    assert_eq!(said.matches("Address already in use").count(), 1, "each cause is told once: {said}");
    assert_eq!(output.status.code(), Some(1));

    let output = daemon(&["--web.listen-address", "127.0.0.1:0", "--web.unix-socket", "/nowhere/at/all"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/nowhere/at/all, the value of --web.unix-socket"), "{said}");
    assert_eq!(said.matches("No such file or directory").count(), 1, "each cause is told once: {said}");
    assert_eq!(output.status.code(), Some(1));

    let output = daemon(&["--record-log", "/nowhere/at/all"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/nowhere/at/all") && said.contains("--record-log"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_standard_error_that_nobody_reads_changes_no_exit_code() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ka-daemon"));
    // It logs that it starts, then tells the error.
    let status =
        command.args(["run", "--log.level=trace", "--record-log", "/nowhere/at/all"]).stderr(writer).status();
    assert_eq!(status.unwrap().code(), Some(1), "a panic ends it with 101");
}

#[test]
fn version_and_help_tell_what_they_should() {
    let said = String::from_utf8(daemon(&["--version"]).stdout).unwrap();
    assert!(said.starts_with("ka-daemon ") && said.contains("\nrevision: ") && said.contains("\nrustc: "));
    let said = String::from_utf8(daemon(&["--help"]).stdout).unwrap();
    assert!(said.contains("Exit codes:") && said.contains("KA_MAX_SOCKETS"), "{said}");
}
