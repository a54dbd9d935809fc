//! ICMP echo: the two messages as bytes (RFC 792, RFC 4443 section 4), and one exchange over the
//! kernel's datagram ICMP socket.
//!
//! The datagram socket needs no capability, only that the group of the process lies in
//! `net.ipv4.ping_group_range` (icmp(7)), which holds for IPv6 as well. The kernel writes
//! identifier and checksum and hands over only replies to this socket; what is checked here is
//! what it does not check: that the reply repeats our sequence number and our data.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, connect, socket,
};

/// Bytes of header before the data: type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
/// What we send along and want back.
const DATA: &[u8; 16] = b"agentos-gateway\0";

/// The version of ICMP, which goes with the version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

impl Version {
    fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn request_type(self) -> u8 {
        match self {
            Self::V4 => 8,
            Self::V6 => 128,
        }
    }

    fn reply_type(self) -> u8 {
        match self {
            Self::V4 => 0,
            Self::V6 => 129,
        }
    }
}

/// An echo request. Identifier and checksum are zero: the kernel fills them in.
fn request(version: Version, sequence: u16) -> [u8; HEADER + DATA.len()] {
    let mut message = [0; HEADER + DATA.len()];
    message[0] = version.request_type();
    message[6..HEADER].copy_from_slice(&sequence.to_be_bytes());
    message[HEADER..].copy_from_slice(DATA);
    message
}

/// Whether `message` is the reply to [`request`] with the same `sequence`.
fn is_reply(version: Version, sequence: u16, message: &[u8]) -> bool {
    message.len() == HEADER + DATA.len()
        && message[0] == version.reply_type()
        && message[1] == 0
        && message[6..HEADER] == sequence.to_be_bytes()
        && message[HEADER..] == *DATA
}

/// Asks `ip` once and waits at most `limit`. `scope` is the interface index that a link-local IPv6
/// address needs; it is ignored for others.
///
/// `Ok(false)` when no reply came or the network says the host cannot be reached. An error means
/// that it could not be asked at all.
pub(crate) async fn echo(
    ip: IpAddr,
    scope: u32,
    sequence: u16,
    limit: Duration,
) -> io::Result<bool> {
    let version = Version::of(ip);
    let socket = match open(ip, scope) {
        Err(err) if is_unreachable(&err) => return Ok(false),
        socket => tokio::net::UdpSocket::from_std(socket?)?,
    };
    match socket.send(&request(version, sequence)).await {
        Err(err) if is_unreachable(&err) => return Ok(false),
        sent => sent?,
    };
    let wait = async {
        let mut buffer = [0; 256];
        loop {
            match socket.recv(&mut buffer).await {
                Ok(length) if is_reply(version, sequence, &buffer[..length]) => return Ok(true),
                Ok(_other_message) => {}
                Err(err) if is_unreachable(&err) => return Ok(false),
                Err(err) => return Err(err),
            }
        }
    };
    tokio::time::timeout(limit, wait).await.unwrap_or(Ok(false))
}

/// What the kernel answers when a route or a neighbour is missing: connect(2), ip(7).
pub(crate) fn is_unreachable(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::ConnectionRefused
    )
}

/// A connected datagram ICMP socket. It sends and receives like a UDP socket, which is all that the
/// standard library's type is used for.
fn open(ip: IpAddr, scope: u32) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd: OwnedFd = match ip {
        IpAddr::V4(ip) => {
            let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, SockProtocol::Icmp)?;
            let octets = ip.octets();
            connect(
                fd.as_raw_fd(),
                &SockaddrIn::new(octets[0], octets[1], octets[2], octets[3], 0),
            )?;
            fd
        }
        IpAddr::V6(ip) => {
            let fd = socket(AddressFamily::Inet6, SockType::Datagram, flags, SockProtocol::IcmpV6)?;
            let address = std::net::SocketAddrV6::new(ip, 0, 0, scope);
            connect(fd.as_raw_fd(), &SockaddrIn6::from(address))?;
            fd
        }
    };
    Ok(UdpSocket::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_form_of_rfc_792() {
        let message = request(Version::V4, 0x0102);
        assert_eq!(message[..HEADER], [8, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(request(Version::V6, 1)[0], 128);
    }

    #[test]
    fn only_the_reply_to_our_own_request_counts() {
        let mut reply = request(Version::V4, 7);
        assert!(!is_reply(Version::V4, 7, &reply), "our own request is not a reply");
        reply[0] = 0;
        // What the kernel or the peer fills in does not matter.
        reply[2..6].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
        assert!(is_reply(Version::V4, 7, &reply));
        assert!(!is_reply(Version::V4, 8, &reply), "another sequence number");
        assert!(!is_reply(Version::V6, 7, &reply), "another version");
        assert!(!is_reply(Version::V4, 7, &reply[..HEADER]), "no data");
        reply[HEADER] ^= 1;
        assert!(!is_reply(Version::V4, 7, &reply), "other data");
    }

    /// Whether the kernel lets this process open the socket: icmp(7).
    fn may_ask() -> bool {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap();
        let mut bounds = range.split_whitespace().map(|bound| bound.parse::<u32>().unwrap());
        let (low, high) = (bounds.next().unwrap(), bounds.next().unwrap());
        let mut groups = nix::unistd::getgroups().unwrap();
        groups.push(nix::unistd::getegid());
        groups.iter().any(|gid| (low..=high).contains(&gid.as_raw()))
    }

    #[tokio::test]
    async fn the_loopback_answers_where_the_kernel_lets_us_ask() {
        let answer = echo(std::net::Ipv4Addr::LOCALHOST.into(), 0, 1, Duration::from_secs(5)).await;
        if may_ask() {
            assert!(answer.unwrap());
        } else {
            assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
    }
}
