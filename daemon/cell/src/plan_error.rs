//! Why a spec cannot be planned for: each variant names the agent and what to change.

use std::path::PathBuf;

use agentd_model::AgentName;

/// The spec cannot be had on this machine. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to run.
    #[error("agent {agent} has no program")]
    NoProgram {
        /// Whose.
        agent: AgentName,
    },
    /// The cell would hide the agent's own program.
    #[error("the cell of {agent} does not show its program {program}: name its folder in `read`")]
    HiddenProgram {
        /// Whose.
        agent: AgentName,
        /// Which.
        program: String,
    },
    /// The user does not exist.
    #[error("user {user} of agent {agent} does not exist")]
    UnknownUser {
        /// Whose.
        agent: AgentName,
        /// Which.
        user: String,
    },
    /// The user is root under whatever name.
    #[error("user {user} of agent {agent} has uid 0 or gid 0; no agent runs as root")]
    RootUser {
        /// Whose.
        agent: AgentName,
        /// Which.
        user: String,
    },
    /// A group does not exist.
    #[error("group {group} of agent {agent} does not exist")]
    UnknownGroup {
        /// Whose.
        agent: AgentName,
        /// Which.
        group: String,
    },
    /// No such capability.
    #[error("{capability} of agent {agent} is not a capability")]
    UnknownCapability {
        /// Whose.
        agent: AgentName,
        /// What stood there.
        capability: String,
    },
    /// A capability that undoes every cell.
    #[error("no agent may have {capability}; {agent} asks for it")]
    ForbiddenCapability {
        /// Whose.
        agent: AgentName,
        /// Which.
        capability: String,
    },
    /// agentd cannot give what it does not have.
    #[error("agentd lacks {capability}, which the cell of {agent} needs")]
    Unprivileged {
        /// Whose.
        agent: AgentName,
        /// Which.
        capability: String,
    },
    /// There is no control group to put the agent in.
    #[error(
        "no delegated cgroup v2 for agent {agent}: agentd.service needs Delegate=yes and DelegateSubgroup=supervisor"
    )]
    NoCgroup {
        /// Whose.
        agent: AgentName,
    },
    /// A limit that nothing would enforce.
    #[error("{limit} of agent {agent} cannot be enforced: no cgroup v2 controller {controller}")]
    NoController {
        /// Whose.
        agent: AgentName,
        /// What the spec asks.
        limit: &'static str,
        /// The controller that it needs.
        controller: &'static str,
    },
    /// `write` names something that stays read-only in every cell.
    #[error("agent {agent} may not write to {}: / and /usr stay read-only", path.display())]
    WritesSystem {
        /// Whose.
        agent: AgentName,
        /// What it names.
        path: PathBuf,
    },
    /// More open files than agentd may have itself.
    #[error("files_max = {asked} of agent {agent} is above agentd's own limit of {hard}")]
    FilesMax {
        /// Whose.
        agent: AgentName,
        /// What the spec asks.
        asked: u32,
        /// What there is.
        hard: u64,
    },
}
