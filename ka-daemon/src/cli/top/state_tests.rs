//! What the daemon tells and what keys do.

use ratatui::crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::cli::top::keys::Action;
use crate::view::event::Totals;
use crate::view::testing::{dropped, socket};

pub(in crate::cli::top) fn state() -> State {
    State::new("http://127.0.0.1:10435".to_owned(), Filter::default(), TimeZone::UTC)
}

fn press(state: &mut State, code: KeyCode) -> Action {
    state.event(&TerminalEvent::Key(KeyEvent::new(code, KeyModifiers::NONE)), 5.0)
}

fn typed(state: &mut State, text: &str) {
    for c in text.chars() {
        assert_eq!(press(state, KeyCode::Char(c)), Action::Nothing);
    }
}

fn drop_of(id: u64) -> DropView {
    DropView { id, ..dropped() }
}

fn ids(state: &State) -> Vec<u64> {
    state.live.drops.iter().map(|drop| drop.id).collect()
}

fn sockets(state: &mut State, number: u16) {
    let sockets = (1..=number).map(|port| socket(&format!("10.0.0.1:{port}"), "10.0.0.2:2")).collect();
    state.told(Told::Sockets { query: Box::new(state.query()), sockets, total: 1_000 }, 3.0);
}

#[test]
fn drops_are_shown_once_and_the_newest_first() {
    let mut state = state();
    state.told(Told::Up(vec![drop_of(4), drop_of(5)]), 1.0);
    assert_eq!((state.link.clone(), ids(&state)), (Link::Up, vec![5, 4]));
    for id in [5, 6] {
        state.told(Told::Event(Event::Drop(Box::new(drop_of(id)))), 2.0);
    }
    assert_eq!(ids(&state), [6, 5, 4]);
    state.told(Told::Down("gone".to_owned()), 3.0);
    assert_eq!((state.link.clone(), ids(&state)), (Link::Down("gone".to_owned()), vec![6, 5, 4]));
    state.told(Told::Up(vec![]), 4.0);
    assert_eq!(ids(&state), [0_u64; 0], "a restarted daemon knows of none");
}

#[test]
fn drops_are_bounded() {
    let mut state = state();
    for id in 1..=1_500 {
        state.told(Told::Event(Event::Drop(Box::new(drop_of(id)))), 2.0);
    }
    assert_eq!((state.live.drops.len(), state.live.drops[0].id), (1_000, 1_500));
}

#[test]
fn whoever_reads_further_down_goes_on_reading_there() {
    let mut state = state();
    state.told(Told::Up((1..=9).map(drop_of).collect()), 1.0);
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::Down);
    assert_eq!(state.first, [0, 1]);
    state.told(Told::Event(Event::Drop(Box::new(drop_of(10)))), 2.0);
    assert_eq!(state.live.drops[state.first[1]].id, 8);
}

#[test]
fn a_pause_keeps_what_is_shown_and_takes_what_comes() {
    let mut state = state();
    state.told(Told::Up(vec![drop_of(1)]), 1.0);
    press(&mut state, KeyCode::Char('p'));
    state.told(Told::Event(Event::Drop(Box::new(drop_of(2)))), 6.0);
    let (data, now) = state.shown(9.0);
    assert_eq!((data.drops.len(), now.to_bits()), (1, 5.0_f64.to_bits()));
    press(&mut state, KeyCode::Char(' '));
    let (data, now) = state.shown(9.0);
    assert_eq!((data.drops.len(), now.to_bits()), (2, 9.0_f64.to_bits()));
}

#[test]
fn orders_follow_each_other_and_ask_anew() {
    let mut state = state();
    sockets(&mut state, 100);
    press(&mut state, KeyCode::PageDown);
    press(&mut state, KeyCode::Char('p'));
    let mut seen = vec![state.sort];
    for _ in 1..SortKey::ALL.len() {
        assert_eq!(press(&mut state, KeyCode::Char('s')), Action::Ask);
        seen.push(state.sort);
    }
    assert!(SortKey::ALL.iter().all(|key| seen.contains(key)));
    assert_eq!((state.first, state.paused.is_some()), ([0, 0], false));
    assert_eq!(press(&mut state, KeyCode::Char('s')), Action::Ask);
    assert_eq!(state.sort, SortKey::Nearest);
}

#[test]
fn the_answer_to_an_old_question_is_not_shown() {
    let mut state = state();
    let old = Box::new(state.query());
    press(&mut state, KeyCode::Char('s'));
    state
        .told(Told::Sockets { query: old, sockets: vec![socket("10.0.0.1:1", "10.0.0.2:2")], total: 1 }, 1.0);
    assert_eq!(state.live.sockets, []);
    sockets(&mut state, 1);
    assert_eq!((state.live.sockets.len(), state.live.total), (1, 1_000));
    state.told(Told::Refused("no".to_owned()), 2.0);
    assert_eq!((state.live.sockets.len(), state.refused.as_deref()), (0, Some("no")));
    sockets(&mut state, 1);
    assert_eq!(state.refused, None);
}

#[test]
fn words_are_typed_and_applied_or_left() {
    let mut state = state();
    press(&mut state, KeyCode::Char('/'));
    typed(&mut state, " qsx");
    press(&mut state, KeyCode::Backspace);
    typed(&mut state, "l ");
    assert_eq!(state.prompt.as_deref(), Some(" qsl "));
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Ask);
    assert_eq!((state.prompt.clone(), state.query().filter.text.as_deref()), (None, Some("qsl")));
    press(&mut state, KeyCode::Char('/'));
    typed(&mut state, "more");
    assert_eq!(state.prompt.as_deref(), Some("qslmore"));
    assert_eq!(press(&mut state, KeyCode::Esc), Action::Nothing);
    assert_eq!(state.query().filter.text.as_deref(), Some("qsl"));
    press(&mut state, KeyCode::Char('/'));
    state.event(&TerminalEvent::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)), 5.0);
    state.event(&TerminalEvent::Paste("a\nb".to_owned()), 5.0);
    assert_eq!(state.prompt.as_deref(), Some("ab"));
    state.prompt = Some("  ".to_owned());
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Ask);
    assert_eq!(state.query().filter.text, None);
}

#[test]
fn ways_to_quit() {
    let mut state = state();
    let control_c = TerminalEvent::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert_eq!(press(&mut state, KeyCode::Char('q')), Action::Quit);
    assert_eq!(state.event(&control_c, 0.0), Action::Quit);
    press(&mut state, KeyCode::Char('/'));
    assert_eq!(press(&mut state, KeyCode::Char('q')), Action::Nothing, "a letter of a word");
    assert_eq!(state.event(&control_c, 0.0), Action::Quit);
}

#[test]
fn panels_scroll_no_further_than_their_rows() {
    let mut state = state();
    sockets(&mut state, 20);
    press(&mut state, KeyCode::End);
    assert_eq!(state.first, [11, 0], "nine of twenty are shown");
    press(&mut state, KeyCode::Down);
    assert_eq!(state.first, [11, 0]);
    press(&mut state, KeyCode::PageUp);
    press(&mut state, KeyCode::Char('k'));
    assert_eq!(state.first, [1, 0]);
    press(&mut state, KeyCode::Char('G'));
    state.event(&TerminalEvent::Resize(80, 60), 0.0);
    assert_eq!(state.first, [0, 0], "all are shown");
    state.event(&TerminalEvent::Resize(80, 24), 0.0);
    press(&mut state, KeyCode::Char('G'));
    sockets(&mut state, 3);
    assert_eq!(state.first, [0, 0], "there are fewer now");
    state.told(Told::Up((1..=9).map(drop_of).collect()), 1.0);
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::End);
    assert_eq!(state.first, [0, 8]);
    press(&mut state, KeyCode::Home);
    assert_eq!(state.first, [0, 0]);
}

#[test]
fn events_that_were_missed_are_counted() {
    let mut state = state();
    state.told(Told::Event(Event::Lost { count: 3 }), 1.0);
    state.told(Told::Event(Event::Lost { count: 4 }), 2.0);
    state.told(Told::Event(Event::Totals(Totals { sent: 9, ..Totals::default() })), 3.0);
    assert_eq!((state.missed, state.live.rates.totals().map(|totals| totals.sent)), (7, Some(9)));
}
