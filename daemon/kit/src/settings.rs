//! What a check is set to: its own defaults, and over them what the agent's file says.

use std::time::Duration;

use agentd_protocol::channel::CheckSettings;

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

    /// Whether the check has a list of what is known and fine.
    pub const fn has_allow_list(&self) -> bool {
        self.allow.is_some()
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

const DAY: Duration = Duration::from_secs(86_400);
/// Shortest and longest time between two runs, as an agent's file has it.
const EVERY: (Duration, Duration) = (Duration::from_millis(10), DAY);
/// Shortest and longest time a run may be given.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(1), DAY);
/// Shortest and longest time between two heartbeats.
const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(10), DAY);
/// The heartbeat when what was asked for cannot be used.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(5);
/// A name is near another when it is at least this similar; "dsik" and "disk" are.
const NEAR: f64 = 0.7;

/// The heartbeat that was asked for, or a problem and the usual one.
pub(crate) fn heartbeat(millis: u64, problems: &mut Vec<String>) -> Duration {
    let mut heartbeat = DEFAULT_HEARTBEAT;
    within("heartbeat", Some(millis), HEARTBEAT, &mut heartbeat, problems);
    heartbeat
}

/// Names in the settings that are no check of this agent.
pub(crate) fn unknown_names<'a>(
    given: impl Iterator<Item = &'a String>,
    known: &[&str],
    problems: &mut Vec<String>,
) {
    for name in given.filter(|name| !known.contains(&name.as_str())) {
        let near = known
            .iter()
            .map(|known| (strsim::normalized_damerau_levenshtein(name, known), known))
            .filter(|(likeness, _)| *likeness >= NEAR)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        problems.push(match near {
            Some((_, near)) => {
                format!("no check is called {name:?}; did you mean {near:?}?")
            }
            None => format!("no check is called {name:?}; this agent has {}", known.join(", ")),
        });
    }
}

/// A check's defaults with the file's settings over them. A value that cannot be used is a problem,
/// and the default stays in force in its place.
pub(crate) fn in_force(
    name: &str,
    defaults: &Defaults,
    given: &CheckSettings,
    problems: &mut Vec<String>,
) -> InForce {
    let mut found = Vec::new();
    let mut set = InForce::from(defaults);
    set.enabled = given.enabled.unwrap_or(true);
    within("every", given.every_ms, EVERY, &mut set.every, &mut found);
    within("timeout", given.timeout_ms, TIMEOUT, &mut set.timeout, &mut found);
    count("raise_after", given.raise_after, &mut set.raise_after, &mut found);
    count("clear_after", given.clear_after, &mut set.clear_after, &mut found);
    set.thresholds = thresholds(defaults.thresholds, given, &mut found);
    match (&given.allow, defaults.allow) {
        (Some(items), Some(_)) => set.allow.clone_from(items),
        (Some(_), None) => found.push("it has no allow list".to_owned()),
        (None, _) => {}
    }
    problems.extend(found.into_iter().map(|problem| format!("check {name:?}: {problem}")));
    set
}

fn within(
    what: &str,
    given: Option<u64>,
    (least, most): (Duration, Duration),
    set: &mut Duration,
    problems: &mut Vec<String>,
) {
    let Some(given) = given.map(Duration::from_millis) else { return };
    if (least..=most).contains(&given) {
        *set = given;
    } else {
        problems.push(format!(
            "{what} of {given:?} is not between {least:?} and {most:?}; {set:?} stays in force"
        ));
    }
}

fn count(what: &str, given: Option<u32>, set: &mut u32, problems: &mut Vec<String>) {
    match given {
        Some(0) => problems.push(format!("{what} must be at least 1; {set} stays in force")),
        Some(readings) => *set = readings,
        None => {}
    }
}

fn thresholds(
    default: Option<Thresholds>,
    given: &CheckSettings,
    problems: &mut Vec<String>,
) -> Option<Thresholds> {
    let fields = [given.warning, given.critical, given.margin];
    let Some(default) = default else {
        if fields.iter().any(Option::is_some) {
            problems.push("it takes no warning, critical or margin".to_owned());
        }
        return None;
    };
    let set = Thresholds {
        warning: given.warning.or(default.warning),
        critical: given.critical.or(default.critical),
        margin: given.margin.unwrap_or(default.margin),
    };
    let wrong = if fields.iter().flatten().any(|value| !value.is_finite()) {
        Some("warning, critical and margin must be numbers".to_owned())
    } else if set.margin < 0.0 {
        Some(format!("margin {} is below zero", set.margin))
    } else {
        match (set.warning, set.critical) {
            (Some(warning), Some(critical)) if warning > critical => {
                Some(format!("warning {warning} is above critical {critical}"))
            }
            _ => None,
        }
    };
    match wrong {
        Some(wrong) => {
            problems.push(format!("{wrong}; its own thresholds stay in force"));
            Some(default)
        }
        None => Some(set),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SPACE: Defaults =
        Defaults::every(clock::seconds(60)).thresholds(85.0, 95.0, 2.0).allow(&["a"]);

    fn merged(given: &CheckSettings) -> (InForce, Vec<String>) {
        let mut problems = Vec::new();
        (in_force("space", &SPACE, given, &mut problems), problems)
    }

    #[test]
    fn what_is_given_replaces_the_default_and_nothing_else() {
        let given = CheckSettings {
            every_ms: Some(1500),
            critical: Some(99.0),
            allow: Some(vec!["b".to_owned()]),
            ..CheckSettings::default()
        };
        let (set, problems) = merged(&given);
        assert!(problems.is_empty(), "{problems:?}");
        let mut expected = InForce::from(&SPACE);
        expected.every = Duration::from_millis(1500);
        expected.thresholds =
            Some(Thresholds { warning: Some(85.0), critical: Some(99.0), margin: 2.0 });
        expected.allow = vec!["b".to_owned()];
        assert_eq!(set, expected);
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named_and_the_rest_is_in_force() {
        let given = CheckSettings {
            every_ms: Some(0),
            timeout_ms: Some(700),
            warning: Some(96.0),
            raise_after: Some(0),
            ..CheckSettings::default()
        };
        let (set, problems) = merged(&given);
        let mut expected = InForce::from(&SPACE);
        expected.timeout = Duration::from_millis(700);
        assert_eq!(set, expected);
        assert_eq!(
            problems,
            [
                "check \"space\": every of 0ns is not between 10ms and 86400s; 60s stays in force",
                "check \"space\": raise_after must be at least 1; 1 stays in force",
                "check \"space\": warning 96 is above critical 95; its own thresholds stay in force",
            ]
        );
    }

    #[test]
    fn settings_a_check_has_no_use_for_are_problems() {
        const LINKS: Defaults = Defaults::every(clock::seconds(10));
        let given = CheckSettings {
            warning: Some(1.0),
            allow: Some(Vec::new()),
            ..CheckSettings::default()
        };
        let mut problems = Vec::new();
        assert_eq!(in_force("links", &LINKS, &given, &mut problems), InForce::from(&LINKS));
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn numbers_that_are_none_never_become_thresholds() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for given in [
                CheckSettings { warning: Some(bad), ..CheckSettings::default() },
                CheckSettings { critical: Some(bad), ..CheckSettings::default() },
                CheckSettings { margin: Some(bad), ..CheckSettings::default() },
            ] {
                let (set, problems) = merged(&given);
                assert_eq!(set.thresholds, SPACE.thresholds);
                assert_eq!(problems.len(), 1);
            }
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_or_with_all() {
        let mut problems = Vec::new();
        let given = ["disk".to_owned(), "dsik".to_owned(), "zebra".to_owned()];
        unknown_names(given.iter(), &["disk", "memory"], &mut problems);
        assert_eq!(
            problems,
            [
                "no check is called \"dsik\"; did you mean \"disk\"?",
                "no check is called \"zebra\"; this agent has disk, memory",
            ]
        );
    }

    #[test]
    fn a_heartbeat_out_of_bounds_is_the_usual_one() {
        let mut problems = Vec::new();
        assert_eq!(heartbeat(250, &mut problems), Duration::from_millis(250));
        assert!(problems.is_empty());
        assert_eq!(heartbeat(0, &mut problems), DEFAULT_HEARTBEAT);
        assert_eq!(problems.len(), 1);
    }
}
