//! The name of an agent: one type, checked once, safe to use in a path, a unit or a bus name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of an agent: 1 to 32 characters of `a-z`, `0-9` and `-`, starting with a letter and
/// not ending with `-`. Holding one proves that it is safe as a file name, a cgroup name and (with
/// `-` replaced) a D-Bus path element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentName(String);

/// The text is not an agent name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not an agent name: 1 to 32 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"
)]
pub struct NameError {
    /// What stood there, cut to 64 characters.
    pub found: String,
}

impl AgentName {
    /// The longest name, in bytes. A user name is `agentos-NAME` and useradd(8) allows 32 in all;
    /// names whose user is named otherwise in the spec may use all of it.
    pub const MAX_LEN: usize = 32;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let is_name = bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.len() <= Self::MAX_LEN
            && bytes.last() != Some(&b'-')
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if is_name {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError { found: text.chars().take(64).collect() })
        }
    }
}

impl TryFrom<String> for AgentName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<AgentName> for String {
    fn from(name: AgentName) -> Self {
        name.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_safe_in_paths_are_taken() {
        for good in ["a", "system", "a-b", "x9", "abcdefghijklmnopqrstuvwxyz012345"] {
            assert_eq!(good.parse::<AgentName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_stood_there() {
        for bad in ["", "-a", "a-", "9a", "A", "a b", "a/b", "..", "é", "a.b", &"a".repeat(33)] {
            assert_eq!(bad.parse::<AgentName>().unwrap_err().found, *bad);
        }
    }
}
