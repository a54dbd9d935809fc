//! What can go wrong between agentctl and agentd, what kind of error that is, and what a person
//! can do about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agentd_protocol::Code;

use crate::client::Endpoint;

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// There is no socket.
    #[error("agentd does not run (no {})", .0.socket.display())]
    Absent(Endpoint),
    /// There is a socket, and nobody behind it.
    #[error("agentd does not run (nobody listens on {})", .0.socket.display())]
    Refused(Endpoint),
    /// The socket may not be opened.
    #[error("may not open {}: membership of group `agentos` is missing", .0.socket.display())]
    NoRight(Endpoint),
    /// The socket cannot be reached for another reason.
    #[error("cannot connect to {}", .socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The call could not be sent.
    #[error("cannot send {method}")]
    Send {
        /// The method.
        method: String,
        /// Why.
        source: std::io::Error,
    },
    /// The answer could not be read.
    #[error("cannot read the answer to {method}")]
    Receive {
        /// The method.
        method: String,
        /// Why.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("agentd did not answer to {method} within {after:?}")]
    TimedOut {
        /// The method.
        method: String,
        /// The limit.
        after: Duration,
    },
    /// The connection ended instead of an answer.
    #[error("agentd closed the connection to {method}")]
    Closed {
        /// The method.
        method: String,
    },
    /// The answer is not one.
    #[error("the answer to {method} cannot be understood: {why}")]
    Garbage {
        /// The method.
        method: String,
        /// What is wrong with it.
        why: String,
    },
    /// agentd said no.
    #[error("{0}")]
    Answer(Answer),
    /// An error of the protocol, or of somebody else's service.
    #[error("agentd refused {method}: {error}")]
    Foreign {
        /// The method.
        method: String,
        /// What kind of error.
        code: Code,
        /// Its name, with its parameters.
        error: String,
    },
}

/// agentd's no.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Answer {
    /// What kind of error.
    pub(crate) code: Code,
    /// Why, for a person; may have several lines.
    pub(crate) message: String,
}

impl ClientError {
    /// What kind of error it is.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Absent(_) | Self::Refused(_) | Self::Connect { .. } | Self::Closed { .. } => {
                Code::Unavailable
            }
            Self::Send { .. } | Self::Receive { .. } => Code::Unavailable,
            Self::NoRight(_) => Code::Forbidden,
            Self::TimedOut { .. } => Code::Timeout,
            Self::Garbage { .. } => Code::Internal,
            Self::Answer(answer) => answer.code,
            Self::Foreign { code, .. } => *code,
        }
    }

    /// Whether agentd may just be starting, or being replaced: the same call may do well soon.
    pub(crate) fn may_pass(&self) -> bool {
        self.code() == Code::Unavailable
    }

    /// What a person can do about it, a line each.
    pub(crate) fn hints(&self) -> Vec<String> {
        match self {
            Self::Absent(at) | Self::Refused(at) => match &at.root {
                Some(root) if root == Path::new("/") => vec![
                    "start it:      systemctl start agentd".to_owned(),
                    "see why not:   agentctl logs".to_owned(),
                    "if it runs in a directory of its own: agentctl --root DIR".to_owned(),
                ],
                Some(root) => vec![format!("start it:  agentd --root {}", root.display())],
                None => vec!["is this the path of agentd's control socket?".to_owned()],
            },
            Self::NoRight(_) => vec![
                "as root:  usermod --append --groups agentos USER".to_owned(),
                "then log in again; `id` shows the groups of this session".to_owned(),
                "members of that group may look; what changes something takes root".to_owned(),
            ],
            Self::TimedOut { .. } => {
                vec!["--timeout SPAN waits longer; agentctl logs shows what agentd does".to_owned()]
            }
            Self::Garbage { .. } => vec!["is this agentd's control socket?".to_owned()],
            Self::Foreign { code: Code::Internal, .. } => {
                vec!["agentctl version shows whether agentd is of another version".to_owned()]
            }
            Self::Foreign { .. }
            | Self::Connect { .. }
            | Self::Send { .. }
            | Self::Receive { .. }
            | Self::Closed { .. }
            | Self::Answer(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Text;

    #[test]
    fn on_an_appliance_the_way_to_start_agentd_is_systemd() {
        let socket = PathBuf::from("/run/agentos/control.sock");
        let root = Some(PathBuf::from("/"));
        let timeout = Duration::from_secs(1);
        let err = ClientError::Absent(Endpoint { socket, root, timeout, text: Text::Clean });
        assert_eq!(err.to_string(), "agentd does not run (no /run/agentos/control.sock)");
        assert!(err.hints()[0].ends_with("systemctl start agentd"), "{:?}", err.hints());
        assert!(err.may_pass());
    }
}
