//! Which way to a BPF toolchain this machine offers. Pure: facts in, a choice or what to install out.

use std::path::PathBuf;

use super::advice::Family;

/// The oldest compiler that builds the workspace (`rust-version` in Cargo.toml).
pub(crate) const MIN_RUSTC: Version = Version { major: 1, minor: 95 };

/// A compiler's version as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Version {
    /// Reads `1.97.0-nightly`, `1.96.0+dfsg1-1` and the like.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        let major = parts.next()?.parse().ok()?;
        let minor: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
        Some(Self { major, minor: minor.parse().ok()? })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The three ways, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// rustup's nightly with its rust-src component builds `core`; bpf-linker from `PATH`.
    Rustup,
    /// A compiler that comes with `core` for the BPF target; bpf-linker from `PATH`.
    Rustc,
    /// Debian's packages, unpacked under `target/`; bpf-linker built there.
    Debian,
}

impl Way {
    /// The word that `KA_BPF_TOOLCHAIN` takes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Rustc => "rustc",
            Self::Debian => "debian",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Rustup, Self::Rustc, Self::Debian].into_iter().find(|way| way.name() == name)
    }
}

/// A nightly toolchain of rustup.
#[derive(Clone, Debug)]
pub(crate) struct Nightly {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) has_rust_src: bool,
}

/// A compiler with `core` for the BPF target.
#[derive(Clone, Debug)]
pub(crate) struct BpfRustc {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
}

/// What was found on this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The user's own choice.
    pub(crate) forced: Option<Way>,
    pub(crate) has_rustup: bool,
    pub(crate) nightlies: Vec<Nightly>,
    pub(crate) bpf_linker: Option<PathBuf>,
    pub(crate) bpf_rustc: Option<BpfRustc>,
    pub(crate) family: Family,
    /// Programs of the Debian way that are not there.
    pub(crate) missing_for_debian: Vec<&'static str>,
    /// The Debian way was gone before and its result is under `target/`.
    pub(crate) debian_cached: bool,
}

/// The way to go and what it needs.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    Rustup { toolchain: String, linker: PathBuf, reason: String },
    Rustc { rustc: PathBuf, linker: PathBuf, reason: String },
    Debian { reason: String },
}

/// Why no way is open: one line per way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) Vec<String>);

/// The first way that is open, or the forced one; else why each is closed.
pub(crate) fn choose(facts: &Facts) -> Result<Choice, Refusal> {
    let mut closed = Vec::new();
    for way in [Way::Rustup, Way::Rustc, Way::Debian] {
        if facts.forced.is_some_and(|forced| forced != way) {
            continue;
        }
        let verdict = match way {
            Way::Rustup => rustup(facts),
            Way::Rustc => rustc(facts),
            Way::Debian => debian(facts, &closed),
        };
        match verdict {
            Ok(choice) => return Ok(choice),
            Err(why) => closed.push(format!("{}: {why}", way.name())),
        }
    }
    Err(Refusal(closed))
}

fn rustup(facts: &Facts) -> Result<Choice, String> {
    if !facts.has_rustup {
        return Err("no rustup on PATH".into());
    }
    let with_source = facts.nightlies.iter().filter(|nightly| nightly.has_rust_src);
    let Some(nightly) = with_source.max_by_key(|nightly| nightly.version) else {
        return Err(if facts.nightlies.is_empty() {
            "rustup has no nightly toolchain".into()
        } else {
            "rustup's nightly has no rust-src component".into()
        });
    };
    if nightly.version < MIN_RUSTC {
        return Err(format!(
            "rustup's {} is rustc {}, older than {MIN_RUSTC}",
            nightly.name, nightly.version
        ));
    }
    let linker = facts.bpf_linker.clone().ok_or("no bpf-linker on PATH")?;
    let reason = format!("{} has rust-src, and {} is there", nightly.name, linker.display());
    Ok(Choice::Rustup { toolchain: nightly.name.clone(), linker, reason })
}

fn rustc(facts: &Facts) -> Result<Choice, String> {
    let Some(rustc) = &facts.bpf_rustc else {
        return Err("no rustc on PATH, nor KA_BPF_RUSTC, has core for bpfel-unknown-none".into());
    };
    if rustc.version < MIN_RUSTC {
        return Err(format!("{} is rustc {}, older than {MIN_RUSTC}", rustc.path.display(), rustc.version));
    }
    let linker = facts.bpf_linker.clone().ok_or("no bpf-linker on PATH")?;
    let reason = format!(
        "{} has core for bpfel-unknown-none, and {} is there",
        rustc.path.display(),
        linker.display()
    );
    Ok(Choice::Rustc { rustc: rustc.path.clone(), linker, reason })
}

fn debian(facts: &Facts, closed: &[String]) -> Result<Choice, String> {
    let reason = |what: &str| match closed {
        [] => what.to_owned(),
        closed => format!("{what} ({})", closed.join("; ")),
    };
    if facts.debian_cached {
        return Ok(Choice::Debian { reason: reason("Debian's packages, unpacked under target/ before") });
    }
    if facts.family != Family::Debian {
        return Err("this is no Debian".into());
    }
    if !facts.missing_for_debian.is_empty() {
        return Err(format!("missing: {}", facts.missing_for_debian.join(", ")));
    }
    Ok(Choice::Debian { reason: reason("Debian's packages, unpacked under target/") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Version = Version { major: 1, minor: 97 };

    fn nightly(version: Version, has_rust_src: bool) -> Nightly {
        Nightly { name: "nightly-x86_64-unknown-linux-gnu".into(), version, has_rust_src }
    }

    fn everything() -> Facts {
        Facts {
            forced: None,
            has_rustup: true,
            nightlies: vec![nightly(NEW, true)],
            bpf_linker: Some("/usr/bin/bpf-linker".into()),
            bpf_rustc: Some(BpfRustc { path: "/usr/bin/rustc".into(), version: NEW }),
            family: Family::Debian,
            missing_for_debian: vec![],
            debian_cached: false,
        }
    }

    fn way(facts: &Facts) -> Option<Way> {
        match choose(facts).ok()? {
            Choice::Rustup { .. } => Some(Way::Rustup),
            Choice::Rustc { .. } => Some(Way::Rustc),
            Choice::Debian { .. } => Some(Way::Debian),
        }
    }

    #[test]
    fn the_best_open_way_is_taken() {
        let mut facts = everything();
        assert_eq!(way(&facts), Some(Way::Rustup));
        facts.nightlies = vec![nightly(NEW, false)];
        assert_eq!(way(&facts), Some(Way::Rustc));
        facts.bpf_rustc = None;
        assert_eq!(way(&facts), Some(Way::Debian));
        facts.family = Family::Fedora;
        assert_eq!(way(&facts), None);
    }

    #[test]
    fn without_a_linker_only_debian_is_open() {
        let facts = Facts { bpf_linker: None, ..everything() };
        assert_eq!(way(&facts), Some(Way::Debian));
    }

    #[test]
    fn old_compilers_are_passed_over_and_named() {
        let old = Version { major: 1, minor: 85 };
        let facts = Facts {
            nightlies: vec![nightly(old, true)],
            bpf_rustc: Some(BpfRustc { path: "/usr/bin/rustc".into(), version: old }),
            family: Family::Other,
            ..everything()
        };
        let Refusal(lines) = choose(&facts).unwrap_err();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains("1.85") && lines[1].contains("1.85"), "{lines:?}");
    }

    #[test]
    fn the_newest_nightly_with_source_counts() {
        let mut facts = everything();
        facts.nightlies =
            vec![nightly(Version { major: 1, minor: 90 }, true), nightly(NEW, true), nightly(NEW, false)];
        assert_eq!(way(&facts), Some(Way::Rustup));
    }

    #[test]
    fn a_forced_way_is_taken_or_refused_alone() {
        let forced = Facts { forced: Some(Way::Debian), ..everything() };
        assert_eq!(way(&forced), Some(Way::Debian));
        let closed = Facts { forced: Some(Way::Rustup), has_rustup: false, ..everything() };
        assert_eq!(choose(&closed).unwrap_err(), Refusal(vec!["rustup: no rustup on PATH".into()]));
    }

    #[test]
    fn a_cached_toolchain_needs_no_tools() {
        let facts = Facts {
            bpf_linker: None,
            debian_cached: true,
            missing_for_debian: vec!["apt-get"],
            family: Family::Other,
            ..everything()
        };
        assert_eq!(way(&facts), Some(Way::Debian));
    }

    #[test]
    fn the_reason_says_why_the_better_ways_are_closed() {
        let facts = Facts { bpf_linker: None, ..everything() };
        let Choice::Debian { reason } = choose(&facts).unwrap() else { panic!("not Debian") };
        assert!(
            reason.contains("rustup: no bpf-linker") && reason.contains("rustc: no bpf-linker"),
            "{reason}"
        );
    }

    #[test]
    fn versions_are_read_as_compilers_and_debian_write_them() {
        for (text, version) in
            [("1.97.0-nightly", (1, 97)), ("1.96.0+dfsg1-1~deb12u2", (1, 96)), ("1.95", (1, 95))]
        {
            let (major, minor) = version;
            assert_eq!(Version::parse(text), Some(Version { major, minor }), "{text}");
        }
        assert_eq!(Version::parse("(none)"), None);
        assert_eq!(Version::parse("1"), None);
    }

    #[test]
    fn way_names_are_read_back() {
        for way in [Way::Rustup, Way::Rustc, Way::Debian] {
            assert_eq!(Way::parse(way.name()), Some(way));
        }
        assert_eq!(Way::parse("nix"), None);
    }
}
