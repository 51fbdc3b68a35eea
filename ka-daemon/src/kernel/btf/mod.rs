//! BPF type information (BTF) of a kernel: finds structure members and enumerators by name.
//!
//! First step of the data path: what is found here becomes the [`KernelLayout`] that the programs
//! read with. The file is read once, indexed by one pass over it, and looked at in place; nothing
//! is allocated per type. A damaged file gives an error, never a panic or an endless loop.
//!
//! Format: <https://docs.kernel.org/bpf/btf.html>
//!
//! [`KernelLayout`]: ka_common::KernelLayout

mod member;
mod raw;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use member::Member;
pub use raw::{Entry, Kind, Type};

use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What is wrong with a BTF file.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An ELF file such as `vmlinux` instead of the raw BTF in it.
    #[error(
        "this is an ELF file, not raw BTF: extract its .BTF section first, for example with \
         `bpftool btf dump file vmlinux` to look at it and `llvm-objcopy -O binary \
         --only-section=.BTF --set-section-flags=.BTF=alloc vmlinux vmlinux.btf`"
    )]
    Elf,
    /// The first bytes are not those of BTF.
    #[error("this is not BTF: it begins with {found:#06x}, not with 0xeb9f")]
    Magic {
        /// The first two bytes, little endian.
        found: u16,
    },
    /// BTF of a big-endian machine.
    #[error("this is BTF of a big-endian kernel; only little-endian ones (x86_64, aarch64) are supported")]
    BigEndian,
    /// A BTF version that this parser does not know.
    #[error("BTF version {version} is not known, only version 1 is")]
    Version {
        /// The version.
        version: u8,
    },
    /// The header or a section reaches beyond the end of the file.
    #[error("the BTF is cut short or damaged: its {section} does not fit into its {len} bytes")]
    Section {
        /// The part that does not fit.
        section: &'static str,
        /// Length of the file in bytes.
        len: usize,
    },
    /// A type reaches beyond the end of the type section.
    #[error("the BTF is damaged: type {id} does not fit into the type section")]
    Truncated {
        /// The type.
        id: u32,
    },
    /// A kind that did not exist when this was written.
    #[error("type {id} of the BTF is of the unknown kind {kind}: the kernel is newer than this program")]
    UnknownKind {
        /// The type.
        id: u32,
        /// Its kind.
        kind: u8,
    },
    /// A reference to a type that does not exist.
    #[error(
        "the BTF is damaged, or needs another one as its base (that of a module does): there is no type {id}"
    )]
    NoSuchType {
        /// The type.
        id: u32,
    },
    /// Types that refer to each other without an end.
    #[error("the BTF is damaged: type {id} refers to itself, or is nested too deep")]
    Cycle {
        /// The type.
        id: u32,
    },
    /// A type without a size (a function, a forward declaration) where one is needed.
    #[error("type {id} of the BTF has no size")]
    NoSize {
        /// The type.
        id: u32,
    },
    /// An offset or size beyond 32 bits.
    #[error("the BTF is damaged: an offset or a size in type {id} exceeds 4 GiB")]
    TooLarge {
        /// The type.
        id: u32,
    },
}

/// Raw BTF, checked and indexed.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    /// Where each type begins in `data`; type 1 is at index 0, type 0 is `void`.
    types: Vec<u32>,
    /// Numbers of the named structures and of all enums, which is where names are looked for: a tenth of
    /// the types, and start-up looks for some eighty names.
    structures: Vec<u32>,
    enums: Vec<u32>,
    strings: Range<usize>,
}

/// `struct btf_header` without what newer kernels may append.
const HEADER_LEN: usize = 24;
const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// A type takes 12 bytes at least, and most of those of a kernel take some more.
const TYPICAL_TYPE_LEN: usize = 20;

impl Btf {
    /// Reads and indexes a file such as `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// The file cannot be read, or is not whole little-endian BTF.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let data = std::fs::read(path).map_err(|source| BtfError::Read { path: path.into(), source })?;
        Self::parse(data)
    }

    /// Indexes raw BTF.
    ///
    /// # Errors
    /// It is not whole little-endian BTF.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let len = data.len();
        if data.starts_with(b"\x7fELF") {
            return Err(BtfError::Elf);
        }
        let header = data.get(..HEADER_LEN).ok_or(BtfError::Section { section: "header", len })?;
        let word = |at: usize| raw::u32_at(header, at).unwrap_or_default() as usize;
        let magic = u16::from_le_bytes([header[0], header[1]]);
        if magic == MAGIC.swap_bytes() {
            return Err(BtfError::BigEndian);
        }
        if magic != MAGIC {
            return Err(BtfError::Magic { found: magic });
        }
        if header[2] != VERSION {
            return Err(BtfError::Version { version: header[2] });
        }
        let header_len = word(4);
        if header_len < HEADER_LEN || header_len > len {
            return Err(BtfError::Section { section: "header", len });
        }
        let section = |name: &'static str, at: usize, size: usize| {
            let start = header_len.checked_add(at);
            let end = start.and_then(|start| start.checked_add(size));
            match (start, end) {
                (Some(start), Some(end)) if end <= len => Ok(start..end),
                _ => Err(BtfError::Section { section: name, len }),
            }
        };
        let types = section("type section", word(8), word(12))?;
        let strings = section("string section", word(16), word(20))?;
        let mut btf = Self { data, types: Vec::new(), structures: Vec::new(), enums: Vec::new(), strings };
        btf.index(types)?;
        Ok(btf)
    }

    /// Number of types, `void` not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there are no types.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// One type by its number; 0 is `void`.
    ///
    /// # Errors
    /// There is no such type.
    pub fn get(&self, id: u32) -> Result<Type<'_>, BtfError> {
        if id == 0 {
            return Ok(Type::VOID);
        }
        let at = self.types.get(id as usize - 1).ok_or(BtfError::NoSuchType { id })?;
        let bytes = self.data.get(*at as usize..).unwrap_or_default();
        Type::parse(id, bytes)
    }

    /// Every type in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = Type<'_>> {
        (1..).zip(&self.types).filter_map(|(id, at)| {
            // Indexing has parsed each of them before.
            Type::parse(id, self.data.get(*at as usize..)?).ok()
        })
    }

    /// The string at an offset of the string section; empty for what has no name, and for an
    /// offset that a damaged file has outside of the section.
    #[must_use]
    pub fn name(&self, at: u32) -> &[u8] {
        let tail = self.tail(at);
        tail.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Whether the string at `at` is `name`, without looking for its end.
    fn is_named(&self, at: u32, name: &str) -> bool {
        self.tail(at).strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    fn tail(&self, at: u32) -> &[u8] {
        let strings = self.data.get(self.strings.clone()).unwrap_or_default();
        strings.get(at as usize..).unwrap_or_default()
    }

    /// Finds where each type begins, and that each lies wholly inside of `section`.
    fn index(&mut self, section: Range<usize>) -> Result<(), BtfError> {
        self.types.reserve(section.len() / TYPICAL_TYPE_LEN);
        let mut at = section.start;
        while at < section.end {
            let id = u32::try_from(self.types.len() + 1).map_err(|_| BtfError::TooLarge { id: u32::MAX })?;
            let ty = Type::parse(id, self.data.get(at..section.end).unwrap_or_default())?;
            self.types.push(u32::try_from(at).map_err(|_| BtfError::TooLarge { id })?);
            if ty.kind == Kind::Struct && ty.name != 0 {
                self.structures.push(id);
            } else if matches!(ty.kind, Kind::Enum | Kind::Enum64) {
                self.enums.push(id);
            }
            at += ty.record_len();
        }
        Ok(())
    }
}
