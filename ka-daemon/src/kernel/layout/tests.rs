//! The layout of several kernels against what other tools say of them (tests/btf/README.md), and
//! of kernels made up for what those do not have.

use std::collections::BTreeMap;

use super::*;
use crate::kernel::btf::Kind;

macro_rules! kernels {
    ($($version:literal),+) => {
        [$((
            $version,
            include_bytes!(concat!("../../../tests/btf/linux-", $version, ".btf")).as_slice(),
            include_str!(concat!("../../../tests/btf/linux-", $version, ".txt")),
        )),+]
    };
}

const KERNELS: [(&str, &[u8], &str); 5] = kernels!("5.10.262", "6.1.192", "6.12.117", "6.18.44", "7.3.4");
const FUNCTIONS: TimerFunctions =
    TimerFunctions { keepalive: 0xffff_ffff_8100_0010, write: 0xffff_ffff_8100_0020 };

/// Name to numbers, read from the debug output, so that no field can be forgotten here.
fn by_name(layout: &KernelLayout) -> BTreeMap<String, Vec<u64>> {
    let text = format!("{layout:?}").replace("Field { offset: ", "");
    let body = text.strip_prefix("KernelLayout { ").unwrap().strip_suffix(" }").unwrap();
    let mut fields = BTreeMap::<String, Vec<u64>>::new();
    let mut last = String::new();
    for part in body.split(", ") {
        let (name, number) = part.split_once(": ").unwrap();
        // `family: 16, size: 2 }`: the second number belongs to the field before.
        if name != "size" {
            name.clone_into(&mut last);
        }
        fields.entry(last.clone()).or_default().push(number.trim_end_matches(" }").parse().unwrap());
    }
    fields
}

#[test]
fn every_field_of_every_kernel_is_what_other_tools_say() {
    for (version, btf, expected) in KERNELS {
        let (layout, degraded) = resolve(&Btf::parse(btf.to_vec()).unwrap(), FUNCTIONS).unwrap();
        assert_eq!(degraded, [], "{version}");
        let mut expected: BTreeMap<_, Vec<u64>> = expected
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                (words.next().unwrap().to_owned(), words.map(|word| word.parse().unwrap()).collect())
            })
            .collect();
        expected.insert("reserved".into(), vec![0]);
        expected.insert("fn_keepalive_timer".into(), vec![FUNCTIONS.keepalive]);
        expected.insert("fn_write_timer".into(), vec![FUNCTIONS.write]);
        assert_eq!(by_name(&layout), expected, "{version}");
    }
}

/// BTF with a member, structure or enumerator renamed away, everywhere.
fn without(btf: &[u8], name: &str) -> Btf {
    let (old, new) = (format!("\0{name}\0"), format!("\0{}\0", "x".repeat(name.len())));
    let mut data = btf.to_vec();
    let places: Vec<_> =
        (0..data.len() - old.len()).filter(|at| data[*at..].starts_with(old.as_bytes())).collect();
    assert!(!places.is_empty(), "the fixture has no {name}");
    for at in places {
        data[at..at + old.len()].copy_from_slice(new.as_bytes());
    }
    Btf::parse(data).unwrap()
}

#[test]
fn a_missing_required_member_is_named() {
    for wanted in MEMBERS.iter().filter(|wanted| wanted.feature.is_none()) {
        // Where a kernel has the first place as well as the second, the second is not missed.
        let [(strukt, path)] = wanted.places else { continue };
        let last = path.rsplit('.').next().unwrap();
        let error = resolve(&without(KERNELS[4].1, last), FUNCTIONS).unwrap_err().to_string();
        assert!(error.contains(&format!("struct {strukt} has no member {path}")), "{path}: {error}");
    }
    for wanted in ENUMERATORS {
        let error = resolve(&without(KERNELS[4].1, wanted.name), FUNCTIONS).unwrap_err().to_string();
        assert!(error.contains(wanted.name), "{error}");
    }
    for strukt in ["tcp_sock", "sk_buff", "timer_list", "socket_alloc"] {
        let error = resolve(&without(KERNELS[4].1, strukt), FUNCTIONS).unwrap_err().to_string();
        assert!(error.contains(&format!("no struct {strukt}:")), "{error}");
    }
}

#[test]
fn a_moved_member_that_is_nowhere_names_every_place() {
    // 5.10 has its timers in the second place only.
    for (name, first, second) in [
        ("sk_timer", "inet_connection_sock has no member icsk_keepalive_timer", "sock.sk_timer"),
        (
            "icsk_retransmit_timer",
            "sock has no member tcp_retransmit_timer",
            "inet_connection_sock.icsk_retransmit_timer",
        ),
    ] {
        let error = resolve(&without(KERNELS[0].1, name), FUNCTIONS).unwrap_err().to_string();
        assert!(error.contains(first) && error.contains(second), "{error}");
    }
}

#[test]
fn a_missing_optional_member_is_told_and_zero() {
    for (name, missing) in [
        ("skc_v6_daddr", "sock_common.skc_v6_daddr"),
        ("skc_v6_rcv_saddr", "sock_common.skc_v6_rcv_saddr"),
        ("sk_cgrp_data", "sock.sk_cgrp_data.cgroup"),
        ("kn", "cgroup.kn"),
        ("kernfs_node", "struct kernfs_node"),
    ] {
        let (layout, degraded) = resolve(&without(KERNELS[4].1, name), FUNCTIONS).unwrap();
        assert_eq!(degraded.len(), 1, "{name}: {degraded:?}");
        assert_eq!(degraded[0].missing, missing);
        let field = match name {
            "skc_v6_daddr" => layout.daddr6,
            "skc_v6_rcv_saddr" => layout.saddr6,
            "sk_cgrp_data" => layout.cgroup,
            "kn" => layout.cgroup_kn,
            _ => layout.kernfs_id,
        };
        assert_eq!(field, Field::default(), "{name}");
        assert_eq!(layout.cgroup_tagged, 0);
    }
}

/// BTF with one word (1: type, 2: place) of a member changed; the member may lie in an unnamed one.
fn patch(btf: &[u8], member: &str, word: usize, change: impl Fn(&Btf, u32) -> u32) -> Btf {
    let mut data = btf.to_vec();
    let whole = Btf::parse(data.clone()).unwrap();
    let mut entries = whole.iter().flat_map(|ty| ty.entries().collect::<Vec<_>>());
    let entry = entries.find(|entry| whole.name(entry.name) == member.as_bytes()).unwrap();
    let needle: Vec<u8> =
        [entry.name, entry.word, entry.high].iter().flat_map(|word| word.to_le_bytes()).collect();
    let at = data.windows(12).position(|bytes| bytes == needle).unwrap() + word * 4;
    let old = u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
    data[at..at + 4].copy_from_slice(&change(&whole, old).to_le_bytes());
    Btf::parse(data).unwrap()
}

fn int_of(btf: &Btf, bytes: u32) -> u32 {
    btf.iter().find(|ty| ty.kind == Kind::Int && ty.size_or_type == bytes).unwrap().id
}

#[test]
fn an_unexpected_shape_is_refused_by_name() {
    let btf = KERNELS[4].1;
    let wide = patch(btf, "rcv_tstamp", 1, |btf, _| int_of(btf, 8));
    let error = resolve(&wide, FUNCTIONS).unwrap_err().to_string();
    assert!(error.contains("tcp_sock.rcv_tstamp is 8 bytes, where 4 bytes"), "{error}");
    // The programs read these two as a byte, whatever the layout says.
    for name in ["icsk_pending", "icsk_probes_out"] {
        let error =
            resolve(&patch(btf, name, 1, |btf, _| int_of(btf, 4)), FUNCTIONS).unwrap_err().to_string();
        assert!(error.contains(&format!("{name} is 4 bytes, where 1 bytes")), "{error}");
    }
    let timer = patch(btf, "tcp_retransmit_timer", 1, |btf, _| int_of(btf, 4));
    let error = resolve(&timer, FUNCTIONS).unwrap_err().to_string();
    assert!(error.contains("sock.tcp_retransmit_timer is 4 bytes, where a struct timer_list"), "{error}");
    let bits = patch(btf, "segs_in", 2, |_, place| place | 5 << 24);
    let error = resolve(&bits, FUNCTIONS).unwrap_err().to_string();
    assert!(error.contains("tcp_sock.segs_in is a bit field of 5 bits"), "{error}");
    let not_first = patch(btf, "sk", 2, |_, place| place + 64);
    let error = resolve(&not_first, FUNCTIONS).unwrap_err().to_string();
    assert!(error.contains("struct inet_sock has sk 8 bytes from its start"), "{error}");
}

/// An integer of another size is read as it is: `sysctl_tcp_retries2` was an int once.
#[test]
fn integers_keep_their_size() {
    let wide = patch(KERNELS[4].1, "keepalive_probes", 1, |btf, _| int_of(btf, 4));
    let (layout, _) = resolve(&wide, FUNCTIONS).unwrap();
    assert_eq!(layout.keepcnt.size, 4);
    let narrow = patch(KERNELS[4].1, "skc_flags", 1, |btf, _| int_of(btf, 4));
    assert_eq!(resolve(&narrow, FUNCTIONS).unwrap().0.flags.size, 4);
}

/// What 5.10 to 5.14 began with: `sk_cgrp_data` holds `val`, a pointer only while bit 0 is clear.
#[test]
fn a_tagged_control_group_is_told() {
    let mut data = KERNELS[0].1.to_vec();
    let (old, new) = (b"\0sk_cgrp_data\0", b"\0cgroup\0");
    assert!(data.windows(old.len()).any(|bytes| bytes == old));
    let whole = Btf::parse(data.clone()).unwrap();
    let strukt = whole.get(whole.structure("sock_cgroup_data").unwrap()).unwrap();
    let entry = strukt.entries().next().unwrap();
    assert_eq!(whole.name(entry.name), b"cgroup");
    let tail: Vec<_> =
        data.windows(new.len()).enumerate().filter(|(_, bytes)| bytes == new).map(|(at, _)| at).collect();
    for at in tail {
        data[at..at + new.len()].copy_from_slice(b"\0val\0xx\0");
    }
    // The structure `cgroup` shares the name and is then missing too.
    let (layout, degraded) = resolve(&Btf::parse(data).unwrap(), FUNCTIONS).unwrap();
    assert_eq!(layout.cgroup_tagged, 1);
    assert_eq!(layout.cgroup.size, 8);
    assert_eq!(degraded.len(), 1, "{degraded:?}");
    assert_eq!(degraded[0].missing, "struct cgroup");
}

#[test]
fn what_is_read_at_once_must_lie_together() {
    let settings = SPANS.iter().find(|wanted| wanted.name == "the keepalive settings of a socket").unwrap();
    let at = |offset| Field { offset, size: 4 };
    let mut layout = KernelLayout { keepidle: at(12), ..KernelLayout::default() };
    // A member that this kernel does not have takes no place; the start is rounded down to eight.
    assert_eq!(span(&layout, settings).unwrap(), Field { offset: 8, size: 8 });
    layout.keepintvl = at(8 + 119);
    assert_eq!(span(&layout, settings).unwrap(), Field { offset: 8, size: 123 });
    layout.keepintvl = at(8 + 124);
    let error = span(&layout, settings).unwrap_err().to_string();
    assert!(error.contains("keepalive settings of a socket over 128 bytes"), "{error}");
}
