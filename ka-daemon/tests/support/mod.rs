//! What the tests of the serving side share: a kernel side without a kernel, a source without a
//! ring buffer, and files that are compared or, with `UPDATE_GOLDEN=1`, written.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses a part, not all the same")]

use std::io;
use std::path::PathBuf;

use ka_common::{Counters, Kind, Record, Report};
use ka_daemon::events::RecordSource;
use ka_daemon::run::KernelStatus;
use ka_daemon::status::{Intent, IntentStatus, KernelSide, Plan, ProgramStatus};
use tokio::sync::mpsc;
use zerocopy::{FromZeros as _, IntoBytes as _};

/// Compares with a file of the repository.
pub(crate) fn golden(path: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs; look at the change, then run again with UPDATE_GOLDEN=1. It would be:\n{actual}",
        path.display()
    );
}

pub(crate) fn kernel_side(counters: Counters) -> KernelSide {
    let program = |program, hook: &str, attached| ProgramStatus {
        program,
        hook: hook.to_owned(),
        plan: Plan::Tracepoint,
        intent: Intent::KeepaliveRun,
        attached,
        error: (!attached).then(|| "not permitted".to_owned()),
        runs: attached.then_some(12),
        run_ns: attached.then_some(3_400),
        missed: attached.then_some(0),
    };
    KernelSide {
        release: "6.1.0-test".to_owned(),
        btf: "/sys/kernel/btf/vmlinux".to_owned(),
        hz: 250,
        rtt: "simple",
        intents: vec![IntentStatus {
            intent: Intent::KeepaliveRun,
            plan: Some(Plan::Tracepoint),
            reason: "fentry: not permitted".to_owned(),
        }],
        programs: vec![
            program("ka_timer_entry", "tp_btf/timer_expire_entry", true),
            program("ka_fentry_keepalive", "fentry/tcp_keepalive_timer", false),
        ],
        counters,
    }
}

pub(crate) struct FakeKernel(pub(crate) Counters);

impl KernelStatus for FakeKernel {
    fn status(&self) -> KernelSide {
        kernel_side(self.0)
    }

    fn detach(&self) {}
}

/// A source that a test feeds; it fails once its sender is gone.
pub(crate) struct FakeSource {
    incoming: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: Vec<Vec<u8>>,
}

impl FakeSource {
    pub(crate) fn new() -> (mpsc::UnboundedSender<Vec<u8>>, Self) {
        let (sender, incoming) = mpsc::unbounded_channel();
        (sender, Self { incoming, waiting: Vec::new() })
    }
}

impl RecordSource for FakeSource {
    fn drain(&mut self, each: &mut dyn FnMut(&[u8])) -> usize {
        while let Ok(bytes) = self.incoming.try_recv() {
            self.waiting.push(bytes);
        }
        let count = self.waiting.len();
        for bytes in self.waiting.drain(..) {
            each(&bytes);
        }
        count
    }

    async fn ready(&mut self) -> io::Result<()> {
        let bytes = self.incoming.recv().await.ok_or_else(|| io::Error::other("the source broke"))?;
        self.waiting.push(bytes);
        Ok(())
    }
}

/// The ring buffer's bytes of a record of a healthy tracked connection.
pub(crate) fn record(kind: Kind, change: impl FnOnce(&mut Record)) -> Vec<u8> {
    let mut record = Record::new_zeroed();
    record.kind = kind as u8;
    record.family = 2;
    record.sock = 0xffff_8880_0000_1000;
    record.first_seen_ns = 1_000;
    record.run_ns = 2_000;
    record.netns = 4_026_531_840;
    record.state = 1;
    record.timer = 1;
    record.flags = Record::KEEPALIVE;
    record.sysctl_keepidle = 7200 * 250;
    record.sysctl_keepintvl = 75 * 250;
    record.sysctl_keepcnt = 9;
    // Not past its deadline, whatever the machine's uptime is.
    record.time_ns = 1 << 62;
    change(&mut record);
    Report::alone(record).as_bytes().to_vec()
}
