//! Debian's packages without installing them: asks apt, downloads into a folder. Changes nothing in the system.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::sh;

/// Which package lists are asked.
pub(crate) struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// The system's own lists, as old as they may be.
    pub(crate) fn system() -> Self {
        Self { options: vec!["APT::Sandbox::User=root".into()] }
    }

    /// Fresh lists of the system's sources, kept in `folder`: the system's stay as they are, and nobody needs
    /// to be root.
    pub(crate) fn fresh(folder: &Path) -> anyhow::Result<Self> {
        for name in ["lists/partial", "cache/archives/partial"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let mut apt = Self::system();
        apt.options.push(format!("Dir::State::lists={}", folder.join("lists").display()));
        apt.options.push(format!("Dir::Cache={}", folder.join("cache").display()));
        let what =
            "fetching fresh package lists (apt-get update) into target/ka; the system's stay as they are";
        sh::run_watched(apt.command("apt-get").arg("update"), what)?;
        Ok(apt)
    }

    /// The version that apt would take, if it knows the package.
    pub(crate) fn candidate(&self, package: &str) -> anyhow::Result<Option<String>> {
        let text = sh::output(self.command("apt-cache").args(["policy", package]))?;
        let version = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        Ok(version.filter(|version| *version != "(none)").map(str::to_owned))
    }

    /// The package and everything that it depends on, by name.
    pub(crate) fn closure(&self, package: &str) -> anyhow::Result<BTreeSet<String>> {
        let text = sh::output(self.command("apt-cache").args([
            "depends",
            "--recurse",
            "--important",
            "--no-pre-depends",
            package,
        ]))?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()))
            .map(str::to_owned)
            .collect())
    }

    /// Puts the packages' files into `folder`; those that are there already are not fetched again.
    pub(crate) fn download(&self, packages: &[String], folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut command = self.command("apt-get");
        command.current_dir(folder).arg("download").args(packages);
        sh::run_watched(&mut command, &format!("downloading {}", packages.join(" ")))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").env_remove("LD_LIBRARY_PATH");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

/// True where the system has the package installed.
pub(crate) fn is_installed(package: &str) -> bool {
    sh::output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}
