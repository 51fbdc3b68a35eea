//! What to type where no BPF toolchain can be had by itself, by family of distributions.

use std::fmt::Write as _;

use super::choose::Refusal;

/// Distributions that install software alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Family {
    Debian,
    Fedora,
    Arch,
    Suse,
    Alpine,
    #[default]
    Other,
}

impl Family {
    /// Reads `ID` and `ID_LIKE` of os-release.
    pub(crate) fn from_os_release(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            Some(line.trim_matches(['"', '\'']).to_owned())
        };
        let ids = format!("{} {}", value("ID").unwrap_or_default(), value("ID_LIKE").unwrap_or_default());
        ids.split_whitespace()
            .find_map(|id| match id {
                "debian" | "ubuntu" => Some(Self::Debian),
                "fedora" | "rhel" | "centos" => Some(Self::Fedora),
                "arch" => Some(Self::Arch),
                "alpine" => Some(Self::Alpine),
                id if id.contains("suse") => Some(Self::Suse),
                _ => None,
            })
            .unwrap_or(Self::Other)
    }

    /// How packages are installed there.
    pub(crate) fn install_command(self) -> &'static str {
        match self {
            Self::Debian => "apt-get install --no-install-recommends",
            Self::Fedora => "dnf install",
            Self::Arch => "pacman -S",
            Self::Suse => "zypper install",
            Self::Alpine => "apk add",
            Self::Other => "install",
        }
    }

    /// A C compiler and LLVM with its development files, to build bpf-linker.
    fn linker_packages(self) -> Option<&'static str> {
        match self {
            Self::Debian => Some("gcc libc6-dev llvm-22-dev"),
            Self::Fedora => Some("gcc llvm-devel zlib-devel libxml2-devel libzstd-devel"),
            Self::Arch => Some("gcc llvm"),
            Self::Suse => Some("gcc llvm22-devel"),
            Self::Alpine => Some("build-base llvm22-dev"),
            Self::Other => None,
        }
    }
}

/// The whole message: what was tried, and what to do.
pub(crate) fn message(refusal: &Refusal, family: Family) -> String {
    let mut text = String::from("no BPF toolchain can be set up on this machine:\n");
    for line in &refusal.0 {
        // Writing to a String cannot fail.
        writeln!(text, "  - {line}").expect("a String takes any text");
    }
    text.push_str(&what_to_do(family));
    text
}

/// The commands that open a way.
pub(crate) fn what_to_do(family: Family) -> String {
    let mut text = String::from(
        "What opens a way (any distribution, with https://rustup.rs):\n  \
         rustup toolchain install nightly --component rust-src\n  \
         and a bpf-linker on PATH: a ready one from https://github.com/aya-rs/bpf-linker#installation, or\n",
    );
    if let Some(packages) = family.linker_packages() {
        writeln!(text, "  {} {packages}", family.install_command()).expect("a String takes any text");
    }
    text.push_str(
        "  cargo install bpf-linker --locked --no-default-features --features llvm-N\n  \
         (N: the installed LLVM's version, not older than the one that `rustc +nightly -vV` shows: 21, 22 or 23)\n",
    );
    if family == Family::Debian {
        text.push_str(
            "On Debian 12 the security suite alone is enough (rustc-web, libstd-rust-web-dev-bpf): see that\n  \
             deb http://deb.debian.org/debian-security bookworm-security main\n  \
             stands in /etc/apt/sources.list, then run this again.\n",
        );
    }
    text.push_str(
        "Or set KA_BPF_RUSTC to a rustc that has core for bpfel-unknown-none, with a bpf-linker on PATH.",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_by_id_or_likeness() {
        for (text, family) in [
            ("ID=debian\n", Family::Debian),
            ("NAME=x\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Family::Debian),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Family::Fedora),
            ("ID=arch\n", Family::Arch),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", Family::Suse),
            ("ID=alpine\n", Family::Alpine),
            ("ID=nixos\n", Family::Other),
            ("", Family::Other),
        ] {
            assert_eq!(Family::from_os_release(text), family, "{text}");
        }
    }

    #[test]
    fn every_family_is_told_what_to_type() {
        for family in
            [Family::Debian, Family::Fedora, Family::Arch, Family::Suse, Family::Alpine, Family::Other]
        {
            let text = message(&Refusal(vec!["rustup: no rustup on PATH".into()]), family);
            assert!(text.contains("no rustup on PATH") && text.contains("rust-src"), "{text}");
            let packages = family.linker_packages().unwrap_or("--features llvm-N");
            assert!(text.contains(packages), "{text}");
        }
    }
}
