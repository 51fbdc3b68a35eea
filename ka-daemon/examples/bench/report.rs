//! The table: a figure, its budget and the verdict in one row.

use std::io::{self, Write as _};

/// What a budget asks of a figure.
#[derive(Clone, Copy)]
pub(super) enum Budget {
    /// No more than this.
    Most(f64),
    /// No less than this.
    Least(f64),
    /// Told for comparison.
    None,
}

/// One figure.
pub(super) struct Row {
    part: String,
    what: String,
    value: Option<f64>,
    unit: &'static str,
    budget: Budget,
    note: String,
}

impl Row {
    pub(super) fn new(what: impl Into<String>, value: f64, unit: &'static str, budget: Budget) -> Self {
        Self { part: String::new(), what: what.into(), value: Some(value), unit, budget, note: String::new() }
    }

    /// A part that could not be measured, with the reason.
    pub(super) fn failed(error: &anyhow::Error) -> Self {
        let mut row = Self::new("not measured", 0.0, "", Budget::None);
        row.value = None;
        row.note(format!("{error:#}"))
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub(super) fn of(mut self, part: &str) -> Self {
        part.clone_into(&mut self.part);
        self
    }

    fn cells(&self) -> [String; 6] {
        let unit = self.unit;
        let measured = self.value.map_or_else(|| "-".to_owned(), |value| format!("{} {unit}", number(value)));
        let (budget, verdict) = match (self.value, self.budget) {
            (None, _) => ("-".to_owned(), "FAILED".to_owned()),
            (_, Budget::None) => (String::new(), String::new()),
            (Some(value), Budget::Most(most)) => {
                (format!("at most {} {unit}", number(most)), verdict(value <= most, value / most))
            }
            (Some(value), Budget::Least(least)) => {
                (format!("at least {} {unit}", number(least)), verdict(value >= least, value / least))
            }
        };
        [self.part.clone(), self.what.clone(), measured, budget, verdict, self.note.clone()]
    }
}

fn verdict(kept: bool, ratio: f64) -> String {
    if kept { "kept".to_owned() } else { format!("MISSED ({ratio:.2} times the budget)") }
}

/// As many digits as mean something.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size < 1.0 => 3,
        size if size < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// A line of progress, apart from the result.
pub(super) fn progress(line: &str) -> io::Result<()> {
    writeln!(io::stderr(), "[bench] {line}")
}

/// Prints the table, in Markdown.
pub(super) fn table(rows: &[Row]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "| --only | what | measured | budget | verdict | how |")?;
    writeln!(out, "| --- | --- | ---: | --- | --- | --- |")?;
    for row in rows {
        writeln!(out, "| {} |", row.cells().join(" | "))?;
    }
    Ok(())
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn figure(count: u64) -> f64 {
    count as f64
}
