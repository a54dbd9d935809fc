//! Why a verb failed, as a person and a script see it: message, hints, exit status.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use agentd_protocol::Code;

use crate::args::OutOfRange;
use crate::client_error::ClientError;
use crate::render::time::span;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// agentd did not do it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// agentd knows no such thing; these are called nearly so.
    #[error("{source}")]
    Unknown {
        /// agentd's answer.
        source: ClientError,
        /// What may have been meant.
        hint: String,
    },
    /// What was waited for did not come.
    #[error("{what}; waited {}", span(*within))]
    NotYet {
        /// What is not so: `not every enabled agent runs`.
        what: &'static str,
        /// How long it was waited for.
        within: Duration,
        /// What is missing, and why, a line each.
        missing: Vec<String>,
    },
    /// What was waited for cannot come any more.
    #[error("{agent} did not come up")]
    GaveUp {
        /// The agent.
        agent: String,
        /// How it is now.
        state: String,
    },
    /// Said already; only the status is left.
    #[error("failed")]
    Said(Code),
    /// A time that does not exist.
    #[error(transparent)]
    Since(#[from] OutOfRange),
    /// A log that cannot be read.
    #[error("cannot read {}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// agentd's own log is nowhere that can be read.
    #[error("agentd has no log file here: started with --root it writes to its standard error")]
    NoOwnLog,
    /// Log files say nothing of time.
    #[error("--since needs the journal; {} is a file: use -n", path.display())]
    LogWithoutTime {
        /// The file.
        path: PathBuf,
    },
    /// The journal's program does not start.
    #[error("cannot run {program}")]
    Journal {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The result cannot be made.
    #[error("cannot encode the result")]
    Encode(#[source] serde_json::Error),
    /// The result cannot be written.
    #[error("cannot write the result")]
    Output(#[source] io::Error),
}

impl From<io::Error> for Failure {
    /// Whatever writes a result uses `?`; reading a file names it, with [`Failure::Log`].
    fn from(source: io::Error) -> Self {
        Self::Output(source)
    }
}

impl Failure {
    /// What kind of error it is.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Client(err) | Self::Unknown { source: err, .. } => err.code(),
            Self::NoOwnLog => Code::NotFound,
            Self::NotYet { .. } => Code::Timeout,
            Self::GaveUp { .. } => Code::Conflict,
            Self::Said(code) => *code,
            Self::Since(_) | Self::LogWithoutTime { .. } => Code::Invalid,
            Self::Log { source, .. } | Self::Journal { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Code::NotFound,
                io::ErrorKind::PermissionDenied => Code::Forbidden,
                _ => Code::Unavailable,
            },
            Self::Encode(_) | Self::Output(_) => Code::Internal,
        }
    }

    /// Whether whoever read the result has gone, `head` for one. That is no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(err) if err.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The message, with what caused it, and below it what is known besides, indented.
    pub(crate) fn text(&self) -> String {
        let mut text = Chain(self).to_string().replace('\n', "\n  ");
        for hint in self.hints() {
            text.push_str("\n  ");
            text.push_str(&hint);
        }
        text
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Client(err) => err.hints(),
            Self::Unknown { hint, .. } => vec![hint.clone()],
            Self::NotYet { missing, .. } => missing.clone(),
            Self::GaveUp { agent, state } => {
                vec![state.clone(), format!("see why:  agentctl logs {agent}")]
            }
            Self::Said(_)
            | Self::Since(_)
            | Self::Log { .. }
            | Self::NoOwnLog
            | Self::LogWithoutTime { .. }
            | Self::Journal { .. }
            | Self::Encode(_)
            | Self::Output(_) => Vec::new(),
        }
    }
}

/// An error and its causes on one line, each once.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if text != last {
                f.write_str(": ")?;
                f.write_str(&text)?;
                last = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}
