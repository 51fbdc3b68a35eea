//! `ka-daemon top`, in a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use serde_json::json;

use super::fake::{Fake, answer, begin, event};
use super::{dropped, ka, socket, told};

/// A daemon with two sockets and a drop.
fn daemon() -> Fake {
    Fake::tcp(|path, out| match path.split('?').next() {
        Some("/api/v1/drops") => {
            answer(out, "200 OK", &json!({"drops": [dropped(1, 1, "keepalive_timeout")]}).to_string())
        }
        Some("/api/v1/sockets") => {
            let sockets = [socket("10.0.0.9:1"), socket("10.0.0.1:43210")];
            answer(out, "200 OK", &json!({"sockets": sockets, "total": 2, "next_cursor": null}).to_string())
        }
        Some("/api/v1/events") => {
            begin(out)?;
            for second in 1_u64.. {
                let totals = json!({
                    "sockets": 3, "keepalive_on": 2, "tracked": 2, "sent": second * 10, "answered": second * 10,
                    "unanswered": 0, "zero_window": 0, "resets": 0, "dropped": 1, "lost": 0,
                });
                event(out, "totals", &totals)?;
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        }
        other => panic!("{other:?}"),
    })
}

/// A terminal with `top` in it.
struct Session {
    child: Child,
    /// The other side of it, where keys are typed.
    keyboard: File,
    /// Kept, so that its settings can be read after `top` left.
    terminal: OwnedFd,
    before: Termios,
    shown: mpsc::Receiver<Vec<u8>>,
    screen: vt100::Parser,
}

impl Session {
    fn start(address: &str) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        for side in [&pty.master, &pty.slave] {
            // The programs of other tests must not keep it open.
            fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let before = tcgetattr(&pty.slave).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = ka(&["top", "--daemon", address]);
        let child =
            command.env("TERM", "xterm").stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        let mut screen = File::from(pty.master);
        let keyboard = screen.try_clone().unwrap();
        let (sender, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length) = screen.read(&mut part) {
                if length == 0 || sender.send(part[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, terminal: pty.slave, before, shown, screen: vt100::Parser::default() }
    }

    /// Waits until a text is on the screen.
    fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |screen| screen.contents().contains(text));
    }

    fn wait_until(&mut self, what: &str, holds: impl Fn(&vt100::Screen) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !holds(self.screen.screen()) {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(part) = self.shown.recv_timeout(left) else {
                panic!("{what:?} does not come; the screen is\n{}", self.screen.screen().contents());
            };
            self.screen.process(&part);
        }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// The terminal goes away without a signal; returns the exit code.
    fn abandoned(mut self) -> Option<i32> {
        let nobody = || File::options().read(true).write(true).open("/dev/null").unwrap();
        // Its other side is closed when the last handle is: the reading thread's ends with the channel.
        self.keyboard = nobody();
        self.terminal = nobody().into();
        self.shown = mpsc::channel().1;
        self.child.wait().unwrap().code()
    }

    /// The terminal takes nothing any more; a signal ends it all the same. Returns the exit code.
    fn stuck(mut self) -> Option<i32> {
        self.shown = mpsc::channel().1;
        for _ in 0..30 {
            // Each of these draws a box, or what was below it, that nobody reads.
            self.types(&"?".repeat(100));
            std::thread::sleep(Duration::from_millis(50));
        }
        self.signal(Signal::SIGTERM);
        let code = self.child.wait().unwrap().code();
        assert_eq!(tcgetattr(&self.terminal).unwrap(), self.before);
        code
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// It ended as asked, and the terminal is as it was.
    fn ended(mut self) {
        self.wait_until("the end", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        while let Ok(part) = self.shown.recv_timeout(Duration::from_millis(100)) {
            self.screen.process(&part);
        }
        let screen = self.screen.screen();
        assert_eq!(
            (screen.alternate_screen(), screen.hide_cursor(), screen.contents()),
            (false, false, String::new())
        );
        assert_eq!(tcgetattr(&self.terminal).unwrap(), self.before);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // One that ended is known to have: nothing else is hit.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn what_the_daemon_tells_is_shown_and_q_quits() {
    let fake = daemon();
    let mut session = Session::start(&fake.address);
    for text in ["Nearest to being dropped: 1-2 of 2", "server[1234]", "keepalive_timeout", "probes "] {
        session.wait_for(text);
    }
    session.types("s");
    session.types("/web\r");
    session.wait_for("text=web");
    let asked = "/api/v1/sockets?text=web&sort=local&limit=500";
    let until = Instant::now() + Duration::from_secs(20);
    while !fake.asked().iter().any(|path| path == asked) {
        assert!(Instant::now() < until, "{asked} is not in {:?}", fake.asked());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(
        fake.asked().iter().find(|path| path.contains("sockets?")).unwrap(),
        "/api/v1/sockets?sort=nearest&limit=500"
    );
    session.types("q");
    session.ended();
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    let fake = daemon();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut session = Session::start(&fake.address);
        session.wait_for("server[1234]");
        session.signal(signal);
        session.ended();
    }
}

#[test]
fn a_terminal_that_takes_nothing_does_not_hold_it() {
    let fake = daemon();
    let mut session = Session::start(&fake.address);
    session.wait_for("server[1234]");
    assert_eq!(session.stuck(), Some(1));
}

#[test]
fn a_terminal_that_is_gone_ends_it_with_an_error() {
    let fake = daemon();
    let mut session = Session::start(&fake.address);
    session.wait_for("server[1234]");
    assert_eq!(session.abandoned(), Some(1));
}

#[test]
fn without_a_daemon_it_says_so_and_tries_again() {
    let mut session = Session::start("127.0.0.1:1");
    for text in ["no daemon", "Trying again each second."] {
        session.wait_for(text);
    }
    session.types("\u{3}");
    session.ended();
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let expected = "ka-daemon: `ka-daemon top` needs a terminal; `ka-daemon sockets` and `ka-daemon drops --follow` write \
                    to anything\n";
    assert_eq!(told(&ka(&["top"]).output().unwrap()), (String::new(), expected.to_owned(), Some(1)));
}
