use super::testing::Builder;
use super::*;
use crate::kernel::layout;
use crate::kernel::symbols::TimerFunctions;

const FIXTURE: &[u8] = include_bytes!("../../../tests/btf/linux-7.3.4.btf");

#[test]
fn members_are_found_as_c_finds_them() {
    let mut b = Builder::default();
    let int = b.int(4);
    let inner = b.structure("", 8, &[("first", int, 0), ("second", int, 4)]);
    let tagged = b.structure("tagged", 8, &[("third", int, 4)]);
    let either = b.composite(5, false, "", 8, &[("", inner, 0), ("", tagged, 0), ("whole", int, 0)]);
    let alias = b.add("alias_t", 8 << 24, either, &[]);
    let of = b.structure("outer", 32, &[("head", int, 0), ("", alias, 8), ("named", inner, 24)]);
    let btf = Btf::parse(b.finish()).unwrap();
    assert_eq!(btf.structure("outer"), Some(of));
    assert_eq!(btf.structure("oute"), None);
    let at = |path| btf.member(of, path).unwrap().map(|member| member.bit_offset / 8);
    assert_eq!(at("head"), Some(0));
    assert_eq!(at("second"), Some(12));
    assert_eq!(at("third"), Some(12));
    assert_eq!(at("whole"), Some(8));
    assert_eq!(at("named.second"), Some(28));
    for missing in ["", "hea", "heads", "named", "named.third", "head.first", "named.", "."] {
        assert_eq!(at(missing).is_some(), missing == "named", "{missing:?}");
    }
}

#[test]
fn bit_fields_carry_their_width() {
    let mut b = Builder::default();
    let byte = b.int(1);
    let of = b.composite(
        4,
        true,
        "flags",
        2,
        &[("a", byte, 0), ("b", byte, 1 << 24 | 0x9), ("c", byte, 3 << 24 | 0xa)],
    );
    let btf = Btf::parse(b.finish()).unwrap();
    let found = |name| btf.member(of, name).unwrap().map(|member| (member.bit_offset, member.bits));
    assert_eq!((found("a"), found("b"), found("c")), (Some((0, 0)), Some((9, 1)), Some((10, 3))));
}

#[test]
fn sizes_are_those_behind_aliases_and_arrays() {
    let mut b = Builder::default();
    let short = b.int(2);
    let float = b.add("double", 16 << 24, 8, &[]);
    let pointer = b.ptr();
    let mut alias = short;
    for kind in [8, 9, 10, 11, 18] {
        alias = b.add("", kind << 24, alias, &[]);
    }
    b.add("tag", 17 << 24, short, &[u32::MAX]);
    let row = b.add("", 3 << 24, 0, &[alias, short, 3]);
    let table = b.add("", 3 << 24, 0, &[row, short, 5]);
    let empty = b.add("", 3 << 24, 0, &[row, short, 0]);
    let forward = b.add("later", 7 << 24, 0, &[]);
    let huge = b.add("", 3 << 24, 0, &[table, short, u32::MAX]);
    let btf = Btf::parse(b.finish()).unwrap();
    for (ty, size) in [(short, 2), (float, 8), (pointer, 8), (alias, 2), (row, 6), (table, 30), (empty, 0)] {
        assert_eq!(btf.size(ty).unwrap(), size, "type {ty}");
    }
    assert!(matches!(btf.size(forward), Err(BtfError::NoSize { .. })));
    assert!(matches!(btf.size(0), Err(BtfError::NoSize { .. })));
    assert!(matches!(btf.size(huge), Err(BtfError::TooLarge { .. })));
    assert!(matches!(btf.size(huge + 1), Err(BtfError::NoSuchType { .. })));
}

#[test]
fn enumerators_of_every_width_and_sign() {
    let mut b = Builder::default();
    b.enumeration(false, "PLAIN", &[u32::MAX]);
    b.enumeration(true, "NEGATIVE", &[u32::MAX]);
    b.enumeration(false, "WIDE", &[2, 1]);
    let btf = Btf::parse(b.finish()).unwrap();
    assert_eq!(btf.enumerator("PLAIN"), Some(i64::from(u32::MAX)));
    assert_eq!(btf.enumerator("NEGATIVE"), Some(-1));
    assert_eq!(btf.enumerator("WIDE"), Some(1 << 32 | 2));
    assert_eq!(btf.enumerator("PLAI"), None);
}

#[test]
fn loops_end_in_an_error() {
    let mut b = Builder::default();
    let alias = b.add("loop", 8 << 24, 1, &[]);
    let array = b.add("", 3 << 24, 0, &[2, 2, 1]);
    // Wide and nested in itself: without a limit on the work the search would take ages.
    let wide = b.composite(4, false, "wide", 8, &[("", 3, 0); 40]);
    let btf = Btf::parse(b.finish()).unwrap();
    assert!(matches!(btf.unqualified(alias), Err(BtfError::Cycle { id: 1 })));
    assert!(matches!(btf.size(array), Err(BtfError::Cycle { .. })));
    assert!(matches!(btf.member(wide, "x"), Err(BtfError::Cycle { .. })));
}

#[test]
fn what_is_not_btf_is_named() {
    let mut other = FIXTURE.to_vec();
    let message = |data: &[u8]| Btf::parse(data.to_vec()).unwrap_err().to_string();
    assert!(message(b"\x7fELF and so on").contains("ELF"));
    assert!(message(b"").contains("header"));
    other[..2].copy_from_slice(&[0xeb, 0x9f]);
    assert!(message(&other).contains("big-endian"));
    other[..2].copy_from_slice(b"\x1f\x8b");
    assert!(message(&other).contains("0x8b1f"));
    other.copy_from_slice(FIXTURE);
    other[2] = 9;
    assert!(message(&other).contains("version 9"));
    let mut b = Builder::default();
    b.add("new", 20 << 24, 0, &[]);
    assert!(message(&b.finish()).contains("unknown kind 20"));
    let missing = Btf::read(Path::new("/nonexistent.btf")).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent.btf"), "{missing}");
}

/// The file is read as a whole: no part of it can be missing.
#[test]
fn every_truncation_is_an_error() {
    for len in 0..FIXTURE.len() {
        assert!(Btf::parse(FIXTURE[..len].to_vec()).is_err(), "{len} of {} bytes", FIXTURE.len());
    }
    Btf::parse(FIXTURE.to_vec()).unwrap();
}

/// Damage gives a result or an error, never a panic or an endless loop. Reproducible.
#[test]
fn damage_is_survived() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    let (mut refused, mut resolved) = (0, 0);
    for round in 0..2000 {
        let mut data = FIXTURE.to_vec();
        for _ in 0..=random(8) {
            let at = random(data.len());
            data[at] = match round % 3 {
                0 => data[at] ^ 1 << random(8),
                1 => u8::try_from(random(256)).unwrap(),
                _ => [0, 1, 0x7f, 0x80, 0xff][random(5)],
            };
        }
        let Ok(btf) = Btf::parse(data) else {
            refused += 1;
            continue;
        };
        for ty in btf.iter() {
            // Only that these return is of interest.
            drop((btf.size(ty.id), btf.unqualified(ty.id), btf.name(ty.name).len(), ty.entries().count()));
        }
        resolved += u32::from(layout::resolve(&btf, TimerFunctions::default()).is_ok());
    }
    assert!(
        refused > 50 && resolved > 50,
        "refused {refused}, resolved {resolved}: the damage is too one-sided"
    );
}
