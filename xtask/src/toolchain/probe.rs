//! Looks at the machine: what the choice of a BPF toolchain rests on. Reads only.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::advice::Family;
use super::choose::{BpfRustc, Facts, Nightly, Version, Way};
use super::debian;
use crate::sh;

/// The target whose `core` a compiler must have.
pub(crate) const BPF_TARGET: &str =
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

pub(crate) fn facts(root: &Path) -> anyhow::Result<Facts> {
    let rustup = sh::find_program("rustup");
    Ok(Facts {
        forced: forced()?,
        has_rustup: rustup.is_some(),
        nightlies: rustup.map(|rustup| nightlies(&rustup)).transpose()?.unwrap_or_default(),
        bpf_linker: bpf_linker()?,
        bpf_rustc: bpf_rustc()?,
        family: family(),
        missing_for_debian: ["apt-get", "apt-cache", "dpkg-deb", "dpkg-query", "cc"]
            .into_iter()
            .filter(|name| sh::find_program(name).is_none())
            .collect(),
        debian_cached: debian::is_cached(root),
    })
}

pub(crate) fn family() -> Family {
    let text =
        ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| std::fs::read_to_string(path).ok());
    Family::from_os_release(&text.unwrap_or_default())
}

fn forced() -> anyhow::Result<Option<Way>> {
    let Some(name) = std::env::var_os("KA_BPF_TOOLCHAIN") else { return Ok(None) };
    let name = name.to_string_lossy();
    let way = Way::parse(&name)
        .with_context(|| format!("KA_BPF_TOOLCHAIN is '{name}'; it takes rustup, rustc or debian"))?;
    Ok(Some(way))
}

fn nightlies(rustup: &Path) -> anyhow::Result<Vec<Nightly>> {
    let list = sh::output(Command::new(rustup).args(["toolchain", "list"]))?;
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let mut found = Vec::new();
    for name in names.filter(|name| name.starts_with("nightly")) {
        let rustc = |arguments: &[&str]| {
            let mut command = Command::new(rustup);
            command.args(["run", name, "rustc"]).args(arguments).env_remove("LD_LIBRARY_PATH");
            sh::output(&mut command)
        };
        // A broken toolchain is no reason to stop: another way may be open.
        let (Ok(version), Ok(sysroot)) = (rustc(&["-vV"]), rustc(&["--print", "sysroot"])) else {
            sh::say(&format!("rustup's {name} does not run; passed over"));
            continue;
        };
        let Some(version) = release(&version) else { continue };
        let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
        found.push(Nightly { name: name.to_owned(), version, has_rust_src: source.is_file() });
    }
    Ok(found)
}

fn bpf_linker() -> anyhow::Result<Option<PathBuf>> {
    match std::env::var_os("KA_BPF_LINKER") {
        None => Ok(sh::find_program("bpf-linker")),
        Some(path) if Path::new(&path).is_file() => Ok(Some(path.into())),
        Some(path) => bail!("KA_BPF_LINKER names {}, which is no file", path.display()),
    }
}

fn bpf_rustc() -> anyhow::Result<Option<BpfRustc>> {
    if let Some(path) = std::env::var_os("KA_BPF_RUSTC") {
        let path = PathBuf::from(path);
        let found = examine(&path);
        return found.map(Some).with_context(|| {
            format!("KA_BPF_RUSTC names {}, which is no rustc with core for {BPF_TARGET}", path.display())
        });
    }
    Ok(sh::programs_named("rustc").find_map(|path| examine(&path)))
}

fn examine(rustc: &Path) -> Option<BpfRustc> {
    let ask = |arguments: &[&str]| sh::output(Command::new(rustc).args(arguments)).ok();
    let libraries = ask(&["--print", "target-libdir", "--target", BPF_TARGET])?;
    let has_core = std::fs::read_dir(libraries.trim())
        .ok()?
        .filter_map(Result::ok)
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"));
    let version = release(&ask(&["-vV"])?)?;
    has_core.then(|| BpfRustc { path: rustc.to_path_buf(), version })
}

/// The version in the output of `rustc -vV`.
fn release(output: &str) -> Option<Version> {
    Version::parse(output.lines().find_map(|line| line.strip_prefix("release: "))?)
}
