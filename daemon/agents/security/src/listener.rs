//! Check `listeners`: nothing waits for strangers but what is declared.
//!
//! Every TCP socket that listens and every UDP socket without a peer, of both families, is held
//! against the `allow` list (its grammar is in `declared.rs`). A socket that no entry covers is a
//! finding with its owner; which process holds it is told where the agent may see that.
//!
//! `raise_after` of two keeps out sockets that live for a moment, as those of a program that asks one
//! question over UDP.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;

use agentd_kit::{CheckError, Context, Defaults, Host, Readings, Severity, clock};

use crate::declared::Declared;
use crate::holder::{self, Holder};
use crate::passwd::Users;
use crate::setting;
use crate::socket::{self, Protocol, Socket};

/// What the appliance itself runs. A site's list replaces this one.
const APPLIANCE: &[&str] = &[
    // systemd-resolved's stubs for this machine's own programs (systemd-resolved.service(8)).
    "tcp/127.0.0.53:53@systemd-resolve",
    "udp/127.0.0.53:53@systemd-resolve",
    "tcp/127.0.0.54:53@systemd-resolve",
    "udp/127.0.0.54:53@systemd-resolve",
    // Link-local names, open until networkd has told resolved that the links want none.
    "tcp/*:5355@systemd-resolve",
    "udp/*:5355@systemd-resolve",
    "udp/*:5353@systemd-resolve",
    // networkd as a DHCP client, IPv4 and IPv6.
    "udp/*:68@systemd-network",
    "udp/*:546@systemd-network",
    // timesyncd waits for a time server's answers on a port of the kernel's choosing.
    "udp/*:*@systemd-timesync",
];

pub(crate) const DEFAULTS: Defaults =
    Defaults::every(clock::seconds(10)).raise_after(2).allow(APPLIANCE);

const TABLES: [(Protocol, &str); 4] = [
    (Protocol::Tcp, "/proc/net/tcp"),
    (Protocol::Tcp, "/proc/net/tcp6"),
    (Protocol::Udp, "/proc/net/udp"),
    (Protocol::Udp, "/proc/net/udp6"),
];

/// A table could not be read or understood.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the sockets of {path}")]
struct ListError {
    path: &'static str,
    source: socket::TableError,
}

pub(crate) async fn run(ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
    let sockets = listening(ctx.host())?;
    let users = Users::parse(&ctx.host().read_text("/etc/passwd")?);
    let strangers = undeclared(&sockets, &ctx.settings().allow, &users);
    let holders = holder::of_sockets(ctx.host(), &strangers.inodes());
    Ok(report(&strangers, &users, &holders))
}

fn listening(host: &Host) -> Result<Vec<Socket>, ListError> {
    let mut sockets = Vec::new();
    for (protocol, path) in TABLES {
        let fail = |source| ListError { path, source };
        let file = match File::open(host.path(path)) {
            Ok(file) => file,
            // A kernel without IPv6 has no table of it.
            Err(err) if err.kind() == std::io::ErrorKind::NotFound && path.ends_with('6') => {
                continue;
            }
            Err(err) => return Err(fail(err.into())),
        };
        sockets.extend(socket::listening(protocol, BufReader::new(file)).map_err(fail)?);
    }
    Ok(sockets)
}

/// What the allow list does not cover, and what in it cannot be used.
struct Strangers {
    undeclared: Vec<Socket>,
    unusable: Readings,
}

impl Strangers {
    fn inodes(&self) -> BTreeSet<u64> {
        self.undeclared.iter().map(|socket| socket.inode).collect()
    }
}

fn undeclared(sockets: &[Socket], allow: &[String], users: &Users) -> Strangers {
    let (declared, unusable) = setting::parse::<Declared>("listeners", allow);
    let is_declared = |socket: &Socket| declared.iter().any(|entry| entry.covers(socket, users));
    let mut undeclared: Vec<Socket> =
        sockets.iter().filter(|socket| !is_declared(socket)).copied().collect();
    undeclared.sort();
    Strangers { undeclared, unusable }
}

fn report(strangers: &Strangers, users: &Users, holders: &BTreeMap<u64, Holder>) -> Readings {
    let mut readings = strangers.unusable.clone();
    // Several sockets may share a port (SO_REUSEPORT): one finding for all of them.
    let mut by_place: BTreeMap<String, Vec<&Socket>> = BTreeMap::new();
    for socket in &strangers.undeclared {
        by_place.entry(socket.to_string()).or_default().push(socket);
    }
    for (place, sockets) in by_place {
        let join = |parts: Vec<String>| {
            let mut parts = parts;
            parts.dedup();
            parts.truncate(8);
            parts.join(" ")
        };
        let owners = join(sockets.iter().map(|socket| users.name(socket.uid)).collect());
        let reading = readings.raise(
            format!("listener:{place}"),
            Severity::Warning,
            format!("{place} is open for user {owners} and not declared"),
        );
        reading
            .evidence("socket", &place)
            .evidence("user", owners)
            .evidence("uid", join(sockets.iter().map(|s| s.uid.to_string()).collect()))
            .evidence("inode", join(sockets.iter().map(|s| s.inode.to_string()).collect()));
        if let Some(holder) = sockets.iter().find_map(|socket| holders.get(&socket.inode)) {
            reading.evidence("pid", holder.pid).evidence("process", &holder.name);
        }
    }
    readings
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:*:0:0:root:/root:/bin/bash
systemd-network:x:998:998::/:/usr/sbin/nologin
systemd-timesync:x:997:997::/:/usr/sbin/nologin
systemd-resolve:x:990:990::/:/usr/sbin/nologin
";

    fn socket(protocol: Protocol, ip: &str, port: u16, uid: u32) -> Socket {
        Socket { protocol, ip: ip.parse().unwrap(), port, uid, inode: u64::from(port) }
    }

    fn look(sockets: &[Socket], allow: &[&str]) -> Readings {
        let allow: Vec<String> = allow.iter().map(|entry| (*entry).to_owned()).collect();
        let users = Users::parse(PASSWD);
        let holder = Holder { pid: 77, name: "nc".to_owned() };
        report(&undeclared(sockets, &allow, &users), &users, &BTreeMap::from([(8080, holder)]))
    }

    #[test]
    fn what_the_appliance_runs_is_declared() {
        // What `ss -nltup` shows on a freshly booted appliance.
        let own = [
            socket(Protocol::Tcp, "127.0.0.53", 53, 990),
            socket(Protocol::Udp, "127.0.0.54", 53, 990),
            socket(Protocol::Tcp, "0.0.0.0", 5355, 990),
            socket(Protocol::Udp, "::", 5355, 990),
            socket(Protocol::Udp, "10.0.2.15", 68, 998),
            socket(Protocol::Udp, "fe80::5054:ff:fe12:3456", 546, 998),
            socket(Protocol::Udp, "0.0.0.0", 41234, 997),
        ];
        let readings = look(&own, APPLIANCE);
        assert!(readings.readings().is_empty(), "{readings:?}");
    }

    #[test]
    fn a_new_port_is_found_with_its_owner_and_process() {
        let readings = look(&[socket(Protocol::Tcp, "0.0.0.0", 8080, 0)], APPLIANCE);
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!(reading.key(), "listener:tcp/0.0.0.0:8080");
        assert_eq!(reading.severity(), Some(Severity::Warning));
        for (name, value) in
            [("user", "root"), ("uid", "0"), ("inode", "8080"), ("pid", "77"), ("process", "nc")]
        {
            assert_eq!(reading.evidence_of(name), Some(value), "{name}");
        }
    }

    #[test]
    fn a_declared_port_of_another_user_is_found() {
        let readings = look(&[socket(Protocol::Udp, "0.0.0.0", 68, 0)], APPLIANCE);
        assert_eq!(readings.readings()[0].key(), "listener:udp/0.0.0.0:68");
    }

    #[test]
    fn sockets_that_share_a_port_are_one_finding() {
        let one = socket(Protocol::Tcp, "0.0.0.0", 80, 0);
        let two = Socket { inode: 81, ..one };
        let readings = look(&[one, two], &[]);
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!(reading.evidence_of("inode"), Some("80 81"));
    }

    #[test]
    fn an_entry_that_cannot_be_used_is_said_and_allows_nothing() {
        let readings = look(&[socket(Protocol::Tcp, "0.0.0.0", 22, 0)], &["tcp:22"]);
        let keys: Vec<&str> = readings.readings().iter().map(|r| r.key()).collect();
        assert_eq!(keys, ["setting:listeners:tcp:22", "listener:tcp/0.0.0.0:22"]);
    }

    #[test]
    fn a_listener_of_this_process_is_found_on_the_real_machine() {
        let server = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
        let place = format!("tcp/{}", server.local_addr().unwrap());
        let host = Host::system();
        let sockets = listening(&host).unwrap();
        let users = Users::parse(&host.read_text("/etc/passwd").unwrap());
        let strangers = undeclared(&sockets, &[], &users);
        let holders = holder::of_sockets(&host, &strangers.inodes());
        let readings = report(&strangers, &users, &holders);
        let key = format!("listener:{place}");
        let own = readings.readings().iter().find(|r| r.key() == key).expect("our own listener");
        assert_eq!(own.evidence_of("pid"), Some(std::process::id().to_string().as_str()));
        let declared = undeclared(&sockets, &[place], &users);
        assert!(!declared.undeclared.iter().any(|s| format!("listener:{s}") == key));
    }
}
