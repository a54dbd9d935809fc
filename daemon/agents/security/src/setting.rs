//! Allow lists: entries in a check's own words, each parsed by itself.
//!
//! An entry that cannot be used allows nothing and is itself a finding, so that one slip of the pen
//! neither opens a hole nor blinds the check.

use std::fmt::Display;
use std::str::FromStr;

use agentd_kit::{Readings, Severity};

/// The entries that are understood, and a reading for each that is not.
pub(crate) fn parse<T>(check: &str, allow: &[String]) -> (Vec<T>, Readings)
where
    T: FromStr,
    T::Err: Display,
{
    let mut entries = Vec::new();
    let mut unusable = Readings::new();
    for text in allow {
        match text.parse() {
            Ok(entry) => entries.push(entry),
            Err(err) => {
                let shown: String = text.chars().take(64).collect();
                unusable
                    .raise(
                        format!("setting:{check}:{shown}"),
                        Severity::Warning,
                        format!(
                            "entry {shown:?} in the allow list of check {check} is of no use: {err}"
                        ),
                    )
                    .evidence("entry", &shown);
            }
        }
    }
    (entries, unusable)
}
