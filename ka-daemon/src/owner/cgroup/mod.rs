//! What the path of a control group tells: container, pod and systemd unit. Pure.
//!
//! A path is read from the root to the leaf. Where containers are nested, the innermost pod wins, and
//! of its container the outermost: that is the one that a Kubernetes knows, whatever was started within
//! it (docker in docker). Without a pod, the innermost container wins. What runs in a container has no
//! unit: that of the host would be the container's runtime, and those of a systemd inside are not the
//! host's. docs/owners.md has the layouts in a table.

mod container;
#[cfg(test)]
mod tests;
mod unit;

use self::container::Found;
pub use self::container::Runtime;

/// Where a process or a socket stands. What does not apply is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The container's id; its name with runtimes that have no ids (LXC, nspawn).
    pub container_id: String,
    /// What runs the container, where the path tells.
    pub runtime: Option<Runtime>,
    /// UID of the pod.
    pub pod_uid: String,
    /// systemd unit.
    pub unit: String,
}

impl Place {
    /// How much is known, to choose among hierarchies.
    fn rank(&self) -> u8 {
        let container = !self.container_id.is_empty();
        match (container, !self.pod_uid.is_empty()) {
            (true, true) => 4,
            (true, false) => 3,
            (false, true) => 2,
            (false, false) => u8::from(!self.unit.is_empty()),
        }
    }
}

/// A hierarchy of control groups, in the order in which they are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hierarchy {
    /// cgroup v2; in hybrid systems often empty.
    Unified,
    /// systemd's own, without controllers.
    Systemd,
    /// v1, with a controller that runtimes always set.
    Runtime,
    /// Any other of v1.
    Other,
}

impl Hierarchy {
    /// From the first two fields of a line of `/proc/PID/cgroup`.
    pub fn of<'a>(number: u32, controllers: impl IntoIterator<Item = &'a str>) -> Self {
        if number == 0 {
            return Self::Unified;
        }
        let kind = |controller| match controller {
            "name=systemd" => Self::Systemd,
            "memory" | "pids" | "cpu" => Self::Runtime,
            _ => Self::Other,
        };
        controllers.into_iter().map(kind).min().unwrap_or(Self::Other)
    }
}

/// The place that the lines of `/proc/PID/cgroup` give: that of the line which tells most.
pub fn best<'a>(lines: impl IntoIterator<Item = (Hierarchy, &'a str)>) -> Place {
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|(hierarchy, _)| *hierarchy);
    // On v1 most lines are alike.
    let mut seen: Vec<&str> = Vec::new();
    let mut best = Place::default();
    for (_, path) in lines {
        if seen.contains(&path) {
            continue;
        }
        seen.push(path);
        let place = parse(path);
        if place.rank() > best.rank() {
            best = place;
        }
    }
    best
}

/// The place that one path gives.
#[must_use]
pub fn parse(path: &str) -> Place {
    let mut place = Place::default();
    let mut slice = "";
    let mut is_guest = false;
    let mut above: Vec<&str> = Vec::new();
    // `..` leads out of the reader's cgroup namespace; what follows counts all the same.
    for component in path.split('/').filter(|component| !matches!(*component, "" | "." | "..")) {
        if let Some(uid) = container::pod_uid(component, above.last().copied()) {
            place.pod_uid = uid;
            place.container_id.clear();
            place.runtime = None;
        }
        match container::find(component, &above) {
            Some(Found::Container(runtime, id)) => {
                if place.pod_uid.is_empty() || place.container_id.is_empty() {
                    place.container_id = id;
                    place.runtime = runtime;
                }
                // systemd-nspawn@NAME.service is both; what supervises it is in the unit alone.
                if unit::kind(component) == "service" {
                    component.clone_into(&mut place.unit);
                }
            }
            Some(Found::Supervisor) => {
                place.container_id.clear();
                place.runtime = None;
            }
            None if unit::kind(component) == "slice" => slice = component,
            // What nspawn runs within a service of any name; units below are the guest's.
            None if component == "payload" && !place.unit.is_empty() => is_guest = true,
            None if is_guest => {}
            None => {
                if let Some(unit) = unit::of(component, slice, &place.unit) {
                    place.unit = unit;
                }
            }
        }
        above.push(component);
    }
    if place.rank() > 1 {
        place.unit.clear();
    }
    place
}
