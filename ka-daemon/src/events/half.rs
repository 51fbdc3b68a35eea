//! The half of the mapped ring buffer that nobody reads. The pages of the buffer are mapped twice in a row, so
//! that a report which wraps at the end is read in one piece, and the kernel maps them all at once: a buffer of
//! 16 MiB counts as 32 resident. A report reaches no further than into the first page of the second mapping; the
//! rest of it is given back.
//!
//! The range stays mapped, since aya unmaps all of it in the end; a read in there would be a SIGBUS.
//! `unsafe`: the kernel is told of a range of memory by its address.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use ka_common::Report;

/// What the kernel puts before each report.
const HEADER_BYTES: usize = 8;
/// What a mapping of a BPF map is called.
const NAME: &str = "anon_inode:bpf-map";

/// Why nothing was given back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unclear {
    #[error("{0} mappings look like it")]
    Mappings(usize),
    #[error("its size is not known")]
    Size,
    #[error("a report is longer than a page")]
    Page,
}

/// Gives back what is mapped of a ring buffer a second time, the first page of that apart. Where it is not clear
/// which memory that is, all stays as it is.
pub(super) fn give_back(ring: impl AsFd) {
    match try_give_back(ring) {
        Ok(bytes) => tracing::debug!("the second mapping of the ring buffer: {bytes} bytes given back"),
        Err(error) => tracing::debug!("the second mapping of the ring buffer stays resident: {error}"),
    }
}

fn try_give_back(ring: impl AsFd) -> io::Result<usize> {
    let descriptor = ring.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"))?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let (start, bytes) = unread(&info, &maps, rustix::param::page_size()).map_err(io::Error::other)?;
    // SAFETY: the range lies in the one mapping of this process that is as long as this ring buffer is mapped,
    // and read only: no write of anybody is lost. Nothing reads it: aya looks at headers in the first
    // mapping alone, and at a report from its header on, which is shorter than a page.
    unsafe { rustix::mm::madvise(start as *mut _, bytes, rustix::mm::Advice::LinuxDontNeed) }?;
    Ok(bytes)
}

/// Address and length of what nobody reads, from what the kernel says of a ring buffer's descriptor and of all
/// mappings.
fn unread(info: &str, maps: &str, page: usize) -> Result<(usize, usize), Unclear> {
    if Report::SIZE + HEADER_BYTES > page {
        return Err(Unclear::Page);
    }
    let size = info.lines().find_map(|line| line.strip_prefix("max_entries:")?.trim().parse::<usize>().ok());
    let size = size.filter(|size| *size >= page && size.is_multiple_of(page)).ok_or(Unclear::Size)?;
    let mapped = size.checked_mul(2).and_then(|twice| twice.checked_add(page)).ok_or(Unclear::Size)?;
    let found: Vec<usize> = maps.lines().filter_map(|line| begin(line, page, mapped)).collect();
    match found[..] {
        [begin] => Ok((begin + page + size + page, size - page)),
        _ => Err(Unclear::Mappings(found.len())),
    }
}

/// Where a mapping begins, when it is a ring buffer's of this length, from the page of the producer's position on.
fn begin(line: &str, page: usize, mapped: usize) -> Option<usize> {
    let mut words = line.split_ascii_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let (begin, end) = (usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let (access, offset, name) = (words.next()?, words.next()?, words.nth(2)?);
    let offset = usize::from_str_radix(offset, 16).ok()?;
    let same = access == "r--s" && offset == page && name == NAME && end.checked_sub(begin) == Some(mapped);
    same.then_some(begin)
}

#[cfg(test)]
mod tests {
    use super::{Unclear, unread};

    const INFO: &str = "pos:\t0\nflags:\t02000002\nmap_type:\t27\nmax_entries:\t8192\nmemlock:\t0\n";
    const MAPS: &str = "\
7f0000000000-7f0000001000 rw-s 00000000 00:0e 1054                       anon_inode:bpf-map
7f0000002000-7f0000007000 r--s 00001000 00:0e 1054                       anon_inode:bpf-map
7f0000008000-7f000001d000 r--s 00001000 00:0e 1054                       anon_inode:bpf-map
7f0000020000-7f0000025000 r--p 00001000 00:0e 1055                       /usr/lib/libc.so.6
7ffff0000000-7ffff0005000 rw-p 00000000 00:00 0                          [stack]
";
    const PAGE: usize = 4096;

    #[test]
    fn the_second_mapping_is_found_and_keeps_its_first_page() {
        assert_eq!(unread(INFO, MAPS, PAGE), Ok((0x7f00_0000_6000, 0x1000)));
    }

    #[test]
    fn nothing_is_given_back_where_it_is_not_clear_what() {
        let twice = MAPS.replace("7f0000008000-7f000001d000", "7f0000008000-7f000000d000");
        let cases = [
            (INFO, twice.as_str(), Unclear::Mappings(2)),
            (INFO, &MAPS.replace("r--s", "rw-s"), Unclear::Mappings(0)),
            (INFO, &MAPS.replace("00001000 00:0e", "00002000 00:0e"), Unclear::Mappings(0)),
            (INFO, &MAPS.replace("bpf-map", "bpf-prog"), Unclear::Mappings(0)),
            (INFO, "", Unclear::Mappings(0)),
            ("", MAPS, Unclear::Size),
            ("max_entries:\t100\n", MAPS, Unclear::Size),
            ("max_entries:\t18446744073709547520\n", MAPS, Unclear::Size),
        ];
        for (info, maps, expected) in cases {
            assert_eq!(unread(info, maps, PAGE), Err(expected), "{info}{maps}");
        }
        assert_eq!(unread(INFO, MAPS, 128), Err(Unclear::Page));
    }
}
