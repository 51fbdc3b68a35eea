//! Containers and pods among the components of a control group path.

use std::borrow::Cow;

use super::unit;

/// What runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// Docker Engine.
    Docker,
    /// containerd, by Kubernetes or by nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
    /// `BuildKit`: a step of an image build.
    BuildKit,
    /// Amazon ECS on Fargate.
    Ecs,
    /// Cloud Foundry's Garden.
    Garden,
    /// LXC, LXD and Incus.
    Lxc,
    /// systemd-nspawn, or another that systemd-machined knows.
    Nspawn,
}

/// What a component means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A container, and its id.
    Container(Option<Runtime>, String),
    /// Not in the container that it belongs to: what watches over it.
    Supervisor,
}

/// Hexadecimal digits of an id of the OCI runtimes' callers.
const ID_DIGITS: usize = 64;
/// Digits of an id of `BuildKit`, in base 36.
const BUILD_DIGITS: usize = 25;

/// The container that a component below `above` (the root first) stands for.
pub(super) fn find(component: &str, above: &[&str]) -> Option<Found> {
    let parent = above.last().copied().unwrap_or_default();
    oci(component, above)
        .or_else(|| lxc(component, parent))
        .or_else(|| machine(component, parent))
        .or_else(|| special(component, above))
}

/// The pod that a component below `parent` stands for.
pub(super) fn pod_uid(component: &str, parent: Option<&str>) -> Option<String> {
    // runc without its systemd driver takes `slice:prefix:id` for a name.
    let name = component.split_once(':').map_or(component, |(name, _)| name);
    let uid = if let Some(slice) = name.strip_suffix(".slice") {
        let (quality, uid) = slice.rsplit_once("-pod")?;
        quality.contains("kubepods").then_some(uid)?
    } else {
        let known = matches!(parent?, "kubepods" | "burstable" | "besteffort");
        name.strip_prefix("pod").filter(|_| known)?
    };
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    // In the name of a slice `-` stands for a level, so kubelet writes `_`.
    (!uid.is_empty() && uid.len() <= 128 && uid.bytes().all(may_be)).then(|| uid.replace('_', "-"))
}

/// `ID`, `PREFIX-ID`, `PREFIX-ID.scope`, `SLICE:PREFIX:ID`.
fn oci(component: &str, above: &[&str]) -> Option<Found> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let (prefix, id) = name.rsplit_once([':', '-']).unwrap_or(("", name));
    if id.len() != ID_DIGITS || !is_hex(id) {
        return None;
    }
    let prefix = prefix.rsplit_once(':').map_or(prefix, |(_, prefix)| prefix);
    // conmon: the process beside each container of CRI-O and Podman that holds its terminal.
    if prefix.ends_with("conmon") {
        return Some(Found::Supervisor);
    }
    let runtime = match prefix {
        "docker" => Some(Runtime::Docker),
        "cri-containerd" | "containerd" | "nerdctl" => Some(Runtime::Containerd),
        "crio" => Some(Runtime::CriO),
        _ if prefix.starts_with("libpod") => Some(Runtime::Podman),
        "" if above.contains(&"docker") => Some(Runtime::Docker),
        _ => None,
    };
    Some(Found::Container(runtime, id.to_owned()))
}

/// `lxc/NAME`, `lxc.payload/NAME`, `lxc.payload.NAME`, and the same with `monitor`.
fn lxc(component: &str, parent: &str) -> Option<Found> {
    if component.starts_with("lxc.monitor.") || parent == "lxc.monitor" {
        return Some(Found::Supervisor);
    }
    let name = match parent {
        "lxc" | "lxc.payload" => component,
        _ => component.strip_prefix("lxc.payload.")?,
    };
    Some(Found::Container(Some(Runtime::Lxc), name.to_owned()))
}

/// What systemd-machined knows: `systemd-nspawn@NAME.service` and `machine-NAME.scope`.
fn machine(component: &str, parent: &str) -> Option<Found> {
    let container = |runtime, name: Cow<'_, str>| Some(Found::Container(Some(runtime), name.into_owned()));
    if component == "supervisor" && (nspawn(parent).is_some() || scope(parent).is_some()) {
        return Some(Found::Supervisor);
    }
    if let Some(name) = nspawn(component) {
        return container(Runtime::Nspawn, unit::unescape(name));
    }
    let name = unit::unescape(scope(component)?);
    // libvirt registers its guests too: `qemu-1-NAME` is a virtual machine, whose sockets are qemu's.
    match name.split_once('-') {
        Some(("qemu", _)) => None,
        Some(("lxc", _)) => container(Runtime::Lxc, name),
        _ => container(Runtime::Nspawn, name),
    }
}

fn nspawn(component: &str) -> Option<&str> {
    component.strip_prefix("systemd-nspawn@")?.strip_suffix(".service")
}

fn scope(component: &str) -> Option<&str> {
    component.strip_prefix("machine-")?.strip_suffix(".scope")
}

/// Runtimes with ids of their own, known by a folder above.
fn special(component: &str, above: &[&str]) -> Option<Found> {
    let container = |runtime| Some(Found::Container(Some(runtime), component.to_owned()));
    if above.contains(&"ecs") && is_fargate(component) {
        return container(Runtime::Ecs);
    }
    if above.contains(&"garden") && is_garden(component) {
        return container(Runtime::Garden);
    }
    build(component, above.last().copied()).map(|id| Found::Container(Some(Runtime::BuildKit), id.to_owned()))
}

/// A step of a build: `buildkit/ID`, or `docker-ID.scope` where Docker has the systemd driver.
fn build<'a>(component: &'a str, parent: Option<&str>) -> Option<&'a str> {
    let scope = component.strip_suffix(".scope");
    let id = match scope.and_then(|scope| scope.strip_prefix("docker-")) {
        Some(id) => id,
        None if parent == Some("buildkit") => component,
        None => return None,
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (id.len() == BUILD_DIGITS && id.bytes().all(plain)).then_some(id)
}

/// `TASK-NUMBER`, where the task's id has 32 digits.
fn is_fargate(component: &str) -> bool {
    component.split_once('-').is_some_and(|(task, number)| {
        task.len() == 32 && is_hex(task) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// A GUID, whose last group has 4 digits in Garden, or 12.
fn is_garden(component: &str) -> bool {
    let mut groups = component.split('-').map(|group| if is_hex(group) { group.len() } else { 0 });
    let front = [groups.next(), groups.next(), groups.next(), groups.next()];
    front == [Some(8), Some(4), Some(4), Some(4)]
        && matches!(groups.next(), Some(4 | 12))
        && groups.next().is_none()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}
