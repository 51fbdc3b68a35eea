//! `ka-daemon sockets`.

use std::process::Stdio;

use serde_json::Value;

use super::fake::{Fake, answer, begin, part};
use super::{ka, socket, told};

fn two() -> String {
    format!("{}\n{}\n", socket("10.0.0.9:1"), socket("10.0.0.1:43210"))
}

#[test]
fn a_daemon_is_asked_for_what_the_options_say() {
    let fake = Fake::tcp(|_, out| answer(out, "200 OK", &two()));
    let options =
        ["sockets", "--daemon", &fake.address, "--process", "a b", "--remote", "2001:db8::/32", "--at-risk"];
    let expected = "\
LOCAL           REMOTE             STATE        KEEPALIVE     TIMER                RTT  OWNER
10.0.0.1:43210  [2001:db8::1]:443  ESTABLISHED  15s*/15s* ×9  probe in 12.3 s  45.0 µs  server[1234]
10.0.0.9:1      [2001:db8::1]:443  ESTABLISHED  15s*/15s* ×9  probe in 12.3 s  45.0 µs  server[1234]

server[1234], 2 connections: A load balancer, NAT or firewall with that limit cuts what is idle for 5 min 50 s: \
this has been idle for 2.7 s, and the first probe comes after 15 s (set by the application). To keep it, let the \
program set KeepAliveConfig{Enable: true, Idle: 175 * time.Second} on its net.Dialer and net.ListenConfig.
";
    assert_eq!(told(&ka(&options).output().unwrap()), (expected.to_owned(), String::new(), Some(0)));
    let path = "/api/v1/sockets.ndjson?process=a+b&remote=2001%3Adb8%3A%3A%2F32&at_risk=policies";
    assert_eq!(fake.asked(), [path]);

    let output =
        ka(&["sockets", "--verbose", "--color", "always"]).env("KA_DAEMON", &fake.address).output().unwrap();
    let (out, err, code) = told(&output);
    assert!(out.starts_with("\u{1b}[1mLOCAL\u{1b}[0m  "), "{out}");
    let expected = format!("2 sockets, 2 with keepalive on, 0 off; from the daemon at {}\n", fake.address);
    assert_eq!((err, code), (expected, Some(0)));
}

#[test]
fn json_keeps_what_only_a_newer_daemon_knows() {
    let folder = std::env::temp_dir().join(format!("ka-cli-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("ka.sock");
    let fake = Fake::unix(&path, |_, out| {
        begin(out)?;
        for piece in two().as_bytes().chunks(100) {
            part(out, std::str::from_utf8(piece).unwrap())?;
        }
        part(out, "")
    });
    for (sort, locals) in [
        (&[][..], ["10.0.0.9:1", "10.0.0.1:43210"]),
        (&["--sort", "local"], ["10.0.0.1:43210", "10.0.0.9:1"]),
    ] {
        let output =
            ka(&[&["sockets", "--json", "--daemon", &fake.address], sort].concat()).output().unwrap();
        let (out, err, code) = told(&output);
        let sockets: Vec<Value> = serde_json::from_str(&out).unwrap();
        assert_eq!(sockets, locals.map(socket));
        assert_eq!((err.as_str(), code), ("", Some(0)));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_daemon_that_refuses_is_quoted() {
    for (status, body, said) in [
        (
            "403 Forbidden",
            r#"{"error":"sockets are served on loopback only"}"#,
            "sockets are served on loopback only",
        ),
        ("503 Service Unavailable", "not ready: starting\n", "not ready: starting"),
        ("400 Bad Request", "", "it does not say why"),
    ] {
        let fake = Fake::tcp(move |_, out| answer(out, status, body));
        let output = ka(&["sockets", "--daemon", &fake.address]).output().unwrap();
        let number = &status[..3];
        let expected =
            format!("ka-daemon: {} refuses /api/v1/sockets.ndjson: {said} (status {number})\n", fake.address);
        assert_eq!(told(&output), (String::new(), expected, Some(1)));
    }
}

#[test]
fn an_answer_that_breaks_off_or_is_something_else_is_a_failure() {
    let fake = Fake::tcp(|_, out| {
        begin(out)?;
        part(out, &two())
    });
    let (out, err, code) = told(&ka(&["sockets", "--daemon", &fake.address]).output().unwrap());
    assert!(err.contains("the answer of http://127.0.0.1:") && err.contains(" broke off: "), "{err}");
    assert_eq!((out.as_str(), code), ("", Some(1)));

    let fake = Fake::tcp(|_, out| answer(out, "200 OK", "<html>\n"));
    let (out, err, code) = told(&ka(&["sockets", "--daemon", &fake.address]).output().unwrap());
    assert!(
        err.contains("is not understood") && err.contains("is that a ka-daemon of this version?"),
        "{err}"
    );
    assert_eq!((out.as_str(), code), ("", Some(1)));
}

#[test]
fn a_daemon_that_gives_up_in_the_middle_is_quoted() {
    let fake =
        Fake::tcp(|_, out| answer(out, "200 OK", &format!("{}{{\"error\":\"the kernel broke\"}}\n", two())));
    let (out, err, code) = told(&ka(&["sockets", "--daemon", &fake.address]).output().unwrap());
    let expected = format!(
        "ka-daemon: {} could not answer all of /api/v1/sockets.ndjson: the kernel broke\n",
        fake.address
    );
    assert_eq!((out.as_str(), err, code), ("", expected, Some(1)));
}

#[test]
fn a_slow_reader_does_not_keep_the_daemon_waiting() {
    let (sent, all_sent) = std::sync::mpsc::channel();
    let fake = Fake::tcp(move |_, out| {
        answer(out, "200 OK", &two().repeat(5_000))?;
        sent.send(()).unwrap();
        Ok(())
    });
    let mut command = ka(&["sockets", "--json", "--daemon", &fake.address]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Nothing of the output is read until the daemon has sent its megabytes.
    all_sent.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    let (out, err, code) = told(&child.wait_with_output().unwrap());
    assert_eq!(serde_json::from_str::<Vec<Value>>(&out).unwrap().len(), 10_000);
    assert_eq!((err.as_str(), code), ("", Some(0)));
}

#[test]
fn a_daemon_that_was_named_must_be_there() {
    let (out, err, code) = told(&ka(&["sockets", "--daemon", "unix:/nowhere/ka.sock"]).output().unwrap());
    let expected = "ka-daemon: no daemon answers at unix:/nowhere/ka.sock: No such file or directory (os error 2); \
                    start it with `ka-daemon run`, or tell by --daemon where it is\n";
    assert_eq!((out.as_str(), err.as_str(), code), ("", expected, Some(1)));
}

#[test]
fn a_reader_that_leaves_is_no_failure_and_a_full_disk_is() {
    let fake = Fake::tcp(|_, out| answer(out, "200 OK", &two().repeat(2_000)));
    for options in [&["sockets", "--json"][..], &["sockets"]] {
        let mut command = ka(&[options, &["--daemon", &fake.address]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let (_, err, code) = told(&child.wait_with_output().unwrap());
        assert_eq!((err.as_str(), code), ("", Some(0)), "{options:?}");
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = ka(&["sockets", "--daemon", &fake.address]).stdout(full).output().unwrap();
    let expected = "ka-daemon: cannot write the output: No space left on device (os error 28)\n";
    assert_eq!(told(&output), (String::new(), expected.to_owned(), Some(1)));
}

#[test]
fn wrong_values_are_named_before_anybody_is_asked() {
    for (option, value, accepted) in [
        ("--port", "0", "expected a port from 1 to 65535"),
        (
            "--remote",
            "host",
            "expected an IP address or a CIDR, such as 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32",
        ),
        ("--keepalive", "yes", "expected on or off"),
        ("--at-risk", "350", "expected a duration from 1s to 365days, such as 350s, 4m or 1h"),
        (
            "--daemon",
            "https://x",
            "expected http://HOST:PORT, such as http://127.0.0.1:10435, or unix:PATH, such as unix:/run/ka/ka.sock",
        ),
    ] {
        let (_, err, code) = told(&ka(&["sockets", option, value]).output().unwrap());
        assert!(err.starts_with(&format!("error: invalid value '{value}' for '{option} ")), "{err}");
        assert!(err.contains(accepted), "{err}");
        assert_eq!(code, Some(2));
    }
    for wrong in [&["--sort", "size"][..], &["--wide", "--json"], &["--standalone", "--daemon", "x:1"]] {
        assert_eq!(ka(&[&["sockets"], wrong].concat()).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
}
