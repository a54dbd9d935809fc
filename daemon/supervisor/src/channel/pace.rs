//! How fast an agent may talk: two token buckets, one for messages by their weight, one for bytes.

use std::time::Duration;

use agentd_model::Mono;

/// Weight per second that is sustained. A report weighs one and one more for each finding.
const WEIGHT_PER_SECOND: u32 = 50;
/// Weight that may come at once: a full report of two checks.
const WEIGHT_BURST: u32 = 600;
/// Bytes per second that are sustained.
const BYTES_PER_SECOND: u32 = 256 * 1024;
/// Bytes that may come at once.
const BYTES_BURST: u32 = 1024 * 1024;
/// An agent that is slowed all the time is told of once in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What an agent has left to say now.
#[derive(Debug)]
pub(super) struct Pace {
    weight: Bucket,
    bytes: Bucket,
    told: Option<Mono>,
}

/// It must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// So long.
    pub(super) pause: Duration,
    /// Nobody was told of it in the last minute.
    pub(super) is_new: bool,
}

impl Pace {
    pub(super) fn new(now: Mono) -> Self {
        Self {
            weight: Bucket::new(WEIGHT_PER_SECOND, WEIGHT_BURST, now),
            bytes: Bucket::new(BYTES_PER_SECOND, BYTES_BURST, now),
            told: None,
        }
    }

    /// Pays for one message; says how long to wait before the next when there is debt.
    pub(super) fn spend(&mut self, weight: u32, bytes: usize, now: Mono) -> Option<Wait> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let pause = self.weight.spend(weight, now).max(self.bytes.spend(bytes, now));
        if pause.is_zero() {
            return None;
        }
        let is_new = self.told.is_none_or(|told| now.since(told) >= TELL_EVERY);
        if is_new {
            self.told = Some(now);
        }
        Some(Wait { pause, is_new })
    }
}

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    burst: f64,
    left: f64,
    at: Mono,
}

impl Bucket {
    fn new(per_second: u32, burst: u32, now: Mono) -> Self {
        let burst = f64::from(burst);
        Self { per_second: f64::from(per_second), burst, left: burst, at: now }
    }

    /// May go into debt; the answer is the time until the debt is paid.
    fn spend(&mut self, amount: u32, now: Mono) -> Duration {
        let earned = now.since(self.at).as_secs_f64() * self.per_second;
        self.at = self.at.max(now);
        self.left = (self.left + earned).min(self.burst) - f64::from(amount);
        if self.left >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-self.left / self.per_second)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Mono {
        Mono(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn a_burst_is_free_and_a_flood_is_slowed_to_the_rate() {
        let mut pace = Pace::new(at(0.0));
        let mut now = 0.0;
        for _ in 0..WEIGHT_BURST {
            assert_eq!(pace.spend(1, 10, at(now)), None);
        }
        for _ in 0..500 {
            now += pace.spend(1, 10, at(now)).unwrap().pause.as_secs_f64();
        }
        assert!((9.9..10.1).contains(&now), "500 messages at 50 a second took {now} s");
    }

    #[test]
    fn bytes_count_too() {
        let mut pace = Pace::new(at(0.0));
        assert_eq!(pace.spend(1, 1024 * 1024, at(0.0)), None);
        let wait = pace.spend(1, 256 * 1024, at(0.0)).unwrap();
        assert_eq!(wait.pause.as_secs(), 1);
    }

    #[test]
    fn it_is_told_once_a_minute() {
        let mut pace = Pace::new(at(0.0));
        pace.spend(WEIGHT_BURST, 0, at(0.0));
        assert!(pace.spend(50, 0, at(0.0)).unwrap().is_new);
        assert!(!pace.spend(50, 0, at(0.5)).unwrap().is_new);
        assert!(pace.spend(6000, 0, at(60.0)).unwrap().is_new);
    }
}
