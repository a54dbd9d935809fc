//! When an agent may be started again: the sliding window of its budget, and the delay before the
//! next start.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{Budget, Mono, RestartPolicy};

/// Delay before the second restart in a row; it doubles from here.
const SECOND_DELAY: Duration = Duration::from_secs(1);

/// The recent starts of an agent, oldest first; never more than its budget has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starts(VecDeque<Mono>);

impl Starts {
    /// A new account with one start in it.
    pub(super) fn first(at: Mono) -> Self {
        Self(VecDeque::from([at]))
    }

    /// Whether one more start at `at` keeps within the budget. Starts that are just `within` old
    /// have left the window.
    pub(super) fn has_room(&self, budget: Budget, at: Mono) -> bool {
        let recent = self.0.iter().filter(|start| at.since(**start) < budget.within).count();
        recent < usize::try_from(budget.starts).unwrap_or(usize::MAX)
    }

    /// Counts a start.
    pub(super) fn record(&mut self, budget: Budget, at: Mono) {
        self.0.retain(|start| at.since(*start) < budget.within);
        self.0.push_back(at);
        while self.0.len() > usize::try_from(budget.starts).unwrap_or(usize::MAX) {
            self.0.pop_front();
        }
    }

    /// How many starts count at `now`.
    pub fn recent(&self, budget: Budget, now: Mono) -> usize {
        self.0.iter().filter(|start| now.since(**start) < budget.within).count()
    }
}

/// The delay before the start that follows the `failures`-th failure in a row. `first_delay` after
/// the first, then doubling from a second with a fifth of jitter either way, so that agents that
/// fell together do not rise together. Never over `max_delay`.
pub(super) fn delay(policy: &RestartPolicy, failures: u32, seed: u64) -> Duration {
    let Some(doublings) = failures.checked_sub(2) else {
        return policy.first_delay.min(policy.max_delay);
    };
    let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let base = SECOND_DELAY.saturating_mul(factor).min(policy.max_delay);
    // 800 to 1200 thousandths.
    let permille = u32::try_from(800 + splitmix64(seed) % 401).unwrap_or(1000);
    (base / 1000).saturating_mul(permille).min(policy.max_delay)
}

/// One round of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// OOPSLA 2014): spreads nearby seeds over the whole range. Jitter needs no more.
fn splitmix64(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RestartWhen;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn policy() -> RestartPolicy {
        RestartPolicy {
            when: RestartWhen::OnFailure,
            first_delay: Duration::ZERO,
            max_delay: secs(30),
            budget: Budget { starts: 3, within: secs(60) },
            stable_after: secs(60),
            ready_within: secs(10),
            heartbeat: secs(5),
            stop_grace: secs(5),
        }
    }

    #[test]
    fn delays_double_from_a_second_within_a_fifth_up_to_the_most() {
        let policy = policy();
        assert_eq!(delay(&policy, 0, 1), Duration::ZERO);
        assert_eq!(delay(&policy, 1, 1), Duration::ZERO);
        for (failures, base) in [(2, 1), (3, 2), (4, 4), (5, 8), (6, 16)] {
            for seed in 0..200 {
                let got = delay(&policy, failures, seed);
                assert!(got >= secs(base) * 4 / 5 && got <= secs(base) * 6 / 5, "{got:?}");
            }
        }
        for failures in [7, 8, 33, 34, 35, u32::MAX] {
            for seed in 0..200 {
                let got = delay(&policy, failures, seed);
                assert!(got >= secs(24) && got <= secs(30), "{got:?}");
            }
        }
    }

    #[test]
    fn jitter_differs_between_seeds() {
        let seen: std::collections::BTreeSet<Duration> =
            (0..100).map(|seed| delay(&policy(), 3, seed)).collect();
        assert!(seen.len() > 80, "{}", seen.len());
    }

    #[test]
    fn the_first_delay_is_capped_too() {
        let policy = RestartPolicy { first_delay: secs(50), ..policy() };
        assert_eq!(delay(&policy, 1, 0), secs(30));
    }

    #[test]
    fn a_start_leaves_the_window_when_it_is_as_old_as_the_window_is_long() {
        let budget = policy().budget;
        let at = |s| Mono(secs(s));
        let mut starts = Starts::first(at(0));
        starts.record(budget, at(10));
        assert!(starts.has_room(budget, at(20)));
        starts.record(budget, at(20));
        assert!(!starts.has_room(budget, at(59)));
        assert!(starts.has_room(budget, at(60)));
        assert_eq!(starts.recent(budget, at(60)), 2);
    }

    #[test]
    fn the_window_does_not_grow_past_the_budget() {
        let mut starts = Starts::default();
        for s in 0..100 {
            starts.record(policy().budget, Mono(secs(s)));
        }
        assert_eq!(starts.0.len(), 3);
    }
}
