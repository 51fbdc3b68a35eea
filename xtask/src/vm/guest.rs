//! Boots one guest in qemu, keeps its console in a log file, and ends it when it hangs or its kernel dies.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::console::{Console, Event, PlanRun};
use super::kernel::Kernel;
use super::report::Row;
use crate::sh;

const QEMU: &str = "qemu-system-x86_64";
/// The longest a guest may take for all plans.
const TIMEOUT: Duration = Duration::from_mins(20);
/// How a guest was lost that says nothing any more.
const SILENT: &str = "no output";
/// The longest it may be silent.
const SILENCE: Duration = Duration::from_mins(4);
/// How long a dying kernel may go on to print its trace.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How often a line says that a guest is still running.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Boots of a guest that dies before any test began, or for what [`Machine::slipped`] tells.
const BOOTS: u32 = 5;
/// What an emulated processor dies of that runs an instruction which its kernel has patched meanwhile: no
/// processor does, and a kernel patches itself whenever a tracepoint gets its first program (seen on 7.3 with
/// QEMU 7.2, now and then, in `sched_clock_cpu` at start and in `call_timer_fn` later; on 6.12 too).
const MISPATCHED: &str = "Oops: int3";
/// Up to seven daemons run at a time, each with 94 MiB of maps: 1 GiB is too little for them.
const MEMORY_MIB: &str = "2048";
const PROCESSORS: &str = "2";

/// How guests run on this machine.
pub(super) struct Machine {
    qemu: PathBuf,
    accelerator: &'static str,
    reason: String,
}

impl Machine {
    /// Finds qemu and the accelerator that works.
    pub(super) fn find(store: &Path) -> anyhow::Result<Self> {
        let qemu = sh::find_program(QEMU).with_context(|| {
            format!("{QEMU} is missing; install the package qemu-system-x86 to run the guest matrix")
        })?;
        fs::create_dir_all(store).with_context(|| format!("cannot create {}", store.display()))?;
        let (accelerator, reason) = match kvm_trouble(&qemu) {
            None => ("kvm", "KVM works here".to_owned()),
            Some(trouble) => ("tcg,thread=multi", format!("emulated: {trouble}")),
        };
        Ok(Self { qemu, accelerator, reason })
    }

    /// One line for the user.
    pub(super) fn describe(&self) -> String {
        let name = self.accelerator.split(',').next().unwrap_or(self.accelerator).to_uppercase();
        format!("guests run in {} with {name} ({})", self.qemu.display(), self.reason)
    }

    /// Whether a guest that was lost for this may be right, and its processor was not: of an instruction that was
    /// patched away, or still after the tests' closing line, when all that is left to do is the kernel's own
    /// (a trace ends, which patches it too; seen once, on 6.1). Never where a scenario had failed before.
    fn slipped(&self, why: &str, console: &Console) -> bool {
        let last = console.runs().last();
        let failed = last.is_some_and(|run| !run.failures.is_empty());
        let closed = last.is_some_and(|run| run.counts.is_some() && run.status.is_none());
        self.accelerator.starts_with("tcg")
            && !failed
            && (why.contains(MISPATCHED) || closed && why.starts_with(SILENT))
    }

    fn command(&self, kernel: &Kernel, initrd: &Path, serial: &str, plans: &[String]) -> Command {
        // A guest must not outlive us, also when we are killed.
        let mut command = match sh::find_program("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]).arg(&self.qemu);
                command
            }
            None => Command::new(&self.qemu),
        };
        command.args(["-accel", self.accelerator, "-cpu", "max", "-smp", PROCESSORS, "-m", MEMORY_MIB]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", serial]);
        command.arg("-kernel").arg(&kernel.vmlinuz).arg("-initrd").arg(initrd);
        // What the kernel does not know becomes the first process's environment.
        let plans = format!("ka_plans={}", plans.join(","));
        command.arg("-append").arg(format!("console=ttyS0 quiet panic=-1 oops=panic {plans}"));
        command
    }
}

/// Why KVM cannot be used: only a machine with a processor in it shows that for sure.
fn kvm_trouble(qemu: &Path) -> Option<String> {
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        return Some(format!("/dev/kvm cannot be opened: {error}"));
    }
    let probe = Command::new(qemu)
        .args(["-accel", "kvm", "-cpu", "max", "-m", "64", "-nodefaults", "-display", "none", "-S"])
        .args(["-monitor", "stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            // A qemu that died on the way has closed the pipe; its exit status tells.
            if let Some(mut monitor) = child.stdin.take() {
                drop(monitor.write_all(b"quit\n"));
            }
            child.wait_with_output()
        });
    match probe {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text.lines().next().unwrap_or("no reason given");
            Some(format!("KVM fails here ({})", line.trim_start_matches(&format!("{QEMU}: "))))
        }
        Err(error) => Some(format!("{QEMU} cannot be started with KVM: {error}")),
    }
}

/// One guest to run.
pub(super) struct Job {
    /// What to boot.
    pub(super) kernel: Kernel,
    /// Its initramfs.
    pub(super) initrd: PathBuf,
    /// Where its console goes.
    pub(super) log: PathBuf,
}

/// A guest with a terminal.
pub(super) fn shell(machine: &Machine, kernel: &Kernel, initrd: &Path) -> anyhow::Result<()> {
    sh::say(&format!("booting {}; leave with 'exit', or ctrl-a x", kernel.release));
    let ended = sh::run(&mut machine.command(kernel, initrd, "mon:stdio", &[]));
    remove(initrd)?;
    ended
}

fn remove(initrd: &Path) -> anyhow::Result<()> {
    fs::remove_file(initrd).with_context(|| format!("cannot remove {}", initrd.display()))
}

/// Runs the guest to its end; a row for each plan, whatever happens.
pub(super) fn run(machine: &Machine, job: &Job, plans: &[String]) -> anyhow::Result<Vec<Row>> {
    let version = &job.kernel.version;
    let started = Instant::now();
    let folder = job.log.parent().context("a log lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut log = File::create(&job.log).with_context(|| format!("cannot write {}", job.log.display()))?;
    let mut runs = Vec::new();
    let mut boots = 0;
    let (console, lost) = loop {
        boots += 1;
        let left: Vec<String> = plans.iter().filter(|&plan| find(&runs, plan).is_none()).cloned().collect();
        let (console, lost) = boot(machine, job, &left, &mut log, started)?;
        let again = lost.as_deref().filter(|&why| {
            boots < BOOTS
                && ((runs.is_empty() && console.runs().is_empty()) || machine.slipped(why, &console))
        });
        let Some(why) = again else {
            runs.extend_from_slice(console.runs());
            break (console, lost);
        };
        runs.extend(console.runs().iter().filter(|run| run.ended).cloned());
        sh::say(&format!(
            "{version}: died ({why}) with {} plans to go; booting again",
            plans.len() - runs.len()
        ));
    };
    remove(&job.initrd)?;
    sh::say(&format!("{version}: ended after {} s", started.elapsed().as_secs()));
    let mut rows: Vec<Row> = plans
        .iter()
        .map(|plan| Row::new(version, plan, find(&runs, plan), lost.as_deref(), &job.log))
        .collect();
    if lost.is_some()
        && let Some(row) = rows.iter_mut().find(|row| !row.is_success())
    {
        row.excerpts.push(format!("the guest's last lines:\n{}", console.tail().join("\n")));
    }
    Ok(rows)
}

fn find<'a>(runs: &'a [PlanRun], plan: &str) -> Option<&'a PlanRun> {
    runs.iter().find(|run| run.plan == plan)
}

/// Boots once, and watches to the end; what it said, and why it was lost, if it was.
fn boot(
    machine: &Machine,
    job: &Job,
    plans: &[String],
    log: &mut File,
    started: Instant,
) -> anyhow::Result<(Console, Option<String>)> {
    let version = &job.kernel.version;
    sh::say(&format!("{version}: booting (log {})", job.log.display()));
    let mut child = machine
        .command(&job.kernel, &job.initrd, "stdio", plans)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone().context("cannot share the log file")?)
        .spawn()
        .with_context(|| format!("cannot start {QEMU}"))?;
    let lines = lines_of(&mut child)?;
    let mut console = Console::new();
    let watched = watch(&lines, log, &mut console, version, started);
    // Gone already where it powered off; a kill of our own child is right in every other case.
    if child.try_wait().context("cannot look after qemu")?.is_none() {
        child.kill().context("cannot end qemu")?;
    }
    let status = child.wait().context("cannot wait for qemu")?;
    let lost = match watched? {
        End::Done => None,
        End::Lost(why) => Some(why),
        End::Closed if status.success() => Some("the guest powered off early".to_owned()),
        End::Closed => Some(format!("qemu ended ({status})")),
    };
    Ok((console, lost))
}

/// How the watch over a guest ended.
enum End {
    Done,
    Closed,
    Lost(String),
}

fn watch(
    lines: &Receiver<String>,
    log: &mut File,
    console: &mut Console,
    version: &str,
    started: Instant,
) -> anyhow::Result<End> {
    let mut spoke = Instant::now();
    let mut said = spoke;
    let mut deadline = spoke + TIMEOUT;
    let mut dying: Option<String> = None;
    let mut plan = "boot".to_owned();
    loop {
        let now = Instant::now();
        if let Some(why) = dying.take_if(|_| now >= deadline) {
            return Ok(End::Lost(why));
        }
        if now >= deadline {
            return Ok(End::Lost(format!("took more than {} s", TIMEOUT.as_secs())));
        }
        if now >= spoke + SILENCE {
            return Ok(End::Lost(format!("{SILENT} for {} s", SILENCE.as_secs())));
        }
        if now >= said + HEARTBEAT {
            let last = console.tail().last().map_or("", String::as_str);
            sh::say(&format!("{version}: {plan}, {} s: {last}", started.elapsed().as_secs()));
            said = now;
        }
        let wake = deadline.min(spoke + SILENCE).min(said + HEARTBEAT);
        let line = match lines.recv_timeout(wake.saturating_duration_since(now)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(dying.map_or(End::Closed, End::Lost)),
        };
        spoke = Instant::now();
        writeln!(log, "{line}").context("cannot write the guest's log")?;
        match console.line(&line) {
            Event::Line => {}
            Event::Begun(name) => {
                sh::say(&format!("{version}: {name} begins after {} s", started.elapsed().as_secs()));
                plan = name;
            }
            Event::Ended(name) => {
                sh::say(&format!("{version}: {name} ended after {} s", started.elapsed().as_secs()));
            }
            Event::Done => return Ok(End::Done),
            Event::Fatal(why) => {
                if dying.is_none() {
                    deadline = spoke + LAST_WORDS;
                    dying = Some(why);
                }
            }
        }
    }
}

/// The console line by line, from a thread that ends with qemu.
fn lines_of(child: &mut Child) -> anyhow::Result<Receiver<String>> {
    let Some(stdout) = child.stdout.take() else { bail!("qemu's standard output was not piped") };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slipped(accelerator: &'static str, why: &str, text: &str) -> bool {
        let machine = Machine { qemu: PathBuf::new(), accelerator, reason: String::new() };
        let mut console = Console::new();
        for line in text.lines() {
            console.line(line);
        }
        machine.slipped(why, &console)
    }

    #[test]
    fn only_an_emulated_guest_without_a_failure_is_given_another_boot() {
        let (tcg, oops, silent) = ("tcg,thread=multi", "Oops: int3: 0000 [#1] SMP", "no output for 240 s");
        let begun = "@@KA BEGIN kprobe 6.1\nPASS a (1.0 s)\n";
        let closed = format!("{begun}1 passed, 0 failed, 0 skipped\n");
        assert!(slipped(tcg, oops, "") && slipped(tcg, oops, begun) && slipped(tcg, silent, &closed));
        assert!(!slipped("kvm", oops, begun) && !slipped("kvm", silent, &closed), "a real processor");
        assert!(!slipped(tcg, silent, begun), "a scenario hangs");
        assert!(!slipped(tcg, "Kernel panic - not syncing", &closed), "the kernel dies of something else");
        let failed = format!("{begun}FAIL b: sent 3\n");
        let closed = format!("{failed}1 passed, 1 failed, 0 skipped\n");
        assert!(!slipped(tcg, oops, &failed) && !slipped(tcg, silent, &closed), "a scenario had failed");
    }
}
