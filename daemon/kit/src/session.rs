//! An agent's life with agentd, from the first settings to the end: one loop that takes what comes.
//!
//! ```text
//!  agentd: Reload ---> settings in force ---> Ready ---> agentd: reply ---> checks and heartbeats
//!             ^                                 |
//!             '---- any later Reload: applied --'   Ready again when the list of checks changed
//! ```
//!
//! The heartbeat is sent by this loop, on the thread that also runs the checks: a check that blocks
//! the thread stops the heartbeat, and agentd sees it. Every byte from agentd is checked; what makes
//! no sense ends the session, as an agent that misunderstands its supervisor is better started anew.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use agentd_protocol::channel::{AGENT, CheckInfo, Ready, ReloadReply, Settings};
use agentd_protocol::{Call, Reply};
use serde_json::{Map, Value};
use tokio::net::UnixStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::agent::Agent;
use crate::channel::{ChannelError, Incoming, Outbox, call, outgoing, refusal, reply};
use crate::check::Check;
use crate::host::Host;
use crate::hysteresis::Hysteresis;
use crate::runner::Runner;
use crate::settings::{self, Defaults, InForce};

/// Time between the first runs of two checks: all are through soon, and not all at once.
const SPREAD: Duration = Duration::from_millis(50);

/// How long agentd may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until the first settings.
    pub(crate) settings: Duration,
    /// For a reply to `Ready`.
    pub(crate) reply: Duration,
}

impl Patience {
    /// agentd sends settings at once and kills an agent that is not ready in time; these are only
    /// for an agentd that hangs, so that no agent stays behind for ever.
    pub(crate) const USUAL: Self =
        Self { settings: Duration::from_secs(30), reply: Duration::from_secs(30) };
}

/// Why a session ended other than by SIGTERM.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// A socket is of no use any more.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// It came on the socket where agentd calls, and is no call.
    #[error("agentd sent something that is not a call")]
    NotACall(#[source] serde_json::Error),
    /// It came on the socket where agentd answers, and is no answer.
    #[error("agentd sent something that is not a reply")]
    NotAReply(#[source] serde_json::Error),
    /// An answer to nothing.
    #[error("agentd sent a reply that nobody asked for")]
    Unasked,
    /// agentd does not want this agent.
    #[error("agentd refused Ready: {error}")]
    Refused { error: String },
    /// agentd hangs.
    #[error("agentd did not send {what} within {} s", limit.as_secs())]
    Late { what: &'static str, limit: Duration },
    /// agentd calls faster than it reads the answers.
    #[error("agentd does not read the answers to its calls")]
    NotReading,
    /// A bug: a task that lasts as long as the session ended before it.
    #[error("a task of the agent ended before its time")]
    Broken(#[source] Option<tokio::task::JoinError>),
}

/// A check as the session knows it.
struct Entry {
    name: &'static str,
    summary: &'static str,
    defaults: Defaults,
    settings: watch::Sender<Arc<InForce>>,
}

struct Session {
    version: &'static str,
    agent: Cow<'static, str>,
    entries: Vec<Entry>,
    /// Made ready with the session, started with the first `Ready`.
    runners: Vec<Runner>,
    calls: Outbox,
    replies: Outbox,
    /// When each `Ready` without a reply yet must have one.
    unanswered: VecDeque<Instant>,
    /// What agentd was last told. `None`: nothing yet.
    announced: Option<Vec<CheckInfo>>,
    is_ready: bool,
    heartbeat: tokio::time::Interval,
    tasks: JoinSet<Result<(), ChannelError>>,
    patience: Patience,
}

/// Serves agentd with `agent` until `stop` resolves. Needs a `LocalSet` around it.
pub(crate) async fn serve(
    agent: Agent,
    host: Host,
    to_agentd: UnixStream,
    from_agentd: UnixStream,
    patience: Patience,
    stop: impl Future<Output = ()>,
) -> Result<(), SessionError> {
    let (answers, calls) = to_agentd.into_split();
    let (asked, replies) = from_agentd.into_split();
    let (mut answers, mut asked) = (Incoming::new(answers), Incoming::new(asked));
    let mut session = Session::new(agent, &host, calls, replies, patience);
    let start = Instant::now();
    tokio::pin!(stop);
    loop {
        let (what, deadline, limit) = session.awaited(start);
        tokio::select! {
            () = &mut stop => return Ok(()),
            message = asked.next() => session.called(&message?)?,
            message = answers.next() => session.answered(&message?)?,
            _ = session.heartbeat.tick(), if session.is_ready => session.beat()?,
            () = sleep_until(deadline.unwrap_or(start)), if deadline.is_some() => {
                return Err(SessionError::Late { what, limit });
            }
            Some(ended) = session.tasks.join_next() => match ended {
                Ok(Err(err)) => return Err(err.into()),
                Ok(Ok(())) => return Err(SessionError::Broken(None)),
                Err(err) => return Err(SessionError::Broken(Some(err))),
            },
        }
    }
}

impl Session {
    fn new(
        agent: Agent,
        host: &Host,
        calls: tokio::net::unix::OwnedWriteHalf,
        replies: tokio::net::unix::OwnedWriteHalf,
        patience: Patience,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let (calls, writer) = outgoing(calls);
        tasks.spawn_local(writer);
        let (replies, writer) = outgoing(replies);
        tasks.spawn_local(writer);
        let (mut entries, mut runners) = (Vec::new(), Vec::new());
        for check in agent.checks {
            let (settings, watched) = watch::channel(Arc::new(InForce::from(&check.defaults)));
            let Check { name, summary, defaults, .. } = check;
            entries.push(Entry { name, summary, defaults, settings });
            runners.push(Runner {
                check,
                host: host.clone(),
                settings: watched,
                outbox: calls.clone(),
                memory: Hysteresis::default(),
                is_unknown: false,
            });
        }
        Self {
            version: agent.version,
            agent: agent.name,
            entries,
            runners,
            calls,
            replies,
            unanswered: VecDeque::new(),
            announced: None,
            is_ready: false,
            heartbeat: beats(Duration::from_secs(1)),
            tasks,
            patience,
        }
    }

    /// What agentd owes next, until when, and how long it had for it.
    fn awaited(&self, start: Instant) -> (&'static str, Option<Instant>, Duration) {
        let Patience { settings, reply } = self.patience;
        if self.announced.is_none() {
            ("settings", Some(start + settings), settings)
        } else {
            ("a reply to Ready", self.unanswered.front().copied(), reply)
        }
    }

    /// agentd called.
    fn called(&mut self, message: &[u8]) -> Result<(), SessionError> {
        let call: Call = serde_json::from_slice(message).map_err(SessionError::NotACall)?;
        let answer = match call.method.rsplit_once('.') {
            Some((AGENT, "Reload")) => match settings_of(call.parameters) {
                Ok(settings) => {
                    let problems = self.apply(&settings);
                    reply(&ReloadReply { problems })
                }
                Err(err) => {
                    tracing::warn!(err = %err, "settings could not be read");
                    let error = "org.varlink.service.InvalidParameter";
                    refusal(error, "parameter", &err.to_string())
                }
            },
            Some((AGENT, _)) => {
                refusal("org.varlink.service.MethodNotFound", "method", &call.method)
            }
            Some((interface, _)) => {
                refusal("org.varlink.service.InterfaceNotFound", "interface", interface)
            }
            None => refusal("org.varlink.service.InterfaceNotFound", "interface", &call.method),
        };
        if !call.oneway {
            post(&self.replies, answer)?;
        }
        self.announce()
    }

    /// Puts settings in force and says what in them was of no use.
    fn apply(&mut self, settings: &Settings) -> Vec<String> {
        let mut problems = Vec::new();
        if settings.name != self.agent {
            problems.push(format!(
                "these settings are for {:?}, and this agent is {:?}",
                settings.name, self.agent
            ));
        }
        let known: Vec<_> = self.entries.iter().map(|entry| entry.name).collect();
        settings::unknown_names(settings.checks.keys(), &known, &mut problems);
        for entry in &self.entries {
            let given = settings.checks.get(entry.name).cloned().unwrap_or_default();
            let set = settings::in_force(entry.name, &entry.defaults, &given, &mut problems);
            entry.settings.send_if_modified(|now| {
                let is_new = **now != set;
                if is_new {
                    *now = Arc::new(set);
                }
                is_new
            });
        }
        let every = settings::heartbeat(settings.heartbeat_ms, &mut problems);
        if every != self.heartbeat.period() {
            self.heartbeat = beats(every);
        }
        for problem in &problems {
            tracing::warn!(problem, "settings have a problem");
        }
        problems
    }

    /// Says `Ready`, unless agentd knows all that it would say.
    fn announce(&mut self) -> Result<(), SessionError> {
        let checks = self.checks();
        if self.announced.as_ref() == Some(&checks) {
            return Ok(());
        }
        let ready = Ready { version: self.version.to_owned(), checks: checks.clone() };
        self.announced = Some(checks);
        self.unanswered.push_back(Instant::now() + self.patience.reply);
        post(&self.calls, call("Ready", &ready, false))
    }

    /// The checks that run.
    fn checks(&self) -> Vec<CheckInfo> {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        self.entries
            .iter()
            .filter_map(|entry| {
                let set = entry.settings.borrow();
                set.enabled.then(|| CheckInfo {
                    name: entry.name.to_owned(),
                    summary: entry.summary.to_owned(),
                    every_ms: millis(set.every),
                    timeout_ms: millis(set.timeout),
                })
            })
            .collect()
    }

    /// agentd answered.
    fn answered(&mut self, message: &[u8]) -> Result<(), SessionError> {
        let reply: Reply = serde_json::from_slice(message).map_err(SessionError::NotAReply)?;
        self.unanswered.pop_front().ok_or(SessionError::Unasked)?;
        if let Some(error) = reply.error {
            return Err(SessionError::Refused { error });
        }
        if !self.is_ready {
            self.is_ready = true;
            self.heartbeat.reset_immediately();
            tracing::info!(version = self.version, checks = self.runners.len(), "agent is ready");
            self.start_checks();
        }
        Ok(())
    }

    /// Starts every check, those first that are quick to end: a time limit is what its author
    /// thinks a check may cost.
    fn start_checks(&mut self) {
        let mut runners = std::mem::take(&mut self.runners);
        runners.sort_by_key(|runner| runner.check.defaults.timeout);
        let mut first = Duration::ZERO;
        for runner in runners {
            self.tasks.spawn_local(async move {
                runner.run(first).await;
                Ok(())
            });
            first += SPREAD;
        }
    }

    /// Sends a heartbeat. When the queue is full, agentd has enough to read already.
    fn beat(&self) -> Result<(), SessionError> {
        match self.calls.try_send(call("Heartbeat", &Map::new(), true)) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(ChannelError::Closed.into()),
        }
    }
}

fn settings_of(parameters: Map<String, Value>) -> Result<Settings, serde_json::Error> {
    serde_json::from_value(Value::Object(parameters))
}

/// Ticks every `every`. After a hold-up the next tick is late, and none is made up for.
fn beats(every: Duration) -> tokio::time::Interval {
    let mut beats = interval(every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

fn post(to: &Outbox, message: Vec<u8>) -> Result<(), SessionError> {
    to.try_send(message).map_err(|err| match err {
        TrySendError::Full(_) => SessionError::NotReading,
        TrySendError::Closed(_) => ChannelError::Closed.into(),
    })
}

#[cfg(test)]
mod tests;
