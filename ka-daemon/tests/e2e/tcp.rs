//! TCP sockets of the scenarios: thin over `socket2`, with the few options it lacks.
//! Needs `unsafe` for socket options, which no crate here wraps.

use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Keepalive settings in seconds and probes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keepalive {
    pub(crate) idle: u64,
    pub(crate) interval: u64,
    pub(crate) count: u32,
}

/// One second idle, one second between probes, three probes.
pub(crate) const FAST: Keepalive = Keepalive { idle: 1, interval: 1, count: 3 };

/// A TCP socket, shared between the scenario and the case that closes it at the end.
#[derive(Clone, Debug)]
pub(crate) struct Tcp(Arc<Socket>);

/// Protocol number of MPTCP.
pub(crate) const MPTCP: i32 = 262;

impl Tcp {
    /// A new socket in the calling thread's namespace.
    pub(crate) fn new(address: IpAddr, protocol: i32) -> Result<Self> {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::from(protocol))).context("socket")?;
        if domain == Domain::IPV6 {
            socket.set_only_v6(false).context("IPV6_V6ONLY")?;
        }
        socket.set_reuse_address(true).context("SO_REUSEADDR")?;
        Ok(Self(Arc::new(socket)))
    }

    pub(crate) fn of(socket: Socket) -> Self {
        Self(Arc::new(socket))
    }

    /// The socket itself, for options that need no help.
    pub(crate) fn raw(&self) -> &Socket {
        &self.0
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub(crate) fn local(&self) -> Result<SocketAddr> {
        self.0.local_addr().context("getsockname")?.as_socket().context("not an IP socket")
    }

    /// Turns keepalive on with these settings.
    pub(crate) fn keepalive(&self, settings: Keepalive) -> Result<()> {
        let params = TcpKeepalive::new()
            .with_time(Duration::from_secs(settings.idle))
            .with_interval(Duration::from_secs(settings.interval))
            .with_retries(settings.count);
        self.0.set_tcp_keepalive(&params).context("TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT")
    }

    /// Turns keepalive on or off and leaves its settings.
    pub(crate) fn keepalive_switch(&self, on: bool) -> Result<()> {
        self.0.set_keepalive(on).context("SO_KEEPALIVE")
    }

    pub(crate) fn user_timeout(&self, timeout: Duration) -> Result<()> {
        SockRef::from(&*self.0).set_tcp_user_timeout(Some(timeout)).context("TCP_USER_TIMEOUT")
    }

    /// Writes all of it.
    pub(crate) fn write(&self, data: &[u8]) -> Result<()> {
        let mut rest = data;
        while !rest.is_empty() {
            let n = self.0.send(rest).context("send")?;
            rest = &rest[n..];
        }
        Ok(())
    }

    /// Writes until nothing more goes out for a while: the peer does not read. Between two writes it only
    /// polls, which leaves the socket unlocked: a window probe that meets the lock is deferred.
    pub(crate) fn fill(&self) -> Result<usize> {
        self.0.set_nonblocking(true).context("O_NONBLOCK")?;
        let chunk = [b'x'; 4 * 1024];
        let mut sent = 0;
        loop {
            match self.0.send(&chunk) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    let mut writable = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
                    if poll(&mut writable, PollTimeout::from(600_u16)).context("poll")? == 0 {
                        break;
                    }
                }
                Err(e) => return Err(e).context("send"),
            }
        }
        self.0.set_nonblocking(false).context("O_NONBLOCK")?;
        Ok(sent)
    }

    /// Limits the receive window, whatever the buffer holds.
    pub(crate) fn window_clamp(&self, bytes: libc::c_int) -> Result<()> {
        self.option(libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, bytes).context("TCP_WINDOW_CLAMP")
    }

    /// Makes errors of ICMP errors of the socket at once.
    pub(crate) fn receive_errors(&self) -> Result<()> {
        self.option(libc::IPPROTO_IP, libc::IP_RECVERR, 1).context("IP_RECVERR")
    }

    /// Lets a listener take connections whose SYN brings data (TCP Fast Open), so many at once.
    pub(crate) fn fast_open(&self, queue: libc::c_int) -> Result<()> {
        self.option(libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue).context("TCP_FASTOPEN")
    }

    /// Connects with a SYN that brings data, and does not wait for the handshake.
    pub(crate) fn connect_with(&self, address: SocketAddr, data: &[u8]) -> Result<()> {
        self.0.set_nonblocking(true).context("O_NONBLOCK")?;
        match self.0.send_to_with_flags(data, &address.into(), libc::MSG_FASTOPEN) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e).context("sendto MSG_FASTOPEN"),
            _ => Ok(()),
        }
    }

    /// Closes the connection, or stops listening, and leaves the socket for another use.
    pub(crate) fn disconnect(&self) -> Result<()> {
        let family = libc::sa_family_t::try_from(libc::AF_UNSPEC).context("AF_UNSPEC")?;
        let nobody = libc::sockaddr { sa_family: family, sa_data: [0; 14] };
        let size = libc::socklen_t::try_from(size_of_val(&nobody)).context("size of an address")?;
        // SAFETY: an address, valid for the length given.
        let result = unsafe { libc::connect(self.fd(), &raw const nobody, size) };
        ensure!(result == 0, "connect to AF_UNSPEC: {}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Waits until this much waits to be read, and leaves it there.
    pub(crate) fn wait_unread(&self, count: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut buffer = [MaybeUninit::<u8>::uninit(); 64];
        while self.0.peek(&mut buffer).context("recv MSG_PEEK")? < count {
            ensure!(Instant::now() < deadline, "expected {count} bytes to read");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn option(&self, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> Result<()> {
        let size = libc::socklen_t::try_from(size_of_val(&value)).context("size of an int")?;
        // SAFETY: the value is an int, valid for the length given.
        let result = unsafe { libc::setsockopt(self.fd(), level, name, (&raw const value).cast(), size) };
        ensure!(result == 0, "setsockopt: {}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Waits until the socket has an error, and leaves it there.
    pub(crate) fn wait_error_pending(&self) -> Result<()> {
        // Errors are always told.
        let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        let count = poll(&mut polled, PollTimeout::from(60_000_u16)).context("poll")?;
        ensure!(count == 1, "expected an error on the socket, none came");
        Ok(())
    }

    /// Reads exactly this many bytes, within a generous time.
    pub(crate) fn read_exact(&self, count: usize) -> Result<()> {
        self.0.set_read_timeout(Some(Duration::from_mins(1))).context("SO_RCVTIMEO")?;
        let mut left = count;
        let mut buffer = [MaybeUninit::<u8>::uninit(); 16 * 1024];
        while left > 0 {
            let want = left.min(buffer.len());
            let n = self.0.recv(&mut buffer[..want]).context("recv")?;
            ensure!(n > 0, "the peer closed with {left} bytes to come");
            left -= n;
        }
        Ok(())
    }

    /// The pending error, taken (`SO_ERROR`), as an errno; 0: none.
    pub(crate) fn take_error(&self) -> Result<i32> {
        let error = self.0.take_error().context("SO_ERROR")?;
        Ok(error.and_then(|e| e.raw_os_error()).unwrap_or(0))
    }

    /// Makes the close send a reset and forget the socket at once.
    pub(crate) fn linger_none(&self) -> Result<()> {
        self.0.set_linger(Some(Duration::ZERO)).context("SO_LINGER")
    }

    /// Whether this handle is the last one.
    pub(crate) fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
