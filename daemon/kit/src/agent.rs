//! An agent as a value, and the program that it makes.

use std::fmt;
use std::process::ExitCode;

use crate::check::Check;
use crate::host::Host;

/// What runs once on a clean end.
pub(crate) type AtStop = Box<dyn FnOnce(&Host)>;

/// An agent: a name, a version and its checks.
pub struct Agent {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) checks: Vec<Check>,
    pub(crate) at_stop: Option<AtStop>,
}

impl Agent {
    /// An agent without checks. `name` is that of its file, its journal identifier and its user.
    pub fn new(name: &'static str, version: &'static str) -> Self {
        Self { name, version, checks: Vec::new(), at_stop: None }
    }

    /// Adds a check.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Does `last` once, when SIGTERM asked for the end. It must be quick: the process is killed
    /// when its grace time is over.
    #[must_use]
    pub fn at_stop(mut self, last: impl FnOnce(&Host) + 'static) -> Self {
        self.at_stop = Some(Box::new(last));
        self
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its checks.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("checks", &self.checks)
            .finish_non_exhaustive()
    }
}

/// Runs an agent until it is told to end. The exit status is 0 after SIGTERM, 1 when agentd went
/// away or broke the protocol, 2 when agentd did not start it at all.
pub fn run(agent: Agent) -> ExitCode {
    let _ = agent;
    ExitCode::from(2)
}
