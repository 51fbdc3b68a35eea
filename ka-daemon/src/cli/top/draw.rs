//! The state as a screen. Pure, but for the frame it is drawn into.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Clear, Padding, Paragraph, RenderDirection, Sparkline, Wrap};

use unicode_width::UnicodeWidthStr as _;

use super::areas::areas;
use super::state::{Data, Link, Panel, State};
use crate::cli::cells;
use crate::cli::drops::clock_time;
use crate::cli::table::{self, Table, Tone};
use crate::view::words::printable;
use crate::view::{DropView, SocketView, SortKey};

const KEYS: &str = "q quit  s order  / filter  p pause  Tab panel  ? help";

const HELP: &str = "\
q       quit
s       next order of the sockets
/       only sockets with these words in the addresses or the owner;
        Enter applies, Esc leaves; no words: all of them
p       pause; what comes meanwhile is shown afterwards
Tab     scroll the other panel
↑ ↓ j k PgUp PgDn Home End   scroll
?       this help

KEEPALIVE  idle/interval ×count; * was set by the application
DROP IN    until keepalive ends the connection if nothing is heard";

/// The longest line in a box.
const POPUP: u16 = 68;

/// Draws what is known at `now`.
pub(super) fn draw(state: &State, now: f64, frame: &mut Frame<'_>) {
    let screen = frame.area();
    let parts = areas((screen.width, screen.height), state.focus);
    let (data, now) = state.shown(now);
    frame.render_widget(title(state), parts.title);
    frame.render_widget(totals(state, data), parts.totals);
    graph(data, parts.graph, frame);
    sockets(state, data, now, parts.sockets, frame);
    drops(state, data, parts.drops, frame);
    frame.render_widget(bottom(state), parts.bottom);
    if let Link::Down(why) = &state.link {
        let text = format!("{}.\n\nTrying again each second.", printable(why));
        popup(" no daemon ", Text::from(text), Tone::Alarm, frame);
    }
    if state.help {
        popup(" keys ", Text::from(HELP), Tone::Plain, frame);
    }
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Title => Style::new().bold(),
        Tone::Dim => Style::new().dim(),
        Tone::Warning => Style::new().fg(Color::Yellow),
        Tone::Alarm => Style::new().fg(Color::Red),
    }
}

fn line(spans: Vec<table::Span<'_>>) -> Line<'_> {
    spans.into_iter().map(|(text, tone)| Span::styled(text, style(tone))).collect()
}

fn title(state: &State) -> Line<'_> {
    let mut line = Line::from(vec![
        Span::styled("ka top", style(Tone::Title)),
        Span::raw(format!("  {}  order: {}", state.endpoint, state.sort)),
    ]);
    let filters = state.filter.to_query();
    if !filters.is_empty() {
        let shown: Vec<String> = filters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        line.push_span(format!("  only: {}", printable(&shown.join(" "))));
    }
    match state.link {
        Link::Connecting => line.push_span(Span::styled("  connecting…", style(Tone::Warning))),
        Link::Down(_) => line.push_span(Span::styled("  no daemon", style(Tone::Alarm))),
        Link::Up => {}
    }
    if state.paused.is_some() {
        line.push_span(Span::raw("  "));
        line.push_span(Span::styled(" PAUSED ", Style::new().reversed()));
    }
    line
}

fn totals<'a>(state: &State, data: &Data) -> Line<'a> {
    let Some(totals) = data.rates.totals() else { return Line::default() };
    let mut line = Line::default();
    let mut part = |name: &'static str, value: String, tone: Tone| {
        if !line.spans.is_empty() {
            line.push_span("  ");
        }
        line.push_span(Span::styled(format!("{name} "), style(Tone::Dim)));
        line.push_span(Span::styled(value, style(tone).bold()));
    };
    let alarm = |bad: bool, tone: Tone| if bad { tone } else { Tone::Plain };
    let [sent, unanswered] = data.rates.now().map_or([None; 2], |rates| rates.map(Some));
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-/s".to_owned(), |rate| format!("{rate:.1}/s"));
    part("probes", rate(sent), Tone::Plain);
    part("unanswered", rate(unanswered), alarm(unanswered.is_some_and(|rate| rate > 0.0), Tone::Warning));
    part("dropped", totals.dropped.to_string(), alarm(totals.dropped > 0, Tone::Alarm));
    part("resets", totals.resets.to_string(), Tone::Plain);
    part("keepalive", format!("{} of {}", totals.keepalive_on, totals.sockets), Tone::Plain);
    if totals.lost > 0 {
        part("records lost", totals.lost.to_string(), Tone::Alarm);
    }
    if state.missed > 0 {
        part("events missed", state.missed.to_string(), Tone::Alarm);
    }
    line
}

/// Probes a second, the newest on the right.
fn graph(data: &Data, area: Rect, frame: &mut Frame<'_>) {
    let [label, bars] = Layout::horizontal([Constraint::Length(12), Constraint::Min(0)]).areas(area);
    let mut history = data.rates.sent(bars.width.into());
    history.reverse();
    let most = history.iter().copied().max().unwrap_or(0);
    let words = Text::from(vec![Line::from("probes/s"), Line::from(format!("max {most}"))]);
    frame.render_widget(words.style(style(Tone::Dim)), label);
    let graph = Sparkline::default().data(history).direction(RenderDirection::RightToLeft);
    frame.render_widget(graph, bars);
}

/// The frame of a panel: its title, and whether keys scroll it.
fn panel(title: &str, focused: bool) -> Block<'static> {
    let marked = if focused { Style::new().bold().reversed() } else { Style::new().bold() };
    Block::new().borders(Borders::TOP).title(Span::styled(format!(" {title} "), marked))
}

fn sockets(state: &State, data: &Data, now: f64, area: Rect, frame: &mut Frame<'_>) {
    let first = state.first[0];
    let shown = usize::from(area.height.saturating_sub(2));
    let last = (first + shown).min(data.sockets.len());
    let name = if state.sort == SortKey::Nearest { "Nearest to being dropped" } else { "Sockets" };
    let title = if data.sockets.is_empty() {
        format!("{name}: none")
    } else {
        format!("{name}: {}-{last} of {}", first + 1, data.total)
    };
    let block = panel(&title, state.focus == Panel::Sockets);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let age = (now - data.read_at).max(0.0);
    let rows = data.sockets.iter().map(|socket| cells::top(&aged(socket, age))).collect();
    let table = Table { columns: &cells::TOP, rows };
    let fitted = table.fitted(Some(inner.width.into()));
    let mut lines = vec![line(fitted.header())];
    lines.extend(fitted.rows().skip(first).take(shown).map(line));
    frame.render_widget(Text::from(lines), inner);
}

/// A socket as it is `seconds` later, if nothing happened.
fn aged(socket: &SocketView, seconds: f64) -> SocketView {
    let mut socket = socket.clone();
    if let Some(timer) = &mut socket.timer {
        timer.expires_seconds -= seconds;
    }
    for left in [&mut socket.next_probe_seconds, &mut socket.drop_in_seconds].into_iter().flatten() {
        *left -= seconds;
    }
    socket
}

fn drops(state: &State, data: &Data, area: Rect, frame: &mut Frame<'_>) {
    let first = state.first[1];
    let title = match data.drops.len() {
        0 => "Dropped connections: none so far".to_owned(),
        number => format!("Dropped connections: {} of {number}, newest first", first + 1),
    };
    let block = panel(&title, state.focus == Panel::Drops);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    // Each takes a row at least.
    let shown = data.drops.iter().skip(first).take(inner.height.into());
    let lines: Vec<Line<'_>> = shown.flat_map(|drop| told(state, drop)).collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), inner);
}

fn told<'a>(state: &State, drop: &'a DropView) -> impl Iterator<Item = Line<'a>> {
    let facts = Line::from(vec![
        Span::styled(clock_time(drop.time_seconds, &state.zone), style(Tone::Dim)),
        Span::raw(" "),
        Span::styled(printable(&drop.cause), style(Tone::Alarm)),
        Span::raw(" "),
        Span::raw(printable(&drop.summary)),
    ]);
    let advice = Line::styled(format!("  {}", printable(&drop.advice)), style(Tone::Dim));
    [facts].into_iter().chain((!drop.advice.is_empty()).then_some(advice))
}

fn bottom(state: &State) -> Line<'_> {
    if let Some(prompt) = &state.prompt {
        return Line::from(vec![
            Span::styled("filter: ", style(Tone::Title)),
            Span::raw(printable(prompt)),
            Span::styled(" ", Style::new().reversed()),
        ]);
    }
    match &state.refused {
        Some(why) => Line::styled(printable(why).into_owned(), style(Tone::Alarm)),
        None => Line::styled(KEYS, style(Tone::Dim)),
    }
}

/// A box in the middle, as large as its text, and as far as there is room.
fn popup(title: &'static str, text: Text<'_>, tone: Tone, frame: &mut Frame<'_>) {
    let screen = frame.area();
    let width =
        u16::try_from(text.width()).unwrap_or(u16::MAX).min(POPUP).saturating_add(4).min(screen.width);
    let inner = usize::from(width.saturating_sub(4));
    let rows: usize = text.lines.iter().map(|line| wrapped_rows(&line.to_string(), inner)).sum();
    let height = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(2).min(screen.height);
    let area = screen.centered(Constraint::Length(width), Constraint::Length(height));
    let block = Block::bordered().border_style(style(tone)).title(Span::styled(title, style(Tone::Title)));
    let padded = block.padding(Padding::horizontal(1));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).block(padded), area);
}

/// Rows that a line takes whose words do not break.
fn wrapped_rows(line: &str, width: usize) -> usize {
    let mut rows = 1;
    let mut used = 0;
    for word in line.split(' ') {
        let word = word.width();
        if used > 0 && used + 1 + word > width {
            rows += 1;
            used = word;
        } else {
            used += word + usize::from(used > 0);
        }
    }
    rows
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
