//! The commands that show something, as a user runs them, against a fake daemon that speaks real HTTP.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod drops;
mod fake;
mod idle_timeouts;
mod sockets;
mod top;

use std::process::{Command, Output};

use serde_json::{Value, json};

/// The command, with nothing of this process's surroundings that would change what it shows.
fn ka(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ka-daemon"));
    command.args(args).env("TZ", "UTC").env_remove("KA_DAEMON").env_remove("NO_COLOR");
    command
}

/// Standard output, standard error and the exit code.
fn told(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

/// A socket of a Go program that waits for 12.3 s more.
fn socket(local: &str) -> Value {
    json!({
        "local": local, "remote": "[2001:db8::1]:443", "state": "ESTABLISHED", "netns": 4_026_531_840_u32,
        "inode": 12345, "keepalive": true, "keepidle_seconds": 15, "keepintvl_seconds": 15, "keepcnt": 9,
        "origin": {"keepidle": "socket", "keepintvl": "socket", "keepcnt": "sysctl"}, "preset": "go",
        "user_timeout_ms": 0,
        "timer": {"kind": "keepalive", "expires_seconds": 12.3, "probes_out": 0},
        "next_probe_seconds": 12.3, "drop_in_seconds": 147.3,
        "last_received_seconds": 2.7, "last_sent_seconds": null, "last_acked_seconds": null,
        "last_rtt_seconds": 0.000_045, "recv_queue": 0, "send_queue": 0, "uid": 0, "cgroup_id": 1,
        "owner": {"pid": 1234, "comm": "server"},
        "of_a_newer_daemon": true,
    })
}

/// A drop at midnight and so many seconds.
fn dropped(id: u64, seconds: u32, cause: &str) -> Value {
    json!({
        "id": id, "time_seconds": f64::from(seconds), "cause": cause, "timer": "none",
        "local": "10.0.0.1:43210", "remote": "10.0.0.2:5432", "state": "ESTABLISHED",
        "netns": 4_026_531_840_u32, "inode": 12345, "keepalive": true, "keepidle_seconds": 15,
        "keepintvl_seconds": 15, "keepcnt": 9,
        "origin": {"keepidle": "socket", "keepintvl": "socket", "keepcnt": "sysctl"}, "preset": "go",
        "user_timeout_ms": 0, "idle_seconds": 30.0, "probes_out": 0, "retransmits": 0, "unacked": 0, "unsent": 0,
        "error": 104, "icmp_error": 0, "owner": {"pid": 1234, "comm": "server"},
        "summary": format!("server lost connection {id}."), "advice": "Look at the path.",
    })
}
