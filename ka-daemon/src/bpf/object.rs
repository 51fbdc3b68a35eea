//! The object file, loaded: maps sized, layout and configuration handed over, nothing attached.
//! `unsafe`: says that the shared types are plain bytes; gives memory back to the system.

use std::path::Path;

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, Endianness, Pod,
    maps::{Array, MapData, MapError, PerCpuArray},
};
use ka_common::{Config, Counters, KernelLayout, Switches};

use super::{BpfError, attach::Options, error::chain};

/// Lets aya pass a type of `ka-common` as bytes.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Plain<T: Copy + 'static>(pub T);

// SAFETY: these are `repr(C)`, made of integers only, without padding, on both sides.
unsafe impl Pod for Plain<KernelLayout> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Config> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Counters> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Switches> {}

/// The kernel programs that this daemon was built with.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("KA_EBPF_OBJECT"));

pub(super) fn read_btf(path: &Path) -> Result<Btf, BpfError> {
    Btf::parse_file(path, Endianness::default())
        .map_err(|error| BpfError::Btf { path: path.display().to_string(), reason: chain(&error) })
}

/// Creates the maps; programs are loaded one by one as plans ask for them.
pub(super) fn load(
    btf: &Btf,
    layout: &KernelLayout,
    config: Config,
    options: &Options,
) -> Result<Ebpf, BpfError> {
    EbpfLoader::new()
        .btf(Some(btf))
        .override_global("KA_LAYOUT", &Plain(*layout), true)
        .override_global("KA_CONFIG", &Plain(config), true)
        .map_max_entries("KA_RECORDS", options.ring_bytes)
        .map_max_entries("KA_TRACKED", options.max_sockets)
        .map_max_entries("KA_RUN", processors(&read_possible()?)?)
        .load(OBJECT)
        .map_err(|error| not_loaded(&error, options))
}

fn not_loaded(error: &EbpfError, options: &Options) -> BpfError {
    if let EbpfError::MapError(MapError::CreateError { name, io_error }) = error
        && io_error.raw_os_error() == Some(libc::ENOMEM)
    {
        let bytes = u64::from(options.ring_bytes) + u64::from(options.max_sockets) * BYTES_A_SOCKET;
        return BpfError::Memory { map: name.clone(), mib: bytes >> 20 };
    }
    BpfError::Object(chain(error))
}

/// What the kernel takes for an entry of the table of tracked sockets, which is preallocated: `memlock` over
/// `max_entries` in the map's `/proc/PID/fdinfo`.
const BYTES_A_SOCKET: u64 = 248;

const POSSIBLE: &str = "/sys/devices/system/cpu/possible";

fn read_possible() -> Result<String, BpfError> {
    std::fs::read_to_string(POSSIBLE).map_err(|error| BpfError::Processors { reason: error.to_string() })
}

/// One more than the highest number that a processor can have here, from a list such as `0-3,8-11`:
/// there may be gaps.
fn processors(possible: &str) -> Result<u32, BpfError> {
    let last = possible.trim().rsplit([',', '-']).next().unwrap_or_default();
    match last.parse::<u32>().ok().and_then(|last| last.checked_add(1)) {
        Some(count) => Ok(count),
        None => Err(BpfError::Processors { reason: format!("it holds {possible:?}") }),
    }
}

pub(super) fn counters(ebpf: &mut Ebpf) -> Result<PerCpuArray<MapData, Plain<Counters>>, BpfError> {
    const NAME: &str = "KA_COUNTERS";
    let map = ebpf.take_map(NAME).ok_or_else(|| missing(NAME))?;
    PerCpuArray::try_from(map).map_err(|error| BpfError::Map { map: NAME, reason: chain(&error) })
}

pub(super) fn ring(ebpf: &mut Ebpf) -> Result<aya::maps::RingBuf<MapData>, BpfError> {
    const NAME: &str = "KA_RECORDS";
    let map = ebpf.take_map(NAME).ok_or_else(|| missing(NAME))?;
    aya::maps::RingBuf::try_from(map).map_err(|error| BpfError::Map { map: NAME, reason: chain(&error) })
}

/// What the programs write to the log; the maps for it stay with the object.
pub(super) fn logger(ebpf: &mut Ebpf) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, BpfError> {
    aya_log::EbpfLogger::init(ebpf).map_err(|error| BpfError::Map { map: "AYA_LOGS", reason: chain(&error) })
}

/// Lets the programs work, or stops them.
pub(super) fn switch(ebpf: &mut Ebpf, switches: Switches) -> Result<(), BpfError> {
    const NAME: &str = "KA_SWITCHES";
    let map = ebpf.map_mut(NAME).ok_or_else(|| missing(NAME))?;
    let failed = |error: MapError| BpfError::Map { map: NAME, reason: chain(&error) };
    let mut array: Array<_, Plain<Switches>> = Array::try_from(map).map_err(failed)?;
    array.set(0, Plain(switches), 0).map_err(failed)
}

/// Hands the heap that parsing BTF and the object took back to the system: the allocator would keep
/// some 20 MiB of it for as long as the daemon lives.
pub(super) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn missing(map: &'static str) -> BpfError {
    BpfError::Map { map, reason: "not in the object file; rebuild with `cargo xtask build`".into() }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use aya::{EbpfError, maps::MapError};

    use super::{Options, not_loaded, processors};

    #[test]
    fn a_map_without_memory_names_what_takes_it() {
        let options = Options {
            hooks: None,
            ring_bytes: 32 << 20,
            max_sockets: 1 << 18,
            idle_floor: Duration::from_mins(1),
            rtt_exact: false,
            bpf_stats: false,
            iterators: true,
        };
        let told = |errno| {
            let io_error = io::Error::from_raw_os_error(errno);
            let error = EbpfError::MapError(MapError::CreateError { name: "KA_TRACKED".into(), io_error });
            not_loaded(&error, &options).to_string()
        };
        let memory = told(libc::ENOMEM);
        assert!(memory.starts_with("no memory for KA_TRACKED: the maps take some 94 MiB"), "{memory}");
        assert!(memory.contains("--max-sockets") && memory.contains("--ring-buffer-size"), "{memory}");
        assert!(told(libc::EPERM).contains("`KA_TRACKED`: Operation not permitted"), "{}", told(libc::EPERM));
    }

    #[test]
    fn the_highest_processor_counts() {
        assert_eq!(processors("0\n").unwrap(), 1);
        assert_eq!(processors("0-127\n").unwrap(), 128);
        assert_eq!(processors("0-3,8-11\n").unwrap(), 12);
        assert_eq!(processors("0,7\n").unwrap(), 8);
        for bad in ["", "\n", "0-", "x", "4294967295"] {
            assert!(processors(bad).unwrap_err().to_string().contains("cpu/possible"), "{bad}");
        }
    }
}
