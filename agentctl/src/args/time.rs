//! Times and spans as people write them: `10min`, `1h 30m`, `2026-11-20 08:00`, `08:00`, ISO 8601.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::{SignedDuration, Span, Timestamp, Zoned};

/// A point in time as it was written. What it means depends on when and where it is read.
#[derive(Clone, Debug)]
pub(crate) enum Since {
    /// `10min`: so long ago.
    Ago(Span),
    /// `2026-11-20T08:00:00Z`: the same everywhere.
    Instant(Timestamp),
    /// `2026-11-20 08:00`: local time.
    Local(DateTime),
    /// `08:00`: today, local time.
    Today(Time),
}

/// Reads `--since`.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    let text = text.trim();
    if let Ok(span) = text.parse::<Span>() {
        return Ok(Since::Ago(span.abs()));
    }
    // Before local time: that grammar takes an offset and passes over it.
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(Since::Instant(instant));
    }
    if let Ok(local) = text.parse::<DateTime>() {
        return Ok(Since::Local(local));
    }
    // ISO 8601 takes `10` for ten o'clock; a person has forgotten the unit.
    if text.contains(':')
        && let Ok(time) = text.parse::<Time>()
    {
        return Ok(Since::Today(time));
    }
    Err("not a time; write a span (10min, 1h 30m, 2d), a local time (08:00, 2026-11-20 08:00) \
         or ISO 8601 (2026-11-20T08:00:00Z)"
        .to_owned())
}

/// The time lies outside of what can be counted.
#[derive(Debug, thiserror::Error)]
#[error("cannot count back to that time")]
pub(crate) struct OutOfRange {
    source: jiff::Error,
}

impl Since {
    /// The point in time it means for someone who reads it at `now`.
    pub(crate) fn at(&self, now: &Zoned) -> Result<Timestamp, OutOfRange> {
        let local = |time: DateTime| time.to_zoned(now.time_zone().clone());
        let at = match self {
            Self::Ago(span) => now.checked_sub(*span),
            Self::Instant(instant) => return Ok(*instant),
            Self::Local(time) => local(*time),
            Self::Today(time) => local(now.date().to_datetime(*time)),
        };
        at.map(|at| at.timestamp()).map_err(|source| OutOfRange { source })
    }
}

/// Reads a span: `30s`, `2min`, `1h 30m`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let read = match text.parse::<u32>() {
        Ok(seconds) => Some(Duration::from_secs(u64::from(seconds))),
        Err(_) => text.parse::<SignedDuration>().ok().and_then(|span| span.try_into().ok()),
    };
    read.filter(|span: &Duration| !span.is_zero())
        .ok_or_else(|| "not a span of time; write 30s, 2min or 1h 30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let now: Zoned = "2026-11-20T09:30:00+01:00[Europe/Berlin]".parse().unwrap();
        since(text).unwrap().at(&now).unwrap().to_string()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for ago in ["90min", "1h 30m", "1h30m", "5400s", "-90min", "1 hour, 30 minutes", "PT1H30M"]
        {
            assert_eq!(at(ago), "2026-11-20T07:00:00Z", "{ago}");
        }
        for local in ["08:00", "2026-11-20 08:00", "2026-11-20T08:00:00"] {
            assert_eq!(at(local), "2026-11-20T07:00:00Z", "{local}");
        }
        for iso in ["2026-11-20T07:00:00Z", "2026-11-20T09:00+02:00"] {
            assert_eq!(at(iso), "2026-11-20T07:00:00Z", "{iso}");
        }
        assert_eq!(at("2026-11-20"), "2026-11-19T23:00:00Z");
        assert_eq!(at("7d"), "2026-11-13T08:30:00Z");
    }

    #[test]
    fn anything_else_says_what_can_be_written() {
        for bad in ["", "yesterweek", "10", "25:00", "2026-13-01", "10 parsecs"] {
            assert!(since(bad).unwrap_err().contains("10min"), "{bad}");
        }
        let far: Zoned = "2026-11-20T00:00:00Z[UTC]".parse().unwrap();
        assert!(since("19000y").unwrap().at(&far).is_err());
    }

    #[test]
    fn a_span_needs_no_unit_for_seconds_and_is_never_nothing() {
        assert_eq!(duration("30").unwrap(), Duration::from_secs(30));
        assert_eq!(duration("2min").unwrap(), Duration::from_secs(120));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        for bad in ["", "0", "0s", "-1s", "soon"] {
            duration(bad).unwrap_err();
        }
    }
}
