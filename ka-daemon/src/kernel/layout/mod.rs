//! From BTF to [`KernelLayout`]: where this kernel keeps what the programs read.
//!
//! Members move between kernels, also within one stable series, and none may be compiled in. What
//! is wanted is the table in [`members`]; this module looks it up, checks that the kernel side can
//! read what it finds, and says what is missing.

pub mod members;
#[cfg(test)]
mod tests;

use ka_common::layout::{Field, KernelLayout};
use serde::Serialize;
use thiserror::Error;

use super::btf::{Btf, BtfError, Member};
use super::symbols::TimerFunctions;
use members::{ENUMERATORS, MEMBERS, SOCKET_CHAIN, SOCKET_IN_ALLOC, SPANS, Wanted, WantedSpan, Width};

/// Why the kernel's structures cannot be read.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// The type information is damaged.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The type information does not have a structure.
    #[error(
        "the BTF has no struct {name}: it is not the BTF of a whole kernel with TCP; \
         take that of the running kernel (/sys/kernel/btf/vmlinux, or --btf PATH)"
    )]
    MissingStruct {
        /// The structure.
        name: &'static str,
    },
    /// A structure does not have a member that nothing works without.
    #[error(
        "this kernel's struct {strukt} has no member {member}{}: it is built without it, or newer than this \
         program; look for a newer ka, or report it with the kernel's release",
        also(others)
    )]
    MissingMember {
        /// The structure.
        strukt: &'static str,
        /// Path of the member.
        member: &'static str,
        /// Where else it was looked for.
        others: &'static [(&'static str, &'static str)],
    },
    /// An enumerator is missing.
    #[error(
        "the BTF has no enumerator {name}: the kernel is newer than this program; look for a newer ka, or \
         report it with the kernel's release"
    )]
    MissingEnumerator {
        /// The enumerator.
        name: &'static str,
    },
    /// An enumerator has a value that cannot be.
    #[error("the BTF is damaged: enumerator {name} is {value}")]
    EnumeratorValue {
        /// The enumerator.
        name: &'static str,
        /// Its value.
        value: i64,
    },
    /// A member is not what the programs can read.
    #[error(
        "this kernel's {strukt}.{member} is {found}, where {wanted} can be read: the kernel is newer than this \
         program; look for a newer ka, or report it with the kernel's release"
    )]
    Shape {
        /// The structure.
        strukt: &'static str,
        /// Path of the member.
        member: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        wanted: String,
    },
    /// Members that are read at once lie too far apart.
    #[error(
        "this kernel spreads {name} over {bytes} bytes, where less than {limit} can be read: the kernel is newer \
         than this program; look for a newer ka, or report it with the kernel's release"
    )]
    Spread {
        /// What the members hold.
        name: &'static str,
        /// From the first to the end of the last.
        bytes: u32,
        /// The first size that does not fit.
        limit: u32,
    },
    /// A structure does not begin with the one that it extends.
    #[error(
        "this kernel's struct {strukt} has {member} {offset} bytes from its start, where it must come first; \
         report it with the kernel's release"
    )]
    NotFirst {
        /// The structure.
        strukt: &'static str,
        /// The member that must be first.
        member: &'static str,
        /// Where it is.
        offset: u64,
    },
}

fn also(others: &[(&str, &str)]) -> String {
    let others = others.iter().map(|(strukt, member)| format!("{strukt}.{member}"));
    let others = others.collect::<Vec<_>>().join(", ");
    if others.is_empty() { others } else { format!(" (nor is there {others})") }
}

/// Something that does not work on this kernel; the rest does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Degraded {
    /// What does not work.
    pub feature: &'static str,
    /// What the kernel does not have.
    pub missing: String,
}

/// Finds everything in [`KernelLayout`]. Optional members that are missing are zero in it and told
/// as [`Degraded`].
///
/// # Errors
/// Something required is missing or is not what the programs can read, or the file is damaged.
pub fn resolve(btf: &Btf, functions: TimerFunctions) -> Result<(KernelLayout, Vec<Degraded>), LayoutError> {
    check_chain(btf)?;
    let mut layout = KernelLayout {
        fn_keepalive_timer: functions.keepalive,
        fn_write_timer: functions.write,
        ..KernelLayout::default()
    };
    let mut degraded = Vec::new();
    for wanted in MEMBERS {
        match member(btf, wanted)? {
            Ok(field) => *(wanted.field)(&mut layout) = field,
            Err((feature, missing)) => degraded.push(Degraded { feature, missing }),
        }
    }
    for wanted in ENUMERATORS {
        *(wanted.field)(&mut layout) = enumerator(btf, wanted.name)?;
    }
    for wanted in SPANS {
        *(wanted.field)(&mut layout) = span(&layout, wanted)?;
    }
    layout.cgroup_tagged = u32::from(layout.cgroup.size != 0 && cgroup_is_tagged(btf)?);
    Ok((layout, degraded))
}

/// The structure of this name.
fn structure(btf: &Btf, name: &'static str) -> Result<u32, LayoutError> {
    btf.structure(name).ok_or(LayoutError::MissingStruct { name })
}

/// One pointer serves as `tcp_sock`, `sock` and all between, and offsets into each are offsets
/// into `tcp_sock`.
fn check_chain(btf: &Btf) -> Result<(), LayoutError> {
    for (strukt, first) in SOCKET_CHAIN {
        let id = structure(btf, strukt)?;
        if first.is_empty() {
            continue;
        }
        match btf.member(id, first)? {
            None => return Err(LayoutError::MissingMember { strukt, member: first, others: &[] }),
            Some(member) if member.bit_offset != 0 => {
                return Err(LayoutError::NotFirst { strukt, member: first, offset: member.bit_offset / 8 });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The field, or what does not work without it and what is missing.
fn member(btf: &Btf, wanted: &Wanted) -> Result<Result<Field, (&'static str, String)>, LayoutError> {
    for (strukt, path) in wanted.places {
        let id = match (btf.structure(strukt), wanted.feature) {
            (Some(id), _) => id,
            (None, Some(feature)) => return Ok(Err((feature, format!("struct {strukt}")))),
            (None, None) => return Err(LayoutError::MissingStruct { name: strukt }),
        };
        if let Some(found) = btf.member(id, path)? {
            let mut field = check(btf, (strukt, path), found, wanted.width)?;
            if *strukt == SOCKET_IN_ALLOC.0 {
                field.offset -= socket_in_alloc(btf, id, field.offset)?;
            }
            return Ok(Ok(field));
        }
    }
    let [(strukt, member), others @ ..] = wanted.places else {
        unreachable!("every wanted member has a place");
    };
    match wanted.feature {
        Some(feature) => Ok(Err((feature, format!("{strukt}.{member}")))),
        None => Err(LayoutError::MissingMember { strukt, member, others }),
    }
}

/// Whether the kernel side can read what was found.
fn check(
    btf: &Btf,
    (strukt, member): (&'static str, &'static str),
    found: Member,
    width: Width,
) -> Result<Field, LayoutError> {
    let shape = |found: String, wanted: String| LayoutError::Shape { strukt, member, found, wanted };
    let (wanted, fits): (String, fn(u32, u32) -> bool) = match width {
        Width::Bytes(bytes) => (format!("{bytes} bytes"), |size, bytes| size == bytes),
        Width::Integer => ("1, 2, 4 or 8 bytes".to_owned(), |size, _| matches!(size, 1 | 2 | 4 | 8)),
        Width::Structure(name) => (format!("a struct {name}"), |size, bytes| size == bytes),
    };
    let bytes = match width {
        Width::Bytes(bytes) => bytes,
        Width::Integer => 0,
        Width::Structure(name) => btf.size(structure(btf, name)?)?,
    };
    if found.bits != 0 || !found.bit_offset.is_multiple_of(8) {
        return Err(shape(format!("a bit field of {} bits", found.bits), wanted));
    }
    let size = btf.size(found.type_id)?;
    if !fits(size, bytes) {
        return Err(shape(format!("{size} bytes"), wanted));
    }
    let offset = u32::try_from(found.bit_offset / 8).map_err(|_| BtfError::TooLarge { id: found.type_id })?;
    Ok(Field { offset, size })
}

/// Bytes from the start of `socket_alloc` to its socket, which must come before `inode`.
fn socket_in_alloc(btf: &Btf, id: u32, inode: u32) -> Result<u32, LayoutError> {
    let (strukt, member) = SOCKET_IN_ALLOC;
    let socket = btf.member(id, member)?.ok_or(LayoutError::MissingMember { strukt, member, others: &[] })?;
    u32::try_from(socket.bit_offset / 8).ok().filter(|offset| *offset <= inode).ok_or(LayoutError::NotFirst {
        strukt,
        member,
        offset: socket.bit_offset / 8,
    })
}

/// From the first of its members to the end of the last; it begins at a multiple of eight, so that
/// members in the copy are aligned as they are in the kernel. Missing members take no place.
fn span(layout: &KernelLayout, wanted: &WantedSpan) -> Result<Field, LayoutError> {
    let members = wanted.members.iter().map(|member| member(layout)).filter(|field| field.size != 0);
    let (first, end) = members.fold((u32::MAX, 0), |(first, end), field| {
        (first.min(field.offset), end.max(field.offset.saturating_add(field.size)))
    });
    let offset = first & !7;
    let size = end.saturating_sub(offset);
    if size >= wanted.limit {
        return Err(LayoutError::Spread { name: wanted.name, bytes: size, limit: wanted.limit });
    }
    Ok(Field { offset, size })
}

fn enumerator(btf: &Btf, name: &'static str) -> Result<u32, LayoutError> {
    let value = btf.enumerator(name).ok_or(LayoutError::MissingEnumerator { name })?;
    u32::try_from(value).map_err(|_| LayoutError::EnumeratorValue { name, value })
}

/// Up to 5.14 a socket's control group shares a word with `net_cls` and `net_prio`, and bit 0 tells
/// which it is: `struct sock_cgroup_data` of
/// <https://elixir.bootlin.com/linux/v5.10/source/include/linux/cgroup-defs.h>.
fn cgroup_is_tagged(btf: &Btf) -> Result<bool, LayoutError> {
    let sock = structure(btf, "sock")?;
    Ok(btf.member(sock, "sk_cgrp_data.cgroup")?.is_none())
}
