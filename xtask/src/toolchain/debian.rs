//! The Debian way: a rustc with `core` for BPF and its LLVM, unpacked from packages under `target/`, and
//! bpf-linker built against that LLVM. Nothing is installed in the system.
//!
//! Each step works in a draft folder that is renamed when complete, so a killed run goes on where it stopped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow, bail};

use super::advice;
use super::apt::{self, Apt};
use super::choose::{MIN_RUSTC, Version};
use super::probe::{self, BPF_TARGET};
use crate::{paths, sh};

/// Part of the cache's name: another number makes every machine build it anew.
const RECIPE: u32 = 1;
/// Takes LLVM 21 to 23.
const BPF_LINKER: &str = "0.13.0";
/// Libraries that any machine with a C compiler has; a second C library under `LD_LIBRARY_PATH` does harm.
const NEVER_UNPACK: [&str; 4] = ["libc6", "libgcc-s1", "libstdc++6", "gcc-12-base"];

/// The finished toolchain.
pub(crate) struct DebianToolchain {
    pub(crate) rustc: PathBuf,
    pub(crate) linker: PathBuf,
    pub(crate) libraries: PathBuf,
    /// What it is made of, for people.
    pub(crate) contents: String,
}

/// True where an earlier run completed the toolchain.
pub(crate) fn is_cached(root: &Path) -> bool {
    let folder = folder(root);
    folder.join("system").is_dir() && folder.join("linker").is_dir()
}

/// The toolchain, from the cache or made now.
pub(crate) fn ensure(root: &Path) -> anyhow::Result<DebianToolchain> {
    let folder = folder(root);
    if is_cached(root) {
        match check(&folder) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => {
                sh::say(&format!("the cached toolchain does not run any more, making it anew: {error:#}"));
                remove(&folder)?;
            }
        }
    }
    make(root, &folder).map_err(|error| {
        let advice = advice::what_to_do(probe::family());
        anyhow!("the Debian way to a BPF toolchain failed: {error:#}\nWithout a network, try again with one. {advice}")
    })
}

fn make(root: &Path, folder: &Path) -> anyhow::Result<DebianToolchain> {
    if !folder.join("system").is_dir() {
        unpack_packages(root, folder)?;
    }
    if !folder.join("linker").is_dir() {
        build_linker(root, folder)?;
    }
    check(folder)
}

fn folder(root: &Path) -> PathBuf {
    paths::cache(root).join(format!("toolchain/debian-{RECIPE}"))
}

fn unpack_packages(root: &Path, folder: &Path) -> anyhow::Result<()> {
    let downloads = paths::cache(root).join("debs");
    let known = Apt::system();
    let fetched = match packages(&known).and_then(|packages| {
        known.download(&packages, &downloads)?;
        Ok(packages)
    }) {
        Ok(packages) => packages,
        Err(error) => {
            sh::say(&format!("the system's package lists do not do: {error:#}"));
            let fresh = Apt::fresh(&paths::cache(root).join("apt"))?;
            let packages = packages(&fresh)?;
            fresh.download(&packages, &downloads)?;
            packages
        }
    };

    let draft = folder.join("system.draft");
    remove(&draft)?;
    fs::create_dir_all(&draft).with_context(|| format!("cannot create {}", draft.display()))?;
    sh::say("unpacking them under target/ka/toolchain");
    let mut files = Vec::new();
    for package in &fetched {
        let file = newest_file(&downloads, package)?;
        sh::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&draft))?;
        files.push(file.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    // bpf-linker's build asks for lib/libLLVM.so below a prefix; the -dev package that has it is not needed.
    let libraries = library_folder(&draft)?;
    let (shared, _) = llvm_library(&libraries)?;
    let prefix = draft.join("llvm/lib");
    fs::create_dir_all(&prefix).with_context(|| format!("cannot create {}", prefix.display()))?;
    let relative = Path::new("../../usr/lib")
        .join(libraries.file_name().context("the library folder has a name")?)
        .join(&shared);
    symlink(relative, prefix.join("libLLVM.so")).context("cannot link libLLVM.so")?;

    fs::write(draft.join("packages"), files.join("\n") + "\n")
        .context("cannot write the list of packages")?;
    let system = folder.join("system");
    fs::rename(&draft, &system).with_context(|| format!("cannot make {}", system.display()))?;
    remove(&downloads)
}

/// The packages to unpack: the compiler, its BPF `core`, and those libraries that the system lacks.
fn packages(apt: &Apt) -> anyhow::Result<Vec<String>> {
    let Some(version) = apt.candidate("rustc-web")? else {
        bail!("apt knows no package rustc-web");
    };
    if Version::parse(&version).is_none_or(|version| version < MIN_RUSTC) {
        bail!("apt's rustc-web is {version}, and {MIN_RUSTC} is needed");
    }
    let compiler = apt.closure("libstd-rust-web-dev")?;
    let mut wanted = vec!["rustc-web".to_owned(), "libstd-rust-web-dev-bpf".to_owned()];
    wanted.extend(compiler.into_iter().filter(|name| {
        let of_rust_or_llvm = name.starts_with("libstd-rust-web-") || name.starts_with("libllvm");
        of_rust_or_llvm
            || (!NEVER_UNPACK.contains(&name.as_str()) && name.starts_with("lib") && !apt::is_installed(name))
    }));
    Ok(wanted)
}

fn build_linker(root: &Path, folder: &Path) -> anyhow::Result<()> {
    let system = folder.join("system");
    let (_, llvm) = llvm_library(&library_folder(&system)?)?;
    let draft = folder.join("linker.draft");
    remove(&draft)?;
    // Kept until it is done, so that a killed build goes on.
    let build = paths::cache(root).join("linker-build");
    let mut command = sh::cargo(root, "install");
    command
        .args(["bpf-linker", "--version", &format!("={BPF_LINKER}"), "--locked", "--no-default-features"])
        .args(["--features", &format!("llvm-{llvm}"), "--no-track", "--root"])
        .arg(&draft)
        .arg("--target-dir")
        .arg(&build)
        .env("LLVM_PREFIX", system.join("llvm"))
        .env("LIBRARY_PATH", library_folder(&system)?)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let what = format!("building bpf-linker {BPF_LINKER} for LLVM {llvm} (about a minute, once)");
    sh::run_watched(&mut command, &what)?;
    let linker = folder.join("linker");
    fs::rename(&draft, &linker).with_context(|| format!("cannot make {}", linker.display()))?;
    remove(&build)
}

/// Runs both programs: a cache from another machine or a half one is found here.
fn check(folder: &Path) -> anyhow::Result<DebianToolchain> {
    let system = folder.join("system");
    let libraries = library_folder(&system)?;
    let rustc = system.join("usr/bin/rustc");
    let linker = folder.join("linker/bin/bpf-linker");
    let run = |program: &Path, arguments: &[&str]| {
        sh::output(Command::new(program).args(arguments).env("LD_LIBRARY_PATH", &libraries))
    };
    let core = run(&rustc, &["--print", "target-libdir", "--target", BPF_TARGET])?;
    if !Path::new(core.trim()).is_dir() {
        bail!("{} has no core for {BPF_TARGET}", rustc.display());
    }
    let version = run(&rustc, &["--version"])?;
    let linker_version = run(&linker, &["--version"])?;
    let contents = format!("{}, {}", version.trim(), linker_version.trim());
    Ok(DebianToolchain { rustc, linker, libraries, contents })
}

/// `usr/lib/x86_64-linux-gnu` or its like: the one that holds the compiler's own library.
fn library_folder(system: &Path) -> anyhow::Result<PathBuf> {
    let libraries = system.join("usr/lib");
    let entries = fs::read_dir(&libraries).with_context(|| format!("cannot read {}", libraries.display()))?;
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| has_file(path, "librustc_driver-"))
        .with_context(|| format!("no rustc library under {}", libraries.display()))
}

/// The file name of the LLVM library and its major version.
fn llvm_library(libraries: &Path) -> anyhow::Result<(String, u32)> {
    let names = fs::read_dir(libraries).with_context(|| format!("cannot read {}", libraries.display()))?;
    names
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .find_map(|name| {
            let major = name.strip_prefix("libLLVM.so.")?.split('.').next()?.parse().ok()?;
            Some((name, major))
        })
        .with_context(|| format!("no libLLVM.so.N in {}", libraries.display()))
}

fn has_file(folder: &Path, prefix: &str) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
    })
}

/// The downloaded file of a package; the newest, should an older one be left over.
fn newest_file(downloads: &Path, package: &str) -> anyhow::Result<PathBuf> {
    let prefix = format!("{package}_");
    fs::read_dir(downloads)
        .with_context(|| format!("cannot read {}", downloads.display()))?
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(&prefix) && name.ends_with(".deb")
        })
        .max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok())
        .map(|entry| entry.path())
        .with_context(|| format!("apt-get download left no {package}_*.deb in {}", downloads.display()))
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", folder.display())),
    }
}
