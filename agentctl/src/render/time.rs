//! Times and spans, short enough for a table.

use std::time::Duration;

use jiff::{Timestamp, Zoned};

use super::Screen;

/// A span in at most two units: `250ms`, `12s`, `3min 20s`, `5h 10min`, `4d 3h`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let pair = |big: u64, one: &str, small: u64, other: &str| {
        if small == 0 { format!("{big}{one}") } else { format!("{big}{one} {small}{other}") }
    };
    match seconds {
        0 if span.is_zero() => "0s".to_owned(),
        0 => format!("{}ms", span.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3_600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

/// A span in milliseconds.
pub(crate) fn span_ms(ms: u64) -> String {
    span(Duration::from_millis(ms))
}

impl Screen {
    /// How long ago that was; nothing if it lies ahead, as after a clock was set back.
    pub(crate) fn age(&self, ms: i64) -> Duration {
        let passed = self.now.timestamp().as_millisecond().saturating_sub(ms);
        // Whole seconds: what is seen is some milliseconds old anyway.
        Duration::from_secs(u64::try_from(passed / 1_000).unwrap_or_default())
    }

    /// `3min 20s ago`.
    pub(crate) fn ago(&self, ms: i64) -> String {
        format!("{} ago", span(self.age(ms)))
    }

    /// `3min ago`: one unit, for columns.
    pub(crate) fn about(&self, ms: i64) -> String {
        let age = span(self.age(ms));
        format!("{} ago", age.split(' ').next().unwrap_or(&age))
    }

    /// Local time: `08:13:05`, with the date before it on another day.
    pub(crate) fn local(&self, ms: i64) -> String {
        self.zoned(ms).map_or_else(
            || format!("@{ms}"),
            |at| {
                let format =
                    if at.date() == self.now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
                at.strftime(format).to_string()
            },
        )
    }

    /// The point in time where the reader is; none outside of the years that can be shown.
    pub(crate) fn zoned(&self, ms: i64) -> Option<Zoned> {
        let at = Timestamp::from_millisecond(ms).ok()?;
        Some(at.to_zoned(self.now.time_zone().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ms, screen};
    use super::*;

    #[test]
    fn spans_are_short() {
        let cases = [
            (0, "0s"),
            (250, "250ms"),
            (12_900, "12s"),
            (60_000, "1min"),
            (200_000, "3min 20s"),
            (18_600_000, "5h 10min"),
            (86_400_000, "1d"),
            (356_400_000, "4d 3h"),
        ];
        for (ms, text) in cases {
            assert_eq!(span_ms(ms), text);
        }
        assert_eq!(span_ms(u64::MAX), "213503982334d 14h");
    }

    #[test]
    fn times_are_local_and_never_fail() {
        let screen = screen(None);
        assert_eq!(screen.local(ms(0)), "09:30:00");
        assert_eq!(screen.local(ms(12 * 3_600_000)), "2026-11-19 21:30:00");
        assert_eq!(screen.ago(ms(200_500)), "3min 20s ago");
        assert_eq!(screen.about(ms(200_500)), "3min ago");
        assert_eq!(screen.ago(ms(-5_000)), "0s ago");
        for hostile in [i64::MIN, i64::MAX] {
            assert_eq!(screen.local(hostile), format!("@{hostile}"));
            assert!(screen.ago(hostile).ends_with(" ago"));
        }
    }
}
