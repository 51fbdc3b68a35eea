//! What really went over the wire: an `AF_PACKET` socket in a namespace, and the real tcpdump.
//! Needs `unsafe` for packet sockets, which no crate here wraps.

use std::io::Read as _;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::net::{Net, Side};

/// A TCP segment that left the namespace.
#[derive(Clone, Copy, Debug)]
struct Segment {
    from_port: u16,
    to_port: u16,
    seq: u32,
    flags: u8,
    len: u32,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

/// Captures the segments that a side sends, from its creation on.
#[derive(Debug)]
pub(crate) struct Capture {
    segments: Arc<Mutex<Vec<Segment>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Capture {
    pub(crate) fn start(net: &Net, side: Side) -> Result<Self> {
        let socket = net.within(side, packet_socket)?;
        let (segments, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (segments, stop) = (Arc::clone(&segments), Arc::clone(&stop));
            std::thread::spawn(move || receive(&socket, &segments, &stop))
        };
        Ok(Self { segments, stop, thread: Some(thread) })
    }

    /// The same, once the capture has seen at least as many: it may lag on a busy machine.
    pub(crate) fn probes_at_least(&self, local: SocketAddr, remote: SocketAddr, count: u64) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let probes = self.probes(local, remote);
            if probes >= count || Instant::now() > deadline {
                return probes;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Probes sent from `local` to `remote`: an empty or one-byte ACK one below the highest
    /// sequence number sent so far. Keepalive and window probes look the same.
    pub(crate) fn probes(&self, local: SocketAddr, remote: SocketAddr) -> u64 {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next: Option<u32> = None;
        let mut probes = 0;
        for s in segments.iter().filter(|s| s.from_port == local.port() && s.to_port == remote.port()) {
            let length = s.len + u32::from(s.flags & (SYN | FIN) != 0);
            let end = s.seq.wrapping_add(length);
            if s.flags & (SYN | FIN | RST) == 0
                && s.len <= 1
                && next.is_some_and(|n| s.seq == n.wrapping_sub(1))
            {
                probes += 1;
            }
            if s.flags & RST == 0 && next.is_none_or(|n| end.wrapping_sub(n) < 1 << 31) {
                next = Some(end);
            }
        }
        probes
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn packet_socket() -> Result<OwnedFd> {
    let protocol = i32::from(u16::try_from(libc::ETH_P_ALL).context("ETH_P_ALL")?.to_be());
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol) };
    ensure!(fd >= 0, "AF_PACKET: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let reference = socket2::SockRef::from(&socket);
    reference.set_read_timeout(Some(Duration::from_millis(200))).context("SO_RCVTIMEO")?;
    reference.set_recv_buffer_size(4 << 20).context("SO_RCVBUF")?;
    Ok(socket)
}

fn receive(socket: &OwnedFd, segments: &Mutex<Vec<Segment>>, stop: &AtomicBool) {
    let mut buffer = vec![0_u8; 128];
    while !stop.load(Ordering::Relaxed) {
        let mut from = MaybeUninit::<libc::sockaddr_ll>::zeroed();
        let mut from_len = u32::try_from(size_of::<libc::sockaddr_ll>()).expect("a small size");
        // SAFETY: buffer and address are valid for the lengths given; longer packets are cut.
        let n = unsafe {
            libc::recvfrom(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                from.as_mut_ptr().cast(),
                &raw mut from_len,
            )
        };
        let Ok(n) = usize::try_from(n) else { continue };
        // SAFETY: zeroed, and any bytes make a valid sockaddr_ll.
        let from = unsafe { from.assume_init() };
        if from.sll_pkttype == libc::PACKET_OUTGOING
            && let Some(segment) = parse(&buffer[..n])
        {
            segments.lock().unwrap_or_else(PoisonError::into_inner).push(segment);
        }
    }
}

fn parse(packet: &[u8]) -> Option<Segment> {
    let be16 = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let (header, total) = match packet.first()? >> 4 {
        4 if *packet.get(9)? == 6 => (usize::from(packet[0] & 15) * 4, usize::from(be16(2)?)),
        6 if *packet.get(6)? == 6 => (40, 40 + usize::from(be16(4)?)),
        _ => return None,
    };
    let offset = usize::from(*packet.get(header + 12)? >> 4) * 4;
    let seq = u32::from(be16(header + 4)?) << 16 | u32::from(be16(header + 6)?);
    Some(Segment {
        from_port: be16(header)?,
        to_port: be16(header + 2)?,
        seq,
        flags: *packet.get(header + 13)?,
        len: u32::try_from(total.checked_sub(header + offset)?).ok()?,
    })
}

/// A running tcpdump that prints what a side sends.
#[derive(Debug)]
pub(crate) struct Tcpdump {
    child: Child,
}

impl Tcpdump {
    pub(crate) fn start(net: &Net, side: Side) -> Result<Self> {
        let mut command = Command::new("tcpdump");
        command
            .args([
                "-i",
                side.device(),
                "-Q",
                "out",
                "-n",
                "-l",
                "-S",
                "-t",
                "--immediate-mode",
                "-Z",
                "root",
                "tcp",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = net.spawn(side, &mut command)?;
        // tcpdump says so once its socket is open; only then may the scenario begin.
        let mut stderr = child.stderr.take().context("tcpdump has no stderr")?;
        let mut said = Vec::new();
        let mut byte = [0_u8; 1];
        while !said.ends_with(b"listening on") {
            let n = stderr.read(&mut byte).context("tcpdump")?;
            ensure!(n == 1, "tcpdump ended: {}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
        std::thread::spawn(move || drop(std::io::copy(&mut stderr, &mut std::io::sink())));
        Ok(Self { child })
    }

    /// Stops it and counts its lines of empty ACKs with this sequence number.
    pub(crate) fn stop(mut self) -> Result<Vec<String>> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).context("pid")?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).context("cannot stop tcpdump")?;
        let mut text = String::new();
        self.child
            .stdout
            .take()
            .context("tcpdump has no stdout")?
            .read_to_string(&mut text)
            .context("tcpdump")?;
        self.child.wait().context("tcpdump")?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        // Already ended after `stop`; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
