//! What one run of a check saw: readings, before hysteresis makes findings of them.

use std::collections::BTreeMap;
use std::fmt::Display;

use agentd_model::Severity;
use agentd_protocol::channel::Value;

/// Everything one run of a check saw. What was open and is not in here counts as good.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    pub(crate) readings: Vec<Reading>,
    pub(crate) samples: Vec<Value>,
}

/// One reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub(crate) key: String,
    pub(crate) summary: String,
    pub(crate) evidence: BTreeMap<String, String>,
    pub(crate) level: Level,
}

/// How bad a reading is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Level {
    /// The check says so itself.
    Condition(Severity),
    /// The check's thresholds say.
    Measured { value: f64, unit: &'static str },
}

impl Readings {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something is wrong, whatever the thresholds are. `key` names the thing and what is wrong
    /// with it, the same on every run and unique within the agent: `link-down:eth0`. `summary` is
    /// one sentence without a full stop.
    ///
    /// It becomes a finding after `raise_after` runs in a row that say so.
    pub fn raise(
        &mut self,
        key: impl Into<String>,
        severity: Severity,
        summary: impl Into<String>,
    ) -> &mut Reading {
        self.push(key.into(), summary.into(), Level::Condition(severity))
    }

    /// A value to be held against the check's `warning` and `critical` thresholds; say it on every
    /// run, good or bad. `summary` is what the finding will say: `/var is 96 % full`.
    ///
    /// A value that is not a number makes the run `unknown`.
    pub fn measure(
        &mut self,
        key: impl Into<String>,
        value: f64,
        unit: &'static str,
        summary: impl Into<String>,
    ) -> &mut Reading {
        self.push(key.into(), summary.into(), Level::Measured { value, unit })
    }

    /// A value to be kept and read back with `agentctl metrics`. Names are `a-z0-9._:/-`;
    /// anything else in them becomes `-`.
    pub fn sample(&mut self, name: impl Into<String>, value: f64, unit: &str) {
        self.samples.push(Value { name: name.into(), value, unit: unit.to_owned() });
    }

    /// The readings so far.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// The values to be kept so far: name, value, unit.
    pub fn samples(&self) -> impl Iterator<Item = (&str, f64, &str)> {
        self.samples.iter().map(|s| (s.name.as_str(), s.value, s.unit.as_str()))
    }

    fn push(&mut self, key: String, summary: String, level: Level) -> &mut Reading {
        let at = self.readings.len();
        self.readings.push(Reading { key, summary, evidence: BTreeMap::new(), level });
        &mut self.readings[at]
    }
}

impl Reading {
    /// Adds to the evidence: what was measured, by name.
    pub fn evidence(&mut self, name: impl Into<String>, value: impl Display) -> &mut Self {
        self.evidence.insert(name.into(), value.to_string());
        self
    }

    /// What it is about.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the finding will say.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Severity of a condition; `None` for a measured value.
    pub fn severity(&self) -> Option<Severity> {
        match self.level {
            Level::Condition(severity) => Some(severity),
            Level::Measured { .. } => None,
        }
    }

    /// The measured value; `None` for a condition.
    pub fn value(&self) -> Option<f64> {
        match self.level {
            Level::Condition(_) => None,
            Level::Measured { value, .. } => Some(value),
        }
    }

    /// One piece of evidence.
    pub fn evidence_of(&self, name: &str) -> Option<&str> {
        self.evidence.get(name).map(String::as_str)
    }
}
