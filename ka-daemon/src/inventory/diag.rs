//! The sockets of the calling thread's network namespace by `sock_diag`, where the kernel has no iterator of
//! them: what `ss` sees. Whether keepalive is on, and its settings, are not among it.
//!
//! The request is made by a library. The answer is read here: the library leaves out when `TIME_WAIT`
//! ends, and how many probes are out.

use std::io;
use std::ops::ControlFlow;

use ka_common::{RowTimer, SocketRow};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NlasIterator,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use zerocopy::byteorder::big_endian;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::table::tcp;

/// `struct inet_diag_msg` of `include/uapi/linux/inet_diag.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
struct Message {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    local_port: big_endian::U16,
    remote_port: big_endian::U16,
    local: [u8; 16],
    remote: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
    expires_ms: u32,
    recv_queue: u32,
    send_queue: u32,
    uid: u32,
    inode: u32,
}

/// `INET_DIAG_INFO`: `struct tcp_info`.
const INFO: u16 = 2;
/// `INET_DIAG_CGROUP_ID`
const CGROUP_ID: u16 = 21;
/// Offsets in `struct tcp_info`, which only grows at its end.
const INFO_PROBES: usize = 3;
const INFO_LAST_SENT: usize = 44;
const INFO_LAST_RECEIVED: usize = 52;
const INFO_LAST_ACKED: usize = 56;
/// A datagram of a dump.
const BUFFER: usize = 64 * 1024;

/// Tells every socket, with what `sock_diag` knows of it.
///
/// # Errors
/// The kernel refuses or breaks off.
pub(super) fn rows(hz: u32, each: &mut dyn FnMut(&SocketRow) -> ControlFlow<()>) -> io::Result<()> {
    for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        if dump(family, id, hz, each)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn dump(
    family: u8,
    socket_id: SocketId,
    hz: u32,
    each: &mut dyn FnMut(&SocketRow) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::all(),
        socket_id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = socket.recv(&mut &mut buffer[..], 0)?;
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            let payload = message.payload();
            match message.message_type() {
                NLMSG_DONE => return Ok(ControlFlow::Continue(())),
                NLMSG_ERROR => return Err(error(payload)),
                _ => {
                    if each(&row(payload, hz).ok_or(io::ErrorKind::UnexpectedEof)?).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            // Messages are aligned to four bytes; the last one need not be.
            let whole = (message.length() as usize).next_multiple_of(4).min(rest.len());
            rest = &rest[whole..];
        }
    }
}

/// `struct nlmsgerr` begins with the error, negative.
fn error(payload: &[u8]) -> io::Error {
    i32::read_from_prefix(payload).map_or_else(
        |_| io::ErrorKind::UnexpectedEof.into(),
        |(errno, _)| io::Error::from_raw_os_error(errno.wrapping_neg()),
    )
}

/// One answer. Not `FULL`: its settings are unknown.
fn row(payload: &[u8], hz: u32) -> Option<SocketRow> {
    let (message, attributes) = Message::read_from_prefix(payload).ok()?;
    let jiffies = |ms: u32| u64::from(ms) * u64::from(hz) / 1_000;
    let mut row = SocketRow {
        inode: u64::from(message.inode),
        local: message.local,
        remote: message.remote,
        uid: message.uid,
        expires: i32::try_from(jiffies(message.expires_ms)).unwrap_or(i32::MAX),
        recv_queue: message.recv_queue,
        send_queue: message.send_queue,
        local_port: message.local_port.get(),
        remote_port: message.remote_port.get(),
        family: u16::from(message.family),
        state: message.state,
        timer: message.timer,
        ..SocketRow::default()
    };
    match RowTimer::from_byte(row.timer) {
        Some(RowTimer::Keepalive | RowTimer::ZeroWindow) => row.probes_out = message.retransmits,
        Some(RowTimer::Retransmit) => row.retransmits = message.retransmits,
        Some(RowTimer::None | RowTimer::TimeWait) => {}
        None => row.timer = RowTimer::None as u8,
    }
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            CGROUP_ID => row.cgroup_id = u64::read_from_prefix(attribute.value()).ok()?.0,
            INFO => info(&mut row, attribute.value(), jiffies),
            _ => {}
        }
    }
    Some(row)
}

/// Ages, of states that have them.
fn info(row: &mut SocketRow, info: &[u8], jiffies: impl Fn(u32) -> u64) {
    if matches!(row.state, tcp::SYN_SENT | tcp::SYN_RECV | tcp::LISTEN) {
        return;
    }
    let age = |place: usize| {
        let (ms, _) = u32::read_from_prefix(info.get(place..)?).ok()?;
        u32::try_from(jiffies(ms)).ok()
    };
    for (place, flag, member) in [
        (INFO_LAST_SENT, SocketRow::SENT, &mut row.sent_age),
        (INFO_LAST_RECEIVED, SocketRow::RECEIVED, &mut row.received_age),
        (INFO_LAST_ACKED, SocketRow::ACKED, &mut row.acked_age),
    ] {
        if let Some(age) = age(place) {
            *member = age;
            row.flags |= flag;
        }
    }
    if let Some(probes) = info.get(INFO_PROBES) {
        row.probes_out = *probes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn own_sockets_are_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let mut found = Vec::new();
        rows(250, &mut |row| {
            if row.local_port == port || row.remote_port == port {
                found.push(*row);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        found.sort_by_key(|row| (row.state, row.local_port == port));
        let [client_row, server_row, listener_row] = found[..] else { panic!("{found:?}") };
        assert_eq!(client_row.local_port, client.local_addr().unwrap().port());
        assert_eq!((client_row.family, client_row.local[..4].to_vec()), (2, vec![127, 0, 0, 1]));
        assert_eq!(server_row.state, tcp::ESTABLISHED);
        assert_ne!(server_row.flags & SocketRow::ACKED, 0);
        assert_eq!(server_row.flags & SocketRow::FULL, 0);
        assert_eq!((listener_row.state, listener_row.flags), (tcp::LISTEN, 0));
        assert!(found.iter().all(|row| row.inode != 0));
    }

    #[test]
    fn an_answer_that_is_cut_short_is_none() {
        for length in 0..size_of::<Message>() {
            assert_eq!(row(&vec![0; length], 250), None);
        }
        let mut whole = vec![0; size_of::<Message>()];
        whole[2] = 77;
        assert_eq!(row(&whole, 250).unwrap().timer, RowTimer::None as u8);
    }

    #[test]
    fn a_refusal_is_an_error_of_the_system() {
        assert_eq!(error(&(-22i32).to_le_bytes()).raw_os_error(), Some(22));
        assert_eq!(error(&[1]).kind(), io::ErrorKind::UnexpectedEof);
    }
}
