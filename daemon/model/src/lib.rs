//! What agentos knows without touching the machine: specs, paths, findings and the agent state
//! machine.
//!
//! Nothing here reads a file, a clock or a socket. Time is an argument ([`Mono`]), text is an
//! argument, and every function is total, so that everything in this crate is tested in simulated
//! time. Effects are left to `agentd-cell`, `agentd-store` and `agentd` itself.
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]

mod agent;
mod chain;
mod finding;
mod name;
mod paths;
mod spec;
mod time;

pub use agent::{
    Action, Agent, Cause, Event, Exit, ExitStatus, Phase, Pid, Policy, Starts, WaitReason, WaitWhy,
    Want, step, stop_order, waits_for,
};
pub use chain::Chain;
pub use finding::{Finding, Severity};
pub use name::{AgentName, NameError};
pub use paths::Paths;
pub use spec::{
    AgentSpec, AgentdConfig, Budget, CellSpec, Change, CheckSpec, Criticality, Problem,
    RestartPolicy, RestartWhen, SetProblem, SpecDiff, SpecError, check_set, diff, parse_agentd,
    parse_spec,
};
pub use time::Mono;
