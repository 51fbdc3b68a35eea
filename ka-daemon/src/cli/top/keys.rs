//! What keys do. Pure.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::areas::areas;
use super::state::{Panel, State};
use crate::view::SortKey;

/// What is to be done after a key, outside of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing but to draw.
    Nothing,
    /// To ask the daemon anew: the order or the filter is another.
    Ask,
    /// To end.
    Quit,
}

impl State {
    /// Takes what the terminal tells.
    pub(super) fn event(&mut self, event: &Event, now: f64) -> Action {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key, now),
            Event::Resize(width, height) => {
                self.resize(*width, *height);
                Action::Nothing
            }
            Event::Paste(text) => {
                if let Some(prompt) = &mut self.prompt {
                    prompt.extend(text.chars().filter(|c| !c.is_control()));
                }
                Action::Nothing
            }
            Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => Action::Nothing,
        }
    }

    fn key(&mut self, key: KeyEvent, now: f64) -> Action {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return Action::Quit;
        }
        if self.prompt.is_some() {
            return self.prompt_key(key.code, control);
        }
        let page = areas(self.size, self.focus).socket_rows().max(1);
        // Keys of which nothing is said here do nothing.
        #[expect(clippy::wildcard_enum_match_arm, reason = "there are many more keys than these")]
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = !self.help,
            KeyCode::Char('s') => return self.next_order(),
            KeyCode::Char('/') => self.prompt = Some(self.filter.text.clone().unwrap_or_default()),
            KeyCode::Char('p' | ' ') => self.pause(now),
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = self.focus.other();
                self.clamp();
            }
            KeyCode::Up | KeyCode::Char('k') => self.scroll(|first| first.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.scroll(|first| first + 1),
            KeyCode::PageUp => self.scroll(|first| first.saturating_sub(page)),
            KeyCode::PageDown => self.scroll(|first| first + page),
            KeyCode::Home | KeyCode::Char('g') => self.scroll(|_| 0),
            KeyCode::End | KeyCode::Char('G') => self.scroll(|_| usize::MAX),
            _ => {}
        }
        Action::Nothing
    }

    fn prompt_key(&mut self, code: KeyCode, control: bool) -> Action {
        let Some(prompt) = &mut self.prompt else { return Action::Nothing };
        #[expect(clippy::wildcard_enum_match_arm, reason = "there are many more keys than these")]
        match code {
            KeyCode::Enter => {
                let words = prompt.trim();
                self.filter.text = (!words.is_empty()).then(|| words.to_owned());
                self.prompt = None;
                return self.ask_anew();
            }
            KeyCode::Esc => self.prompt = None,
            KeyCode::Backspace => drop(prompt.pop()),
            KeyCode::Char('u') if control => prompt.clear(),
            KeyCode::Char(c) if !control => prompt.push(c),
            _ => {}
        }
        Action::Nothing
    }

    fn next_order(&mut self) -> Action {
        let place = SortKey::ALL.iter().position(|key| *key == self.sort).unwrap_or_default();
        self.sort = SortKey::ALL[(place + 1) % SortKey::ALL.len()];
        self.ask_anew()
    }

    /// What is shown is the answer to another question now: that ends a pause.
    fn ask_anew(&mut self) -> Action {
        self.paused = None;
        self.first[0] = 0;
        Action::Ask
    }

    fn pause(&mut self, now: f64) {
        self.paused = match self.paused {
            Some(_) => None,
            None => Some((now, self.live.clone())),
        };
        self.clamp();
    }

    fn scroll(&mut self, to: impl Fn(usize) -> usize) {
        let panel = match self.focus {
            Panel::Sockets => 0,
            Panel::Drops => 1,
        };
        self.first[panel] = to(self.first[panel]);
        self.clamp();
    }
}
