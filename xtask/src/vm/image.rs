//! What a guest finds in its initramfs: busybox and a real shell, the programs under test, the system's tools that
//! the tests call, with their shared libraries, and the kernel's modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use super::GuestPrograms;
use super::cpio::Archive;
use super::kernel::Kernel;
use crate::sh;

/// The tests call these; the second name is the Debian package.
const TOOLS: [(&str, &str); 9] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ss", "iproute2"),
    ("nstat", "iproute2"),
    ("nft", "nftables"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("sysctl", "procps"),
    ("nginx", "nginx-light"),
];
/// Taken along where this machine has them.
const OPTIONAL_TOOLS: [&str; 2] = ["bpftool", "strace"];
/// Loaded by glibc at run time, so that no `ldd` shows them.
const LATE_LIBRARIES: [&str; 2] = ["libgcc_s.so.1", "libnss_files.so.2"];
const FOLDERS: [&str; 12] = [
    "proc",
    "sys",
    "dev",
    "tmp",
    "run",
    "root",
    "var/log/nginx",
    "var/lib/nginx",
    "var/tmp",
    "sbin",
    "usr/bin",
    "usr/sbin",
];

/// What all kernels share.
pub(super) fn common(programs: &GuestPrograms) -> anyhow::Result<Archive> {
    let mut archive = Archive::default();
    for folder in FOLDERS {
        archive.folder(folder);
    }
    archive.device("dev/console", 5, 1);
    archive.file("init", 0o755, include_bytes!("init.sh"));
    archive.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    );
    archive.file("etc/group", 0o644, b"root:x:0:\nadm:x:4:\nwww-data:x:33:\nnogroup:x:65534:\n");
    archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost\n::1 localhost\n");
    archive.file("etc/nsswitch.conf", 0o644, b"passwd: files\ngroup: files\nhosts: files\n");
    for list in ["/etc/protocols", "/etc/services"] {
        if Path::new(list).exists() {
            archive.copy(list, Path::new(list))?;
        }
    }
    system_programs(&mut archive)?;
    archive.link("sbin/modprobe", "/bin/busybox");
    if programs.e2e.as_os_str().is_empty() {
        bail!("no end-to-end test binary was given");
    }
    program(&mut archive, "ka/ka-daemon", &programs.daemon)?;
    program(&mut archive, "ka/e2e", &programs.e2e)?;
    folder(&mut archive, "ka/programs", &programs.programs)?;
    Ok(archive)
}

/// The whole image for one kernel, on disk; whoever boots it removes it.
pub(super) fn write(
    store: &Path,
    kernel: &Kernel,
    common: &Archive,
    filter: Option<&str>,
) -> anyhow::Result<PathBuf> {
    let mut archive = common.clone();
    if let Some(filter) = filter {
        archive.file("ka/filter", 0o644, filter.as_bytes());
    }
    let to = format!("lib/modules/{}", kernel.release);
    let modules = &kernel.modules;
    for entry in fs::read_dir(modules).with_context(|| format!("cannot read {}", modules.display()))? {
        let path = entry?.path();
        let name = path.file_name().context("an entry has a name")?.to_string_lossy();
        archive.copy(&format!("{to}/{name}"), &path)?;
    }
    let folder = store.join("initrd");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // qemu maps the file: another run of ours must not write to it.
    let path = folder.join(format!("{}.{}.cpio", kernel.version, std::process::id()));
    fs::write(&path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn system_programs(archive: &mut Archive) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for (tool, package) in TOOLS {
        match sh::find_program(tool) {
            Some(path) => program(archive, &format!("usr/sbin/{tool}"), &path)?,
            None => missing.push(format!("{tool} (package {package})")),
        }
    }
    let busybox =
        sh::find_program("busybox").filter(|path| libraries(path).is_ok_and(|libs| libs.is_empty()));
    match busybox {
        Some(path) => archive.copy("bin/busybox", &path)?,
        None => missing.push("a static busybox (package busybox-static)".to_owned()),
    }
    if !missing.is_empty() {
        bail!("the guests need programs that are not on this machine: {}", missing.join(", "));
    }
    // Not busybox's own shell: it prefers its built-in `ip` to the real one, whatever PATH says.
    program(archive, "bin/sh", Path::new("/bin/sh"))?;
    for tool in OPTIONAL_TOOLS {
        if let Some(path) = sh::find_program(tool) {
            program(archive, &format!("usr/sbin/{tool}"), &path)?;
        }
    }
    let folders = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"];
    for library in LATE_LIBRARIES {
        if let Some(path) =
            folders.iter().map(|folder| Path::new(folder).join(library)).find(|path| path.exists())
        {
            archive.copy(&path.to_string_lossy(), &path)?;
        }
    }
    Ok(())
}

/// A program and the libraries it loads, these at the same place as here.
fn program(archive: &mut Archive, to: &str, source: &Path) -> anyhow::Result<()> {
    archive.copy(to, source)?;
    for library in libraries(source)? {
        archive.copy(&library, Path::new(&library))?;
    }
    Ok(())
}

/// A folder with all below it.
fn folder(archive: &mut Archive, to: &str, source: &Path) -> anyhow::Result<()> {
    archive.folder(to);
    for entry in fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))? {
        let path = entry?.path();
        let name = path.file_name().context("an entry has a name")?.to_string_lossy();
        let to = format!("{to}/{name}");
        if path.is_dir() {
            folder(archive, &to, &path)?;
        } else if fs::read(&path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF")) {
            program(archive, &to, &path)?;
        } else {
            archive.copy(&to, &path)?;
        }
    }
    Ok(())
}

/// Paths of a program's shared libraries and loader; none for a static one.
fn libraries(program: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .with_context(|| format!("cannot run ldd on {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(program.exists(), "{} is missing", program.display());
    parse_ldd(&text).with_context(|| format!("{} cannot run here", program.display()))
}

fn parse_ldd(text: &str) -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        ensure!(!line.ends_with("not found"), "a shared library is missing: {line}");
        let path = line.split_once(" => ").map_or(line, |(_, path)| path);
        if path.starts_with('/') {
            paths.push(path.split(" (").next().unwrap_or(path).to_owned());
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_output_gives_libraries_and_loader() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\t/lib64/ld.so.2 (0x7f)\n";
        assert_eq!(parse_ldd(text).unwrap(), ["/lib/x/libc.so.6", "/lib64/ld.so.2"]);
        assert!(parse_ldd("\tstatically linked\n").unwrap().is_empty());
        assert!(parse_ldd("\tlibx.so => not found\n").is_err());
    }
}
