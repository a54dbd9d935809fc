//! What the owner of the agents hears from the rest of agentd.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use agentd_model::{AgentName, ExitStatus, Pid};
use tokio::sync::mpsc;

use crate::archive;
use crate::channel::{Ends, Said};

/// Tells one process of an agent from the one before it.
pub type Generation = u64;

/// Something happened.
#[derive(Debug)]
pub enum News {
    /// About one process of one agent.
    Process {
        /// Whose.
        agent: AgentName,
        /// Which of its processes.
        generation: Generation,
        /// What.
        what: ProcessNews,
    },
    /// About the store.
    Store(archive::News),
}

/// What happened to a process.
#[derive(Debug)]
pub enum ProcessNews {
    /// It runs its program now.
    Spawned {
        /// Its process id.
        pid: Pid,
        /// The handle on it.
        pidfd: Arc<OwnedFd>,
        /// agentd's ends of its channel, if it has one.
        ends: Option<Ends>,
    },
    /// It never ran its program, and nothing is left of it.
    NotSpawned(String),
    /// It said something.
    Said(Said),
    /// It ended, and nothing is left of it.
    Exited(ExitStatus),
}

/// Sends what one process says or does.
#[derive(Clone, Debug)]
pub struct Teller {
    /// Whose process.
    pub agent: AgentName,
    /// Which.
    pub generation: Generation,
    /// The owner's inbox.
    pub inbox: mpsc::Sender<News>,
}

impl Teller {
    /// Tells that something happened; waits while the owner's inbox is full.
    pub async fn tell(&self, what: ProcessNews) {
        let news = News::Process { agent: self.agent.clone(), generation: self.generation, what };
        // The owner is gone only when agentd ends.
        drop(self.inbox.send(news).await);
    }

    /// Tells what the agent said.
    pub async fn said(&self, said: Said) {
        self.tell(ProcessNews::Said(said)).await;
    }
}
