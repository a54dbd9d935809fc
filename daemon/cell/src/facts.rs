//! What a plan must know of the machine, gathered at the edge so that planning stays pure.
//!
//! [`HostFacts::gather`] reads the constant part once (and again on reload); [`HostFacts::look_at`]
//! looks at what one spec names, before each plan, because users and paths come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use agentd_model::AgentSpec;

/// Uid and primary gid of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Its uid.
    pub uid: u32,
    /// Its primary gid.
    pub gid: u32,
}

/// What lies at a path, symbolic links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A directory.
    Directory,
    /// Anything else: a file, a socket, a device.
    Other,
}

/// The control group below which agentd may make groups of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupBase {
    /// Its directory; agents go below `agents/` in it.
    pub dir: PathBuf,
    /// The controllers that its `cgroup.controllers` lists.
    pub controllers: BTreeSet<String>,
}

/// What a plan must know of the machine. Plain data: a test writes its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// agentd's own effective uid.
    pub euid: u32,
    /// agentd's own effective capabilities, as `CAP_NET_RAW`.
    pub capabilities: BTreeSet<String>,
    /// agentd's own hard limit of open files.
    pub files_hard: u64,
    /// The users that were asked about and exist.
    pub users: BTreeMap<String, Ids>,
    /// The groups that were asked about and exist, with their gid.
    pub groups: BTreeMap<String, u32>,
    /// The paths that were asked about and exist.
    pub paths: BTreeMap<PathBuf, PathKind>,
    /// The symbolic links of a merged `/usr` in the root directory and where they point:
    /// `bin` -> `usr/bin`.
    pub root_links: BTreeMap<String, PathBuf>,
    /// Where agents' control groups go; absent without a delegated cgroup v2.
    pub cgroup: Option<CgroupBase>,
    /// Whether journald's socket is there.
    pub journal: bool,
}

/// The machine could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// agentd's own capabilities could not be read.
    #[error("cannot read agentd's own capabilities")]
    Capabilities(#[source] caps::errors::CapsError),
    /// agentd's own resource limits could not be read.
    #[error("cannot read agentd's own limit of open files")]
    Limits(#[source] io::Error),
}

impl HostFacts {
    /// journald's socket for messages with fields.
    pub const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

    /// Looks at the machine, but for what specs name.
    pub fn gather() -> Result<Self, FactsError> {
        todo!()
    }

    /// Looks at the users, groups and paths that `spec` names, again if it did before.
    pub fn look_at(&mut self, _spec: &AgentSpec) -> Result<(), FactsError> {
        todo!()
    }
}

#[allow(dead_code, reason = "first commit")]
fn read(path: &Path) -> Result<String, FactsError> {
    std::fs::read_to_string(path)
        .map_err(|source| FactsError::Read { path: path.to_owned(), source })
}
