//! Control groups, version 2: finding the delegated one, and the leaf of each agent.

use std::io;
use std::path::PathBuf;

use crate::{CgroupBase, CgroupPlan};

/// Something about a control group failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file could not be written.
    #[error("cannot write {value:?} to {}", file.display())]
    Write {
        /// Which file.
        file: PathBuf,
        /// What.
        value: String,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A group could not be made.
    #[error("cannot make control group {}", dir.display())]
    Create {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A group could not be removed.
    #[error("cannot remove control group {}", dir.display())]
    Remove {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The group of an agent to be started still holds processes.
    #[error("control group {} still holds processes", dir.display())]
    Populated {
        /// Which.
        dir: PathBuf,
    },
}

/// Counters of `memory.events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// How often the group was at `memory.max`.
    pub max: u64,
    /// How often the limit was reached and nothing could be reclaimed.
    pub oom: u64,
    /// Processes killed for want of memory.
    pub oom_kill: u64,
}

/// The control group of one agent.
#[derive(Debug)]
pub struct Leaf {
    dir: PathBuf,
}

impl Leaf {
    /// Makes the group with its limits. One left behind is made anew if it is empty and refused
    /// ([`CgroupError::Populated`]) if it is not.
    pub fn create(_plan: &CgroupPlan) -> Result<Self, CgroupError> {
        todo!()
    }

    /// Takes up the group that an earlier start left, without touching it.
    pub fn existing(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Its directory.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Kills every process in it (SIGKILL). They are gone only once [`Leaf::is_populated`] says so.
    pub fn kill(&self) -> Result<(), CgroupError> {
        todo!()
    }

    /// Whether it holds a living process. A group that is gone holds none.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        todo!()
    }

    /// What befell it for want of memory; `None` without a memory controller.
    pub fn memory_events(&self) -> Result<Option<MemoryEvents>, CgroupError> {
        todo!()
    }

    /// Removes it; it must be empty. One that is gone already is no error.
    pub fn remove(&self) -> Result<(), CgroupError> {
        todo!()
    }
}

/// The group below which agentd may make its own, if there is one: the parent of agentd's own group
/// when that is named `supervisor` (`DelegateSubgroup=supervisor`) and may be written to.
pub fn find_base() -> Result<Option<CgroupBase>, CgroupError> {
    todo!()
}
