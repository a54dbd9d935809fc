//! Minutes put together until a table of them is short enough to read.

use agentd_protocol::control::MetricPoint;

/// Most steps in a table or a chart.
const MOST: i64 = 60;

const MINUTE_MS: i64 = 60_000;

/// How many minutes stand in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    minutes: i64,
}

/// The readings of one step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) start_ms: i64,
    pub(super) count: u64,
    pub(super) min: f64,
    pub(super) mean: f64,
    pub(super) max: f64,
}

impl Step {
    /// The least step in which these points take at most 60 lines; a day if none does.
    pub(super) fn for_points(points: &[MetricPoint]) -> Self {
        let minutes = match (points.first(), points.last()) {
            (Some(first), Some(last)) => {
                last.minute_ms.saturating_sub(first.minute_ms) / MINUTE_MS + 1
            }
            _ => 1,
        };
        let steps = [1, 5, 15, 60, 180, 360].into_iter();
        let minutes = steps.clone().find(|step| minutes <= MOST * step).unwrap_or(1_440);
        Self { minutes }
    }

    /// `minute`, `15 minutes`, `6 hours`.
    pub(super) fn name(self) -> String {
        match self.minutes {
            1 => "minute".to_owned(),
            60 => "hour".to_owned(),
            1_440 => "day".to_owned(),
            minutes if minutes % 60 == 0 => format!("{} hours", minutes / 60),
            minutes => format!("{minutes} minutes"),
        }
    }

    /// Its length in milliseconds.
    pub(super) fn ms(self) -> i64 {
        self.minutes * MINUTE_MS
    }

    /// The points put together. A step without a reading is absent.
    pub(super) fn group(self, points: &[MetricPoint]) -> Vec<Bucket> {
        let start = |point: &MetricPoint| point.minute_ms.div_euclid(self.ms());
        points
            .chunk_by(|one, next| start(one) == start(next))
            .filter_map(Bucket::over)
            .map(|bucket| {
                let start_ms = bucket.start_ms.div_euclid(self.ms()).saturating_mul(self.ms());
                Bucket { start_ms, ..bucket }
            })
            .collect()
    }
}

impl Bucket {
    /// All of these points as one; none of none.
    pub(super) fn over(points: &[MetricPoint]) -> Option<Self> {
        let start_ms = points.first()?.minute_ms;
        let count: u64 = points.iter().map(|point| u64::from(point.count)).sum();
        // A mean of means weighs a minute with one reading like one with six.
        let (mut sum, mut weights) = (0.0, 0.0);
        for point in points {
            let weight = f64::from(point.count.max(1));
            sum += point.mean * weight;
            weights += weight;
        }
        Some(Self {
            start_ms,
            count,
            min: points.iter().map(|point| point.min).fold(f64::INFINITY, f64::min),
            mean: sum / weights,
            max: points.iter().map(|point| point.max).fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(minute: i64, count: u32, mean: f64) -> MetricPoint {
        let minute_ms = minute * MINUTE_MS;
        MetricPoint { minute_ms, count, min: mean - 1.0, mean, max: mean + 1.0 }
    }

    #[test]
    fn an_hour_is_shown_by_the_minute_and_a_week_by_three_hours() {
        let over = |minutes| Step::for_points(&[point(0, 1, 1.0), point(minutes - 1, 1, 1.0)]);
        assert_eq!(over(60).name(), "minute");
        assert_eq!(over(61).name(), "5 minutes");
        assert_eq!(over(24 * 60).name(), "hour");
        assert_eq!(over(7 * 24 * 60).name(), "3 hours");
        assert_eq!(over(i64::MAX / MINUTE_MS).name(), "day");
        assert_eq!(Step::for_points(&[]).name(), "minute");
    }

    #[test]
    fn a_step_keeps_the_extremes_and_weighs_the_mean() {
        let step = Step { minutes: 5 };
        let buckets = step.group(&[point(6, 1, 10.0), point(9, 3, 2.0), point(20, 1, 5.0)]);
        let first = Bucket { start_ms: 300_000, count: 4, min: 1.0, mean: 4.0, max: 11.0 };
        let second = Bucket { start_ms: 1_200_000, count: 1, min: 4.0, mean: 5.0, max: 6.0 };
        assert_eq!(buckets, [first, second]);
    }
}
