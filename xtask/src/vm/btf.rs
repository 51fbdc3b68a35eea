//! Takes the type information (`.BTF`) out of a compressed kernel image, for tests that need no guest.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// Offsets in the boot sector (Documentation/arch/x86/boot.rst): setup size in sectors, payload place and size.
const SETUP_SECTORS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

/// The raw `.BTF` section of the kernel in this bzImage.
pub(super) fn from_bzimage(image: &[u8]) -> anyhow::Result<Vec<u8>> {
    let sectors = match *image.get(SETUP_SECTORS).context("the kernel image is too short")? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (sectors + 1) * SECTOR + u32_at(image, PAYLOAD_OFFSET)?;
    let payload =
        image.get(start..start + u32_at(image, PAYLOAD_LENGTH)?).context("the kernel image is cut short")?;
    section(&decompress(payload)?, ".BTF").context("the kernel image")
}

/// By the compressor's own program: each of the four is in every distribution.
fn decompress(payload: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (program, package) = match payload {
        [0x1f, 0x8b, ..] => ("gzip", "gzip"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ("xz", "xz-utils"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", "zstd"),
        [0x02, 0x21, 0x4c, 0x18, ..] => ("lz4", "lz4"),
        _ => bail!("the kernel image is packed in an unknown way (it begins with {:02x?})", payload.get(..4)),
    };
    let mut child = Command::new(program)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {program}; install the package {package}"))?;
    let mut input = child.stdin.take().context("the child's standard input was piped")?;
    let output = std::thread::scope(|scope| {
        // The payload ends in the unpacked size, which some programs refuse as trailing garbage: neither their
        // exit status nor a closed pipe says anything, the ELF header does.
        let feeder = scope.spawn(move || input.write_all(payload));
        let output = child.wait_with_output();
        drop(feeder.join());
        output
    })
    .with_context(|| format!("cannot read the output of {program}"))?;
    ensure!(output.stdout.starts_with(b"\x7fELF"), "{program} unpacked no ELF file from the kernel image");
    Ok(output.stdout)
}

/// A section of a 64-bit little-endian ELF file.
fn section(elf: &[u8], wanted: &str) -> anyhow::Result<Vec<u8>> {
    let table = u64_at(elf, 0x28)?;
    let (size, count, names) = (u16_at(elf, 0x3a)?, u16_at(elf, 0x3c)?, u16_at(elf, 0x3e)?);
    let names = u64_at(elf, table + names * size + 0x18)?;
    for index in 0..count {
        let header = table + index * size;
        let name = elf.get(names + u32_at(elf, header)?..).context("a section name lies outside the file")?;
        if name.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0)) {
            let start = u64_at(elf, header + 0x18)?;
            let bytes = elf.get(start..start + u64_at(elf, header + 0x20)?);
            return Ok(bytes.with_context(|| format!("section {wanted} lies outside the file"))?.to_vec());
        }
    }
    bail!("it has no section {wanted}")
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> anyhow::Result<[u8; N]> {
    let found = at.checked_add(N).and_then(|end| bytes.get(at..end)).context("the file is cut short")?;
    Ok(found.try_into()?)
}

fn u16_at(bytes: &[u8], at: usize) -> anyhow::Result<usize> {
    Ok(usize::from(u16::from_le_bytes(bytes_at(bytes, at)?)))
}

fn u32_at(bytes: &[u8], at: usize) -> anyhow::Result<usize> {
    Ok(usize::try_from(u32::from_le_bytes(bytes_at(bytes, at)?))?)
}

fn u64_at(bytes: &[u8], at: usize) -> anyhow::Result<usize> {
    Ok(usize::try_from(u64::from_le_bytes(bytes_at(bytes, at)?))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_or_unknown_image_is_an_error() {
        assert!(from_bzimage(&[]).is_err());
        let error = format!("{:#}", from_bzimage(&[0; 8192]).unwrap_err());
        assert!(error.contains("unknown way"), "{error}");
    }
}
