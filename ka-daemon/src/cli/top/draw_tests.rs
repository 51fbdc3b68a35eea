//! The screen, row by row; and that there is one whatever the terminal's size.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::cli::top::state::Told;
use crate::cli::top::state::tests::state;
use crate::owner::Owner;
use crate::view::Event;
use crate::view::event::Totals;
use crate::view::socket::{Origin, Origins, TimerKind, TimerView};
use crate::view::testing::{dropped, socket};

fn screen(state: &State, now: f64, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, now, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(width.max(1).into());
    rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
        .collect()
}

fn press(state: &mut State, code: KeyCode) {
    state.event(&TerminalEvent::Key(KeyEvent::new(code, KeyModifiers::NONE)), 3.0);
}

/// Two sockets, one of them in trouble; a drop; totals of three seconds.
fn busy() -> State {
    let mut state = state();
    let owner = Owner { pid: Some(1234), comm: "server".to_owned(), ..Owner::default() };
    let set = Some(Origin::Socket);
    let healthy = SocketView {
        keepalive: Some(true),
        keepidle_seconds: Some(15),
        keepintvl_seconds: Some(15),
        keepcnt: Some(9),
        origin: Origins { keepidle: set, keepintvl: set, keepcnt: set },
        timer: Some(TimerView { kind: TimerKind::Keepalive, expires_seconds: 12.3, probes_out: 0 }),
        next_probe_seconds: Some(12.3),
        drop_in_seconds: Some(147.3),
        last_rtt_seconds: Some(0.000_045),
        owner,
        ..socket("10.0.0.1:43210", "10.0.0.2:443")
    };
    let silent = SocketView {
        timer: Some(TimerView { kind: TimerKind::Keepalive, expires_seconds: 5.0, probes_out: 2 }),
        drop_in_seconds: Some(110.0),
        ..healthy.clone()
    };
    let drop = DropView {
        time_seconds: 3_723.0,
        cause: "keepalive_timeout".to_owned(),
        summary: "server (pid 1234) lost its connection to 10.0.0.2:5432 after 2 min 30 s of silence."
            .to_owned(),
        advice: "Look at the path.".to_owned(),
        ..dropped()
    };
    state.told(Told::Up(vec![drop]), 0.5);
    let query = Box::new(state.query());
    state.told(Told::Sockets { query, sockets: vec![silent, healthy], total: 1_234 }, 2.0);
    let totals = Totals { sockets: 1_500, keepalive_on: 1_234, dropped: 1, resets: 5, ..Totals::default() };
    for second in 1..=3_u32 {
        let totals = Totals { sent: (second * second * 10).into(), unanswered: second.into(), ..totals };
        state.told(Told::Event(Event::Totals(totals)), second.into());
    }
    state
}

#[test]
fn a_usual_terminal() {
    let expected = "\
ka top  http://127.0.0.1:10435  order: nearest
probes 50.0/s  unanswered 1.0/s  dropped 1  resets 5  keepalive 1234 of 1500
probes/s                                                                      ▁█
max 50                                                                        ██
 Nearest to being dropped: 1-2 of 1234 ─────────────────────────────────────────
REMOTE        TIMER                              DROP IN  OWNER
10.0.0.2:443  2 of 9 unanswered, next in 4 s  1 min 49 s  server[1234]
10.0.0.2:443  probe in 11.3 s                 2 min 26 s  server[1234]







 Dropped connections: 1 of 1, newest first ─────────────────────────────────────
01:02:03 keepalive_timeout server (pid 1234) lost its connection to
10.0.0.2:5432 after 2 min 30 s of silence.
  Look at the path.




q quit  s order  / filter  p pause  Tab panel  ? help";
    assert_eq!(screen(&busy(), 3.0, 80, 24).join("\n"), expected);
}

#[test]
fn no_daemon_is_said_over_what_was_known() {
    let mut state = state();
    state.told(Told::Down("no daemon answers at http://127.0.0.1:10435: Connection refused".to_owned()), 1.0);
    let expected = "\
ka top  http://127.0.0.1:10435  order: nearest  no daemon

┌ no daemon ───────────────────────────────────────────────┐
│ no daemon answers at http://127.0.0.1:10435: Connection  │
│ refused.                                                 │
│                                                          │
│ Trying again each second.                                │
└──────────────────────────────────────────────────────────┘

q quit  s order  / filter  p pause  Tab panel  ? help";
    assert_eq!(screen(&state, 1.0, 60, 10).join("\n"), expected);
    state.told(Told::Up(vec![]), 2.0);
    assert!(!screen(&state, 2.0, 60, 10).join("\n").contains("no daemon"));
}

#[test]
fn pause_filter_and_prompt_are_seen() {
    let mut state = busy();
    press(&mut state, KeyCode::Char('/'));
    for c in "cart 443".chars() {
        press(&mut state, KeyCode::Char(c));
    }
    assert_eq!(screen(&state, 3.0, 80, 24)[23], "filter: cart 443");
    press(&mut state, KeyCode::Enter);
    press(&mut state, KeyCode::Char('s'));
    press(&mut state, KeyCode::Char('p'));
    let rows = screen(&state, 99.0, 100, 24);
    assert_eq!(rows[0], "ka top  http://127.0.0.1:10435  order: local  only: text=cart 443   PAUSED");
    assert!(rows[4].starts_with(" Sockets: 1-2 of 1234 "), "{}", rows[4]);
    assert!(rows[6].contains("next in 4 s"), "time stands still: {}", rows[6]);
    state.refused = Some("http://127.0.0.1:10435 refuses it: not on this address".to_owned());
    assert_eq!(screen(&state, 3.0, 80, 24)[23], "http://127.0.0.1:10435 refuses it: not on this address");
}

#[test]
fn help_lists_every_key() {
    let mut state = busy();
    press(&mut state, KeyCode::Char('?'));
    let text = screen(&state, 3.0, 80, 24).join("\n");
    for line in HELP.lines() {
        assert!(text.contains(line.trim_end()), "{line:?} is not in\n{text}");
    }
    press(&mut state, KeyCode::Esc);
    assert!(!screen(&state, 3.0, 80, 24).join("\n").contains("this help"));
}

#[test]
fn a_low_terminal_shows_what_is_in_focus() {
    let mut state = busy();
    state.resize(80, 8);
    assert!(screen(&state, 3.0, 80, 8)[2].starts_with(" Nearest to being dropped"));
    press(&mut state, KeyCode::Tab);
    let rows = screen(&state, 3.0, 80, 8);
    assert!(rows[2].starts_with(" Dropped connections") && rows[3].starts_with("01:02:03 keepalive_timeout"));
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let mut states = [state(), busy(), busy(), busy()];
    states[1].told(Told::Down("gone ".repeat(50)), 1.0);
    press(&mut states[2], KeyCode::Char('?'));
    press(&mut states[3], KeyCode::Char('/'));
    for state in &mut states {
        for (width, height) in
            (0..14).chain([29]).flat_map(|width| (0..14).chain([29]).map(move |height| (width, height)))
        {
            state.resize(width, height);
            screen(state, 3.0, width, height);
        }
        screen(state, 3.0, 1_000, 300);
    }
}

#[test]
fn what_a_process_calls_itself_cannot_reach_the_terminal() {
    let mut state = busy();
    state.live.sockets[0].owner.comm = "\x1b[2J\x07".to_owned();
    state.live.drops[0].summary = "\x1b]0;x\x07 lost".to_owned();
    state.filter.text = Some("\x1b[2J".to_owned());
    let text = screen(&state, 3.0, 120, 24).join("\n");
    assert!(!text.contains(['\x1b', '\x07']), "{text:?}");
}
