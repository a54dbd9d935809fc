//! Asks the kernel over rtnetlink and turns its answers into the words of `state.rs`. Nothing else in
//! this crate knows of netlink.
//!
//! Only dumps, which every user may ask for. Rows are turned into ours one by one as they come, so
//! that a router's full table is never held.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags,
    RouteType, RouteVia,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use crate::state::{Address, DefaultRoute, Faults, Link, Neighbour, Reach};

/// The kernel could not be asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetlinkError {
    /// No socket.
    #[error("cannot open an rtnetlink socket")]
    Open(#[source] std::io::Error),
    /// The question failed.
    #[error("cannot list the {what} over rtnetlink")]
    Dump {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: rtnetlink::Error,
    },
}

/// A socket to ask with. Ends with the value.
#[derive(Debug)]
pub(crate) struct Session {
    handle: Handle,
    pump: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Session {
    /// Opens the socket.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Open)?;
        Ok(Self { handle, pump: tokio::spawn(connection) })
    }

    /// Every link.
    pub(crate) async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        self.handle
            .link()
            .get()
            .execute()
            .map_ok(|message| link(&message))
            .try_collect()
            .await
            .map_err(|source| NetlinkError::Dump { what: "links", source })
    }

    /// Every address.
    pub(crate) async fn addresses(&self) -> Result<Vec<Address>, NetlinkError> {
        self.handle
            .address()
            .get()
            .execute()
            .try_filter_map(async |message| Ok(address(&message)))
            .try_collect()
            .await
            .map_err(|source| NetlinkError::Dump { what: "addresses", source })
    }

    /// Every default route of both families, in whatever table, each hop by itself.
    pub(crate) async fn default_routes(&self) -> Result<Vec<DefaultRoute>, NetlinkError> {
        let mut found = Vec::new();
        for question in [
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
        ] {
            self.handle
                .route()
                .get(question)
                .execute()
                .try_for_each(|message| {
                    found.extend(default_routes(&message));
                    std::future::ready(Ok(()))
                })
                .await
                .map_err(|source| NetlinkError::Dump { what: "routes", source })?;
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Every neighbour.
    pub(crate) async fn neighbours(&self) -> Result<Vec<Neighbour>, NetlinkError> {
        self.handle
            .neighbours()
            .get()
            .execute()
            .try_filter_map(async |message| Ok(neighbour(&message)))
            .try_collect()
            .await
            .map_err(|source| NetlinkError::Dump { what: "neighbours", source })
    }
}

fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        is_up: flags.contains(LinkFlags::Up),
        has_carrier: flags.contains(LinkFlags::Running),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            // Only set where the device has a parent, as cards and virtio devices do (since Linux
            // 5.14, net/core/rtnetlink.c, rtnl_fill_ifinfo).
            LinkAttribute::ParentDevName(_) => link.is_physical = true,
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::CarrierChanges(count) => link.carrier_changes = Some(*count),
            LinkAttribute::Stats64(stats) => {
                let sum = |parts: &[u64]| parts.iter().fold(0_u64, |a, b| a.saturating_add(*b));
                // What the card had no room for is in neither of the others (Documentation/
                // networking/statistics.rst, rx_missed_errors).
                link.faults = Faults {
                    errors: sum(&[stats.rx_errors, stats.tx_errors]),
                    drops: sum(&[stats.rx_dropped, stats.tx_dropped, stats.rx_missed_errors]),
                };
            }
            _other => {}
        }
    }
    link
}

fn address(message: &AddressMessage) -> Option<Address> {
    let header = &message.header;
    let mut flags = AddressFlags::from_bits_retain(u32::from(header.flags.bits()));
    let (mut own, mut peer) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link IFA_ADDRESS is the other end (rtnetlink(7)).
            AddressAttribute::Local(ip) => own = Some(*ip),
            AddressAttribute::Address(ip) => peer = Some(*ip),
            AddressAttribute::Flags(all) => flags = *all,
            _other => {}
        }
    }
    let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed;
    let reaches_beyond = match header.scope {
        AddressScope::Universe | AddressScope::Site => true,
        AddressScope::Link | AddressScope::Host | AddressScope::Nowhere => false,
        // Numbers between are a site's own, nearer than the universe and wider than a link.
        _other => true,
    };
    let is_global = reaches_beyond && !flags.intersects(unusable);
    Some(Address { link: header.index, ip: own.or(peer)?, is_global })
}

fn default_routes(message: &RouteMessage) -> Vec<DefaultRoute> {
    let header = &message.header;
    if header.destination_prefix_length != 0 || header.kind != RouteType::Unicast {
        return Vec::new();
    }
    let gateway_of = |attributes: &[RouteAttribute]| attributes.iter().find_map(gateway);
    let mut out = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => out = Some(*index),
            RouteAttribute::MultiPath(hops) => {
                return hops.iter().map(|hop| by_hop(hop, &gateway_of)).collect();
            }
            _other => {}
        }
    }
    let dead = RouteFlags::Dead | RouteFlags::Linkdown;
    out.map(|link| DefaultRoute {
        link,
        gateway: gateway_of(&message.attributes),
        is_usable: !header.flags.intersects(dead),
    })
    .into_iter()
    .collect()
}

fn by_hop(
    hop: &RouteNextHop,
    gateway_of: &impl Fn(&[RouteAttribute]) -> Option<IpAddr>,
) -> DefaultRoute {
    let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
    DefaultRoute {
        link: hop.interface_index,
        gateway: gateway_of(&hop.attributes),
        is_usable: !hop.flags.intersects(dead),
    }
}

/// The router in a route's attribute; an IPv4 route may go by an IPv6 router (`RTA_VIA`).
fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip))
        | RouteAttribute::Via(RouteVia::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip))
        | RouteAttribute::Via(RouteVia::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _other => None,
    }
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let header = &message.header;
    if header.family != AddressFamily::Inet && header.family != AddressFamily::Inet6 {
        return None;
    }
    let ip = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _other => None,
    })?;
    let reach = match header.state {
        NeighbourState::Reachable | NeighbourState::Permanent | NeighbourState::Noarp => {
            Reach::Answers
        }
        NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe => Reach::Unsure,
        // Incomplete, failed, none, and what a later kernel may add: not known to be there.
        _other => Reach::Silent,
    };
    Some(Neighbour { link: header.ifindex, ip, reach })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::address::AddressHeaderFlags;

    use super::*;

    fn v4(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_link_is_physical_where_it_has_a_parent_device() {
        let mut message = LinkMessage::default();
        message.header.index = 2;
        message.header.flags = LinkFlags::Up | LinkFlags::Running;
        message.attributes.push(LinkAttribute::IfName("eth0".to_owned()));
        assert!(!link(&message).is_physical);
        message.attributes.push(LinkAttribute::ParentDevName("virtio1".to_owned()));
        message.attributes.push(LinkAttribute::Controller(9));
        let link = link(&message);
        assert!(link.is_physical && link.is_up && link.has_carrier);
        assert_eq!((link.index, link.name.as_str(), link.controller), (2, "eth0", Some(9)));
    }

    #[test]
    fn counters_are_added_up_and_never_overflow() {
        let mut stats = rtnetlink::packet_route::link::Stats64::default();
        stats.rx_errors = u64::MAX;
        stats.tx_errors = 1;
        stats.rx_dropped = 2;
        stats.tx_dropped = 3;
        stats.rx_missed_errors = 4;
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Stats64(stats));
        assert_eq!(link(&message).faults, Faults { errors: u64::MAX, drops: 9 });
    }

    #[test]
    fn an_address_counts_when_it_can_be_used_beyond_the_link() {
        let mut message = AddressMessage::default();
        message.header.index = 2;
        message.header.scope = AddressScope::Universe;
        assert_eq!(address(&message), None, "an answer without an address");
        message.attributes.push(AddressAttribute::Address(v4("10.0.2.2")));
        message.attributes.push(AddressAttribute::Local(v4("10.0.2.15")));
        let good = Address { link: 2, ip: v4("10.0.2.15"), is_global: true };
        assert_eq!(address(&message), Some(good));
        message.header.scope = AddressScope::Link;
        assert_eq!(address(&message), Some(Address { is_global: false, ..good }));
        message.header.scope = AddressScope::Site;
        message.header.flags = AddressHeaderFlags::Tentative;
        assert_eq!(address(&message), Some(Address { is_global: false, ..good }));
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Permanent));
        assert_eq!(address(&message), Some(good), "the long form of the flags is the truth");
    }

    #[test]
    fn default_routes_are_those_for_everything_by_every_hop() {
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Unicast;
        assert_eq!(default_routes(&message), [], "a route to nowhere");
        message
            .attributes
            .push(RouteAttribute::Gateway(RouteAddress::Inet6("fe80::2".parse().unwrap())));
        message.attributes.push(RouteAttribute::Oif(2));
        let route = DefaultRoute { link: 2, gateway: Some(v4("fe80::2")), is_usable: true };
        assert_eq!(default_routes(&message), [route]);
        message.header.flags = RouteFlags::Linkdown;
        assert_eq!(default_routes(&message), [DefaultRoute { is_usable: false, ..route }]);
        message.header.destination_prefix_length = 8;
        assert_eq!(default_routes(&message), []);
        message.header.destination_prefix_length = 0;
        message.header.kind = RouteType::Unreachable;
        assert_eq!(default_routes(&message), []);

        let mut hop = RouteNextHop::default();
        hop.interface_index = 3;
        hop.attributes
            .push(RouteAttribute::Gateway(RouteAddress::Inet("10.0.0.1".parse().unwrap())));
        let mut dead = hop.clone();
        dead.flags = RouteNextHopFlags::Dead;
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::MultiPath(vec![hop, dead]));
        let route = DefaultRoute { link: 3, gateway: Some(v4("10.0.0.1")), is_usable: true };
        assert_eq!(default_routes(&message), [route, DefaultRoute { is_usable: false, ..route }]);
    }

    #[test]
    fn a_neighbour_is_there_when_the_kernel_says_so() {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = 2;
        let ip = "10.0.2.2".parse().unwrap();
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)));
        let mut reach = |state| {
            message.header.state = state;
            neighbour(&message).unwrap().reach
        };
        assert_eq!(reach(NeighbourState::Reachable), Reach::Answers);
        assert_eq!(reach(NeighbourState::Probe), Reach::Unsure);
        assert_eq!(reach(NeighbourState::Failed), Reach::Silent);
        assert_eq!(reach(NeighbourState::Other(0x4000)), Reach::Silent);
        message.header.family = AddressFamily::Bridge;
        assert_eq!(neighbour(&message), None);
    }

    #[tokio::test]
    async fn this_machine_has_a_loopback() {
        let session = Session::open().unwrap();
        let links = session.links().await.unwrap();
        let lo = links.iter().find(|link| link.name == "lo").expect("a loopback");
        assert!(!lo.is_physical);
        session.addresses().await.unwrap();
        session.default_routes().await.unwrap();
        session.neighbours().await.unwrap();
    }
}
