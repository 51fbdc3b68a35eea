use std::fs;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::owner::testing::Folder;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "7c5f3d52-7a0b-4d65-8a5c-5a7f0b7e8c11";
/// One tick of `USER_HZ` on every architecture that the daemon runs on.
const TICK_NS: u64 = 10_000_000;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A `/proc` and kubelet's folders, made up.
struct Node(Folder);

impl Node {
    fn new() -> Self {
        let node = Self(Folder::new("node"));
        for folder in ["proc", "pods", "containers"] {
            node.0.make(folder);
        }
        node
    }

    fn owners(&self) -> Owners {
        self.owners_with(None)
    }

    fn owners_with(&self, pods: Option<PodNames>) -> Owners {
        Owners::new(Sources {
            proc: self.0.path("proc"),
            pod_logs: self.0.path("pods"),
            container_logs: self.0.path("containers"),
            pods,
        })
    }

    /// A process that started `start_ticks` after boot.
    fn process(&self, pid: u32, start_ticks: u64, comm: &str, cgroup: &str) {
        let folder = self.0.make(&format!("proc/{pid}"));
        let before = "S 1 1 1 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 1 0";
        let after = "0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
        fs::write(folder.join("stat"), format!("{pid} ({comm}) {before} {start_ticks} {after}\n")).unwrap();
        fs::write(folder.join("cgroup"), cgroup).unwrap();
        let exe = folder.join("exe");
        if exe.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(format!("/usr/bin/{comm} (deleted)"), exe).unwrap();
        }
    }

    fn ends(&self, pid: u32) {
        fs::remove_dir_all(self.0.path(format!("proc/{pid}"))).unwrap();
    }

    fn pod_logs(&self) {
        self.0.make(&format!("pods/shop_cart-1_{UID}"));
        self.0.link(&format!("containers/cart-1_shop_web-{ID}.log"));
    }
}

fn in_pod() -> String {
    let pod = UID.replace('-', "_");
    format!("0::/kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{ID}.scope\n")
}

#[test]
fn a_process_of_a_service() {
    let node = Node::new();
    node.process(7, 1000, "nginx: worker) ", "0::/system.slice/nginx.service\n");
    let owner = node.owners().process(7, 1000 * TICK_NS + 9_999_999, "nginx", at(0));
    let expected = Owner {
        pid: Some(7),
        comm: "nginx: worker) ".to_owned(),
        exe: "/usr/bin/nginx: worker) ".to_owned(),
        service: "nginx.service".to_owned(),
        ..Owner::default()
    };
    assert_eq!(*owner, expected);
}

#[test]
fn a_process_of_a_pod_has_all_names() {
    let node = Node::new();
    node.pod_logs();
    node.process(7, 1000, "web", &in_pod());
    let expected = Owner {
        pid: Some(7),
        comm: "web".to_owned(),
        exe: "/usr/bin/web".to_owned(),
        service: String::new(),
        namespace: "shop".to_owned(),
        pod: "cart-1".to_owned(),
        container: "web".to_owned(),
        container_id: ID.to_owned(),
        pod_uid: UID.to_owned(),
    };
    assert_eq!(*node.owners().process(7, 1000 * TICK_NS, "web", at(0)), expected);
}

#[test]
fn names_that_come_later_are_taken_in_without_reading_the_process_again() {
    let node = Node::new();
    node.process(7, 1000, "web", &in_pod());
    let mut owners = node.owners();
    let owner = owners.process(7, 1000 * TICK_NS, "web", at(0));
    assert_eq!((&*owner.pod, &*owner.namespace, &*owner.container), ("", "", &ID[..12]));
    node.ends(7);
    node.pod_logs();
    let owner = owners.process(7, 1000 * TICK_NS, "web", at(1));
    assert_eq!((&*owner.pod, &*owner.namespace, &*owner.container), ("cart-1", "shop", "web"));
    assert_eq!(owner.exe, "/usr/bin/web", "still known, though it ended");
}

#[test]
fn the_api_names_what_the_logs_do_not_and_the_logs_go_first() {
    let node = Node::new();
    node.process(7, 1000, "web", &in_pod());
    let api = PodNames::default();
    let mut owners = node.owners_with(Some(api.clone()));
    assert_eq!(owners.process(7, 1000 * TICK_NS, "web", at(0)).pod, "");
    let mut names = crate::owner::names::Names::default();
    names.add_pod(UID, "shop", "cart-by-api");
    names.add_container(ID, "shop", "cart-by-api", "web-by-api");
    api.store(names);
    let owner = owners.process(7, 1000 * TICK_NS, "web", at(0));
    assert_eq!((&*owner.pod, &*owner.container), ("cart-by-api", "web-by-api"));
    node.pod_logs();
    let mut fresh = node.owners_with(Some(api));
    fresh.cgroup(0, at(0));
    let mut place = cgroup::parse(in_pod().trim_start_matches("0::").trim());
    place.container_id.clear();
    let (owner, is_complete) = fresh.naming.owner_at(place, at(0));
    assert!(is_complete);
    assert_eq!(owner.pod, "cart-by-api", "what the API knows needs no reading of folders");
}

#[test]
fn an_id_that_is_another_process_now_tells_nothing_of_it() {
    let node = Node::new();
    node.process(7, 1003, "other", "0::/system.slice/other.service\n");
    let mut owners = node.owners();
    let owner = owners.process(7, 1000 * TICK_NS, "mine\n", at(0));
    assert_eq!(*owner, Owner { comm: "mine\u{fffd}".to_owned(), ..Owner::default() });
    // Both are known side by side.
    let other = owners.process(7, 1003 * TICK_NS, "other", at(0));
    assert_eq!((&*other.service, other.pid), ("other.service", Some(7)));
    assert_eq!(owners.process(7, 1000 * TICK_NS, "mine\n", at(0)).service, "");
}

#[test]
fn what_was_never_seen_alive_has_the_name_that_the_iterator_saw() {
    let owner = Node::new().owners().process(7, 1000 * TICK_NS, "gone", at(0));
    assert_eq!(*owner, Owner { pid: Some(7), comm: "gone".to_owned(), ..Owner::default() });
}

#[test]
fn a_new_name_or_a_move_to_another_group_is_seen() {
    let node = Node::new();
    node.process(7, 1000, "sh", "0::/system.slice/containerd.service\n");
    let mut owners = node.owners();
    assert_eq!(owners.process(7, 1000 * TICK_NS, "sh", at(0)).service, "containerd.service");
    // exec: seen at once, since the iterator has another name.
    node.process(7, 1000, "app", "0::/system.slice/app.service\n");
    let owner = owners.process(7, 1000 * TICK_NS, "app", at(0));
    assert_eq!((&*owner.comm, &*owner.service), ("app", "app.service"));
    // A move alone: at the next reading, which becomes rarer while nothing changes.
    node.process(7, 1000, "app", "0::/system.slice/moved.service\n");
    assert_eq!(owners.process(7, 1000 * TICK_NS, "app", Duration::from_millis(999)).service, "app.service");
    assert_eq!(owners.process(7, 1000 * TICK_NS, "app", at(1)).service, "moved.service");
    for seconds in [2, 4, 8] {
        owners.process(7, 1000 * TICK_NS, "app", at(seconds));
    }
    node.process(7, 1000, "app", "0::/system.slice/again.service\n");
    assert_eq!(owners.process(7, 1000 * TICK_NS, "app", at(15)).service, "moved.service");
    assert_eq!(owners.process(7, 1000 * TICK_NS, "app", at(16)).service, "again.service");
}

#[test]
fn the_dead_are_known_for_a_minute_after_they_were_asked_for() {
    let node = Node::new();
    node.process(7, 1000, "app", "0::/system.slice/app.service\n");
    let mut owners = node.owners();
    owners.process(7, 1000 * TICK_NS, "app", at(0));
    node.ends(7);
    for seconds in [50, 100, 159] {
        owners.expire(at(seconds));
        assert_eq!(owners.process(7, 1000 * TICK_NS, "app", at(seconds)).service, "app.service");
    }
    owners.expire(at(219));
    assert_eq!(owners.process(7, 1000 * TICK_NS, "app", at(219)).service, "");
}

#[test]
fn a_proc_that_cannot_be_understood_leaves_the_owner_unknown() {
    let node = Node::new();
    node.process(7, 1000, "app", "0::/system.slice/app.service\n");
    fs::write(node.0.path("proc/7/stat"), "nonsense").unwrap();
    let mut owners = node.owners();
    let owner = owners.process(7, 1000 * TICK_NS, "app", at(0));
    assert_eq!(*owner, Owner { pid: Some(7), comm: "app".to_owned(), ..Owner::default() });
    assert!(owners.failing);
}

#[test]
fn memory_is_bounded() {
    let mut owners = Node::new().owners();
    for pid in 0..=u32::try_from(MAX_PROCESSES).unwrap() {
        owners.process(pid, 0, "app", at(0));
    }
    assert_eq!(owners.processes.len(), MAX_PROCESSES);
    for id in 0..=u64::try_from(MAX_CGROUPS).unwrap() {
        owners.cgroup(u64::MAX - id, at(0));
    }
    assert!(owners.cgroups.len() <= MAX_CGROUPS);
    owners.expire(at(60));
    assert_eq!((owners.processes.len(), owners.cgroups.len()), (0, 0));
}

/// A child that waits until it is killed.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap())
    }

    fn end(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_living_process_is_read_from_the_kernel_and_stays_known_when_it_dies() {
    let sleeper = Sleeper::start();
    let pid = sleeper.0.id();
    let stat = procfs::process::Process::new(pid.try_into().unwrap()).unwrap().stat().unwrap();
    let start_ns = stat.starttime * 1_000_000_000 / procfs::ticks_per_second();
    let mut owners = Owners::new(Sources::default());
    // Between fork and exec the child still has the name and the executable of this test.
    let began = std::time::Instant::now();
    let owner = loop {
        let owner = owners.process(pid, start_ns, "sleep", began.elapsed());
        if owner.comm == "sleep" || began.elapsed() > Duration::from_secs(10) {
            break owner;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((owner.pid, &*owner.comm), (Some(pid), "sleep"));
    assert_eq!(owner.exe, fs::read_link(format!("/proc/{pid}/exe")).unwrap().to_str().unwrap());
    assert_eq!(
        *owners.process(pid, start_ns + 1_000_000_000, "x", at(0)),
        Owner { comm: "x".into(), ..Owner::default() }
    );
    sleeper.end();
    assert_eq!(owners.process(pid, start_ns, "sleep", at(3600)), owner);
}

/// Control groups of the running kernel, removed at the end.
struct Groups(Vec<PathBuf>);

impl Groups {
    /// Makes `names` below each other; none where that cannot be.
    fn make(names: &[&str]) -> Option<Self> {
        let mounts = procfs::process::Process::myself().unwrap().mountinfo().unwrap();
        let mount = mounts.0.into_iter().find(|mount| mount.fs_type == "cgroup2");
        let (Some(mount), true) = (mount, rustix::process::geteuid().is_root()) else {
            eprintln!("skipped: needs root and a mounted cgroup2");
            return None;
        };
        let mut path = mount.mount_point;
        let mut made = Self(Vec::new());
        for name in names {
            path.push(name);
            fs::create_dir(&path).unwrap();
            made.0.push(path.clone());
        }
        Some(made)
    }

    fn leaf(&self) -> &std::path::Path {
        self.0.last().unwrap()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // A process that was just killed may still be on its way out.
            for _ in 0..100 {
                if fs::remove_dir(path).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn a_process_and_its_group_are_found_in_the_running_kernel() {
    use std::os::unix::fs::MetadataExt as _;

    let top = format!("ka-test-owners-{}", std::process::id());
    let pod = format!("kubepods-pod{}.slice", UID.replace('-', "_"));
    let Some(groups) = Groups::make(&[&top, &pod, &format!("cri-containerd-{ID}.scope")]) else { return };
    let node = Node::new();
    node.pod_logs();
    let mut owners = Owners::new(Sources {
        pod_logs: node.0.path("pods"),
        container_logs: node.0.path("containers"),
        ..Sources::default()
    });
    let sleeper = Sleeper::start();
    let pid = sleeper.0.id();
    fs::write(groups.leaf().join("cgroup.procs"), pid.to_string()).unwrap();
    let stat = procfs::process::Process::new(pid.try_into().unwrap()).unwrap().stat().unwrap();
    let start_ns = stat.starttime * 1_000_000_000 / procfs::ticks_per_second();
    let process = owners.process(pid, start_ns, "sleep", at(0));
    let id = fs::metadata(groups.leaf()).unwrap().ino();
    let group = owners.cgroup(id, at(0));
    sleeper.end();
    let expected = Owner {
        namespace: "shop".to_owned(),
        pod: "cart-1".to_owned(),
        container: "web".to_owned(),
        container_id: ID.to_owned(),
        pod_uid: UID.to_owned(),
        ..Owner::default()
    };
    assert_eq!(*group, expected);
    let exe = process.exe.clone();
    let comm = process.comm.clone();
    assert_eq!(*process, Owner { pid: Some(pid), comm, exe, ..expected.clone() });
    drop(groups);
    assert_eq!(*owners.cgroup(id, at(59)), expected, "removed, and still known");
    owners.expire(at(119));
    assert_eq!(*owners.cgroup(id, at(119)), Owner::default());
}
