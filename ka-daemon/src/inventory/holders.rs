//! Which process holds which socket, as the last look at all open files found it: eight bytes a socket,
//! and no more than [`MAX_HELD`] of them.
//!
//! A socket that several processes hold belongs to the one that has held it longest: whoever held it at
//! the last look keeps it, and of several new ones the process that started first has it. What is gone
//! stays known for a while, for the records that come late.

use std::collections::HashMap;

use ka_common::FileRow;
use rustc_hash::FxBuildHasher;

/// Sockets that are remembered at most; beyond it a socket's own control group tells whose it is.
pub const MAX_HELD: usize = 1 << 20;
/// Sockets that are gone and still known, at most.
const MAX_GONE: usize = 1 << 16;
/// How long a socket that is gone stays known.
pub const GONE_SECONDS: u64 = 60;

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in ns of `CLOCK_BOOTTIME`; with `pid` its identity.
    pub start_ns: u64,
    /// Its name.
    pub comm: String,
}

/// Place in the list of processes.
type ProcessId = u32;

/// One look at all open files, while it is taken.
#[derive(Debug, Default)]
pub struct Look {
    held: Vec<(u32, ProcessId)>,
    processes: Processes,
    over: u64,
}

impl Look {
    /// Takes one descriptor of a socket.
    pub fn row(&mut self, row: &FileRow) {
        match u32::try_from(row.inode) {
            Ok(inode) if self.held.len() < MAX_HELD => {
                let process = self.processes.id(row.pid, row.start_ns, || comm(&row.comm));
                self.held.push((inode, process));
            }
            Ok(_) | Err(_) => self.over += 1,
        }
    }
}

/// A name as the kernel keeps it: up to a zero, any bytes.
fn comm(bytes: &[u8; 16]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Processes, each once.
#[derive(Debug, Default)]
struct Processes {
    list: Vec<Process>,
    places: HashMap<(u32, u64), ProcessId, FxBuildHasher>,
}

impl Processes {
    fn id(&mut self, pid: u32, start_ns: u64, comm: impl FnOnce() -> String) -> ProcessId {
        let Self { list, places } = self;
        *places.entry((pid, start_ns)).or_insert_with(|| {
            list.push(Process { pid, start_ns, comm: comm() });
            ProcessId::try_from(list.len() - 1).expect("fewer processes than sockets")
        })
    }
}

/// What is known.
#[derive(Debug, Default)]
pub struct Holders {
    /// By inode.
    held: Vec<(u32, ProcessId)>,
    /// By inode; until when.
    gone: Vec<(u32, ProcessId, u64)>,
    processes: Vec<Process>,
    over: u64,
}

impl Holders {
    /// Puts a new look in place of the last one.
    #[must_use]
    pub fn next(&self, look: Look, now_s: u64) -> Self {
        let Look { mut held, mut processes, over } = look;
        held.sort_unstable();
        held.dedup();
        let mut kept = Vec::with_capacity(held.len());
        for several in held.chunk_by(|a, b| a.0 == b.0) {
            let inode = several[0].0;
            let before = if several.len() == 1 { None } else { self.held(inode) };
            let keeps = before.and_then(|before| {
                let same = |id: ProcessId| {
                    let now = &processes.list[id as usize];
                    (now.pid, now.start_ns) == (before.pid, before.start_ns)
                };
                several.iter().find(|(_, id)| same(*id))
            });
            let oldest = several.iter().min_by_key(|(_, id)| {
                let process = &processes.list[*id as usize];
                (process.start_ns, process.pid)
            });
            kept.extend(keeps.or(oldest));
        }
        let mut gone = Vec::new();
        let before = self.gone.iter().copied().filter(|(_, _, until)| *until > now_s);
        let just = self.held.iter().map(|(inode, process)| (*inode, *process, now_s + GONE_SECONDS));
        for (inode, process, until) in before.chain(just) {
            if gone.len() < MAX_GONE && find(&kept, inode).is_none() {
                let process = &self.processes[process as usize];
                let id = processes.id(process.pid, process.start_ns, || process.comm.clone());
                gone.push((inode, id, until));
            }
        }
        // The latest word on an inode stands last; a stable sort keeps the order.
        gone.sort_by_key(|(inode, ..)| *inode);
        Self { held: kept, gone, processes: processes.list, over }
    }

    /// The process that holds a socket, or held it a moment ago, and its place among all.
    #[must_use]
    pub fn find(&self, inode: u64) -> Option<(usize, &Process)> {
        let inode = u32::try_from(inode).ok()?;
        let place = find(&self.held, inode).or_else(|| {
            let end = self.gone.partition_point(|(gone, ..)| *gone <= inode);
            let (found, process, _) = self.gone.get(end.checked_sub(1)?)?;
            (*found == inode).then_some(*process)
        })? as usize;
        Some((place, &self.processes[place]))
    }

    /// How many processes there are.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    fn held(&self, inode: u32) -> Option<&Process> {
        find(&self.held, inode).map(|id| &self.processes[id as usize])
    }

    /// Sockets that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no socket is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Descriptors that found no place.
    #[must_use]
    pub const fn over(&self) -> u64 {
        self.over
    }
}

fn find(held: &[(u32, ProcessId)], inode: u32) -> Option<ProcessId> {
    held.binary_search_by_key(&inode, |(inode, _)| *inode).ok().map(|place| held[place].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(rows: &[(u64, u32, u64)]) -> Look {
        let mut look = Look::default();
        for (inode, pid, start_ns) in rows {
            let mut comm = [0; 16];
            comm[..2].copy_from_slice(b"p\0");
            look.row(&FileRow { inode: *inode, pid: *pid, start_ns: *start_ns, comm, ..FileRow::default() });
        }
        look
    }

    fn pid(holders: &Holders, inode: u64) -> Option<u32> {
        holders.find(inode).map(|(_, process)| process.pid)
    }

    #[test]
    fn each_socket_has_its_process() {
        let holders = Holders::default().next(look(&[(7, 1, 10), (9, 2, 20), (8, 1, 10), (8, 1, 10)]), 0);
        assert_eq!((pid(&holders, 7), pid(&holders, 8), pid(&holders, 9)), (Some(1), Some(1), Some(2)));
        assert_eq!(pid(&holders, 10), None);
        assert_eq!(pid(&holders, 1 << 40), None);
        assert_eq!(holders.len(), 3);
    }

    #[test]
    fn of_several_new_ones_the_oldest_process_has_it() {
        let holders = Holders::default().next(look(&[(7, 5, 50), (7, 9, 20), (7, 4, 20)]), 0);
        assert_eq!(pid(&holders, 7), Some(4));
    }

    #[test]
    fn who_held_it_before_keeps_it_while_it_holds_it() {
        let first = Holders::default().next(look(&[(7, 5, 50)]), 0);
        let both = first.next(look(&[(7, 4, 20), (7, 5, 50)]), 1);
        assert_eq!(pid(&both, 7), Some(5));
        let passed_on = both.next(look(&[(7, 4, 20)]), 2);
        assert_eq!(pid(&passed_on, 7), Some(4));
        // A process of the same number that started later is another one.
        let again = first.next(look(&[(7, 4, 20), (7, 5, 60)]), 1);
        assert_eq!(pid(&again, 7), Some(4));
    }

    #[test]
    fn what_is_gone_stays_known_for_a_minute() {
        let first = Holders::default().next(look(&[(7, 5, 50)]), 100);
        let second = first.next(look(&[(8, 6, 60)]), 110);
        assert_eq!(pid(&second, 7), Some(5));
        let third = second.next(look(&[(8, 6, 60)]), 169);
        assert_eq!(pid(&third, 7), Some(5));
        assert_eq!(pid(&third.next(look(&[(8, 6, 60)]), 170), 7), None);
        // A number that comes again is the new socket's.
        assert_eq!(pid(&second.next(look(&[(7, 9, 90)]), 111), 7), Some(9));
    }

    #[test]
    fn a_name_ends_at_its_zero_and_may_hold_anything() {
        assert_eq!(comm(b"nginx\0\0\0\0\0\0\0\0\0\0\0"), "nginx");
        assert_eq!(comm(b"0123456789abcdef"), "0123456789abcdef");
        assert_eq!(comm(&[0xff; 16]), "\u{fffd}".repeat(16));
    }
}
