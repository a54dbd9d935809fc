//! Durations and sizes as people write them: a whole number and a unit, nothing between.

use std::time::Duration;

/// Units of time, smallest first, in milliseconds.
const TIMES: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of size, in bytes. Powers of 1024 only: "MB" means two things.
const SIZES: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// "250ms", "5s", "5min", "1h", "7d".
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    scaled(text, &TIMES).map(Duration::from_millis)
}

/// "64MiB".
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    scaled(text, &SIZES)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// In the form [`parse_duration`] takes, in the largest unit that is exact to the millisecond; from
/// a second on fractions of a second are left out.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let millis = if millis < 1000 { millis } else { millis - millis % 1000 };
    let unit = TIMES.iter().rev().find(|(_, scale)| {
        let scale = u128::from(*scale);
        millis >= scale && millis.is_multiple_of(scale)
    });
    match unit {
        Some((name, scale)) => format!("{}{name}", millis / u128::from(*scale)),
        None => "0s".to_owned(),
    }
}

/// In the form [`parse_size`] takes, in the largest unit that is exact.
pub(crate) fn show_size(bytes: u64) -> String {
    let unit =
        SIZES.iter().rev().find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale));
    match unit {
        Some((name, scale)) => format!("{}{name}", bytes / scale),
        None => "0B".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_duration() {
        for (text, millis) in [
            ("250ms", 250),
            ("5s", 5000),
            ("5min", 300_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "5sec",
            "5m",
            "-5s",
            "+5s",
            "1.5s",
            "5s ",
            " 5s",
            "5S",
            "1h30min",
            "٥s",
            "99999999999999999999s",
            "18446744073709551615d",
            "5é",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for text in ["", "64", "64M", "64MB", "64mib", "MiB", "18446744073709551615TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [("0B", 0), ("64MiB", 64 << 20), ("2GiB", 2 << 30), ("1KiB", 1024)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(show_size(bytes), text);
        }
    }

    #[test]
    fn durations_are_shown_in_the_largest_exact_unit() {
        for (millis, text) in [
            (0, "0s"),
            (999, "999ms"),
            (1000, "1s"),
            (15_004, "15s"),
            (90_000, "90s"),
            (60_000, "1min"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(secs in 0u64..10_000_000_000, bytes: u64) {
            let duration = Duration::from_secs(secs);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
    }
}
