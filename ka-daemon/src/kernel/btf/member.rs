//! Look-ups by name: structures, their members through anonymous ones, sizes, enumerators.

use super::{Btf, BtfError, Entry, Kind, Type};

/// A member of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bits from the start of the structure.
    pub bit_offset: u64,
    /// Width in bits of a bit field; 0: not a bit field.
    pub bits: u32,
    /// Its type.
    pub type_id: u32,
}

impl Member {
    /// Where an entry of `of` lies: with `kind_flag` the place carries the width of a bit field.
    #[must_use]
    pub fn place(of: &Type<'_>, entry: Entry) -> Self {
        let (bit_offset, bits) =
            if of.flag { (entry.high & 0x00ff_ffff, entry.high >> 24) } else { (entry.high, 0) };
        Self { bit_offset: u64::from(bit_offset), bits, type_id: entry.word }
    }
}

/// Typedefs and qualifiers in a row that are believed.
const MAX_CHAIN: u32 = 64;
/// Anonymous members within each other that are believed.
const MAX_DEPTH: u32 = 16;
/// Members looked at for one name; a damaged file may nest them so that there is no end.
const MAX_VISITS: u32 = 1 << 16;
/// Both supported architectures.
const POINTER_BYTES: u64 = 8;

impl Btf {
    /// The structure of this name; the first one, where the file has several.
    #[must_use]
    pub fn structure(&self, name: &str) -> Option<u32> {
        let named = |id: &u32| self.get(*id).is_ok_and(|ty| self.is_named(ty.name, name));
        self.structures.iter().copied().find(named)
    }

    /// A member of type `of` by its path, such as `icsk_ack.lrcvtime`; members of anonymous
    /// structures and unions are found as C finds them. `None`: there is no such member.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn member(&self, of: u32, path: &str) -> Result<Option<Member>, BtfError> {
        let mut found = Member { bit_offset: 0, bits: 0, type_id: of };
        for name in path.split('.') {
            if name.is_empty() {
                return Ok(None);
            }
            let mut visits = 0;
            let Some(step) = self.direct(found.type_id, name, 0, &mut visits)? else {
                return Ok(None);
            };
            found = Member { bit_offset: found.bit_offset + step.bit_offset, ..step };
        }
        Ok(Some(found))
    }

    fn direct(&self, of: u32, name: &str, depth: u32, visits: &mut u32) -> Result<Option<Member>, BtfError> {
        let ty = self.unqualified(of)?;
        if !matches!(ty.kind, Kind::Struct | Kind::Union) {
            return Ok(None);
        }
        for entry in ty.entries() {
            *visits += 1;
            if *visits > MAX_VISITS || depth > MAX_DEPTH {
                return Err(BtfError::Cycle { id: of });
            }
            let here = Member::place(&ty, entry);
            if self.is_named(entry.name, name) {
                return Ok(Some(here));
            }
            if self.name(entry.name).is_empty()
                && let Some(inner) = self.direct(entry.word, name, depth + 1, visits)?
            {
                return Ok(Some(Member { bit_offset: here.bit_offset + inner.bit_offset, ..inner }));
            }
        }
        Ok(None)
    }

    /// The type behind typedefs, qualifiers and tags.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn unqualified(&self, id: u32) -> Result<Type<'_>, BtfError> {
        let mut ty = self.get(id)?;
        for _ in 0..MAX_CHAIN {
            if !is_alias(ty.kind) {
                return Ok(ty);
            }
            ty = self.get(ty.size_or_type)?;
        }
        Err(BtfError::Cycle { id })
    }

    /// Size of a type in bytes.
    ///
    /// # Errors
    /// The type has none, or the file is damaged.
    pub fn size(&self, id: u32) -> Result<u32, BtfError> {
        let mut count = 1_u64;
        let mut at = id;
        for _ in 0..MAX_CHAIN {
            let ty = self.unqualified(at)?;
            let one = match ty.kind {
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => {
                    u64::from(ty.size_or_type)
                }
                Kind::Ptr => POINTER_BYTES,
                Kind::Array => {
                    let mut words = ty.words();
                    // struct btf_array: type of an element, type of the index, number of elements.
                    let element = words.next().unwrap_or_default();
                    let elements = words.nth(1).unwrap_or_default();
                    count = count.checked_mul(u64::from(elements)).ok_or(BtfError::TooLarge { id })?;
                    at = element;
                    continue;
                }
                Kind::Void
                | Kind::Fwd
                | Kind::Typedef
                | Kind::Volatile
                | Kind::Const
                | Kind::Restrict
                | Kind::Func
                | Kind::FuncProto
                | Kind::Var
                | Kind::Datasec
                | Kind::DeclTag
                | Kind::TypeTag => return Err(BtfError::NoSize { id }),
            };
            let all = count.checked_mul(one).ok_or(BtfError::TooLarge { id })?;
            return u32::try_from(all).map_err(|_| BtfError::TooLarge { id });
        }
        Err(BtfError::Cycle { id })
    }

    /// The value of an enumerator of any enum, named or not; the first one of this name.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<i64> {
        self.enums.iter().filter_map(|id| self.get(*id).ok()).find_map(|ty| {
            let entry = ty.entries().find(|entry| self.is_named(entry.name, name))?;
            Some(if ty.kind == Kind::Enum64 {
                (u64::from(entry.high) << 32 | u64::from(entry.word)).cast_signed()
            } else if ty.flag {
                i64::from(entry.word.cast_signed())
            } else {
                i64::from(entry.word)
            })
        })
    }
}

/// Kinds that stand for another type of the same size.
#[must_use]
const fn is_alias(kind: Kind) -> bool {
    matches!(kind, Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag)
}
