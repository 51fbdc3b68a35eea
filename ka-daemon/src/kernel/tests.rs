//! The inspection over made-up trees, and over the machine that runs the tests.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::preflight::PreflightError;
use super::*;

const BTF: &[u8] = include_bytes!("../../tests/btf/linux-6.12.117.btf");
const SYMBOLS: &str = "\
ffffffff81243c71 t tcp_keepalive_timer.cold
ffffffff8202bdf0 t tcp_keepalive_timer
ffffffff8202cf50 T tcp_write_timer_handler
ffffffff8202d1e0 t tcp_write_timer
ffffffffc0001000 t tcp_write_timer\t[some_module]
ffffffff83000000 d tcp_write_timer
";
/// `CAP_SYS_RESOURCE`, `CAP_PERFMON`, `CAP_BPF`.
const ENOUGH: &str = "CapEff:\t000000c001000000\n";

/// `/proc/self/limits` with this hard limit of locked memory.
fn limits(memlock: &str) -> String {
    format!(
        "Limit                     Soft Limit           Hard Limit           Units\n\
         Max processes             7823                 7823                 processes\n\
         Max locked memory         65536                {memlock:<20} bytes\n"
    )
}

/// A `/proc` and a `/sys` of a machine where everything is well; removed when dropped.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ka-kernel-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let tree = Self(std::env::temp_dir().join(name));
        tree.put("proc/sys/kernel/osrelease", "6.12.117-cloud-amd64\n");
        tree.put("proc/self/limits", limits("65536"));
        tree.put("proc/self/status", format!("Name:\tka\n{ENOUGH}"));
        tree.put("proc/self/uid_map", "         0          0 4294967295\n");
        tree.put("proc/kallsyms", SYMBOLS);
        tree.put("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
        tree.put("sys/kernel/btf/vmlinux", BTF);
        tree
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn with(path: &str, content: impl AsRef<[u8]>) -> Self {
        let tree = Self::new();
        tree.put(path, content);
        tree
    }

    fn without(path: &str) -> Self {
        let tree = Self::new();
        fs::remove_file(tree.0.join(path)).unwrap();
        tree
    }

    fn inspect_with(&self, btf: Option<&Path>) -> Result<Kernel, KernelError> {
        let (proc, sys) = (self.0.join("proc"), self.0.join("sys"));
        Kernel::inspect_with(&Facts::read(&proc, &sys)?, &proc, &sys, btf, 250)
    }

    fn inspect(&self) -> Result<Kernel, KernelError> {
        self.inspect_with(None)
    }

    fn refusal(&self) -> PreflightError {
        match self.inspect().unwrap_err() {
            KernelError::Preflight(error) => error,
            other @ (KernelError::Btf { .. } | KernelError::Layout { .. } | KernelError::Hz(_)) => {
                panic!("{other}")
            }
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_machine_where_all_is_well() {
    let kernel = Tree::new().inspect().unwrap();
    assert_eq!(
        (kernel.release.as_str(), kernel.version, kernel.hz),
        ("6.12.117-cloud-amd64", (6, 12, 117), 250)
    );
    assert!(kernel.btf_path.ends_with("sys/kernel/btf/vmlinux"));
    assert_eq!(kernel.layout.fn_keepalive_timer, 0xffff_ffff_8202_bdf0);
    assert_eq!(kernel.layout.fn_write_timer, 0xffff_ffff_8202_d1e0);
    assert_eq!(kernel.timer_symbols_missing(), None);
    assert_eq!(kernel.degraded, []);
}

/// Proves more than the rest where it can: as root, on a kernel that is supported.
#[test]
fn the_machine_that_runs_the_tests() {
    match Kernel::inspect(None) {
        Ok(kernel) => {
            assert!(kernel.layout.keepidle.offset > 0 && kernel.hz >= 12);
            assert_eq!(kernel.layout.fn_keepalive_timer == 0, kernel.timer_symbols_missing().is_some());
        }
        // Without the right to load programs the refusal must say just that.
        Err(error) => {
            let capability = matches!(
                error,
                KernelError::Preflight(PreflightError::Capability { .. } | PreflightError::UserNamespace)
            );
            assert!(capability, "{error}");
        }
    }
}

#[test]
fn each_obstacle_has_its_own_error() {
    use PreflightError as E;
    assert!(matches!(Tree::with("proc/sys/kernel/osrelease", "5.4.0-1\n").refusal(), E::KernelTooOld { .. }));
    assert!(matches!(Tree::with("proc/sys/kernel/osrelease", "plan9\n").refusal(), E::Release { .. }));
    assert!(matches!(Tree::without("proc/sys/kernel/osrelease").refusal(), E::Unreadable { .. }));
    assert!(matches!(Tree::with("proc/self/status", "Name:\tka\n").refusal(), E::Malformed { .. }));
    assert!(matches!(Tree::with("proc/self/uid_map", "0 1000 1\n").refusal(), E::UserNamespace));
    assert!(matches!(Tree::without("sys/kernel/btf/vmlinux").refusal(), E::NoBtf { .. }));
    let locked = Tree::with("sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
    assert!(matches!(locked.refusal(), E::Lockdown { .. }));
    for state in ["none [integrity] confidentiality\n", "[none] integrity confidentiality\n"] {
        Tree::with("sys/kernel/security/lockdown", state).inspect().unwrap();
    }
    Tree::without("sys/kernel/security/lockdown").inspect().unwrap();
}

#[test]
fn capabilities_are_named_one_by_one() {
    let missing = |release: &str, effective: u64| {
        let tree = Tree::with("proc/sys/kernel/osrelease", release);
        tree.put("proc/self/status", format!("CapEff:\t{effective:016x}\n"));
        match tree.inspect() {
            Ok(_) => None,
            Err(KernelError::Preflight(PreflightError::Capability { capability, .. })) => Some(capability),
            Err(other) => panic!("{other}"),
        }
    };
    let (admin, resource, perfmon, bpf) = (1 << 21, 1 << 24, 1 << 38, 1 << 39);
    assert_eq!(missing("6.1.0", 0), Some("CAP_BPF"));
    assert_eq!(missing("6.1.0", bpf), Some("CAP_PERFMON"));
    assert_eq!(missing("6.1.0", bpf | perfmon), None);
    assert_eq!(missing("6.1.0", admin), None, "stands for both");
    assert_eq!(missing("5.10.0-1", admin), Some("CAP_SYS_RESOURCE"));
    assert_eq!(missing("5.10.0-1", bpf | perfmon), Some("CAP_SYS_RESOURCE"));
    assert_eq!(missing("5.10.0-1", bpf | perfmon | resource), None);
}

#[test]
fn an_unlimited_memlock_needs_no_capability() {
    let tree = Tree::with("proc/sys/kernel/osrelease", "5.10.0-1");
    tree.put("proc/self/status", format!("CapEff:\t{:016x}\n", 1_u64 << 38 | 1 << 39));
    tree.put("proc/self/limits", limits("unlimited"));
    tree.inspect().unwrap();
}

#[test]
fn other_processors_are_refused() {
    let tree = Tree::new();
    let (proc, sys) = (tree.0.join("proc"), tree.0.join("sys"));
    let facts = Facts::read(&proc, &sys).unwrap();
    for (arch, little_endian) in [("riscv64", true), ("x86", true), ("s390x", false), ("aarch64", false)] {
        let facts = Facts { arch: arch.into(), little_endian, ..facts.clone() };
        let error = preflight::check(&facts).unwrap_err().to_string();
        assert!(error.starts_with(arch), "{error}");
    }
}

#[test]
fn another_btf_file_is_taken_and_named() {
    let tree = Tree::without("sys/kernel/btf/vmlinux");
    let other = tree.0.join("other.btf");
    let error = tree.inspect_with(Some(&other)).unwrap_err().to_string();
    assert!(error.contains("other.btf") && error.contains("--btf"), "{error}");
    tree.put("other.btf", b"\x7fELF");
    let error = tree.inspect_with(Some(&other)).unwrap_err().to_string();
    assert!(error.contains("other.btf") && error.contains("ELF"), "{error}");
    tree.put("other.btf", BTF);
    let kernel = tree.inspect_with(Some(&other)).unwrap();
    assert_eq!((kernel.btf_source, kernel.btf_path), (other.display().to_string(), other));
}

/// Only the tracepoint plan needs the addresses: what is wrong with them is kept, not fatal.
#[test]
fn symbols_that_cannot_be_known_say_why() {
    let reason = |symbols: &str| {
        let kernel = Tree::with("proc/kallsyms", symbols).inspect().unwrap();
        let reason = kernel.timer_symbols_missing();
        assert_eq!(
            reason.is_some(),
            kernel.layout.fn_keepalive_timer == 0 && kernel.layout.fn_write_timer == 0
        );
        reason.unwrap_or_default()
    };
    assert!(reason("").contains("no function tcp_keepalive_timer"));
    let hidden = "0000000000000000 t tcp_keepalive_timer\n0000000000000000 t tcp_write_timer\n";
    assert!(reason(hidden).contains("CAP_SYSLOG"), "{}", reason(hidden));
    let twice = "01 t tcp_keepalive_timer\n02 t tcp_write_timer\n03 t tcp_write_timer\n";
    assert!(reason(twice).contains("2 functions tcp_write_timer"), "{}", reason(twice));
    let same_twice = "01 t tcp_keepalive_timer\n02 t tcp_write_timer\n02 t tcp_write_timer\n";
    assert_eq!(reason(same_twice), "");
    for garbage in ["tcp_keepalive_timer\n", "01 t\n", "x t tcp_keepalive_timer\n", "\n\n", " \u{ff}"] {
        assert!(reason(garbage).contains("no function"), "{garbage:?}");
    }
    let kernel = Tree::without("proc/kallsyms").inspect().unwrap();
    assert!(kernel.timer_symbols_missing().unwrap().contains("kallsyms"));
}

#[test]
fn renamed_functions_are_recognized() {
    let found = |symbols: &str| {
        let tree = Tree::with("proc/kallsyms", symbols);
        symbols::timer_functions(&tree.0.join("proc/kallsyms")).unwrap().keepalive
    };
    let write = "09 t tcp_write_timer\n";
    assert_eq!(found(&format!("01 t tcp_keepalive_timer.llvm.123\n{write}")), 1);
    assert_eq!(found(&format!("01 t tcp_keepalive_timer.llvm.123\n02 t tcp_keepalive_timer\n{write}")), 2);
    // The timer holds the jump table entry.
    assert_eq!(found(&format!("01 t tcp_keepalive_timer\n02 t tcp_keepalive_timer.cfi_jt\n{write}")), 2);
    assert_eq!(found(&format!("01 t tcp_keepalive_timer\n02 t tcp_keepalive_timer.cold\n{write}")), 1);
}

#[test]
fn versions() {
    for (release, version) in [
        ("5.10.0-44-cloud-amd64", Some((5, 10, 0))),
        ("6.18.44", Some((6, 18, 44))),
        ("7.3-rc1", Some((7, 3, 0))),
        ("6.1.", Some((6, 1, 0))),
        ("6", None),
        ("", None),
        ("x6.1", None),
        ("99999999999.1", None),
    ] {
        assert_eq!(preflight::version(release), version, "{release}");
    }
}
