//! `ka-daemon check`: what this kernel offers, what would be attached, what is missing and how to
//! get it. Attaches to find out, and leaves nothing attached.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::args::CheckArgs;
use super::check_config;
use crate::bpf::{self, Options};
use crate::config::ConfigError;
use crate::kernel::Kernel;
use crate::status::{Intent, IntentStatus, Plan, ProgramStatus};

/// What `check` found, a contract in JSON: fields may be added, these stay.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Nothing required is missing.
    pub usable: bool,
    /// Nothing at all is missing.
    pub complete: bool,
    /// The kernel; none where it could not be inspected.
    pub kernel: Option<KernelReport>,
    /// Whom the daemon would run as.
    pub effective_uid: u32,
    /// The plan that each intent would get, and why.
    pub intents: Vec<IntentStatus>,
    /// Programs of every plan; `attached`: it could be attached.
    pub programs: Vec<ProgramStatus>,
    /// What is missing, required things first.
    pub missing: Vec<Missing>,
}

/// The kernel as it was found.
#[derive(Debug, Serialize)]
pub struct KernelReport {
    /// `uname -r`.
    pub release: String,
    /// Where type information came from.
    pub btf: String,
    /// Jiffies per second.
    pub hz: u32,
}

/// Something that is missing.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Whether the daemon cannot run without it.
    pub required: bool,
    /// What it is.
    pub what: String,
    /// Why, and what to do.
    pub why: String,
}

/// What the plans gave, tried one by one: as [`bpf::probe`] returns it.
pub type Tried = Vec<(Plan, Vec<IntentStatus>, Vec<ProgramStatus>)>;

/// Looks at this machine.
#[must_use]
pub fn inspect(btf: Option<&std::path::Path>) -> Report {
    let kernel = match Kernel::inspect(btf) {
        Ok(kernel) => kernel,
        Err(error) => return Report::failed(None, "kernel", error.to_string()),
    };
    let shown =
        KernelReport { release: kernel.release.clone(), btf: kernel.btf_source.clone(), hz: kernel.hz };
    let options = Options {
        hooks: None,
        ring_bytes: 64 << 10,
        max_sockets: 1024,
        idle_floor: Duration::from_secs(10),
        rtt_exact: true,
        bpf_stats: false,
        iterators: true,
    };
    match bpf::probe(&kernel, &options) {
        Ok(tried) => {
            let degraded = kernel.degraded.iter().map(|degraded| Missing {
                required: false,
                what: degraded.feature.to_owned(),
                why: format!("off: this kernel has no {}", degraded.missing),
            });
            Report::new(shown, tried, degraded)
        }
        Err(error) => Report::failed(Some(shown), "kernel programs", error.to_string()),
    }
}

/// Why `check` came to no verdict, or to a bad one that needs no report.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The report cannot be written.
    #[error("cannot write the report")]
    Write(#[from] io::Error),
    /// The configuration file is not fit for use.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Inspects, reports, and tells whether nothing was found missing that counts.
///
/// # Errors
/// When the report cannot be written, or the configuration file is not fit for use.
pub fn run(args: &CheckArgs, out: &mut impl Write) -> Result<bool, CheckError> {
    if let Some(path) = &args.config {
        return check_config::run(path, args.json, out);
    }
    let report = inspect(args.btf.as_deref());
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        report.write(out)?;
        if let (Some(path), false) = (&args.btf, report.usable) {
            let path = path.display();
            writeln!(
                out,
                "\nthe type information is that of {path} (--btf), which must be of the running kernel"
            )?;
        }
    }
    out.flush()?;
    Ok(if args.strict { report.complete } else { report.usable })
}

impl Report {
    fn failed(kernel: Option<KernelReport>, what: &str, why: String) -> Self {
        Self::finish(
            kernel,
            Vec::new(),
            Vec::new(),
            vec![Missing { required: true, what: what.to_owned(), why }],
        )
    }

    /// The verdict over what was tried: pure.
    pub fn new(kernel: KernelReport, tried: Tried, degraded: impl IntoIterator<Item = Missing>) -> Self {
        let mut intents: Vec<IntentStatus> = Vec::new();
        let mut programs: Vec<ProgramStatus> = Vec::new();
        let mut missing: Vec<Missing> = degraded.into_iter().collect();
        let mut failures: Vec<(Intent, Plan, String)> = Vec::new();
        for (plan, statuses, tried_programs) in tried {
            for status in statuses {
                if intents.iter().any(|known| known.intent == status.intent && known.plan.is_some()) {
                    continue;
                }
                if status.plan.is_none() {
                    failures.push((status.intent, plan, status.reason.clone()));
                }
                intents.retain(|known| known.intent != status.intent);
                intents.push(status);
            }
            for program in tried_programs {
                if !programs.iter().any(|known| known.program == program.program) {
                    programs.push(program);
                }
            }
        }
        intents.sort_by_key(|status| status.intent);
        for status in &mut intents {
            let why: Vec<_> = failures
                .iter()
                .filter(|(intent, ..)| *intent == status.intent)
                .map(|(_, _, reason)| reason.clone())
                .collect();
            status.reason = if why.is_empty() { "the best there is".to_owned() } else { why.join("; ") };
            if status.plan.is_none() {
                missing.push(Missing {
                    required: bpf::required(status.intent),
                    what: status.intent.label().to_owned(),
                    why: status.reason.clone(),
                });
            }
        }
        Self::finish(Some(kernel), intents, programs, missing)
    }

    fn finish(
        kernel: Option<KernelReport>,
        intents: Vec<IntentStatus>,
        programs: Vec<ProgramStatus>,
        mut missing: Vec<Missing>,
    ) -> Self {
        missing.sort_by_key(|missing| !missing.required);
        Self {
            usable: !missing.iter().any(|missing| missing.required),
            complete: missing.is_empty() && programs.iter().all(|program| program.attached),
            kernel,
            effective_uid: rustix::process::geteuid().as_raw(),
            intents,
            programs,
            missing,
        }
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        if let Some(kernel) = &self.kernel {
            writeln!(out, "kernel      {} (HZ {})", kernel.release, kernel.hz)?;
            writeln!(out, "BTF         {}", kernel.btf)?;
        }
        let root = if self.effective_uid == 0 { " (root)" } else { "" };
        writeln!(out, "running as  uid {}{root}", self.effective_uid)?;
        if !self.intents.is_empty() {
            writeln!(out, "\nwhat would be observed, and how:")?;
        }
        for status in &self.intents {
            let plan = status.plan.map_or("none", Plan::label);
            writeln!(out, "  {:<18} {plan:<11} {}", status.intent.label(), status.reason)?;
        }
        if !self.programs.is_empty() {
            writeln!(out, "\nprograms:")?;
        }
        for program in &self.programs {
            let verdict = program.error.as_deref().unwrap_or("ok");
            writeln!(out, "  {:<20} {:<32} {verdict}", program.program, program.hook)?;
        }
        if !self.missing.is_empty() {
            writeln!(out, "\nmissing:")?;
        }
        for missing in &self.missing {
            let weight = if missing.required { "required" } else { "optional" };
            writeln!(out, "  {weight}: {}: {}", missing.what, missing.why)?;
        }
        let verdict = match (self.usable, self.complete) {
            (true, true) => "everything works on this kernel",
            (true, false) => "usable; not everything works on this kernel",
            (false, _) => "not usable: something required is missing",
        };
        writeln!(out, "\n{verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(program: &'static str, plan: Plan, error: Option<&str>) -> ProgramStatus {
        ProgramStatus {
            program,
            hook: format!("hook/{program}"),
            plan,
            intent: Intent::KeepaliveRun,
            attached: error.is_none(),
            error: error.map(str::to_owned),
            runs: None,
            run_ns: None,
            missed: None,
        }
    }

    fn tried(intent: Intent, errors: [Option<&str>; 3]) -> Tried {
        let one = |(plan, error): (Plan, Option<&str>)| {
            let reason =
                error.map_or_else(|| "forced by --hooks".to_owned(), |e| format!("{}: {e}", plan.label()));
            let status = IntentStatus { intent, plan: error.is_none().then_some(plan), reason };
            (plan, vec![status], vec![program(plan.label(), plan, error)])
        };
        Plan::ALL.into_iter().zip(errors).map(one).collect()
    }

    fn report(intent: Intent, errors: [Option<&str>; 3]) -> Report {
        let kernel = KernelReport { release: "6.1.0".to_owned(), btf: "/btf".to_owned(), hz: 250 };
        Report::new(kernel, tried(intent, errors), None)
    }

    #[test]
    fn the_best_plan_that_works_is_chosen_and_the_better_ones_excused() {
        let all = report(Intent::KeepaliveRun, [None; 3]);
        assert_eq!((all.usable, all.complete), (true, true));
        assert_eq!(all.intents[0].plan, Some(Plan::Fentry));
        assert_eq!(all.intents[0].reason, "the best there is");

        let second = report(Intent::KeepaliveRun, [Some("EPERM"), None, None]);
        assert_eq!((second.usable, second.complete), (true, false));
        assert_eq!(second.intents[0].plan, Some(Plan::Kprobe));
        assert_eq!(second.intents[0].reason, "fentry: EPERM");
    }

    #[test]
    fn without_any_plan_what_is_required_makes_it_unusable() {
        let none = report(Intent::KeepaliveRun, [Some("EPERM"), Some("ENOENT"), Some("no symbol")]);
        assert_eq!((none.usable, none.complete), (false, false));
        let why = "fentry: EPERM; kprobe: ENOENT; tracepoint: no symbol".to_owned();
        assert_eq!(none.missing, [Missing { required: true, what: "keepalive_run".to_owned(), why }]);
    }

    #[test]
    fn without_any_plan_what_is_optional_only_makes_it_incomplete() {
        let none = report(Intent::ExactRtt, [Some("a"), Some("b"), Some("c")]);
        assert_eq!((none.usable, none.complete), (true, false));
        assert!(!none.missing[0].required);
    }

    #[test]
    fn a_member_that_is_missing_makes_it_incomplete() {
        let kernel = KernelReport { release: "6.1.0".to_owned(), btf: "/btf".to_owned(), hz: 250 };
        let missing = Missing { required: false, what: "cgroups".to_owned(), why: "off".to_owned() };
        let report = Report::new(kernel, tried(Intent::KeepaliveRun, [None; 3]), [missing]);
        assert_eq!((report.usable, report.complete), (true, false));
    }

    #[test]
    fn a_kernel_that_cannot_be_inspected_is_reported() {
        let failed = Report::failed(None, "kernel", "no BTF".to_owned());
        let mut text = Vec::new();
        failed.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\nmissing:\n  required: kernel: no BTF\n"), "{text}");
        assert!(text.ends_with("not usable: something required is missing\n"), "{text}");
    }
}
