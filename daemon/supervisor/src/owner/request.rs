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
    /// It would be forgotten at the next start.
    #[error("this could not be kept for the next start: {0}")]
    NotKept(String),
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
                self.answer_later(answer, decided);
            }
            Request::Reload { loaded, dry_run, answer } => {
                let report = self.reload(*loaded, dry_run);
                self.answer_later(answer, report);
            }
        }
    }

    /// Answers once the snapshot shows what was done: whoever asks and then looks must see it.
    fn answer_later<T: Send + 'static>(&mut self, answer: oneshot::Sender<T>, what: T) {
        self.answers.push(Box::new(move || drop(answer.send(what))));
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
            Verb::Enable => self.enable(name, true),
            Verb::Disable => self.enable(name, false),
        }
    }

    fn put(&mut self, name: &AgentName, event: Event) -> Disposition {
        if self.step(name, event) { Disposition::Accepted } else { Disposition::AlreadySo }
    }

    /// Refused while it could not be kept: it is a promise about the next start.
    fn enable(&mut self, name: &AgentName, enabled: bool) -> Result<Disposition, Refused> {
        let Some(managed) = self.managed.get_mut(name) else {
            return Err(Refused::Unknown(name.clone()));
        };
        if managed.enabled == enabled {
            return Ok(Disposition::AlreadySo);
        }
        if let Some(problem) = &self.store_problem {
            return Err(Refused::NotKept(problem.message.clone()));
        }
        let row = Write::Enabled { agent: name.clone(), enabled };
        if !self.recorder.archive().write(vec![row]) {
            return Err(Refused::NotKept("too much waits to be written; try again".into()));
        }
        managed.enabled = enabled;
        self.enabled.insert(name.clone(), enabled);
        self.dirty.insert(name.clone());
        Ok(Disposition::Accepted)
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
            Err(Refused::Stopping | Refused::NotKept(_) | Refused::Config(_)) => "refused",
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
