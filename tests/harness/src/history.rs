//! The way of an agent through its phases, as its events tell it.

use std::fmt;

use agentd_protocol::control::EventView;

/// One change of phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Number of the event.
    pub seq: u64,
    /// When.
    pub time_ms: i64,
    /// The phase before.
    pub from: String,
    /// The phase after.
    pub to: String,
    /// The process it is about.
    pub pid: Option<i32>,
    /// Why agentd ends the process.
    pub cause: Option<String>,
    /// How the process ended.
    pub exit: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Starts after the first since agentd started.
    pub restarts: u64,
}

impl Step {
    pub(crate) fn of(event: &EventView) -> Self {
        let field = |name: &str| event.fields.get(name).cloned();
        let must = |name: &str| field(name).unwrap_or_else(|| panic!("no {name} in {event:?}"));
        let number = |name: &str| must(name).parse().unwrap_or_else(|_| panic!("{event:?}"));
        Self {
            seq: event.seq,
            time_ms: event.time_ms,
            from: must("from"),
            to: must("to"),
            pid: field("pid").map(|pid| pid.parse().expect("a pid is a number")),
            cause: field("cause"),
            exit: field("exit"),
            failures: u32::try_from(number("failures")).expect("a small number"),
            restarts: number("restarts"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to)?;
        match self.exit.as_ref().or(self.cause.as_ref()) {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}

/// Each phase that was entered, and in brackets how the process ended or why it is being ended:
/// `["waiting", "spawning", "starting", "running", "backoff (exit status 3)"]`.
pub fn phases(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

/// Fails unless each step begins where the one before ended.
#[track_caller]
pub(crate) fn assert_unbroken(steps: &[Step]) {
    let first = steps.first().map(|step| step.from.as_str());
    assert!(matches!(first, None | Some("idle")), "does not begin at rest: {steps:#?}");
    for pair in steps.windows(2) {
        assert_eq!(pair[0].to, pair[1].from, "a step is missing: {steps:#?}");
        assert!(pair[0].seq < pair[1].seq, "out of order: {steps:#?}");
    }
}
