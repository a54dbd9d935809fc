//! Check `default-route`: there is a way out.
//!
//! A default route of either family, in any routing table, that the kernel would use now. Routes
//! that refuse (`unreachable`, `blackhole`) are none. A machine that is meant to be without a way out
//! turns this check off.

use agentd_kit::{CheckError, Context, Defaults, Readings, Severity, clock};

use crate::netlink::Session;
use crate::state::{DefaultRoute, Link};

pub(crate) const DEFAULTS: Defaults = Defaults::every(clock::seconds(10)).raise_after(4);

pub(crate) async fn run(_ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
    let session = Session::open()?;
    let routes = session.default_routes().await?;
    let links = session.links().await?;
    Ok(decide(&routes, &links))
}

fn decide(routes: &[DefaultRoute], links: &[Link]) -> Readings {
    let mut readings = Readings::new();
    if routes.iter().any(|route| route.is_usable) {
        return readings;
    }
    let carrying: Vec<&str> = links
        .iter()
        .filter(|link| link.is_physical && link.is_up && link.has_carrier)
        .map(|link| link.name.as_str())
        .collect();
    let summary = if routes.is_empty() {
        "there is no default route"
    } else {
        "no default route can be used: its link is down"
    };
    readings
        .raise("route:default", Severity::Critical, summary)
        .evidence("default_routes", routes.len())
        .evidence(
            "links_with_carrier",
            if carrying.is_empty() { "none".into() } else { carrying.join(" ") },
        );
    readings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: DefaultRoute = DefaultRoute { link: 2, gateway: None, is_usable: true };

    #[test]
    fn no_way_out_is_critical() {
        let readings = decide(&[], &[]);
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!(
            (reading.key(), reading.severity()),
            ("route:default", Some(Severity::Critical))
        );
        assert_eq!(reading.evidence_of("links_with_carrier"), Some("none"));
    }

    #[test]
    fn a_route_that_cannot_be_used_is_no_way_out() {
        let dead = DefaultRoute { is_usable: false, ..ROUTE };
        let readings = decide(&[dead], &[]);
        assert_eq!(readings.readings()[0].evidence_of("default_routes"), Some("1"));
        assert!(decide(&[dead, ROUTE], &[]).readings().is_empty());
    }
}
