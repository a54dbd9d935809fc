//! Cells: what confines one agent.
//!
//! [`plan()`] turns a checked spec and [`HostFacts`] into a [`Plan`]: pure, ordered, serialisable and
//! printable. `agentd-launch`, the program of this crate, applies a plan op by op and decides
//! nothing. [`launch()`] is agentd's side of that; [`cgroup`] writes the control groups that agents
//! live in. When an agent is started and what follows from its end is the supervisor's business.

pub mod cgroup;
mod facts;
pub mod handover;
mod launch;
mod op;
mod plan;
mod plan_error;
pub mod sys;
mod view;

pub use facts::{CgroupBase, FactsError, HostFacts, Ids};
pub use handover::{LaunchFailure, Started, read_status};
pub use launch::{Channel, LaunchError, Launched, Output, launch};
pub use op::{BindFlags, Op};
pub use plan::{CgroupPlan, Mode, Plan, Setting, plan};
pub use plan_error::PlanError;
