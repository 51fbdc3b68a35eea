//! Programs that only tests need: which, why, from which package; installed where that may be done.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::sh;
use crate::toolchain::{advice::Family, probe};

/// A program and where to get it.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    name: &'static str,
    why: &'static str,
    /// Package names on Debian, Fedora, Arch and SUSE, in this order.
    packages: [&'static str; 4],
}

const fn program(name: &'static str, why: &'static str, packages: [&'static str; 4]) -> Program {
    Program { name, why, packages }
}

/// For the native end-to-end and load tests.
pub(crate) const NATIVE: &[Program] = &[
    program("ip", "network namespaces", ["iproute2", "iproute", "iproute2", "iproute2"]),
    program("nft", "firewalls that eat or refuse probes", ["nftables"; 4]),
    program("tcpdump", "a second opinion on every probe", ["tcpdump"; 4]),
    program("ethtool", "devices without offloads", ["ethtool"; 4]),
    program("go", "a real Go program's keepalive", ["golang-go", "golang", "go", "go"]),
    program("nginx", "a real nginx with so_keepalive", ["nginx-light", "nginx", "nginx", "nginx"]),
    PROMTOOL,
    program("python3", "clients in the language of the README", PYTHON),
];

const PYTHON: [&str; 4] = ["python3", "python3", "python", "python3"];

const PROMTOOL: Program =
    program("promtool", "Prometheus' own check of the metrics page and of the rules", PROMETHEUS);

const PROMETHEUS: [&str; 4] =
    ["prometheus", "golang-github-prometheus", "prometheus", "golang-github-prometheus-prometheus"];

const ALERTMANAGER: [&str; 4] = [
    "prometheus-alertmanager",
    "golang-github-prometheus-alertmanager",
    "alertmanager",
    "golang-github-prometheus-alertmanager",
];

/// For the rules.
pub(crate) const RULES: &[Program] =
    &[PROMTOOL, program("amtool", "Alertmanager's own check of the routes", ALERTMANAGER)];

/// For the way of an alert. Alertmanager itself is called prometheus-alertmanager on Debian and alertmanager
/// elsewhere; its package brings amtool.
pub(crate) const ALERT: &[Program] = &[
    program("prometheus", "the way of an alert", PROMETHEUS),
    program("amtool", "Alertmanager, the way of an alert", ALERTMANAGER),
];

/// For the tests of the page, which are among the unit tests. The driver's package brings the browser
/// along; the browser's own name differs among systems.
pub(crate) const BROWSER: &[Program] = &[program(
    "chromedriver",
    "Chromium and its driver, for the tests of the page in a browser",
    ["chromium-driver", "chromedriver", "chromium", "chromedriver"],
)];

/// For the dashboards' schema.
pub(crate) const SCHEMA: &[Program] =
    &[program("python3", "reads the dashboards with Grafana's Foundation SDK", PYTHON)];

/// Where Python comes without pip, as Debian's does.
pub(crate) const PIP: &[Program] = &[program(
    "pip3",
    "fetches Grafana's Foundation SDK",
    ["python3-pip", "python3-pip", "python-pip", "python3-pip"],
)];

/// For the queries of the dashboards.
pub(crate) const BOARDS: &[Program] = &[program("prometheus", "answers the dashboards' queries", PROMETHEUS)];

/// For the pictures of the dashboards; no test needs these.
pub(crate) const PICTURES: &[Program] = &[
    program("chromium", "headless, takes the pictures", ["chromium"; 4]),
    program("node", "runs Grafana's panels", ["nodejs", "nodejs", "nodejs", "nodejs"]),
    program("npm", "fetches Grafana's panels", ["npm"; 4]),
];

/// For the guests.
pub(crate) const GUESTS: &[Program] = &[
    program(
        "qemu-system-x86_64",
        "other kernels",
        ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86", "qemu-x86"],
    ),
    program("cpio", "the guests' initramfs", ["cpio"; 4]),
    program("busybox", "the guests' shell", ["busybox-static", "busybox", "busybox", "busybox-static"]),
    program("modprobe", "the guests' kernel modules", ["kmod"; 4]),
];

/// Sees to it that every program is there, or says what to install.
pub(crate) fn ensure(programs: &[Program]) -> anyhow::Result<()> {
    let missing: Vec<&Program> = missing(programs);
    if missing.is_empty() {
        return Ok(());
    }
    let family = probe::family();
    let list = describe(&missing, family);
    if family != Family::Debian || !sh::is_root() || sh::find_program("apt-get").is_none() {
        bail!(
            "programs that these tests need are missing:\n{list}\ninstall: {}",
            install_line(&missing, family)
        );
    }
    sh::say(&format!(
        "installing programs that only tests need, with apt-get, without recommended packages and without \
         starting any service:\n{list}"
    ));
    install(&missing)?;
    let still = self::missing(programs);
    if still.is_empty() {
        return Ok(());
    }
    bail!("apt-get installed the packages, yet these are not on PATH:\n{}", describe(&still, family));
}

fn missing(programs: &[Program]) -> Vec<&Program> {
    programs.iter().filter(|program| sh::find_program(program.name).is_none()).collect()
}

fn package(program: &Program, family: Family) -> &'static str {
    match family {
        Family::Fedora => program.packages[1],
        Family::Arch => program.packages[2],
        Family::Suse => program.packages[3],
        Family::Debian | Family::Alpine | Family::Other => program.packages[0],
    }
}

fn describe(programs: &[&Program], family: Family) -> String {
    let line = |program: &&Program| {
        format!("  {} (package {}): {}", program.name, package(program, family), program.why)
    };
    programs.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn install_line(programs: &[&Program], family: Family) -> String {
    let packages: Vec<_> = programs.iter().map(|program| package(program, family)).collect();
    format!("sudo {} {}", family.install_command(), packages.join(" "))
}

fn install(programs: &[&Program]) -> anyhow::Result<()> {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        command.env_remove("LD_LIBRARY_PATH");
        command
    };
    let packages: Vec<_> = programs.iter().map(|program| package(program, Family::Debian)).collect();
    let mut install = apt(&["install", "--no-install-recommends", "--yes", "--quiet"]);
    install.args(&packages);
    let _no_services = NoServices::begin()?;
    if let Err(error) = sh::run_watched(&mut install, &format!("apt-get install {}", packages.join(" "))) {
        sh::say(&format!("{error:#}; the package lists may be old"));
        sh::run_watched(&mut apt(&["update", "--quiet"]), "apt-get update")?;
        sh::run_watched(&mut install_again(&apt, &packages), "apt-get install, again")?;
    }
    Ok(())
}

fn install_again(apt: &impl Fn(&[&str]) -> Command, packages: &[&str]) -> Command {
    let mut command = apt(&["install", "--no-install-recommends", "--yes", "--quiet"]);
    command.args(packages);
    command
}

/// While it lives, Debian's packages start no service (policy-rc.d answers 101, "forbidden").
struct NoServices {
    ours: bool,
}

impl NoServices {
    const PATH: &str = "/usr/sbin/policy-rc.d";
    const SCRIPT: &str = "#!/bin/sh\n# Made by `cargo xtask test` of ka while it installs packages; may be removed.\nexit 101\n";

    fn begin() -> anyhow::Result<Self> {
        let path = Path::new(Self::PATH);
        // Somebody's own policy stays; one that a killed run of ours left behind is ours again.
        let ours = match fs::read_to_string(path) {
            Ok(content) => content == Self::SCRIPT,
            Err(_) => true,
        };
        if ours {
            fs::write(path, Self::SCRIPT).with_context(|| format!("cannot write {}", Self::PATH))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("cannot make {} executable", Self::PATH))?;
        } else {
            sh::say(&format!("{} is there already and decides which services start", Self::PATH));
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(Self::PATH)
        {
            sh::say(&format!(
                "cannot remove {} ({error}); please do, or services will not start",
                Self::PATH
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_package_and_reason() {
        let wanted = [
            program("sh", "there", ["dash"; 4]),
            program("ka-no-such-program", "a reason", ["deb", "rpm", "arch", "suse"]),
        ];
        let missing = missing(&wanted);
        assert_eq!(missing.len(), 1);
        assert_eq!(describe(&missing, Family::Fedora), "  ka-no-such-program (package rpm): a reason");
        assert_eq!(install_line(&missing, Family::Arch), "sudo pacman -S arch");
    }
}
