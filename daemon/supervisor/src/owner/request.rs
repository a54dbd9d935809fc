//! Requests: what Control asks the owner to do. Each is answered at once; none waits for an agent.

use agentd_model::{AgentName, Event, Phase, Want};
use agentd_protocol::control::{Disposition, ReloadReport, kind};
use agentd_store::Write;
use tokio::sync::oneshot;

use super::Owner;
use crate::config::Loaded;
use crate::record::Draft;

/// Something Control asks for, with where the answer goes.
#[derive(Debug)]
pub enum Request {
    /// Do this to that agent.
    Agent {
        /// What.
        verb: Verb,
        /// To which.
        name: AgentName,
        /// Who asks: for the record.
        by: Asker,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Disposition, Refused>>,
    },
    /// Put this configuration in force, or say what would change.
    Reload {
        /// Read already, on another thread.
        loaded: Box<Loaded>,
        /// Only say what would change.
        dry_run: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<ReloadReport, Refused>>,
    },
}

/// Who asks, as far as the record is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Their uid.
    pub uid: u32,
    /// The front end they came through.
    pub front: &'static str,
}

/// What can be asked of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It should run.
    Start,
    /// It should not.
    Stop,
    /// It should run in a new process.
    Restart,
    /// It is started with agentd from now on.
    Enable,
    /// It is not.
    Disable,
}

impl Verb {
    /// The word in messages and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }
}

/// Why the owner does not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such agent.
    #[error("no agent is called {0}")]
    Unknown(AgentName),
    /// agentd stops.
    #[error("agentd is stopping and starts nothing any more")]
    Stopping,
    /// The configuration has problems; the last good one stays in force.
    #[error("the configuration has problems, the last good one stays in force:\n{0}")]
    Config(String),
}

impl Owner {
    pub(super) fn requested(&mut self, request: Request) {
        // A caller that has gone does not take the request back.
        match request {
            Request::Agent { verb, name, by, answer } => {
                let decided = self.decide(verb, &name);
                self.note_request(verb, &name, by, &decided);
                drop(answer.send(decided));
            }
            Request::Reload { loaded, dry_run, answer } => {
                drop(answer.send(self.reload(*loaded, dry_run)));
            }
        }
    }

    fn decide(&mut self, verb: Verb, name: &AgentName) -> Result<Disposition, Refused> {
        let Some(managed) = self.managed.get(name).filter(|managed| !managed.is_removed) else {
            return Err(Refused::Unknown(name.clone()));
        };
        let is_up = managed.agent.want == Want::Up
            && !matches!(managed.agent.phase, Phase::Idle { .. } | Phase::Failed { .. });
        match verb {
            Verb::Start | Verb::Restart if self.stopping => Err(Refused::Stopping),
            // One that waits for its next try is tried now.
            Verb::Start if is_up && !matches!(managed.agent.phase, Phase::Backoff { .. }) => {
                Ok(Disposition::AlreadySo)
            }
            Verb::Start => Ok(self.put(name, Event::Start)),
            Verb::Stop => Ok(self.put(name, Event::Stop)),
            Verb::Restart => {
                self.put(name, Event::Restart);
                Ok(Disposition::Accepted)
            }
            Verb::Enable => Ok(self.enable(name, true)),
            Verb::Disable => Ok(self.enable(name, false)),
        }
    }

    fn put(&mut self, name: &AgentName, event: Event) -> Disposition {
        if self.step(name, event) { Disposition::Accepted } else { Disposition::AlreadySo }
    }

    fn enable(&mut self, name: &AgentName, enabled: bool) -> Disposition {
        let Some(managed) = self.managed.get_mut(name) else { return Disposition::AlreadySo };
        if managed.enabled == enabled {
            return Disposition::AlreadySo;
        }
        managed.enabled = enabled;
        self.enabled.insert(name.clone(), enabled);
        self.recorder.archive().write(vec![Write::Enabled { agent: name.clone(), enabled }]);
        self.dirty.insert(name.clone());
        Disposition::Accepted
    }

    fn note_request(
        &mut self,
        verb: Verb,
        name: &AgentName,
        by: Asker,
        decided: &Result<Disposition, Refused>,
    ) {
        let words = match decided {
            Ok(Disposition::Accepted) => "accepted",
            Ok(Disposition::AlreadySo) => "already so",
            // Anyone may name an agent that is not there; that leaves no trace.
            Err(Refused::Unknown(_)) => return,
            Err(Refused::Stopping | Refused::Config(_)) => "refused",
        };
        let message = format!("{} asked by uid {}: {words}", verb.as_str(), by.uid);
        let draft = Draft::new(kind::REQUEST, message)
            .about(name)
            .with("verb", verb.as_str())
            .with("caller_uid", by.uid)
            .with("front", by.front)
            .with("disposition", words);
        self.recorder.record(draft, vec![]);
    }
}
