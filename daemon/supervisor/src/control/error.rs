//! Why Control refuses. [`ControlError::code`] is the only classification there is.

use agentd_model::{AgentName, NameError};
use agentd_protocol::Code;
use agentd_store::StoreError;

use crate::caller::{Right, Rights};
use crate::owner::Refused;

/// A verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such agent.
    #[error("no agent is called {0}")]
    UnknownAgent(AgentName),
    /// Not the name of any agent.
    #[error(transparent)]
    Name(NameError),
    /// There is no such series.
    #[error("no readings are kept under {0:?}")]
    UnknownMetric(String),
    /// The caller lacks a right.
    #[error("{what} needs the right '{right}': {}", how_to_get(*right))]
    Forbidden {
        /// What was asked.
        what: String,
        /// What is missing.
        right: Right,
    },
    /// An argument makes no sense.
    #[error("{what} is {found}, but must be {allowed}")]
    Argument {
        /// Which.
        what: &'static str,
        /// What it was.
        found: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// The owner of the agents says no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A cell cannot be planned here.
    #[error("cannot plan the cell of {name}: {why}")]
    Plan {
        /// Whose.
        name: AgentName,
        /// Why.
        why: String,
    },
    /// The store cannot be read.
    #[error("cannot read the store")]
    Store(#[source] StoreError),
    /// Too much at once.
    #[error("too many requests are being answered; try again")]
    Busy,
    /// agentd ends.
    #[error("agentd is ending")]
    Gone,
    /// Something took too long.
    #[error("{what} takes too long")]
    Timeout {
        /// What.
        what: &'static str,
    },
    /// A bug of ours.
    #[error("{what} broke off")]
    Broken {
        /// What.
        what: &'static str,
    },
}

impl ControlError {
    /// What kind of error it is.
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownAgent(_) | Self::UnknownMetric(_) | Self::Refused(Refused::Unknown(_)) => {
                Code::NotFound
            }
            Self::Name(_) | Self::Argument { .. } | Self::Refused(Refused::Config(_)) => {
                Code::Invalid
            }
            Self::Forbidden { .. } => Code::Forbidden,
            Self::Refused(Refused::Stopping) | Self::Plan { .. } => Code::Conflict,
            Self::Store(_) | Self::Gone | Self::Refused(Refused::NotKept(_)) => Code::Unavailable,
            Self::Timeout { .. } => Code::Timeout,
            Self::Busy => Code::Exhausted,
            Self::Broken { .. } => Code::Internal,
        }
    }
}

fn how_to_get(right: Right) -> String {
    match right {
        Right::Read => format!("be root or a member of group '{}'", Rights::GROUP),
        Right::Manage => {
            format!("be root, or on the bus be granted {} by polkit", Rights::POLKIT_MANAGE)
        }
    }
}
