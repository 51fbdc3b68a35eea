//! Cuts a kernel's BTF down to what the layout needs, for the fixtures under `tests/btf`:
//!
//! ```text
//! cargo run -p ka-daemon --example btf_fixture -- /sys/kernel/btf/vmlinux tests/btf/NAME.btf
//! ```
//!
//! Structures keep their size and each kept member its place, so that every offset stands as it
//! does in the whole file; other members, other types and what pointers point to are dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

use ka_daemon::kernel::btf::{Btf, Kind, Type};
use ka_daemon::kernel::layout::members::{ENUMERATORS, MEMBERS, SOCKET_CHAIN, SOCKET_IN_ALLOC};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (Some(from), Some(to), None) = (args.next(), args.next(), args.next()) else {
        return Err("usage: btf_fixture FROM.btf TO.btf".into());
    };
    let btf = Btf::read(Path::new(&from))?;
    let mut cut = Cut { btf: &btf, kept: BTreeMap::new() };
    let places = MEMBERS.iter().flat_map(|wanted| wanted.places);
    for (structure, path) in places.chain(SOCKET_CHAIN).chain([&SOCKET_IN_ALLOC]) {
        if let Some(id) = btf.structure(structure) {
            cut.keep_type(id)?;
            cut.keep_path(id, path)?;
        }
    }
    for wanted in ENUMERATORS {
        cut.keep_enumerator(wanted.name);
    }
    std::fs::write(&to, cut.write())?;
    Ok(())
}

/// Types to keep, and of each the entries (by their position) to keep.
struct Cut<'a> {
    btf: &'a Btf,
    kept: BTreeMap<u32, BTreeSet<usize>>,
}

impl Cut<'_> {
    /// Keeps a type with all that its size depends on.
    fn keep_type(&mut self, id: u32) -> Result<()> {
        if id == 0 || self.kept.contains_key(&id) {
            return Ok(());
        }
        let ty = self.btf.get(id)?;
        self.kept.insert(id, BTreeSet::new());
        if refers(ty.kind) {
            self.keep_type(ty.size_or_type)?;
        }
        if ty.kind == Kind::Array {
            for element_or_index in ty.words().take(2) {
                self.keep_type(element_or_index)?;
            }
        }
        Ok(())
    }

    /// Keeps the members that `path` names, and the anonymous ones on the way.
    fn keep_path(&mut self, of: u32, path: &str) -> Result<()> {
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        if let Some(member) = self.keep_member(of, name)?
            && !rest.is_empty()
        {
            self.keep_path(member, rest)?;
        }
        Ok(())
    }

    /// Keeps one member, and gives its type.
    fn keep_member(&mut self, of: u32, name: &str) -> Result<Option<u32>> {
        let ty = self.btf.unqualified(of)?;
        for (place, entry) in ty.entries().enumerate() {
            let entry_name = self.btf.name(entry.name);
            let found = if entry_name == name.as_bytes() {
                Some(entry.word)
            } else if entry_name.is_empty() && is_structure(self.btf.unqualified(entry.word)?.kind) {
                self.keep_member(entry.word, name)?
            } else {
                None
            };
            if found.is_some() {
                self.keep_type(entry.word)?;
                self.kept.entry(ty.id).or_default().insert(place);
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn keep_enumerator(&mut self, name: &str) {
        for ty in self.btf.iter().filter(|ty| matches!(ty.kind, Kind::Enum | Kind::Enum64)) {
            if let Some(place) = ty.entries().position(|entry| self.btf.name(entry.name) == name.as_bytes()) {
                self.kept.entry(ty.id).or_default().insert(place);
                return;
            }
        }
    }

    /// The kept types as BTF, numbered anew.
    fn write(&self) -> Vec<u8> {
        let ids: BTreeMap<u32, u32> = self.kept.keys().copied().zip(1..).chain([(0, 0)]).collect();
        let mut out = Out { types: Vec::new(), strings: vec![0] };
        for (id, places) in &self.kept {
            let ty = self.btf.get(*id).expect("a kept type exists");
            let count = if has_entries(ty.kind) { places.len() } else { 0 };
            out.name(self.btf.name(ty.name));
            out.word(
                u32::try_from(count).expect("fewer than it had")
                    | number(&ty) << 24
                    | u32::from(ty.flag) << 31,
            );
            out.word(if ty.kind == Kind::Ptr {
                0
            } else if refers(ty.kind) {
                ids[&ty.size_or_type]
            } else {
                ty.size_or_type
            });
            if !has_entries(ty.kind) {
                for (place, word) in ty.words().enumerate() {
                    out.word(if ty.kind == Kind::Array && place < 2 { ids[&word] } else { word });
                }
            }
            for entry in
                ty.entries().enumerate().filter_map(|(at, entry)| places.contains(&at).then_some(entry))
            {
                out.name(self.btf.name(entry.name));
                out.word(if is_structure(ty.kind) { ids[&entry.word] } else { entry.word });
                if ty.kind != Kind::Enum {
                    out.word(entry.high);
                }
            }
        }
        out.finish()
    }
}

struct Out {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Out {
    fn word(&mut self, word: u32) {
        self.types.extend(word.to_le_bytes());
    }

    fn name(&mut self, name: &[u8]) {
        let at = if name.is_empty() { 0 } else { self.strings.len() };
        if at != 0 {
            self.strings.extend(name);
            self.strings.push(0);
        }
        self.word(u32::try_from(at).expect("a few kilobytes"));
    }

    /// `struct btf_header`, types, strings.
    fn finish(self) -> Vec<u8> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a few kilobytes");
        let mut file = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, len(&self.types), len(&self.types), len(&self.strings)] {
            file.extend(u32::to_le_bytes(word));
        }
        file.extend(self.types);
        file.extend(self.strings);
        file
    }
}

/// Kinds whose size is that of the type they refer to.
fn refers(kind: Kind) -> bool {
    matches!(kind, Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag)
}

fn is_structure(kind: Kind) -> bool {
    matches!(kind, Kind::Struct | Kind::Union)
}

fn has_entries(kind: Kind) -> bool {
    is_structure(kind) || matches!(kind, Kind::Enum | Kind::Enum64)
}

/// `BTF_KIND_*`; the variants are in the kernel's order.
fn number(ty: &Type<'_>) -> u32 {
    ty.kind as u32
}
