//! The one classification of errors. Varlink error names, D-Bus error names and exit statuses all
//! derive from [`Code`].

use serde::{Deserialize, Serialize};

/// What kind of error it is, for a program to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Code {
    /// What was named does not exist.
    NotFound,
    /// The request itself is wrong: repeat it changed, not again.
    Invalid,
    /// The caller lacks a right.
    Forbidden,
    /// It cannot be done in the present state.
    Conflict,
    /// A part that is needed does not answer now; later it may.
    Unavailable,
    /// It took too long.
    Timeout,
    /// A limit was reached.
    Exhausted,
    /// A bug or broken machine: nothing the caller did.
    Internal,
}

impl Code {
    /// Every code, in order.
    pub const ALL: [Self; 8] = [
        Self::NotFound,
        Self::Invalid,
        Self::Forbidden,
        Self::Conflict,
        Self::Unavailable,
        Self::Timeout,
        Self::Exhausted,
        Self::Internal,
    ];

    /// The bare word: `NotFound`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::Invalid => "Invalid",
            Self::Forbidden => "Forbidden",
            Self::Conflict => "Conflict",
            Self::Unavailable => "Unavailable",
            Self::Timeout => "Timeout",
            Self::Exhausted => "Exhausted",
            Self::Internal => "Internal",
        }
    }

    /// Exit status of `agentctl`. 0 is success; 1 is left for "the answer is no" (`doctor` found
    /// problems), 2 for wrong usage, as clap has it.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Forbidden => 4,
            Self::Conflict => 5,
            Self::Unavailable => 6,
            Self::Timeout => 7,
            Self::Exhausted => 8,
            Self::Internal => 9,
        }
    }

    /// The name of the varlink error: `org.agentos.Agents.NotFound`. Each of our interfaces
    /// declares all of them, as varlink wants an error declared by the interface that was called.
    pub fn varlink(self, interface: &str) -> String {
        format!("{interface}.{}", self.as_str())
    }

    /// The name of the D-Bus error.
    pub fn dbus(self) -> String {
        format!("org.agentos.Error.{}", self.as_str())
    }

    /// The code in the last part of a varlink or D-Bus error name, if it is one of ours.
    pub fn from_error_name(name: &str) -> Option<Self> {
        let (interface, word) = name.rsplit_once('.')?;
        if !interface.starts_with("org.agentos.") {
            return None;
        }
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_lead_back_to_their_code() {
        for code in Code::ALL {
            assert_eq!(Code::from_error_name(&code.varlink("org.agentos.Agents")), Some(code));
            assert_eq!(Code::from_error_name(&code.dbus()), Some(code));
        }
        assert_eq!(Code::from_error_name("org.varlink.service.NotFound"), None);
        assert_eq!(Code::from_error_name("NotFound"), None);
    }

    #[test]
    fn exit_statuses_are_distinct_and_leave_0_and_1_alone() {
        let seen: BTreeSet<u8> = Code::ALL.into_iter().map(Code::exit_status).collect();
        assert_eq!(seen.len(), Code::ALL.len());
        assert!(!seen.contains(&0) && !seen.contains(&1));
    }
}
