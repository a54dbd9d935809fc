//! Where everything lies. The only place that spells a path of ours, so that a whole agentd runs
//! in a scratch directory.

use std::path::{Path, PathBuf};

/// Every path agentos uses, below `/` on an appliance or below a scratch directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The paths of the appliance itself.
    pub fn system() -> Self {
        Self { root: PathBuf::from("/") }
    }

    /// The same layout below `root`, for `agentd --root`.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory that everything lies below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether these are the appliance's own paths.
    pub fn is_system(&self) -> bool {
        self.root == Path::new("/")
    }

    /// What is shipped: `agentd.toml`, `agents.d/`.
    pub fn vendor(&self) -> PathBuf {
        self.root.join("usr/lib/agentos")
    }

    /// The site's own configuration; a file here replaces the vendor's of the same name.
    pub fn site(&self) -> PathBuf {
        self.root.join("etc/agentos")
    }

    /// What survives a reboot.
    pub fn state(&self) -> PathBuf {
        self.root.join("var/lib/agentos")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.state().join("agentd.db")
    }

    /// What is gone after a reboot.
    pub fn runtime(&self) -> PathBuf {
        self.root.join("run/agentos")
    }

    /// The varlink control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.runtime().join("control.sock")
    }

    /// Log files of agents where there is no journal (scratch directories).
    pub fn logs(&self) -> PathBuf {
        self.root.join("var/log/agentos")
    }

    /// The log file of one agent where there is no journal.
    pub fn log(&self, agent: &crate::AgentName) -> PathBuf {
        self.logs().join(format!("{agent}.log"))
    }
}
