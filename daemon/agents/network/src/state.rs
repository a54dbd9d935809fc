//! What the network checks know of the machine's network, in our own words. No check sees a netlink
//! message; `netlink.rs` makes these values from them.

use std::net::IpAddr;

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number, which other values refer to.
    pub(crate) index: u32,
    /// Its name now; a link can be renamed.
    pub(crate) name: String,
    /// There is a device behind it (a card, virtio): not a bridge, a tunnel or the loopback.
    pub(crate) is_physical: bool,
    /// Administratively up (`IFF_UP`).
    pub(crate) is_up: bool,
    /// Able to carry packets (`IFF_RUNNING`: the carrier is there and it is not dormant).
    pub(crate) has_carrier: bool,
    /// The bond or bridge that it is a port of.
    pub(crate) controller: Option<u32>,
    /// How often the carrier came and went since the link exists.
    pub(crate) carrier_changes: Option<u32>,
    /// Packets that went wrong since the link exists.
    pub(crate) faults: Faults,
}

/// Packets that went wrong, all directions and reasons, since the link exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Damaged: CRC, framing, carrier and the like.
    pub(crate) errors: u64,
    /// Thrown away: no room, or no one to take them.
    pub(crate) drops: u64,
}

/// One address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Whose.
    pub(crate) link: u32,
    /// It itself.
    pub(crate) ip: IpAddr,
    /// It can be used beyond the link: not link-local, and not found to be taken or still being
    /// checked for that.
    pub(crate) is_global: bool,
}

/// One way out: a default route, or one hop of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DefaultRoute {
    /// The link it goes out by.
    pub(crate) link: u32,
    /// The router; absent on a point-to-point link.
    pub(crate) gateway: Option<IpAddr>,
    /// The kernel uses it now: its link is up and has a carrier.
    pub(crate) is_usable: bool,
}

/// What the kernel knows of a neighbour's hardware address (`NUD_*`, rtnetlink(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It answered lately, or needs no asking.
    Answers,
    /// It answered once and is being asked again, or will be when it is needed.
    Unsure,
    /// It does not answer.
    Silent,
}

/// One neighbour on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// On which link.
    pub(crate) link: u32,
    /// Who.
    pub(crate) ip: IpAddr,
    /// Whether it is there.
    pub(crate) reach: Reach,
}

/// Whether a site's `allow` list names this link: by its name, or by its beginning and a `*`.
pub(crate) fn is_allowed(allow: &[String], name: &str) -> bool {
    allow.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_ending() {
        let allow = ["eth1".to_owned(), "wl*".to_owned()];
        assert!(is_allowed(&allow, "eth1"));
        assert!(!is_allowed(&allow, "eth10"));
        assert!(is_allowed(&allow, "wlan0"));
        assert!(!is_allowed(&[], "eth1"));
    }
}
