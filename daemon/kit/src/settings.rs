//! What a check is set to: its own defaults, and over them what the agent's file says.

use std::time::Duration;

/// A check's own defaults. Built as a constant:
///
/// ```
/// use agentd_kit::{Defaults, clock};
/// const SPACE: Defaults = Defaults::every(clock::seconds(60)).thresholds(85.0, 95.0, 2.0).allow(&[]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    pub(crate) every: Duration,
    pub(crate) timeout: Duration,
    pub(crate) thresholds: Option<Thresholds>,
    pub(crate) raise_after: u32,
    pub(crate) clear_after: u32,
    pub(crate) allow: Option<&'static [&'static str]>,
}

/// When a measured value is bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// At or above this: a warning.
    pub warning: Option<f64>,
    /// At or above this: critical.
    pub critical: Option<f64>,
    /// A value is good again only below a threshold by this much.
    pub margin: f64,
}

impl Defaults {
    /// Runs every `every`, at most 5 s each time, raises and clears at the first reading, has no
    /// thresholds and no allow list.
    pub const fn every(every: Duration) -> Self {
        Self {
            every,
            timeout: Duration::from_secs(5),
            thresholds: None,
            raise_after: 1,
            clear_after: 1,
            allow: None,
        }
    }

    /// Longest run.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The check measures. A value at or above `warning` or `critical` is bad, one below by
    /// `margin` is good again.
    #[must_use]
    pub const fn thresholds(mut self, warning: f64, critical: f64, margin: f64) -> Self {
        self.thresholds =
            Some(Thresholds { warning: Some(warning), critical: Some(critical), margin });
        self
    }

    /// As [`Defaults::thresholds`], but no value is critical unless the agent's file says so.
    #[must_use]
    pub const fn warning(mut self, warning: f64, margin: f64) -> Self {
        self.thresholds = Some(Thresholds { warning: Some(warning), critical: None, margin });
        self
    }

    /// Bad readings in a row before a finding is raised.
    #[must_use]
    pub const fn raise_after(mut self, readings: u32) -> Self {
        self.raise_after = readings;
        self
    }

    /// Good readings in a row before a finding is cleared.
    #[must_use]
    pub const fn clear_after(mut self, readings: u32) -> Self {
        self.clear_after = readings;
        self
    }

    /// The check has a list of what is known and fine, and this is it unless the file names one.
    /// A check without this call takes no `allow`.
    #[must_use]
    pub const fn allow(mut self, items: &'static [&'static str]) -> Self {
        self.allow = Some(items);
        self
    }
}

/// What a check runs with now.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// Whether it runs at all.
    pub enabled: bool,
    /// Time from one start to the next.
    pub every: Duration,
    /// Longest run.
    pub timeout: Duration,
    /// When a measured value is bad; absent for a check that measures nothing.
    pub thresholds: Option<Thresholds>,
    /// Bad readings in a row before a finding is raised.
    pub raise_after: u32,
    /// Good readings in a row before it is cleared.
    pub clear_after: u32,
    /// What is known and fine.
    pub allow: Vec<String>,
}

impl From<&Defaults> for InForce {
    fn from(defaults: &Defaults) -> Self {
        Self {
            enabled: true,
            every: defaults.every,
            timeout: defaults.timeout,
            thresholds: defaults.thresholds,
            raise_after: defaults.raise_after,
            clear_after: defaults.clear_after,
            allow: defaults.allow.unwrap_or_default().iter().map(|s| (*s).to_owned()).collect(),
        }
    }
}
