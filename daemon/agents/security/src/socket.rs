//! The kernel's socket tables as text: `/proc/net/{tcp,tcp6,udp,udp6}` (proc_net_tcp(5); the columns
//! of the others are the same).
//!
//! Only sockets that wait for strangers are kept: TCP in state LISTEN, UDP without a peer. Lines are
//! read one by one and most are dropped at their fourth column, so that a machine with very many
//! connections costs little.

use std::fmt;
use std::io::{self, BufRead};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most listening sockets taken from one table.
pub(crate) const MAX_SOCKETS: usize = 4096;
/// Longest line taken; the kernel's have about 150 characters.
const MAX_LINE: u64 = 4096;

/// The transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// The state, as the table shows it, of a socket that waits for strangers: `TCP_LISTEN`, and for
    /// UDP `TCP_CLOSE`, which means that it is not connected (include/net/tcp_states.h).
    fn waiting(self) -> &'static str {
        match self {
            Self::Tcp => "0A",
            Self::Udp => "07",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A socket that waits for strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Socket {
    pub(crate) protocol: Protocol,
    /// The address it is bound to; unspecified means every address of the machine.
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    /// Whose it is.
    pub(crate) uid: u32,
    /// Its inode, by which a process's descriptors refer to it.
    pub(crate) inode: u64,
}

/// `tcp/127.0.0.53:53`, `udp/[::]:546`: the form that keys and allow lists use.
impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "{}/{ip}:{}", self.protocol, self.port),
            IpAddr::V6(ip) => write!(f, "{}/[{ip}]:{}", self.protocol, self.port),
        }
    }
}

/// A table is not what proc_net_tcp(5) says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// It could not be read.
    #[error("cannot read the socket table")]
    Read(#[from] io::Error),
    /// A line is not understood.
    #[error("line {number} of the socket table is not understood: {line:?}")]
    Line {
        /// Counted from 1, the heading included.
        number: usize,
        /// Its beginning.
        line: String,
    },
    /// More sockets listen than are taken here.
    #[error("more than {MAX_SOCKETS} sockets are listening")]
    TooMany,
}

/// The listening sockets of one table.
pub(crate) fn listening(
    protocol: Protocol,
    mut table: impl BufRead,
) -> Result<Vec<Socket>, TableError> {
    let mut found = Vec::new();
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        // A line that is longer comes in pieces, none of which is understood.
        if io::Read::take(&mut table, MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&bytes);
        if number == 1 || line.trim().is_empty() {
            continue;
        }
        match row(protocol, &line) {
            Some(Some(_)) if found.len() == MAX_SOCKETS => return Err(TableError::TooMany),
            Some(Some(socket)) => found.push(socket),
            Some(None) => {}
            None => {
                let line = line.chars().take(160).collect();
                return Err(TableError::Line { number, line });
            }
        }
    }
    Ok(found)
}

/// One line: `None` when it is not understood, `Some(None)` when the socket does not wait for
/// strangers.
fn row(protocol: Protocol, line: &str) -> Option<Option<Socket>> {
    let mut columns = line.split_ascii_whitespace();
    let _slot = columns.next()?;
    let local = columns.next()?;
    let _remote = columns.next()?;
    if columns.next()? != protocol.waiting() {
        return Some(None);
    }
    // tx_queue:rx_queue, tr:tm->when, retrnsmt.
    let uid = columns.nth(3)?.parse().ok()?;
    let _timeout = columns.next()?;
    let inode = columns.next()?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    Some(Some(Socket {
        protocol,
        ip: address(ip)?,
        port: u16::from_str_radix(port, 16).ok()?,
        uid,
        inode,
    }))
}

/// An address is printed as 32-bit words in the byte order of the machine, the words in that of the
/// network.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for at in 0..4 {
                octets[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From an appliance, shortened; the addresses are in the order of a little-endian machine.
    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   990        0 1639 1 00000000d3b6967a 100 0 0 10 5
   1: 0F02000A:0016 0202000A:D2F0 01 00000000:00000000 02:000AFF02 00000000     0        0 2101 2 000000007252d78c 20 4 30 10 -1
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   501        0 1641 1 0000000068454ec9 100 0 0 10 5
";
    const UDP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  245: 000080FE00000000FF00545234129EFE:0222 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   998        0 1632 2 0000000014c2c7c7 0
  246: 00000000000000000000000001000000:0035 00000000000000000000000001000000:A001 01 00000000:00000000 00:00000000 00000000   990        0 1633 2 0000000014c2c7c8 0
";

    fn shown(protocol: Protocol, table: &str) -> Vec<String> {
        listening(protocol, table.as_bytes()).unwrap().iter().map(Socket::to_string).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn sockets_that_wait_for_strangers_are_found() {
        assert_eq!(shown(Protocol::Tcp, TCP), ["tcp/127.0.0.53:53", "tcp/0.0.0.0:8080"]);
        assert_eq!(shown(Protocol::Udp, UDP6), ["udp/[fe80::5254:ff:fe9e:1234]:546"]);
        let sockets = listening(Protocol::Tcp, TCP.as_bytes()).unwrap();
        assert_eq!((sockets[1].uid, sockets[1].inode), (501, 1641));
    }

    #[test]
    fn an_empty_table_holds_nothing_and_a_strange_line_is_an_error() {
        assert!(shown(Protocol::Tcp, "").is_empty());
        let bad = "head\n 0: 3500007F:0035 0:0 0A\n";
        let err = listening(Protocol::Tcp, bad.as_bytes()).unwrap_err();
        assert!(matches!(err, TableError::Line { number: 2, .. }), "{err}");
    }

    #[test]
    fn a_table_without_end_is_refused() {
        let line = TCP.lines().nth(1).unwrap();
        let table = format!("head\n{}", format!("{line}\n").repeat(MAX_SOCKETS + 1));
        let err = listening(Protocol::Tcp, table.as_bytes()).unwrap_err();
        assert!(matches!(err, TableError::TooMany), "{err}");
    }

    #[test]
    fn this_machines_own_tables_are_understood() {
        let server = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let file = std::fs::File::open("/proc/net/tcp6").unwrap();
        let found = listening(Protocol::Tcp, io::BufReader::new(file)).unwrap();
        let own = found.iter().find(|socket| socket.port == port).expect("our own listener");
        assert_eq!(own.ip, IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_table_or_an_error_and_never_a_panic(
            table in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let _either = listening(Protocol::Tcp, table.as_slice());
        }

        #[test]
        fn any_line_is_understood_or_not_and_never_a_panic(
            local in "[0-9A-Fé]{0,34}(:[0-9A-F]{0,6})?",
            rest in "[ 0-9A-F:]{0,60}",
        ) {
            row(Protocol::Tcp, &format!("0: {local} 0:0 0A {rest}"));
        }
    }
}
