//! Pressure stall information as `/proc/pressure/*` has it (kernel's Documentation/accounting/psi.rst).
//!
//! Parsed here and not by a library, because the one at hand panics on a line that is cut short.

use crate::host::{Host, ReadError};

/// How much time was lost for want of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Time in which at least one task waited.
    pub some: Stalls,
    /// Time in which every task that could run waited: nothing was done at all.
    pub full: Stalls,
}

/// Percent of the time, averaged over 10, 60 and 300 seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stalls {
    /// The last 10 seconds.
    pub avg10: f64,
    /// The last minute.
    pub avg60: f64,
    /// The last five minutes.
    pub avg300: f64,
}

/// There is no usable pressure file.
#[derive(Debug, thiserror::Error)]
pub enum PressureError {
    /// It cannot be read. A kernel without PSI, or started with `psi=0`, has none.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is not as the kernel writes it.
    #[error("{file} is not pressure information")]
    Format {
        /// Which file.
        file: String,
    },
}

/// Reads the pressure of `cpu`, `memory` or `io`.
pub fn read(host: &Host, resource: &str) -> Result<Pressure, PressureError> {
    let file = format!("/proc/pressure/{resource}");
    parse(&host.read_text(&file)?).ok_or(PressureError::Format { file })
}

/// Takes the text apart. `full` is zero where the kernel has no such line (cpu, before 5.13).
fn parse(text: &str) -> Option<Pressure> {
    let mut some = None;
    let mut full = None;
    for line in text.lines() {
        let (word, rest) = line.split_once(' ')?;
        let stalls = Stalls {
            avg10: field(rest, "avg10")?,
            avg60: field(rest, "avg60")?,
            avg300: field(rest, "avg300")?,
        };
        match word {
            "some" => some = Some(stalls),
            "full" => full = Some(stalls),
            _ => return None,
        }
    }
    Some(Pressure { some: some?, full: full.unwrap_or_default() })
}

fn field(line: &str, name: &str) -> Option<f64> {
    let value = line.split(' ').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))?;
    value.parse().ok().filter(|percent| (0.0..=100.0).contains(percent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORDED: &str = "\
some avg10=12.13 avg60=50.06 avg300=48.86 total=401190623
full avg10=0.00 avg60=1.50 avg300=0.39 total=18005608
";

    #[test]
    fn a_recorded_file_is_read() {
        let pressure = parse(RECORDED).unwrap();
        assert_eq!(pressure.some, Stalls { avg10: 12.13, avg60: 50.06, avg300: 48.86 });
        assert_eq!(pressure.full, Stalls { avg10: 0.0, avg60: 1.5, avg300: 0.39 });
    }

    #[test]
    fn a_file_without_a_full_line_has_none() {
        let some = RECORDED.lines().next().unwrap();
        assert_eq!(parse(some).unwrap().full, Stalls::default());
    }

    #[test]
    fn anything_else_is_refused() {
        let full = RECORDED.lines().nth(1).unwrap();
        let more = format!("{RECORDED}half avg10=1 avg60=1 avg300=1\n");
        let beyond = RECORDED.replace("50.06", "100.01");
        for text in
            ["", "some", "some ", "some avg10=1.0 avg60=nan avg300=1.0", full, &more, &beyond]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_yields_more_than_all_the_time(text in "(some|full|avg|[0-9=. \n-]){0,60}") {
            if let Some(pressure) = parse(&text) {
                prop_assert!(pressure.some.avg60 <= 100.0 && pressure.full.avg10 <= 100.0);
            }
        }
    }
}
