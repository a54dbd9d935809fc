//! Check `errors`: how many packets a second go wrong on each physical link.
//!
//! Damaged and dropped packets, both directions, per second since the run before. The first run only
//! remembers; so does the first after a counter was reset. The kernel counts packets of a protocol
//! that nobody here speaks as dropped, so a few a second are usual on some networks: the thresholds
//! are for what hurts.

use std::collections::BTreeMap;

use agentd_kit::clock::Now;
use agentd_kit::{CheckError, Context, Defaults, Readings, clock};

use crate::netlink::Session;
use crate::state::{Faults, Link, is_allowed};

pub(crate) const DEFAULTS: Defaults = Defaults::every(clock::seconds(10))
    .thresholds(10.0, 100.0, 5.0)
    .raise_after(3)
    .clear_after(3)
    .allow(&[]);

/// The counters of the run before, by link, and when that was.
#[derive(Debug, Default)]
pub(crate) struct State {
    before: BTreeMap<u32, (Now, Faults)>,
}

pub(crate) async fn run(ctx: &Context, state: &mut State) -> Result<Readings, CheckError> {
    let links = Session::open()?.links().await?;
    Ok(decide(&links, &ctx.settings().allow, ctx.now(), state))
}

fn decide(links: &[Link], allow: &[String], now: Now, state: &mut State) -> Readings {
    let mut readings = Readings::new();
    let mut seen = BTreeMap::new();
    for link in links.iter().filter(|l| l.is_physical && !is_allowed(allow, &l.name)) {
        seen.insert(link.index, (now, link.faults));
        let Some((then, before)) = state.before.get(&link.index) else { continue };
        let seconds = now.boot.since(then.boot).as_secs_f64();
        let errors = link.faults.errors.checked_sub(before.errors);
        let drops = link.faults.drops.checked_sub(before.drops);
        let (Some(errors), Some(drops)) = (errors, drops) else { continue };
        if seconds <= 0.0 {
            continue;
        }
        let rate = as_f64(errors.saturating_add(drops)) / seconds;
        readings
            .measure(
                format!("errors:{}", link.name),
                rate,
                "packets/s",
                format!("{rate:.1} packets a second go wrong on {}", link.name),
            )
            .evidence("link", &link.name)
            .evidence("errors", errors)
            .evidence("drops", drops)
            .evidence("seconds", format!("{seconds:.1}"));
    }
    state.before = seen;
    readings
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with one digit after the point")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use agentd_model::Mono;

    use super::*;

    fn at(seconds: u64) -> Now {
        Now { boot: Mono(clock::seconds(seconds)), wall_ms: 0 }
    }

    fn link(errors: u64, drops: u64) -> Link {
        let faults = Faults { errors, drops };
        Link { index: 2, name: "eth0".to_owned(), is_physical: true, faults, ..Link::default() }
    }

    #[test]
    fn the_rate_is_what_went_wrong_since_the_run_before() {
        let mut state = State::default();
        assert!(decide(&[link(5, 5)], &[], at(0), &mut state).readings().is_empty());
        let readings = decide(&[link(25, 105)], &[], at(10), &mut state);
        let [reading] = readings.readings() else { panic!("{readings:?}") };
        assert_eq!((reading.key(), reading.value()), ("errors:eth0", Some(12.0)));
        assert_eq!(reading.evidence_of("drops"), Some("100"));
        let quiet = decide(&[link(25, 105)], &[], at(20), &mut state);
        assert_eq!(quiet.readings()[0].value(), Some(0.0), "the counters, not the rate, are kept");
    }

    #[test]
    fn a_counter_that_was_reset_starts_anew() {
        let mut state = State::default();
        decide(&[link(50, 50)], &[], at(0), &mut state);
        assert!(decide(&[link(0, 50)], &[], at(10), &mut state).readings().is_empty());
        let readings = decide(&[link(0, 51)], &[], at(20), &mut state);
        assert_eq!(readings.readings()[0].value(), Some(0.1));
    }

    #[test]
    fn a_clock_that_stands_still_divides_nothing() {
        let mut state = State::default();
        decide(&[link(0, 0)], &[], at(5), &mut state);
        assert!(decide(&[link(9, 9)], &[], at(5), &mut state).readings().is_empty());
    }

    #[test]
    fn virtual_and_allowed_links_are_left_out() {
        let mut state = State::default();
        let bridge = Link { is_physical: false, ..link(9, 9) };
        decide(std::slice::from_ref(&bridge), &[], at(0), &mut state);
        assert!(decide(&[bridge], &[], at(10), &mut state).readings().is_empty());
        let allow = ["eth0".to_owned()];
        decide(&[link(0, 0)], &allow, at(0), &mut state);
        assert!(decide(&[link(9, 9)], &allow, at(10), &mut state).readings().is_empty());
    }
}
