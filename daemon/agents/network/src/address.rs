//! Check `addresses`: a link that carries packets has an address that is good beyond it.
//!
//! Asked of each physical link, or of the bond or bridge that it is a port of: there the address
//! belongs. DHCP gets its time through `raise_after`.

use std::collections::BTreeMap;

use agentd_kit::{CheckError, Context, Defaults, Readings, Severity, clock};

use crate::netlink::Session;
use crate::state::{Address, Link, is_allowed};

pub(crate) const DEFAULTS: Defaults = Defaults::every(clock::seconds(10)).raise_after(4).allow(&[]);

/// Ports of ports of ports: the kernel nests no deeper than this (`MAX_NEST_DEV`).
const MAX_NESTED: usize = 8;

pub(crate) async fn run(ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
    let session = Session::open()?;
    let links = session.links().await?;
    let addresses = session.addresses().await?;
    Ok(decide(&links, &addresses, &ctx.settings().allow))
}

fn decide(links: &[Link], addresses: &[Address], allow: &[String]) -> Readings {
    let by_index: BTreeMap<u32, &Link> = links.iter().map(|link| (link.index, link)).collect();
    let carrying = links.iter().filter(|link| link.is_physical && link.is_up && link.has_carrier);
    let expected: BTreeMap<u32, &Link> =
        carrying.map(|link| topmost(link, &by_index)).map(|link| (link.index, link)).collect();
    let mut readings = Readings::new();
    for link in expected.values().filter(|link| !is_allowed(allow, &link.name)) {
        let own: Vec<&Address> = addresses.iter().filter(|a| a.link == link.index).collect();
        if own.iter().any(|address| address.is_global) {
            continue;
        }
        let others: Vec<String> = own.iter().map(|address| address.ip.to_string()).collect();
        readings
            .raise(
                format!("address:{}", link.name),
                Severity::Warning,
                format!("{} has a carrier but no address that is good beyond the link", link.name),
            )
            .evidence("link", &link.name)
            .evidence(
                "addresses",
                if others.is_empty() { "none".into() } else { others.join(" ") },
            );
    }
    readings
}

/// The bond or bridge at the top of the link, or the link itself.
fn topmost<'a>(link: &'a Link, by_index: &BTreeMap<u32, &'a Link>) -> &'a Link {
    let mut top = link;
    for _ in 0..MAX_NESTED {
        match top.controller.and_then(|index| by_index.get(&index)) {
            Some(next) => top = next,
            None => break,
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            is_physical: true,
            is_up: true,
            has_carrier: true,
            ..Link::default()
        }
    }

    fn address(link: u32, ip: &str, is_global: bool) -> Address {
        Address { link, ip: ip.parse().unwrap(), is_global }
    }

    #[test]
    fn a_link_with_only_a_link_local_address_is_found() {
        let local = address(2, "fe80::1", false);
        let readings = decide(&[link(2, "eth0")], &[local, address(3, "10.0.0.1", true)], &[]);
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!(reading.key(), "address:eth0");
        assert_eq!(reading.evidence_of("addresses"), Some("fe80::1"));
        assert!(decide(&[link(2, "eth0")], &[], &["eth0".to_owned()]).readings().is_empty());
        let without = decide(&[link(2, "eth0")], &[], &[]);
        assert_eq!(without.readings()[0].evidence_of("addresses"), Some("none"));
    }

    #[test]
    fn a_link_with_a_global_address_or_without_a_carrier_is_not() {
        let cut_off = Link { has_carrier: false, ..link(3, "eth1") };
        let loopback = Link { is_physical: false, ..link(1, "lo") };
        let links = [loopback, link(2, "eth0"), cut_off];
        let readings = decide(&links, &[address(2, "10.0.2.15", true)], &[]);
        assert!(readings.readings().is_empty(), "{readings:?}");
    }

    #[test]
    fn the_address_of_a_bond_counts_for_its_ports() {
        let port = |index, name| Link { controller: Some(9), ..link(index, name) };
        let bond = Link { is_physical: false, ..link(9, "bond0") };
        let links = [port(2, "eth0"), port(3, "eth1"), bond];
        assert!(decide(&links, &[address(9, "10.0.2.15", true)], &[]).readings().is_empty());
        let without = decide(&links, &[], &[]);
        let [reading] = without.readings() else { panic!("{without:?}") };
        assert_eq!(reading.key(), "address:bond0");
    }

    #[test]
    fn links_that_claim_to_be_each_others_ports_end_the_search() {
        let links = [
            Link { controller: Some(3), ..link(2, "a") },
            Link { controller: Some(2), ..link(3, "b") },
        ];
        assert!(!decide(&links, &[], &[]).readings().is_empty());
    }
}
