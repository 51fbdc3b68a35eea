//! Which program observes what, how: one table. A plan is chosen for each intent by itself; an
//! intent has a plan when all of its programs of that plan are attached.

use crate::status::{Intent, Plan};

/// How a program hangs on its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// BPF trampoline before a function.
    Fentry,
    /// BPF trampoline behind a function.
    Fexit,
    /// kprobe at a function's begin.
    Kprobe,
    /// kretprobe at a function's return.
    Kretprobe,
    /// Typed raw tracepoint.
    TpBtf,
    /// Iterator; runs when its file is read.
    Iter,
}

impl HookKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::TpBtf => "tp_btf",
            Self::Iter => "iter",
        }
    }
}

/// One program and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Name in the object file and, cut at 15 characters, in `bpftool prog`.
    pub program: &'static str,
    /// How it hangs.
    pub kind: HookKind,
    /// On which kernel function or tracepoint.
    pub target: &'static str,
    /// In which plan.
    pub plan: Plan,
    /// For which intents; a program may serve two.
    pub intents: &'static [Intent],
}

impl Spec {
    /// `fentry/tcp_keepalive_timer`
    #[must_use]
    pub fn hook(&self) -> String {
        format!("{}/{}", self.kind.label(), self.target)
    }
}

use HookKind::{Fentry, Fexit, Iter, Kprobe, Kretprobe, TpBtf};
use Intent::{
    ExactRtt, Holders, KeepaliveProbe, KeepaliveRun, Reset, Sockets, State, WriteRun, ZeroWindowProbe,
};

const fn spec(
    program: &'static str,
    kind: HookKind,
    target: &'static str,
    plan: Plan,
    intents: &'static [Intent],
) -> Spec {
    Spec { program, kind, target, plan, intents }
}

/// Every program, in order of attachment.
pub const TABLE: &[Spec] = &[
    spec("ka_set_state", TpBtf, "inet_sock_set_state", Plan::Tracepoint, &[State]),
    // A tracepoint runs its programs in the order in which they came: the second of two stands behind the first.
    spec("ka_state_again", TpBtf, "inet_sock_set_state", Plan::Tracepoint, &[State]),
    spec("ka_receive_reset", TpBtf, "tcp_receive_reset", Plan::Tracepoint, &[Reset]),
    spec("ka_reset_again", TpBtf, "tcp_receive_reset", Plan::Tracepoint, &[Reset]),
    spec("ka_segment", TpBtf, "tcp_probe", Plan::Tracepoint, &[ExactRtt]),
    spec("ka_fentry_keepalive", Fentry, "tcp_keepalive_timer", Plan::Fentry, &[KeepaliveRun]),
    spec("ka_fexit_keepalive", Fexit, "tcp_keepalive_timer", Plan::Fentry, &[KeepaliveRun]),
    spec("ka_fexit_wakeup", Fexit, "tcp_write_wakeup", Plan::Fentry, &[KeepaliveProbe]),
    spec("ka_fentry_write", Fentry, "tcp_write_timer", Plan::Fentry, &[WriteRun]),
    spec("ka_fexit_write", Fexit, "tcp_write_timer", Plan::Fentry, &[WriteRun]),
    spec("ka_fentry_handler", Fentry, "tcp_write_timer_handler", Plan::Fentry, &[WriteRun]),
    spec("ka_fexit_handler", Fexit, "tcp_write_timer_handler", Plan::Fentry, &[WriteRun]),
    spec("ka_fexit_probe0", Fexit, "tcp_send_probe0", Plan::Fentry, &[ZeroWindowProbe]),
    spec("ka_kprobe_keepalive", Kprobe, "tcp_keepalive_timer", Plan::Kprobe, &[KeepaliveRun]),
    spec("ka_kret_keepalive", Kretprobe, "tcp_keepalive_timer", Plan::Kprobe, &[KeepaliveRun]),
    spec("ka_kprobe_wakeup", Kprobe, "tcp_write_wakeup", Plan::Kprobe, &[KeepaliveProbe]),
    spec("ka_kret_wakeup", Kretprobe, "tcp_write_wakeup", Plan::Kprobe, &[KeepaliveProbe]),
    spec("ka_kprobe_write", Kprobe, "tcp_write_timer", Plan::Kprobe, &[WriteRun]),
    spec("ka_kret_write", Kretprobe, "tcp_write_timer", Plan::Kprobe, &[WriteRun]),
    spec("ka_kprobe_handler", Kprobe, "tcp_write_timer_handler", Plan::Kprobe, &[WriteRun]),
    spec("ka_kret_handler", Kretprobe, "tcp_write_timer_handler", Plan::Kprobe, &[WriteRun]),
    spec("ka_kprobe_probe0", Kprobe, "tcp_send_probe0", Plan::Kprobe, &[ZeroWindowProbe]),
    spec("ka_kret_probe0", Kretprobe, "tcp_send_probe0", Plan::Kprobe, &[ZeroWindowProbe]),
    spec(TIMER_ENTRY, TpBtf, "timer_expire_entry", Plan::Tracepoint, TIMER_INTENTS),
    spec("ka_timer_exit", TpBtf, "timer_expire_exit", Plan::Tracepoint, TIMER_INTENTS),
    spec(ITER_TCP, Iter, "tcp", Plan::Iterator, &[Sockets]),
    spec(ITER_FILE, Iter, "task_file", Plan::Iterator, &[Holders]),
];

/// The program that tells every socket of a network namespace.
pub(super) const ITER_TCP: &str = "ka_iter_tcp";
/// The program that tells which process holds which socket.
pub(super) const ITER_FILE: &str = "ka_iter_file";

/// The program that knows the timers by the addresses of their functions.
pub(super) const TIMER_ENTRY: &str = "ka_timer_entry";

/// The end of a run finds out by itself whether a probe was sent, so that on the tracepoint plan
/// the programs of the runs serve the probes too.
const TIMER_INTENTS: &[Intent] = &[KeepaliveRun, KeepaliveProbe, WriteRun, ZeroWindowProbe];

/// What is to be observed, in order. Runs come before the probes that are seen within them.
pub(super) const INTENTS: &[Intent] =
    &[State, Reset, KeepaliveRun, KeepaliveProbe, WriteRun, ZeroWindowProbe, ExactRtt, Sockets, Holders];

/// Whether the daemon can do its work without this.
#[must_use]
pub const fn required(intent: Intent) -> bool {
    !matches!(intent, ExactRtt | Sockets | Holders)
}

/// The plans to try for an intent, best first.
pub(super) fn candidates(intent: Intent, forced: Option<Plan>) -> Vec<Plan> {
    Plan::ALL
        .into_iter()
        .chain([Plan::Iterator])
        .filter(|plan| programs(intent, *plan).next().is_some())
        .filter(|plan| forced.is_none_or(|forced| *plan == forced) || of_every_plan(intent))
        .collect()
}

/// States and resets are tracepoints, sockets and their holders iterators, whatever the plan.
const fn of_every_plan(intent: Intent) -> bool {
    matches!(intent, State | Reset | ExactRtt | Sockets | Holders)
}

/// The programs that an intent needs on a plan, as indices of [`TABLE`].
pub(super) fn programs(intent: Intent, plan: Plan) -> impl Iterator<Item = usize> {
    (0..TABLE.len()).filter(move |&i| TABLE[i].plan == plan && TABLE[i].intents.contains(&intent))
}

/// The verdict over what was tried for one intent: the plan, and why this one.
pub(super) fn verdict(plan: Plan, forced: Option<Plan>, failures: &[(Plan, String)]) -> String {
    if failures.is_empty() {
        return if forced == Some(plan) { "forced by --hooks".into() } else { "the best there is".into() };
    }
    let failed: Vec<_> = failures.iter().map(|(plan, error)| format!("{}: {error}", plan.label())).collect();
    failed.join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_hooked_intent_has_a_tracepoint_plan() {
        for &intent in INTENTS.iter().filter(|intent| !matches!(intent, Sockets | Holders)) {
            assert!(candidates(intent, None).contains(&Plan::Tracepoint), "{intent:?}");
        }
    }

    #[test]
    fn a_forced_plan_is_the_only_candidate() {
        for plan in Plan::ALL {
            assert_eq!(candidates(KeepaliveRun, Some(plan)), [plan]);
            assert_eq!(candidates(State, Some(plan)), [Plan::Tracepoint]);
        }
    }

    #[test]
    fn program_names_are_unique_and_distinct_in_bpftool() {
        let names: HashSet<_> =
            TABLE.iter().map(|spec| &spec.program[..spec.program.len().min(15)]).collect();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn a_verdict_names_what_failed() {
        let failures = [(Plan::Fentry, "EPERM".to_owned())];
        assert_eq!(verdict(Plan::Kprobe, None, &failures), "fentry: EPERM");
        assert_eq!(verdict(Plan::Fentry, None, &[]), "the best there is");
        assert_eq!(verdict(Plan::Kprobe, Some(Plan::Kprobe), &[]), "forced by --hooks");
    }
}
