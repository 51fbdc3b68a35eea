//! The kernels of the matrix: found in Debian's suites, unpacked and cached under `target/ka/vm/kernels`.
//!
//! A cached kernel is used as it is, without the network; removing its folder fetches the newest of its series.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::apt::Apt;
use super::btf;
use crate::sh;

/// A stable series of the matrix and where Debian has it.
struct Series {
    name: &'static str,
    suites: &'static [&'static str],
    /// How the image package's name begins; the number behind it orders the packages.
    image: &'static str,
    /// The package of the modules, where they are not in the image's.
    modules: Option<&'static str>,
}

const SERIES: [Series; 4] = [
    Series {
        name: "5.10",
        suites: &["bullseye", "bullseye-security"],
        image: "linux-image-5.10.0-",
        modules: None,
    },
    Series {
        name: "6.1",
        suites: &["bookworm", "bookworm-security"],
        image: "linux-image-6.1.0-",
        modules: None,
    },
    Series {
        name: "6.12",
        suites: &["bookworm-security", "bookworm-backports"],
        image: "linux-image-6.12.",
        modules: None,
    },
    Series {
        name: "7.3",
        suites: &["trixie-backports"],
        image: "linux-binary-7.3.",
        modules: Some("linux-modules-7.3."),
    },
];
const FLAVOUR: &str = "-cloud-amd64";

/// Modules that the tests use or that the kernel loads for them; `*` at the end stands for anything. What they
/// depend on comes by itself, and one that a kernel has not is built in or not there at all.
const MODULES: [&str; 12] = [
    "veth",
    "tun",
    "dummy",
    "nf_tables",
    "nft_*",
    "nf_conntrack",
    "nfnetlink",
    "sch_*",
    "inet_diag",
    "tcp_diag",
    "mptcp_diag",
    "sctp",
];

/// A kernel ready to boot.
pub(super) struct Kernel {
    /// As upstream counts, such as `5.10.262`.
    pub(super) version: String,
    /// As `uname -r` says.
    pub(super) release: String,
    /// The image.
    pub(super) vmlinuz: PathBuf,
    /// Folder with `modules.dep` and the unpacked modules; `/lib/modules/<release>` in the guest.
    pub(super) modules: PathBuf,
}

impl Kernel {
    fn open(folder: &Path) -> Option<Self> {
        let release = fs::read_to_string(folder.join("release")).ok()?.trim().to_owned();
        let version = folder.file_name()?.to_str()?.to_owned();
        Some(Self { version, release, vmlinuz: folder.join("vmlinuz"), modules: folder.join("modules") })
    }
}

/// What `--kernel` may name.
pub(super) fn series_names() -> [&'static str; 4] {
    [SERIES[0].name, SERIES[1].name, SERIES[2].name, SERIES[3].name]
}

/// The kernels of these series (of all, if none is named), fetched where they are not cached.
pub(super) fn provide(store: &Path, names: &[String]) -> anyhow::Result<Vec<Kernel>> {
    let wanted =
        SERIES.iter().filter(|series| names.is_empty() || names.iter().any(|name| name == series.name));
    let folder = store.join("kernels");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let missing: Vec<_> = wanted.clone().filter(|series| cached(&folder, series.name).is_none()).collect();
    if !missing.is_empty() {
        let suites: BTreeSet<_> = missing.iter().flat_map(|series| series.suites).copied().collect();
        let apt = Apt::with_suites(&store.join("apt"), &suites.into_iter().collect::<Vec<_>>())?;
        for series in missing {
            fetch(&apt, &folder, series).with_context(|| format!("cannot get a kernel {}", series.name))?;
        }
        apt.remove()?;
    }
    let kernels: Vec<Kernel> = wanted
        .map(|series| {
            cached(&folder, series.name).with_context(|| format!("kernel {} is not cached", series.name))
        })
        .collect::<anyhow::Result<_>>()?;
    let versions: Vec<_> = kernels.iter().map(|kernel| kernel.version.as_str()).collect();
    sh::say(&format!("kernels {} in {}", versions.join(", "), folder.display()));
    Ok(kernels)
}

/// The newest cached kernel of a series. A folder without `release` is unfinished.
fn cached(folder: &Path, series: &str) -> Option<Kernel> {
    let prefix = format!("{series}.");
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let kernels = entries.filter_map(|entry| Kernel::open(&entry.path()));
    kernels.filter(|kernel| kernel.version.starts_with(&prefix)).max_by_key(|kernel| numbers(&kernel.version))
}

fn fetch(apt: &Apt, folder: &Path, series: &Series) -> anyhow::Result<()> {
    let image = newest(apt.names(series.image)?, series.image)
        .with_context(|| format!("no package {}*{FLAVOUR} in {}", series.image, series.suites.join(", ")))?;
    let release = image.trim_start_matches("linux-image-").trim_start_matches("linux-binary-").to_owned();
    let version = apt.version(&image)?;
    let version = version.split('-').next().context("a version is not empty")?;
    let mut packages = vec![image.clone()];
    if let Some(modules) = series.modules {
        packages.push(image.replacen(series.image, modules, 1));
    }
    let draft = folder.join(format!(".{version}.{}", std::process::id()));
    let tree = draft.join("tree");
    apt.unpack(&packages, &tree)?;
    assemble(&tree, &draft, &release)?;
    fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    let finished = folder.join(version);
    fs::rename(&draft, &finished).with_context(|| format!("cannot move the kernel to {}", finished.display()))
}

/// The newest package of a series. Rebuilds for another suite (`6.1.0-0.deb11.52`) are none of it.
fn newest(names: Vec<String>, prefix: &str) -> Option<String> {
    let fits = |name: &String| {
        name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(FLAVOUR)).is_some_and(|middle| {
            middle.starts_with(|c: char| c.is_ascii_digit()) && !middle.contains(".deb")
        })
    };
    names.into_iter().filter(fits).max_by_key(|name| numbers(name))
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// From a package's tree to what a guest needs: image, modules with their index, BTF, and last the release.
fn assemble(tree: &Path, kernel: &Path, release: &str) -> anyhow::Result<()> {
    let usr = tree.join("usr/lib/modules").join(release);
    let modules = if usr.exists() { usr } else { tree.join("lib/modules").join(release) };
    let places = [tree.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = places.iter().find(|path| path.exists()).context("the package holds no kernel image")?;
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let name = format!("the BTF of {release}");
    let btf = btf::from_bzimage(&bytes).with_context(|| format!("cannot take {name}"))?;
    fs::write(kernel.join("vmlinuz"), &bytes).context("cannot write the kernel image")?;
    fs::write(kernel.join("btf"), btf).with_context(|| format!("cannot write {name}"))?;
    pick_modules(&modules, kernel, release)?;
    fs::write(kernel.join("release"), release).context("cannot write the kernel's release")
}

/// Unpacks the modules of [`MODULES`] and all they depend on, and indexes them for the guest's modprobe.
fn pick_modules(all: &Path, kernel: &Path, release: &str) -> anyhow::Result<()> {
    index(all, release)?;
    let dependencies = fs::read_to_string(all.join("modules.dep")).context("depmod wrote no modules.dep")?;
    let target = kernel.join("modules");
    fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    for module in closure(&dependencies) {
        let source = all.join(module);
        let file = module.rsplit('/').next().context("a module path is not empty")?;
        let (name, unpacker) = match file.rsplit_once('.') {
            Some((name, "xz")) => (name, Some("xz")),
            Some((name, "zst")) => (name, Some("zstd")),
            Some((name, "gz")) => (name, Some("gzip")),
            Some(_) | None => (file, None),
        };
        let to = target.join(name);
        match unpacker {
            None => {
                fs::copy(&source, &to).with_context(|| format!("cannot copy {}", source.display()))?;
            }
            Some(program) => {
                let file = fs::File::create(&to).with_context(|| format!("cannot write {}", to.display()))?;
                sh::run(Command::new(program).arg("-dc").arg(&source).stdout(file))?;
            }
        }
    }
    for list in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        let from = all.join(list);
        if from.exists() {
            fs::copy(&from, target.join(list)).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    index(&target, release)
}

/// depmod insists on a tree `lib/modules/<release>`: give it one of links.
fn index(modules: &Path, release: &str) -> anyhow::Result<()> {
    let depmod = sh::find_program("depmod").context("depmod is missing; install the package kmod")?;
    for list in ["modules.builtin", "modules.order"] {
        let path = modules.join(list);
        if !path.exists() {
            fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let base = modules.with_file_name("depmod");
    let parent = base.join("lib/modules");
    fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let real = fs::canonicalize(modules).with_context(|| format!("cannot find {}", modules.display()))?;
    std::os::unix::fs::symlink(&real, parent.join(release)).context("cannot link the modules for depmod")?;
    // Its warnings about absent lists are no news: a package has them only where its kernel needs them.
    let output = sh::output(Command::new(depmod).arg("-b").arg(&base).arg(release));
    fs::remove_dir_all(&base).with_context(|| format!("cannot remove {}", base.display()))?;
    output.map(drop)
}

/// The wanted modules and their dependencies, as paths in `modules.dep` (its lines name all of them, not only
/// the next).
fn closure(dependencies: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for line in dependencies.lines() {
        let Some((module, needs)) = line.split_once(':') else { continue };
        let name = module.rsplit('/').next().unwrap_or(module).split('.').next().unwrap_or(module);
        let wanted = MODULES.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        });
        if wanted {
            found.insert(module);
            found.extend(needs.split_whitespace());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_is_chosen_by_number() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-0.deb11.99-cloud-amd64",
            "linux-image-6.1.0-57-amd64",
            "linux-image-6.1.0-58-cloud-amd64-dbg",
        ];
        let names = names.map(str::to_owned).to_vec();
        assert_eq!(newest(names, "linux-image-6.1.0-").unwrap(), "linux-image-6.1.0-56-cloud-amd64");
        let names = ["linux-image-6.12.90+deb12-cloud-amd64", "linux-image-6.12.117+deb12-cloud-amd64"];
        let names = names.map(str::to_owned).to_vec();
        assert_eq!(newest(names, "linux-image-6.12.").unwrap(), "linux-image-6.12.117+deb12-cloud-amd64");
    }

    #[test]
    fn dependencies_come_along() {
        let dep = "k/veth.ko.xz:\nk/nft_ct.ko: k/nf_tables.ko k/nf_conntrack.ko k/libcrc32c.ko\nk/btrfs.ko: k/raid6.ko\n";
        let found: Vec<_> = closure(dep).into_iter().collect();
        assert_eq!(
            found,
            ["k/libcrc32c.ko", "k/nf_conntrack.ko", "k/nf_tables.ko", "k/nft_ct.ko", "k/veth.ko.xz"]
        );
    }
}
