//! One type of a BTF file as it lies there: `struct btf_type` and what follows it.

use super::BtfError;

/// `BTF_KIND_*` of `include/uapi/linux/btf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub enum Kind {
    Void,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl Kind {
    const fn from_number(kind: u8) -> Option<Self> {
        Some(match kind {
            1 => Self::Int,
            2 => Self::Ptr,
            3 => Self::Array,
            4 => Self::Struct,
            5 => Self::Union,
            6 => Self::Enum,
            7 => Self::Fwd,
            8 => Self::Typedef,
            9 => Self::Volatile,
            10 => Self::Const,
            11 => Self::Restrict,
            12 => Self::Func,
            13 => Self::FuncProto,
            14 => Self::Var,
            15 => Self::Datasec,
            16 => Self::Float,
            17 => Self::DeclTag,
            18 => Self::TypeTag,
            19 => Self::Enum64,
            _ => return None,
        })
    }

    /// Bytes that follow `struct btf_type`: once, and for each of its entries.
    const fn trailer(self) -> (usize, usize) {
        match self {
            Self::Int | Self::Var | Self::DeclTag => (4, 0),
            Self::Array => (12, 0),
            Self::Struct | Self::Union | Self::Datasec | Self::Enum64 => (0, 12),
            Self::Enum | Self::FuncProto => (0, 8),
            Self::Void
            | Self::Ptr
            | Self::Fwd
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Func
            | Self::Float
            | Self::TypeTag => (0, 0),
        }
    }
}

/// A type, with the bytes that belong to it.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    /// Its number in the file.
    pub id: u32,
    /// Its kind.
    pub kind: Kind,
    /// `kind_flag`: bit fields carry their width (struct, union), values are signed (enum).
    pub flag: bool,
    /// Its name, an offset into the string section.
    pub name: u32,
    /// Its size in bytes, or the type that it refers to, as the kind has it.
    pub size_or_type: u32,
    trailer: &'a [u8],
}

/// One entry of a struct, union, enum or enum64.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name, an offset into the string section.
    pub name: u32,
    /// Type of the member; the low word of the value of an enumerator.
    pub word: u32,
    /// Place of the member (see [`Type::flag`]); the high word of an enum64's value, else 0.
    pub high: u32,
}

/// `struct btf_type`.
const TYPE_LEN: usize = 12;

impl<'a> Type<'a> {
    /// Type 0, which no file holds.
    pub const VOID: Self =
        Self { id: 0, kind: Kind::Void, flag: false, name: 0, size_or_type: 0, trailer: &[] };

    /// Reads the type that begins `bytes`.
    pub(super) fn parse(id: u32, bytes: &'a [u8]) -> Result<Self, BtfError> {
        let truncated = BtfError::Truncated { id };
        let (Some(name), Some(info), Some(size_or_type)) =
            (u32_at(bytes, 0), u32_at(bytes, 4), u32_at(bytes, 8))
        else {
            return Err(truncated);
        };
        // Kind and number of entries take 5 and 16 bits; the spare bits above each are 0, and are
        // read along, so that their use by a later kernel is not mistaken for something else.
        let number = (info >> 24 & 0x7f) as u8;
        let kind = Kind::from_number(number).ok_or(BtfError::UnknownKind { id, kind: number })?;
        let entries = (info & 0x00ff_ffff) as usize;
        let (once, each) = kind.trailer();
        let len = once + each * entries;
        let trailer = bytes.get(TYPE_LEN..TYPE_LEN + len).ok_or(truncated)?;
        Ok(Self { id, kind, flag: info >> 31 == 1, name, size_or_type, trailer })
    }

    /// Bytes that the type takes in the file.
    pub(super) const fn record_len(&self) -> usize {
        TYPE_LEN + self.trailer.len()
    }

    /// The words after `struct btf_type`, as they are.
    pub fn words(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.trailer.chunks_exact(4).filter_map(|word| u32_at(word, 0))
    }

    /// Members of a struct or union, enumerators of an enum or enum64; nothing for other kinds.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + use<'a> {
        let each = match self.kind {
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => self.kind.trailer().1,
            Kind::Void
            | Kind::Int
            | Kind::Ptr
            | Kind::Array
            | Kind::Fwd
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::FuncProto
            | Kind::Var
            | Kind::Datasec
            | Kind::Float
            | Kind::DeclTag
            | Kind::TypeTag => 0,
        };
        let trailer = if each == 0 { &[] } else { self.trailer };
        trailer.chunks_exact(each.max(1)).filter_map(|entry| {
            Some(Entry {
                name: u32_at(entry, 0)?,
                word: u32_at(entry, 4)?,
                high: u32_at(entry, 8).unwrap_or_default(),
            })
        })
    }
}

/// The little-endian word at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}
