//! One line per kernel and plan, what failed in it, and the sum of all.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use super::console::{Counts, PlanRun};
use crate::sh;

/// The outcome of one plan on one kernel.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Kernel version.
    pub(crate) kernel: String,
    /// Hook plan.
    pub(crate) plan: String,
    /// Scenarios that passed, failed, were skipped.
    pub(super) counts: Counts,
    /// `name: reason` of each skipped scenario.
    pub(crate) skips: Vec<String>,
    /// What went wrong besides scenarios that failed: a kernel's complaint, a guest that hung.
    pub(crate) problems: Vec<String>,
    /// Output of failing scenarios and kernel messages.
    pub(crate) excerpts: Vec<String>,
    /// The guest's whole console.
    pub(crate) log: PathBuf,
}

impl Row {
    /// From what the console said; `lost` says why the guest ended before its time.
    pub(super) fn new(
        kernel: &str,
        plan: &str,
        run: Option<&PlanRun>,
        lost: Option<&str>,
        log: &Path,
    ) -> Self {
        let mut row = Self {
            kernel: kernel.to_owned(),
            plan: plan.to_owned(),
            counts: Counts::default(),
            skips: Vec::new(),
            problems: Vec::new(),
            excerpts: Vec::new(),
            log: log.to_owned(),
        };
        let why = lost.unwrap_or("the guest powered off early");
        let Some(run) = run else {
            row.problems.push(format!("never began: {why}"));
            return row;
        };
        row.skips.clone_from(&run.skips);
        row.excerpts =
            run.failures.iter().chain(&run.kernel_complaints).map(|lines| lines.join("\n")).collect();
        match (run.counts, run.status) {
            (_, None) => row.problems.push(format!("did not end: {why}")),
            (None, Some(status)) => {
                row.problems.push(format!("the tests gave no counts (exit status {status})"));
            }
            (Some(counts), Some(status)) if status != 0 && counts.failed == 0 => {
                row.problems.push(format!("the tests exited with status {status}"));
            }
            (Some(counts), Some(_)) if counts == Counts::default() => {
                row.problems.push("no scenario ran".to_owned());
            }
            (Some(_), Some(_)) => {}
        }
        row.counts = run.counts.unwrap_or_default();
        if row.counts.skipped != row.skips.len() {
            let counts = row.counts.skipped;
            row.problems.push(format!("{counts} scenarios skipped, but {} say why", row.skips.len()));
        }
        if !run.kernel_complaints.is_empty() {
            row.problems.push(format!("{} warnings in the kernel's log", run.kernel_complaints.len()));
        }
        row
    }

    /// True when nothing failed and the guest and its kernel were well.
    pub(crate) fn is_success(&self) -> bool {
        self.counts.failed == 0 && self.problems.is_empty()
    }

    /// The line, then excerpts and the log's place if it failed.
    pub(super) fn print(&self) -> anyhow::Result<()> {
        sh::print_line(&self.to_string())?;
        if !self.is_success() {
            for line in self.excerpts.iter().flat_map(|text| text.lines()) {
                sh::print_line(&format!("    | {line}"))?;
            }
            sh::print_line(&format!("    log: {}", self.log.display()))?;
        }
        Ok(())
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Counts { passed, failed, skipped } = self.counts;
        write!(
            f,
            "{:<9} {:<10} {passed} passed, {failed} failed, {skipped} skipped",
            self.kernel, self.plan
        )?;
        if !self.skips.is_empty() {
            write!(f, " (why: {})", self.skips.join("; "))?;
        }
        for problem in &self.problems {
            write!(f, " - FAILED: {problem}")?;
        }
        Ok(())
    }
}

/// All rows and their sums; a row that failed without a failing scenario counts as one failure.
#[derive(Debug, Default)]
pub(crate) struct MatrixSummary {
    /// Scenarios that passed.
    pub(crate) passed: usize,
    /// Scenarios that failed, and rows that failed otherwise.
    pub(crate) failed: usize,
    /// Scenarios that their kernel cannot run.
    pub(crate) skipped: usize,
    /// By kernel and plan.
    pub(crate) rows: Vec<Row>,
}

impl MatrixSummary {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        let failures =
            |row: &Row| row.counts.failed + usize::from(row.counts.failed == 0 && !row.is_success());
        Self {
            passed: rows.iter().map(|row| row.counts.passed).sum(),
            failed: rows.iter().map(failures).sum(),
            skipped: rows.iter().map(|row| row.counts.skipped).sum(),
            rows,
        }
    }

    /// True when no row failed.
    pub(crate) fn is_success(&self) -> bool {
        self.rows.iter().all(Row::is_success)
    }
}

impl Display for MatrixSummary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bad = self.rows.iter().filter(|row| !row.is_success()).count();
        let Self { passed, failed, skipped, rows } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped; {bad} of {} rows failed", rows.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(passed: usize, failed: usize, skips: &[&str], status: i32) -> PlanRun {
        PlanRun {
            plan: "fentry".into(),
            counts: Some(Counts { passed, failed, skipped: skips.len() }),
            status: Some(status),
            skips: skips.iter().map(|&skip| skip.to_owned()).collect(),
            ..PlanRun::default()
        }
    }

    fn row(run: Option<&PlanRun>, lost: Option<&str>) -> Row {
        Row::new("5.10.262", "fentry", run, lost, Path::new("/log"))
    }

    #[test]
    fn a_good_row_is_one_line() {
        let row = row(Some(&run(27, 0, &["reset_reason: needs 6.12"], 0)), None);
        let line = "5.10.262  fentry     27 passed, 0 failed, 1 skipped (why: reset_reason: needs 6.12)";
        assert_eq!(row.to_string(), line);
        assert!(row.is_success());
    }

    #[test]
    fn whatever_is_missing_fails_the_row() {
        let mut complained = run(1, 0, &[], 0);
        complained.kernel_complaints.push(vec!["WARNING: x".into()]);
        let mut uncounted = run(1, 0, &[], 0);
        uncounted.counts = None;
        let mut unended = run(1, 0, &[], 0);
        unended.status = None;
        let mut unexplained = run(1, 0, &["x: y"], 0);
        unexplained.skips.clear();
        let cases = [
            run(1, 1, &[], 1),
            run(1, 0, &[], 7),
            run(0, 0, &[], 0),
            complained,
            uncounted,
            unended,
            unexplained,
        ];
        for run in &cases {
            let row = row(Some(run), None);
            assert!(!row.is_success(), "{row}");
            assert!(!MatrixSummary::new(vec![row]).is_success());
        }
        let row = row(None, Some("no output for 240 s"));
        assert!(row.to_string().contains("never began: no output"), "{row}");
        assert_eq!(MatrixSummary::new(vec![row]).failed, 1);
    }
}
