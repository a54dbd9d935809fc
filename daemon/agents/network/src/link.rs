//! Check `links`: a physical link that is up has a carrier.
//!
//! A link that is administratively down is somebody's wish and raises nothing here; what is missed
//! without it, an address or the way out, is found by `addresses` and `default-route`. Links without
//! a device behind them (loopback, bridges, tunnels) have no cable to fall out and are not looked at.

use agentd_kit::{CheckError, Context, Defaults, Readings, Severity, clock};

use crate::netlink::Session;
use crate::state::{Link, is_allowed};

pub(crate) const DEFAULTS: Defaults = Defaults::every(clock::seconds(10)).raise_after(3).allow(&[]);

pub(crate) async fn run(ctx: &Context, _state: &mut ()) -> Result<Readings, CheckError> {
    Ok(decide(&Session::open()?.links().await?, &ctx.settings().allow))
}

fn decide(links: &[Link], allow: &[String]) -> Readings {
    let mut readings = Readings::new();
    for link in links {
        let is_ours = link.is_physical && link.is_up && !is_allowed(allow, &link.name);
        if !is_ours || link.has_carrier {
            continue;
        }
        let reading = readings.raise(
            format!("carrier:{}", link.name),
            Severity::Warning,
            format!("{} is up but has no carrier", link.name),
        );
        reading.evidence("link", &link.name).evidence("index", link.index);
        if let Some(count) = link.carrier_changes {
            reading.evidence("carrier_changes", count);
        }
    }
    readings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_off() -> Link {
        Link {
            index: 2,
            name: "eth0".to_owned(),
            is_physical: true,
            is_up: true,
            carrier_changes: Some(3),
            ..Link::default()
        }
    }

    #[test]
    fn a_link_without_a_carrier_is_found_with_evidence() {
        let readings = decide(&[cut_off()], &[]);
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!(reading.key(), "carrier:eth0");
        assert_eq!(reading.severity(), Some(Severity::Warning));
        assert_eq!(reading.summary(), "eth0 is up but has no carrier");
        assert_eq!(reading.evidence_of("carrier_changes"), Some("3"));
    }

    #[test]
    fn what_is_well_down_virtual_or_allowed_is_not() {
        let well = Link { has_carrier: true, ..cut_off() };
        let down = Link { is_up: false, ..cut_off() };
        let bridge = Link { is_physical: false, ..cut_off() };
        assert!(decide(&[well, down, bridge], &[]).readings().is_empty());
        assert!(decide(&[cut_off()], &["eth*".to_owned()]).readings().is_empty());
    }
}
