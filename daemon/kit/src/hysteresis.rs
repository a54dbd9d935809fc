//! Makes findings of readings: nothing is raised at the first bad reading unless the check says so,
//! and nothing flaps. Pure.
//!
//! For each key and each severity there is one meter, a debounced switch:
//!
//! ```text
//!            bad readings in a row >= raise_after
//!     off ------------------------------------------> on
//!         <------------------------------------------
//!            good readings in a row >= clear_after
//! ```
//!
//! A reading is bad for a severity when it reaches its threshold, good when it lies below the
//! threshold by the margin, and neither in between: then both rows begin anew. A finding is open
//! while any of its meters is on, at the worst severity whose meter is on. A reading that is bad for
//! one severity is bad for all milder ones, and good likewise upwards; so the meters are nested, and
//! a finding moves between severities by the same rules as it comes and goes.

use std::collections::BTreeMap;

use agentd_model::{Finding, Severity};

use crate::limits;
use crate::reading::{Level, Reading};
use crate::settings::{InForce, Thresholds};

/// Mildest first, as meters are nested.
const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

/// What is remembered about each key between runs of one check. Keys that are neither open nor on
/// their way are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Hysteresis {
    tracks: BTreeMap<String, Track>,
}

/// A finding that came, went or moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) summary: String,
    pub(crate) from: Option<Severity>,
    pub(crate) to: Option<Severity>,
}

#[derive(Debug, Default)]
struct Track {
    meters: [Meter; SEVERITIES.len()],
    summary: String,
    evidence: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    bad: u32,
    good: u32,
    is_on: bool,
}

/// What one reading says: the worst severity it raises, and the worst that it does not yet clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Verdict {
    raises: Option<Severity>,
    holds: Option<Severity>,
}

impl Hysteresis {
    /// Takes the readings of one run and says what is open after it and what changed. An open key
    /// that no reading names counts as good.
    pub(crate) fn apply(
        &mut self,
        readings: Vec<Reading>,
        rules: &InForce,
    ) -> (Vec<Finding>, Vec<Change>) {
        let mut seen: BTreeMap<String, (Verdict, Reading)> = BTreeMap::new();
        for mut reading in readings {
            let verdict = Verdict::of(&reading.level, rules.thresholds.as_ref());
            add_measurement(&mut reading, rules.thresholds.as_ref());
            // Said twice in one run: the worse counts.
            let key = limits::key(&reading.key);
            if seen.get(&key).is_none_or(|(earlier, _)| verdict > *earlier) {
                seen.insert(key, (verdict, reading));
            }
        }
        for (key, (verdict, _)) in &seen {
            if verdict.holds.is_some() && !self.tracks.contains_key(key) {
                self.tracks.insert(key.clone(), Track::default());
            }
        }
        let mut changes = Vec::new();
        for (key, track) in &mut self.tracks {
            let from = track.open();
            let verdict = match seen.remove(key) {
                Some((verdict, reading)) => {
                    track.summary = reading.summary;
                    track.evidence = reading.evidence;
                    verdict
                }
                None => Verdict::default(),
            };
            track.take(verdict, rules);
            let to = track.open();
            if from != to {
                changes.push(Change { key: key.clone(), summary: track.summary.clone(), from, to });
            }
        }
        self.tracks.retain(|_, track| track.is_of_interest());
        (self.open(), changes)
    }

    /// Everything that is open now.
    fn open(&self) -> Vec<Finding> {
        self.tracks
            .iter()
            .filter_map(|(key, track)| {
                Some(Finding {
                    key: key.clone(),
                    severity: track.open()?,
                    summary: track.summary.clone(),
                    evidence: track.evidence.clone(),
                })
            })
            .collect()
    }
}

impl Track {
    fn open(&self) -> Option<Severity> {
        let worst = self.meters.iter().rposition(|meter| meter.is_on)?;
        Some(SEVERITIES[worst])
    }

    fn take(&mut self, verdict: Verdict, rules: &InForce) {
        for (meter, severity) in self.meters.iter_mut().zip(SEVERITIES) {
            meter.take(verdict.raises >= Some(severity), verdict.holds < Some(severity), rules);
        }
    }

    fn is_of_interest(&self) -> bool {
        self.meters.iter().any(|meter| meter.is_on || meter.bad > 0)
    }
}

impl Meter {
    fn take(&mut self, is_bad: bool, is_good: bool, rules: &InForce) {
        self.bad = if is_bad { self.bad.saturating_add(1) } else { 0 };
        self.good = if is_good { self.good.saturating_add(1) } else { 0 };
        if self.is_on {
            self.is_on = self.good < rules.clear_after;
        } else {
            self.is_on = self.bad > 0 && self.bad >= rules.raise_after;
        }
    }
}

impl Verdict {
    fn of(level: &Level, thresholds: Option<&Thresholds>) -> Self {
        match (level, thresholds) {
            (Level::Condition(severity), _) => {
                Self { raises: Some(*severity), holds: Some(*severity) }
            }
            (Level::Measured { value, .. }, Some(limits)) => Self {
                raises: limits.reached_by(*value),
                holds: limits.reached_by(*value + limits.margin),
            },
            (Level::Measured { .. }, None) => Self::default(),
        }
    }
}

impl Thresholds {
    /// The worst severity whose threshold is at or below `value`.
    fn reached_by(&self, value: f64) -> Option<Severity> {
        if self.critical.is_some_and(|limit| value >= limit) {
            Some(Severity::Critical)
        } else if self.warning.is_some_and(|limit| value >= limit) {
            Some(Severity::Warning)
        } else {
            None
        }
    }
}

/// A finding from a measured value shows the value and what it was held against.
fn add_measurement(reading: &mut Reading, thresholds: Option<&Thresholds>) {
    let Level::Measured { value, unit } = reading.level else { return };
    reading.evidence("value", value).evidence("unit", unit);
    if let Some(limits) = thresholds {
        for (name, limit) in [("warning", limits.warning), ("critical", limits.critical)] {
            if let Some(limit) = limit {
                reading.evidence(name, limit);
            }
        }
    }
}

#[cfg(test)]
mod tests;
