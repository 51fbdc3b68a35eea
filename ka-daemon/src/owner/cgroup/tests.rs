//! Paths as real systems have them. What produces each kind is in the table; ids are made up.

use super::*;

/// The ids of two containers, and UIDs of a pod in the API's and in a slice's spelling.
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
const POD: &str = "7c5f3d52-7a0b-4d65-8a5c-5a7f0b7e8c11";
const POD_: &str = "7c5f3d52_7a0b_4d65_8a5c_5a7f0b7e8c11";
const STATIC: &str = "6d1b8d9f6f1c0c3f4a5b6c7d8e9f0a1b";

/// Puts the ids in place of their letters.
fn filled(path: &str) -> String {
    path.replace("{A}", A)
        .replace("{B}", B)
        .replace("{POD}", POD)
        .replace("{POD_}", POD_)
        .replace("{STATIC}", STATIC)
}

fn container(runtime: Option<Runtime>, id: &str, pod_uid: &str) -> Place {
    let pod_uid = pod_uid.to_owned();
    Place { container_id: id.to_owned(), runtime, pod_uid, unit: String::new() }
}

fn unit(name: &str) -> Place {
    Place { unit: name.to_owned(), ..Place::default() }
}

#[test]
fn pods() {
    use Runtime::{Containerd, CriO, Docker};
    let cases: &[(&str, Place)] = &[
        // kubelet with its systemd driver, containerd with SystemdCgroup; each quality of service.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice/cri-containerd-{A}.scope",
            container(Some(Containerd), A, POD),
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/cri-containerd-{A}.scope",
            container(Some(Containerd), A, POD),
        ),
        (
            "/kubepods.slice/kubepods-pod{POD_}.slice/cri-containerd-{A}.scope",
            container(Some(Containerd), A, POD),
        ),
        // A static pod (etcd of a kubeadm cluster): its UID is a hash without dashes.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{A}.scope",
            container(Some(Containerd), A, STATIC),
        ),
        // kubelet with its cgroupfs driver; containerd, and Docker by dockershim.
        ("/kubepods/burstable/pod{POD}/{A}", container(None, A, POD)),
        ("/kubepods/besteffort/pod{STATIC}/{A}", container(None, A, STATIC)),
        ("/kubepods/pod{POD}/{A}", container(None, A, POD)),
        // CRI-O, either driver; crun adds a level of its own, and conmon watches beside the container.
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/crio-{A}.scope/container",
            container(Some(CriO), A, POD),
        ),
        ("/kubepods/burstable/pod{POD}/crio-{A}", container(Some(CriO), A, POD)),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/crio-conmon-{A}.scope",
            container(None, "", POD),
        ),
        ("/kubepods/burstable/pod{POD}/crio-conmon-{A}", container(None, "", POD)),
        // Docker by cri-dockerd.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice/docker-{A}.scope",
            container(Some(Docker), A, POD),
        ),
        // kubelet with the systemd driver, but containerd without SystemdCgroup: runc takes the triple for a name.
        (
            "/system.slice/containerd.service/kubepods-burstable-pod{POD_}.slice:cri-containerd:{A}",
            container(Some(Containerd), A, POD),
        ),
        ("/kubepods-besteffort-pod{POD_}.slice:cri-containerd:{A}", container(Some(Containerd), A, POD)),
        ("/kubepods-pod{POD_}.slice:crio:{A}", container(Some(CriO), A, POD)),
        // Kata with sandbox_cgroup_only: the shim and the guest stand in the pod.
        ("/kubepods/burstable/pod{POD}/kata_{A}", container(None, "", POD)),
        // kind: a node is a container of Docker, with a kubelet whose --cgroup-root is /kubelet.
        ("/docker/{B}/kubelet/kubepods/burstable/pod{POD}/{A}", container(Some(Docker), A, POD)),
        (
            "/system.slice/docker-{B}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice\
             /kubelet-kubepods-besteffort-pod{POD_}.slice/cri-containerd-{A}.scope",
            container(Some(Containerd), A, POD),
        ),
        // minikube with CRI-O in Docker.
        (
            "/docker/{B}/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/crio-{A}.scope",
            container(Some(CriO), A, POD),
        ),
        // Docker in a pod (CI runners): what kubelet knows is the outer container.
        ("/kubepods/burstable/pod{POD}/{A}/docker/{B}", container(None, A, POD)),
        (
            "/kubepods.slice/kubepods-pod{POD_}.slice/cri-containerd-{A}.scope/docker/{B}/init.scope",
            container(Some(Containerd), A, POD),
        ),
        // systemd as the first process of a pod's container: its units are not the node's.
        (
            "/kubepods.slice/kubepods-pod{POD_}.slice/cri-containerd-{A}.scope/system.slice/nginx.service",
            container(Some(Containerd), A, POD),
        ),
        // Read by a daemon that is itself in a container, with a cgroup namespace of its own.
        (
            "/../../kubepods-burstable-pod{POD_}.slice/cri-containerd-{A}.scope",
            container(Some(Containerd), A, POD),
        ),
        ("/../cri-containerd-{A}.scope", container(Some(Containerd), A, "")),
    ];
    check(cases);
}

#[test]
fn containers_without_kubernetes() {
    use Runtime::{BuildKit, Containerd, Docker, Ecs, Garden, Lxc, Nspawn, Podman};
    let task = "2c8e5d70e0a14a0f9a4f1e7d3c5b6a79";
    let fargate = format!("/ecs/{task}/{task}-3425374871");
    let fargate_flat = format!("/ecs/{task}-452711984");
    let ecs = format!("/ecs/{task}/{{A}}");
    let ecs_cluster = format!("/ecs/prod/{task}/{{A}}");
    let ecs_slice = format!("/ecstasks.slice/ecstasks-{task}.slice/docker-{{A}}.scope");
    let cases: &[(&str, Place)] = &[
        // Docker: cgroupfs and systemd drivers, rootless, docker in docker, a service's own cgroup-parent.
        ("/docker/{A}", container(Some(Docker), A, "")),
        ("/system.slice/docker-{A}.scope", container(Some(Docker), A, "")),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope",
            container(Some(Docker), A, ""),
        ),
        ("/docker/{B}/docker/{A}", container(Some(Docker), A, "")),
        ("/system.slice/docker-{B}.scope/docker/{A}", container(Some(Docker), A, "")),
        ("/actions_job/{A}", container(None, A, "")),
        // Docker before 1.13 on systems that mounted each hierarchy at the container's own group.
        ("/{A}", container(None, A, "")),
        // A node of kind itself: its systemd's units are not the host's.
        ("/docker/{A}/system.slice/kubelet.service", container(Some(Docker), A, "")),
        ("/system.slice/docker-{A}.scope/init.scope", container(Some(Docker), A, "")),
        // A build in Docker Engine.
        (
            "/system.slice/docker.service/buildkit/k5m1v0u4c9q2x7z8w3e6r1t0y",
            container(Some(BuildKit), "k5m1v0u4c9q2x7z8w3e6r1t0y", ""),
        ),
        (
            "/docker/buildkit/k5m1v0u4c9q2x7z8w3e6r1t0y",
            container(Some(BuildKit), "k5m1v0u4c9q2x7z8w3e6r1t0y", ""),
        ),
        (
            "/system.slice/docker-k5m1v0u4c9q2x7z8w3e6r1t0y.scope",
            container(Some(BuildKit), "k5m1v0u4c9q2x7z8w3e6r1t0y", ""),
        ),
        (
            "/docker/buildx/{A}/buildkit/k5m1v0u4c9q2x7z8w3e6r1t0y",
            container(Some(BuildKit), "k5m1v0u4c9q2x7z8w3e6r1t0y", ""),
        ),
        // nerdctl, and containerd by other callers without the systemd driver.
        ("/system.slice/nerdctl-{A}.scope", container(Some(Containerd), A, "")),
        ("/default/{A}", container(None, A, "")),
        ("/system.slice:containerd:{A}", container(Some(Containerd), A, "")),
        // Podman: as root and rootless, pods, cgroupfs, quadlets (--cgroups=split), the monitor.
        ("/machine.slice/libpod-{A}.scope", container(Some(Podman), A, "")),
        ("/machine.slice/libpod-{A}.scope/container", container(Some(Podman), A, "")),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container",
            container(Some(Podman), A, ""),
        ),
        ("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", container(Some(Podman), A, "")),
        ("/libpod_parent/libpod-{A}", container(Some(Podman), A, "")),
        ("/libpod_parent/{B}/libpod-{A}", container(Some(Podman), A, "")),
        ("/system.slice/web.service/libpod-payload-{A}", container(Some(Podman), A, "")),
        ("/machine.slice/libpod-conmon-{A}.scope", Place::default()),
        ("/libpod_parent/conmon", Place::default()),
        // Amazon ECS: on EC2, with the cluster's name, with cgroup v2, and on Fargate.
        (&ecs, container(None, A, "")),
        (&ecs_cluster, container(None, A, "")),
        (&ecs_slice, container(Some(Docker), A, "")),
        (&fargate_flat, container(Some(Ecs), &fargate_flat["/ecs/".len()..], "")),
        (&fargate, container(Some(Ecs), &fargate["/ecs/".len() + 33..], "")),
        // Garden of Cloud Foundry, with and without CPU entitlement.
        ("/garden/9b1d3f5a-2c4e-4a6b-5d7f-1e3c", container(Some(Garden), "9b1d3f5a-2c4e-4a6b-5d7f-1e3c", "")),
        (
            "/system.slice/runc-bpm-garden.service/garden/good/9b1d3f5a-2c4e-4a6b-5d7f-1e3c",
            container(Some(Garden), "9b1d3f5a-2c4e-4a6b-5d7f-1e3c", ""),
        ),
        // LXC 3, LXC 4 and later (also LXD, Incus), Proxmox, and their monitors.
        ("/lxc/web", container(Some(Lxc), "web", "")),
        ("/lxc/101/ns/system.slice/ssh.service", container(Some(Lxc), "101", "")),
        ("/lxc.payload.web/system.slice/nginx.service", container(Some(Lxc), "web", "")),
        ("/lxc.payload/web/init.scope", container(Some(Lxc), "web", "")),
        ("/lxc.monitor.web", Place::default()),
        ("/lxc.monitor/web", Place::default()),
        // Docker within a system container: the inner one is the container.
        ("/lxc.payload.web/system.slice/docker-{A}.scope", container(Some(Docker), A, "")),
        // systemd-nspawn: as a service, started by hand, and what supervises it.
        (
            "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
            container(Some(Nspawn), "web", ""),
        ),
        ("/machine.slice/systemd-nspawn@web\\x2dtwo.service/payload", container(Some(Nspawn), "web-two", "")),
        (
            "/machine.slice/machine-web\\x2dtwo.scope/payload/init.scope",
            container(Some(Nspawn), "web-two", ""),
        ),
        ("/machine.slice/systemd-nspawn@web.service/supervisor", unit("systemd-nspawn@web.service")),
        ("/machine.slice/machine-lxc\\x2d4711\\x2dweb.scope", container(Some(Lxc), "lxc-4711-web", "")),
    ];
    check(cases);
}

#[test]
fn units() {
    let cases: &[(&str, Place)] = &[
        ("/system.slice/nginx.service", unit("nginx.service")),
        ("/system.slice/system-getty.slice/getty@tty1.service", unit("getty@tty1.service")),
        (
            "/system.slice/system-postgresql.slice/postgresql@15-main.service",
            unit("postgresql@15-main.service"),
        ),
        // Delegated: what a service makes below itself.
        ("/system.slice/worker.service/pool/3", unit("worker.service")),
        ("/system.slice/systemd-udevd.service/udev", unit("systemd-udevd.service")),
        // A user's manager and its units.
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service", unit("foo.service")),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", unit("user@1000.service")),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome\\x2dterminal-4711.scope",
            unit("app-gnome\\x2dterminal-4711.scope"),
        ),
        // Sessions are numbered, cron's among them: the user stands for them.
        ("/user.slice/user-1000.slice/session-3.scope", unit("user-1000.slice")),
        ("/user.slice/user-0.slice/session-c12.scope", unit("user-0.slice")),
        // Started for one connection: the name has its ends, and never comes again.
        (
            "/system.slice/system-sshd.slice/sshd@3-192.0.2.1:22-192.0.2.2:54321.service",
            unit("sshd@.service"),
        ),
        (
            "/system.slice/system-sshd.slice/sshd@7-2001:db8::1:22-2001:db8::2:54321.service",
            unit("sshd@.service"),
        ),
        ("/system.slice/system-varlink.slice/varlink@9-4711-1000.service", unit("varlink@.service")),
        ("/system.slice/system-varlink.slice/varlink@9-88-4711_12-1000.service", unit("varlink@.service")),
        ("/system.slice/system-vpn.slice/vpn@10-a.service", unit("vpn@10-a.service")),
        // systemd 258 makes a listening socket within the group of its unit.
        ("/system.slice/ssh.socket", unit("ssh.socket")),
        ("/init.scope", unit("init.scope")),
        // A virtual machine of libvirt is no container: its connections are qemu's.
        (
            "/machine.slice/machine-qemu\\x2d3\\x2dweb.scope/libvirt/emulator",
            unit("machine-qemu\\x2d3\\x2dweb.scope"),
        ),
        // nspawn with --keep-unit in a service of any name: the guest's units are not the host's.
        ("/machine.slice/web.service/payload/system.slice/nginx.service", unit("web.service")),
        // Escaped, since the kernel could take `cpu.` for the beginning of a file of its own.
        ("/system.slice/_cpu.service", unit("cpu.service")),
        // podman generate systemd: the unit of the monitor, with a container's id in its name.
        ("/system.slice/container-{A}.service", unit(&format!("container-{A}.service"))),
        // A slice is no unit that a process runs as, and other trees mean nothing.
        ("/system.slice", Place::default()),
        ("/user.slice/user-1000.slice", Place::default()),
        ("/", Place::default()),
        ("", Place::default()),
        ("/batch/job_17/80f8a521f32444dbe67034bda795b1ea", Place::default()),
        ("/pod7c5f3d52-7a0b-4d65-8a5c-5a7f0b7e8c11", Place::default()),
        ("/system.slice/.service", Place::default()),
    ];
    check(cases);
}

fn check(cases: &[(&str, Place)]) {
    for (path, expected) in cases {
        assert_eq!(parse(&filled(path)), *expected, "{path}");
    }
}

#[test]
fn the_line_that_tells_most_wins_then_the_hierarchy() {
    let of = |text: &str| {
        let lines = text.lines().map(|line| {
            let mut fields = line.trim().splitn(3, ':');
            let number = fields.next().unwrap().parse().unwrap();
            let hierarchy = Hierarchy::of(number, fields.next().unwrap().split(','));
            (hierarchy, fields.next().unwrap().to_owned())
        });
        let lines: Vec<_> = lines.collect();
        best(lines.iter().map(|(hierarchy, path)| (*hierarchy, path.as_str())))
    };
    // Hybrid, cgroupfs driver: v2 knows the service at most.
    let hybrid = format!(
        "12:cpuset:/\n4:memory:/kubepods/burstable/pod{POD}/{A}\n1:name=systemd:/kubepods/burstable/pod{POD}/{A}\n0::/system.slice/containerd.service"
    );
    assert_eq!(of(&hybrid), container(None, A, POD));
    // v1 alone: systemd's hierarchy before that of a controller, whatever the order.
    let unified = "2:cpu,cpuacct:/system.slice/b.service\n1:name=systemd:/system.slice/a.service\n0::/system.slice/c.service";
    assert_eq!(of(unified), unit("c.service"));
    assert_eq!(of(unified.rsplit_once('\n').unwrap().0), unit("a.service"));
    assert_eq!(
        of("3:freezer:/system.slice/d.service\n2:cpu,cpuacct:/system.slice/b.service"),
        unit("b.service")
    );
    // v2 alone.
    assert_eq!(of("0::/system.slice/nginx.service"), unit("nginx.service"));
    assert_eq!(of("1:name=systemd:/\n0::/"), Place::default());
}
