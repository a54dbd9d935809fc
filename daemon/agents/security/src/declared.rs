//! What a site says may listen: the grammar of the `allow` list of check `listeners`.
//!
//! ```text
//! entry    = protocol "/" address ":" port [ "@" user ]
//! protocol = "tcp" | "udp"
//! address  = "*" | IPv4 | "[" IPv6 "]"      "*" is any; "0.0.0.0" and "[::]" only themselves
//! port     = "*" | number | number "-" number
//! user     = name or number of the user who must own the socket; without it, any
//! ```
//!
//! `tcp/*:22`, `udp/127.0.0.53:53@systemd-resolve`, `udp/*:32768-60999@systemd-timesync`.

use std::net::IpAddr;

use crate::passwd::Users;
use crate::socket::{Protocol, Socket};

/// One entry, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    protocol: Protocol,
    /// `None` is any.
    ip: Option<IpAddr>,
    ports: (u16, u16),
    user: Option<String>,
}

/// The text is not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not of the form PROTOCOL/ADDRESS:PORT[@USER], as in \"tcp/*:22\": {reason}")]
pub(crate) struct DeclaredError {
    reason: &'static str,
}

impl std::str::FromStr for Declared {
    type Err = DeclaredError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |reason| DeclaredError { reason };
        let (socket, user) = match text.split_once('@') {
            Some((_, "")) => return Err(bad("no user after '@'")),
            Some((socket, user)) => (socket, Some(user.to_owned())),
            None => (text, None),
        };
        let (protocol, place) = socket.split_once('/').ok_or(bad("no '/'"))?;
        let (address, port) = place.rsplit_once(':').ok_or(bad("no ':' before the port"))?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(bad("the protocol is neither tcp nor udp")),
        };
        let no_address = bad("the address is not '*', an IPv4 address or an IPv6 address in '[]'");
        let ip = match address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => Some(IpAddr::V6(inner.parse().map_err(|_| no_address)?)),
            None if address == "*" => None,
            None => Some(IpAddr::V4(address.parse().map_err(|_| no_address)?)),
        };
        let number = |text: &str| match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            Ok(_) | Err(_) => Err(bad("the port is not '*', a number from 1 to 65535, or two")),
        };
        let ports = match port.split_once('-') {
            Some((low, high)) => (number(low)?, number(high)?),
            None if port == "*" => (0, u16::MAX),
            None => (number(port)?, number(port)?),
        };
        if ports.0 > ports.1 {
            return Err(bad("the first port is above the second"));
        }
        Ok(Self { protocol, ip, ports, user })
    }
}

impl Declared {
    /// Whether this entry speaks of that socket. `users` turns a name into a number.
    pub(crate) fn covers(&self, socket: &Socket, users: &Users) -> bool {
        self.protocol == socket.protocol
            && self.ip.is_none_or(|ip| ip == socket.ip)
            && (self.ports.0..=self.ports.1).contains(&socket.port)
            && self.user.as_ref().is_none_or(|user| users.is(socket.uid, user))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn socket(protocol: Protocol, ip: &str, port: u16) -> Socket {
        Socket { protocol, ip: ip.parse().unwrap(), port, uid: 990, inode: 1 }
    }

    fn covers(entry: &str, socket: Socket) -> bool {
        let users = Users::parse("resolver:x:990:990::/:/bin/false\n");
        entry.parse::<Declared>().unwrap().covers(&socket, &users)
    }

    #[test]
    fn each_part_of_an_entry_must_fit() {
        let stub = socket(Protocol::Tcp, "127.0.0.53", 53);
        for fits in [
            "tcp/127.0.0.53:53",
            "tcp/*:53",
            "tcp/*:*",
            "tcp/127.0.0.53:50-60",
            "tcp/127.0.0.53:53@resolver",
            "tcp/*:53@990",
        ] {
            assert!(covers(fits, stub), "{fits}");
        }
        for other in [
            "udp/127.0.0.53:53",
            "tcp/127.0.0.54:53",
            "tcp/0.0.0.0:53",
            "tcp/*:54",
            "tcp/*:54-60",
            "tcp/*:53@root",
            "tcp/*:53@991",
            "tcp/[::]:53",
        ] {
            assert!(!covers(other, stub), "{other}");
        }
    }

    #[test]
    fn the_unspecified_addresses_are_only_themselves() {
        assert!(covers("udp/[::]:546", socket(Protocol::Udp, "::", 546)));
        assert!(!covers("udp/[::]:546", socket(Protocol::Udp, "fe80::1", 546)));
        assert!(covers("udp/*:546", socket(Protocol::Udp, "fe80::1", 546)));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for text in [
            "",
            "tcp",
            "tcp/*",
            "tcp/:22",
            "sctp/*:22",
            "tcp/*:0",
            "tcp/*:65536",
            "tcp/*:ssh",
            "tcp/*:5-4",
            "tcp/::1:22",
            "tcp/[127.0.0.1]:22",
            "tcp/*:22@",
            "TCP/*:22",
            "tcp/ *:22",
        ] {
            assert!(text.parse::<Declared>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_entry_or_refused_and_never_a_panic(text in ".{0,60}") {
            let _either = text.parse::<Declared>();
        }

        #[test]
        fn the_shown_form_of_any_socket_is_an_entry_that_covers_it(
            octets in any::<[u8; 16]>(), v4: bool, tcp: bool, port in 1_u16..,
        ) {
            let ip = if v4 {
                IpAddr::from([octets[0], octets[1], octets[2], octets[3]])
            } else {
                IpAddr::from(octets)
            };
            let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
            let socket = Socket { protocol, ip, port, uid: 0, inode: 1 };
            let entry: Declared = socket.to_string().parse().unwrap();
            prop_assert!(entry.covers(&socket, &Users::parse("")));
        }
    }
}
