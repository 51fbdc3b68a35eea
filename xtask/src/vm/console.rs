//! Reads a guest's console, pure and line by line: `init.sh`'s marks, the tests' own lines, and a dying kernel.

/// Kernel messages after which no test result of this guest can be trusted.
const FATAL: [&str; 9] = [
    "Kernel panic - not syncing",
    "BUG: soft lockup",
    "BUG: unable to handle",
    "BUG: kernel NULL pointer",
    "BUG: KASAN",
    "Oops:",
    "general protection fault",
    "detected stall",
    "self-detected stall",
];
/// Kernel messages in the log of a plan that make it fail although the guest lived on.
const BAD_LOG: [&str; 7] = [
    "WARNING: ",
    "BUG: ",
    "UBSAN: ",
    "INFO: rcu_",
    "INFO: task ",
    "verifier bug",
    "REG INVARIANTS VIOLATION",
];
/// Lines kept of one failing scenario or one kernel message.
const EXCERPT_LINES: usize = 40;

/// What became of one plan in one guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PlanRun {
    /// The hook plan.
    pub(super) plan: String,
    /// From the tests' closing line; none if they never came to it.
    pub(super) counts: Option<Counts>,
    /// The exit status of the tests; none if they never ended.
    pub(super) status: Option<i32>,
    /// `name: reason` of each skipped scenario.
    pub(super) skips: Vec<String>,
    /// The lines of each failing scenario.
    pub(super) failures: Vec<Vec<String>>,
    /// Warnings in the kernel's log.
    pub(super) kernel_complaints: Vec<Vec<String>>,
    /// Whether also the kernel's log of it has come.
    pub(super) ended: bool,
}

/// The closing line of the end-to-end tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Scenarios that passed.
    pub(super) passed: usize,
    /// Scenarios that failed.
    pub(super) failed: usize,
    /// Scenarios that this kernel cannot run.
    pub(super) skipped: usize,
}

/// What a line means for the guest as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing.
    Line,
    /// A plan begins.
    Begun(String),
    /// A plan ended.
    Ended(String),
    /// The guest is done with all plans.
    Done,
    /// The guest is lost, and why.
    Fatal(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Outside,
    Tests,
    Log,
}

/// The state of the reading.
#[derive(Debug)]
pub(super) struct Console {
    part: Part,
    runs: Vec<PlanRun>,
    /// Whether the next lines belong to the last failure or complaint.
    collecting: bool,
    /// Of lines before the first plan, for a guest that never comes to one.
    last: Vec<String>,
}

impl Console {
    /// Before the first line.
    pub(super) fn new() -> Self {
        Self { part: Part::Outside, runs: Vec::new(), collecting: false, last: Vec::new() }
    }

    /// The plans begun so far.
    pub(super) fn runs(&self) -> &[PlanRun] {
        &self.runs
    }

    /// The last lines of all.
    pub(super) fn tail(&self) -> &[String] {
        &self.last
    }

    /// Takes one line, without its end.
    pub(super) fn line(&mut self, line: &str) -> Event {
        if self.last.len() == EXCERPT_LINES {
            self.last.remove(0);
        }
        self.last.push(line.to_owned());
        if let Some(mark) = line.strip_prefix("@@KA ") {
            return self.mark(mark);
        }
        if let Some(message) = kernel_message(line)
            && FATAL.iter().any(|text| message.contains(text))
        {
            return Event::Fatal(message.to_owned());
        }
        let part = self.part;
        if let Some(run) = self.runs.last_mut() {
            match part {
                Part::Outside => {}
                Part::Tests => self.collecting = test_line(run, line, self.collecting),
                Part::Log => self.collecting = log_line(run, line, self.collecting),
            }
        }
        Event::Line
    }

    fn mark(&mut self, mark: &str) -> Event {
        self.collecting = false;
        let mut words = mark.split(' ');
        let kind = words.next().unwrap_or_default();
        let plan = words.next().unwrap_or_default().to_owned();
        match kind {
            "BEGIN" => {
                self.part = Part::Tests;
                self.runs.push(PlanRun { plan: plan.clone(), ..PlanRun::default() });
                Event::Begun(plan)
            }
            "END" => {
                self.part = Part::Log;
                if let Some(run) = self.runs.last_mut() {
                    run.status = words.next().and_then(|status| status.parse().ok());
                }
                Event::Line
            }
            "DMESG" => {
                self.part = Part::Outside;
                if let Some(run) = self.runs.last_mut() {
                    run.ended = true;
                }
                Event::Ended(plan)
            }
            "DONE" => Event::Done,
            _ => Event::Fatal(mark.to_owned()),
        }
    }
}

/// The tests print `PASS name`, `SKIP name: reason`, `FAIL name: …` with more lines behind it, and last the counts.
fn test_line(run: &mut PlanRun, line: &str, collecting: bool) -> bool {
    if let Some(counts) = closing_line(line) {
        run.counts = Some(counts);
        return false;
    }
    if let Some(skip) = line.strip_prefix("SKIP ") {
        run.skips.push(skip.trim().to_owned());
        return false;
    }
    if line.starts_with("FAIL ") {
        run.failures.push(vec![line.to_owned()]);
        return true;
    }
    if ["PASS ", "ok ", "OK "].iter().any(|start| line.starts_with(start)) {
        return false;
    }
    collect(run.failures.last_mut(), line, collecting)
}

fn log_line(run: &mut PlanRun, line: &str, collecting: bool) -> bool {
    let message = kernel_message(line).unwrap_or(line);
    if BAD_LOG.iter().any(|bad| message.starts_with(bad))
        || BAD_LOG[5..].iter().any(|bad| message.contains(bad))
    {
        run.kernel_complaints.push(vec![line.to_owned()]);
        return true;
    }
    collect(run.kernel_complaints.last_mut(), line, collecting)
}

fn collect(block: Option<&mut Vec<String>>, line: &str, collecting: bool) -> bool {
    match block {
        Some(block) if collecting && block.len() < EXCERPT_LINES => {
            block.push(line.to_owned());
            true
        }
        Some(_) | None => false,
    }
}

/// `27 passed, 0 failed, 1 skipped`, alone on its line.
fn closing_line(line: &str) -> Option<Counts> {
    let mut parts = line.trim().split(", ");
    let mut count = |word: &str| parts.next()?.strip_suffix(word)?.strip_suffix(' ')?.parse().ok();
    let counts = Counts { passed: count("passed")?, failed: count("failed")?, skipped: count("skipped")? };
    parts.next().is_none().then_some(counts)
}

/// What stands behind the time stamp of a kernel message, also where it interrupts another line.
fn kernel_message(line: &str) -> Option<&str> {
    line.match_indices('[').find_map(|(at, _)| {
        let (stamp, message) = line[at + 1..].split_once("] ")?;
        let stamp = stamp.trim_start();
        let is_time = stamp.contains('.') && stamp.chars().all(|c| c.is_ascii_digit() || c == '.');
        is_time.then_some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Console, Vec<Event>) {
        let mut console = Console::new();
        let events =
            text.lines().map(|line| console.line(line)).filter(|event| *event != Event::Line).collect();
        (console, events)
    }

    #[test]
    fn a_plan_is_read_to_its_end() {
        let (console, events) = read(
            "[    2.0] booted\n@@KA BEGIN fentry 6.1.0\nPASS a (1.0 s)\nSKIP b: needs 6.12\nFAIL c: sent 3\n  left: 3\n\
             PASS d\nnoise\n2 passed, 1 failed, 1 skipped\n\n@@KA END fentry 1\n[   9.1] WARNING: CPU: 0 at x\n\
             [   9.1] trace\n@@KA DMESG fentry\n@@KA DONE\n",
        );
        assert_eq!(events, [Event::Begun("fentry".into()), Event::Ended("fentry".into()), Event::Done]);
        let run = &console.runs()[0];
        assert_eq!(run.counts, Some(Counts { passed: 2, failed: 1, skipped: 1 }));
        assert_eq!((run.status, run.ended), (Some(1), true));
        assert_eq!(run.skips, ["b: needs 6.12"]);
        assert_eq!(run.failures, [["FAIL c: sent 3", "  left: 3"]]);
        assert_eq!(run.kernel_complaints.len(), 1);
        assert_eq!(run.kernel_complaints[0].len(), 2);
    }

    #[test]
    fn a_boot_warning_of_the_processor_is_no_complaint() {
        let (console, _) = read(
            "@@KA BEGIN p r\n@@KA END p 0\n[ 1.0] Spectre V2 : WARNING: Unprivileged eBPF is enabled\n@@KA DMESG p\n",
        );
        assert!(console.runs()[0].kernel_complaints.is_empty());
    }

    #[test]
    fn a_dying_kernel_is_seen_also_within_a_line() {
        for text in [
            "[   12.345678] Kernel panic - not syncing: Fatal exception",
            "PASS a[   12.345678] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
            "[    3.000000] rcu: INFO: rcu_sched self-detected stall on CPU",
        ] {
            assert!(matches!(Console::new().line(text), Event::Fatal(_)), "{text}");
        }
        assert_eq!(Console::new().line("a test that prints Oops: nothing"), Event::Line);
    }

    #[test]
    fn what_the_guest_cannot_do_ends_it() {
        let event = Console::new().line("@@KA BROKEN cannot run in the guest: modprobe veth");
        assert_eq!(event, Event::Fatal("BROKEN cannot run in the guest: modprobe veth".into()));
    }
}
