//! Text in columns: as wide as it is, or fitted to a terminal. Pure.

use std::borrow::Cow;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Between two columns.
const GAP: usize = 2;
const ELLIPSIS: char = '…';

/// What may be done to a column on a terminal that is too narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Nothing.
    Whole,
    /// Cut it, down to that width: the end of it.
    CutEnd(usize),
    /// Cut it, down to that width: the middle, as an address tells by its beginning and its port.
    CutMiddle(usize),
    /// Cut the end of it, down to that width, when nothing more can be left out.
    CutEndLast(usize),
    /// Leave it out; the lowest number first.
    LeaveOut(u8),
    /// Both: cut the middle first, down to that width, then leave it out.
    CutMiddleOrLeaveOut(usize, u8),
}

impl Fit {
    /// How narrow it may become before anything is left out.
    fn least(self, natural: usize) -> usize {
        match self {
            Self::CutEnd(least) | Self::CutMiddle(least) | Self::CutMiddleOrLeaveOut(least, _) => {
                natural.min(least)
            }
            Self::Whole | Self::CutEndLast(_) | Self::LeaveOut(_) => natural,
        }
    }

    /// How narrow it may become at last.
    fn least_of_all(self, natural: usize) -> usize {
        if let Self::CutEndLast(least) = self { natural.min(least) } else { self.least(natural) }
    }

    const fn leave_out(self) -> Option<u8> {
        match self {
            Self::LeaveOut(order) | Self::CutMiddleOrLeaveOut(_, order) => Some(order),
            Self::Whole | Self::CutEnd(_) | Self::CutEndLast(_) | Self::CutMiddle(_) => None,
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Numbers stand right.
    pub(super) right: bool,
    pub(super) fit: Fit,
}

/// How much a text should be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Title,
    Dim,
    Warning,
    Alarm,
}

impl Tone {
    /// For a terminal that text is written to.
    pub(super) const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Title => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Alarm => AnsiColor::Red.on_default(),
        }
    }
}

/// What stands in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: Cow<'static, str>,
    pub(super) tone: Tone,
}

impl Cell {
    pub(super) fn plain(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(text, Tone::Plain)
    }

    pub(super) fn new(text: impl Into<Cow<'static, str>>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

/// Part of a line.
pub(super) type Span<'a> = (Cow<'a, str>, Tone);

/// Rows of as many cells as there are columns.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) columns: &'a [Column],
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Table<'_> {
    /// Fits the columns into `width`; none: all of them, as wide as they are.
    pub(super) fn fitted(&self, width: Option<usize>) -> Fitted<'_> {
        let natural: Vec<usize> = (0..self.columns.len()).map(|column| self.natural(column)).collect();
        let shown = match width {
            Some(width) => fit(self.columns, &natural, width),
            None => natural.into_iter().enumerate().collect(),
        };
        Fitted { table: self, shown }
    }

    fn natural(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].text.width());
        cells.max().unwrap_or(0).max(self.columns[column].title.width())
    }
}

/// A table whose columns have their widths.
#[derive(Debug)]
pub(super) struct Fitted<'a> {
    table: &'a Table<'a>,
    /// The columns that are shown, by number, with their widths.
    shown: Vec<(usize, usize)>,
}

impl<'a> Fitted<'a> {
    /// The titles of the columns for which there is no room.
    pub(super) fn left_out(&self) -> Vec<&'static str> {
        let columns = self.table.columns.iter().enumerate();
        let left_out = columns.filter(|(column, _)| self.shown.iter().all(|(shown, _)| shown != column));
        left_out.map(|(_, column)| column.title).collect()
    }

    /// The line of titles.
    pub(super) fn header(&self) -> Vec<Span<'a>> {
        self.line(|column| (Cow::from(self.table.columns[column].title), Tone::Title))
    }

    /// The lines below.
    pub(super) fn rows(&self) -> impl Iterator<Item = Vec<Span<'a>>> {
        self.table
            .rows
            .iter()
            .map(|row| self.line(|column| (Cow::from(&*row[column].text), row[column].tone)))
    }

    /// Writes all of it.
    pub(super) fn write(&self, header: bool, color: bool, out: &mut impl Write) -> io::Result<()> {
        for line in header.then(|| self.header()).into_iter().chain(self.rows()) {
            for (text, tone) in line {
                let style = if color { tone.style() } else { Style::new() };
                write!(out, "{style}{text}{style:#}")?;
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// One line; nothing stands behind its last text.
    fn line(&self, cell: impl Fn(usize) -> Span<'a>) -> Vec<Span<'a>> {
        let mut line: Vec<Span<'a>> = Vec::with_capacity(2 * self.shown.len());
        let mut blanks = 0;
        for &(column, width) in &self.shown {
            let Column { right, fit, .. } = self.table.columns[column];
            let (text, tone) = cell(column);
            let text = cut(text, width, fit);
            let padding = width.saturating_sub(text.width());
            let (before, after) = if right { (padding, 0) } else { (0, padding) };
            blanks += before;
            if !text.is_empty() {
                if blanks > 0 {
                    line.push((Cow::from(" ".repeat(blanks)), Tone::Plain));
                }
                line.push((text, tone));
                blanks = 0;
            }
            blanks += after + GAP;
        }
        line
    }
}

/// Which columns are shown, and how wide: first the rightmost columns are cut, then columns are left
/// out one by one, then the last ones are cut. A terminal that is narrower still wraps.
fn fit(columns: &[Column], natural: &[usize], width: usize) -> Vec<(usize, usize)> {
    let mut orders: Vec<u8> = columns.iter().filter_map(|column| column.fit.leave_out()).collect();
    orders.sort_unstable();
    let mut shown: Vec<(usize, usize)> = natural.iter().copied().enumerate().collect();
    let mut orders = orders.into_iter();
    loop {
        let least = total(shown.iter().map(|&(column, natural)| columns[column].fit.least(natural)));
        let next = if least > width { orders.next() } else { None };
        match next {
            Some(order) => shown.retain(|&(column, _)| columns[column].fit.leave_out() != Some(order)),
            None => break,
        }
    }
    let mut excess = total(shown.iter().map(|&(_, width)| width)).saturating_sub(width);
    for least in [Fit::least, Fit::least_of_all] {
        for (column, width) in shown.iter_mut().rev() {
            let cut = excess.min(*width - least(columns[*column].fit, *width));
            *width -= cut;
            excess -= cut;
        }
    }
    shown
}

fn total(widths: impl ExactSizeIterator<Item = usize>) -> usize {
    let gaps = widths.len().saturating_sub(1) * GAP;
    widths.sum::<usize>() + gaps
}

/// Text in at most `width` columns.
fn cut(text: Cow<'_, str>, width: usize, fit: Fit) -> Cow<'_, str> {
    if text.width() <= width {
        return text;
    }
    let room = width.saturating_sub(1);
    let tail = match fit {
        // The port and the brackets before it, and a bit of the address.
        Fit::CutMiddle(_) | Fit::CutMiddleOrLeaveOut(..) => room * 3 / 5,
        Fit::Whole | Fit::CutEnd(_) | Fit::CutEndLast(_) | Fit::LeaveOut(_) => 0,
    };
    let head = prefix(&text, room - tail);
    Cow::from(format!("{head}{ELLIPSIS}{}", suffix(&text, tail)))
}

fn prefix(text: &str, room: usize) -> &str {
    let mut left = room;
    let end = text.char_indices().find(|(_, c)| match left.checked_sub(c.width().unwrap_or(0)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    end.map_or(text, |(end, _)| &text[..end])
}

fn suffix(text: &str, room: usize) -> &str {
    let mut left = room;
    let mut start = text.len();
    for (place, c) in text.char_indices().rev() {
        match left.checked_sub(c.width().unwrap_or(0)) {
            Some(rest) => (left, start) = (rest, place),
            None => break,
        }
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;
    const COLUMNS: [Column; 4] = [
        Column { title: "END", right: false, fit: Fit::CutMiddle(10) },
        Column { title: "RTT", right: true, fit: Fit::LeaveOut(1) },
        Column { title: "STATE", right: false, fit: Fit::LeaveOut(2) },
        Column { title: "OWNER", right: false, fit: Fit::CutEnd(6) },
    ];

    fn table() -> Table<'static> {
        let row = |cells: [&'static str; 4]| cells.into_iter().map(Cell::plain).collect();
        Table {
            columns: &COLUMNS,
            rows: vec![
                row(["10.0.0.1:80", "1 ms", "LISTEN", "nginx[1]"]),
                row(["[2001:db8:1:2:3::99]:443", "45 µs", "ESTAB", "日本語のプロセス[12]"]),
                row(["10.0.0.1:443", "-", "ESTAB", ""]),
            ],
        }
    }

    fn written(width: Option<usize>) -> (String, Vec<&'static str>) {
        let mut out = Vec::new();
        let table = table();
        let fitted = table.fitted(width);
        fitted.write(true, false, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), fitted.left_out())
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        let expected = "\
END                         RTT  STATE   OWNER
10.0.0.1:80                1 ms  LISTEN  nginx[1]
[2001:db8:1:2:3::99]:443  45 µs  ESTAB   日本語のプロセス[12]
10.0.0.1:443                  -  ESTAB
";
        assert_eq!(written(None), (expected.to_owned(), vec![]));
        assert_eq!(written(Some(61)).0, expected, "as wide as it is");
    }

    #[test]
    fn the_right_column_is_cut_first_then_the_middle_of_addresses() {
        let expected = "\
END                         RTT  STATE   OWNER
10.0.0.1:80                1 ms  LISTEN  nginx[1]
[2001:db8:1:2:3::99]:443  45 µs  ESTAB   日本語の…
10.0.0.1:443                  -  ESTAB
";
        assert_eq!(written(Some(50)), (expected.to_owned(), vec![]));
        let expected = "\
END                RTT  STATE   OWNER
10.0.0.1:80       1 ms  LISTEN  nginx…
[2001:…:99]:443  45 µs  ESTAB   日本…
10.0.0.1:443         -  ESTAB
";
        let (text, left_out) = written(Some(38));
        assert_eq!((text.as_str(), left_out), (expected, vec![]));
    }

    #[test]
    fn then_columns_are_left_out_and_told() {
        let (text, left_out) = written(Some(30));
        let expected = "\
END             STATE   OWNER
10.0.0.1:80     LISTEN  nginx…
[2001:…99]:443  ESTAB   日本…
10.0.0.1:443    ESTAB
";
        assert_eq!((text.as_str(), left_out), (expected, vec!["RTT"]));
        for width in 0..18 {
            let (text, left_out) = written(Some(width));
            assert_eq!(left_out, ["RTT", "STATE"], "{width}");
            assert!(text.contains("[20…]:443") || text.contains("[200…]:443"), "{text}");
        }
    }

    #[test]
    fn what_tells_most_is_cut_last_of_all() {
        let columns = [
            Column { title: "TIMER", right: false, fit: Fit::CutEndLast(9) },
            Column { title: "RTT", right: false, fit: Fit::LeaveOut(1) },
            Column { title: "OWNER", right: false, fit: Fit::CutEnd(4) },
        ];
        let rows = vec![["probe in 12 s", "45 µs", "server"].map(Cell::plain).to_vec()];
        let table = Table { columns: &columns, rows };
        for (width, expected) in [
            (28, "probe in 12 s  45 µs  server"),
            (26, "probe in 12 s  45 µs  ser…"),
            (25, "probe in 12 s  server"),
            (19, "probe in 12 s  ser…"),
            (18, "probe in 12…  ser…"),
            (0, "probe in…  ser…"),
        ] {
            let mut out = Vec::new();
            table.fitted(Some(width)).write(false, false, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"), "{width}");
        }
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_and_colours_take_no_room() {
        for width in 18..70 {
            let (text, _) = written(Some(width));
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
        }
        let mut table = table();
        table.rows[0][2].tone = Tone::Alarm;
        let mut out = Vec::new();
        table.fitted(None).write(false, true, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let line = text.lines().next().unwrap();
        assert_eq!(line, "10.0.0.1:80                1 ms  \u{1b}[31mLISTEN\u{1b}[0m  nginx[1]");
    }
}
