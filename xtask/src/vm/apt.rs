//! Fetches Debian kernel packages through apt, with its own configuration, lists and cache under `target/`: the
//! machine's package state is neither read nor changed, and no root is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::sh;

/// Names a mirror where the machine's own sources have none of Debian.
const MIRROR_VARIABLE: &str = "KA_DEBIAN_MIRROR";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt that knows certain suites and nothing else.
pub(super) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Sets it up for these suites (`bookworm`, `bookworm-security`, …) and fetches their lists.
    pub(super) fn with_suites(folder: &Path, suites: &[&str]) -> anyhow::Result<Self> {
        if sh::find_program("apt-get").is_none() {
            bail!(
                "apt-get, which fetches Debian's kernels, is not on this machine; run the guests on Debian or Ubuntu"
            );
        }
        if !Path::new(KEYRING).exists() {
            bail!(
                "{KEYRING} is needed to check Debian's kernels; install the package debian-archive-keyring"
            );
        }
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mirrors = Mirrors::of_this_machine()?;
        let mut sources = String::new();
        for suite in suites {
            let uri = mirrors.of_suite(suite);
            // Old suites are frozen: their lists expire and stay right.
            let line = [
                "deb [arch=amd64 signed-by=",
                KEYRING,
                " check-valid-until=no] ",
                uri,
                " ",
                suite,
                " main\n",
            ];
            sources += &line.concat();
        }
        let apt = Self { folder: folder.to_owned() };
        write(&folder.join("sources.list"), &sources)?;
        write(&folder.join("status"), "")?;
        write(
            &folder.join("apt.conf"),
            &apt.configuration(&sh::output(Command::new("apt-config").arg("dump"))?),
        )?;
        sh::run_watched(
            apt.command("apt-get").arg("update").args(["-o", "APT::Update::Error-Mode=any"]),
            &format!("fetching the package lists of {}", suites.join(", ")),
        )?;
        Ok(apt)
    }

    /// The names of all packages that begin so.
    pub(super) fn names(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let names = sh::output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The version that would be fetched.
    pub(super) fn version(&self, package: &str) -> anyhow::Result<String> {
        let show = sh::output(self.command("apt-cache").args(["show", "--no-all-versions", package]))?;
        let version = show.lines().find_map(|line| line.strip_prefix("Version: "));
        Ok(version.with_context(|| format!("apt-cache shows no version of {package}"))?.to_owned())
    }

    /// Downloads and unpacks packages into a folder.
    pub(super) fn unpack(&self, packages: &[String], into: &Path) -> anyhow::Result<()> {
        let debs = into.join("debs");
        fs::create_dir_all(&debs).with_context(|| format!("cannot create {}", debs.display()))?;
        sh::run_watched(
            self.command("apt-get").arg("download").args(packages).current_dir(&debs),
            &format!("downloading {}", packages.join(" ")),
        )?;
        for deb in fs::read_dir(&debs).with_context(|| format!("cannot read {}", debs.display()))? {
            sh::run(Command::new("dpkg-deb").arg("-x").arg(deb?.path()).arg(into))?;
        }
        fs::remove_dir_all(&debs).with_context(|| format!("cannot remove {}", debs.display()))
    }

    /// Removes its lists and cache; they are many times the size of the kernels.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }

    /// Own places for everything; from the machine's configuration only how to reach the network. Its hooks must
    /// not run: some clean the machine's package cache after each update.
    fn configuration(&self, machine: &str) -> String {
        let folder = self.folder.display();
        let mut text = format!(
            "Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
             Dir::Etc::sourcelist \"{folder}/sources.list\";\nDir::State \"{folder}\";\n\
             Dir::State::lists \"{folder}/lists\";\nDir::State::status \"{folder}/status\";\n\
             Dir::Cache \"{folder}/cache\";\nAcquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n\
             APT::Architecture \"amd64\";\n"
        );
        for line in machine.lines() {
            if ["Acquire::http::", "Acquire::https::", "Acquire::Retries "]
                .iter()
                .any(|key| line.starts_with(key))
            {
                text += line;
                text.push('\n');
            }
        }
        text
    }
}

/// Where the archive and its security updates are fetched from.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    archive: String,
    security: String,
}

impl Mirrors {
    fn of_this_machine() -> anyhow::Result<Self> {
        if let Ok(archive) = std::env::var(MIRROR_VARIABLE) {
            let archive = archive.trim_end_matches('/').to_owned();
            let security = format!("{archive}-security");
            return Ok(Self { archive, security });
        }
        let targets =
            sh::output(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"]))?;
        Self::from_targets(&targets).with_context(|| {
            format!(
                "apt's sources on this machine name no Debian mirror; set {MIRROR_VARIABLE} to the URI of one \
                 (that URI with -security behind it must hold the security updates)"
            )
        })
    }

    /// From lines of URI and suite. A mirror without its own security archive usually has it beside.
    fn from_targets(targets: &str) -> Option<Self> {
        let uris =
            || targets.lines().filter_map(|line| line.split(' ').next()).map(|uri| uri.trim_end_matches('/'));
        let archive = uris().find(|uri| uri.ends_with("/debian"))?.to_owned();
        let security = uris().find(|uri| uri.ends_with("/debian-security")).map(str::to_owned);
        let security = security.unwrap_or_else(|| format!("{archive}-security"));
        Some(Self { archive, security })
    }

    fn of_suite(&self, suite: &str) -> &str {
        if suite.ends_with("-security") { &self.security } else { &self.archive }
    }
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_those_of_the_machine() {
        let targets = "http://a.example/tool/ stable\nhttp://m.example/debian/ bookworm\n\
                       http://s.example/debian-security/ bookworm-security\n";
        let mirrors = Mirrors::from_targets(targets).unwrap();
        assert_eq!(mirrors.of_suite("bullseye"), "http://m.example/debian");
        assert_eq!(mirrors.of_suite("bullseye-security"), "http://s.example/debian-security");
        assert_eq!(Mirrors::from_targets("http://a.example/ubuntu/ noble\n"), None);
    }

    #[test]
    fn hooks_of_the_machine_are_left_out() {
        let apt = Apt { folder: "/f".into() };
        let text =
            apt.configuration("Acquire::http::Proxy \"http://p\";\nAPT::Update::Post-Invoke:: \"rm x\";\n");
        assert!(
            text.contains("Acquire::http::Proxy \"http://p\";") && !text.contains("Post-Invoke"),
            "{text}"
        );
    }
}
