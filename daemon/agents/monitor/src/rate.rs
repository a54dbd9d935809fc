//! How fast counters rise, from one look to the next.

use std::collections::BTreeMap;

use agentd_model::Mono;

/// Counters by name at the last look.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    last: Option<(Mono, BTreeMap<String, u64>)>,
}

impl Rates {
    /// Takes the counters of now; gives the rise per second of each that was there before. One that
    /// fell was begun anew (a link that was replugged) and has no rate this time.
    pub(crate) fn advance(
        &mut self,
        now: Mono,
        counters: BTreeMap<String, u64>,
    ) -> BTreeMap<String, f64> {
        let rates = match &self.last {
            Some((then, before)) => {
                let seconds = now.since(*then).as_secs_f64();
                let rate = |(name, count): (&String, &u64)| {
                    let rise = count.checked_sub(*before.get(name)?)?;
                    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
                    let rise = rise as f64;
                    (seconds > 0.0).then(|| (name.clone(), rise / seconds))
                };
                counters.iter().filter_map(rate).collect()
            }
            None => BTreeMap::new(),
        };
        self.last = Some((now, counters));
        rates
    }
}

/// `part` of `whole` in percent; `None` of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
    let (part, whole) = (part as f64, whole as f64);
    (whole > 0.0).then(|| 100.0 * part / whole)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn counters(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
        of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn only_what_was_there_before_and_did_not_fall_has_a_rate() {
        let mut rates = Rates::default();
        assert!(rates.advance(at(10), counters(&[("a", 100), ("b", 5)])).is_empty());
        let seen = rates.advance(at(20), counters(&[("a", 150), ("b", 4), ("c", 9)]));
        assert_eq!(seen, BTreeMap::from([("a".to_owned(), 5.0)]));
        assert!(rates.advance(at(20), counters(&[("a", 160)])).is_empty(), "no time has passed");
        assert!(rates.advance(at(30), counters(&[("b", 1)])).is_empty());
    }

    proptest! {
        #[test]
        fn rates_and_percentages_are_numbers_and_not_negative(
            looks in prop::collection::vec((0_u64..100, any::<u64>()), 0..20),
            part in any::<u64>(), whole in any::<u64>(),
        ) {
            let mut rates = Rates::default();
            for (time, count) in looks {
                for rate in rates.advance(at(time), counters(&[("a", count)])).values() {
                    prop_assert!(rate.is_finite() && *rate >= 0.0);
                }
            }
            prop_assert!(percent(part, whole).is_none_or(|p| p.is_finite() && p >= 0.0));
        }
    }
}
