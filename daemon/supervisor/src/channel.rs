//! agentd's end of the channel to one agent: a task per process that turns bytes into [`Said`].
//!
//! Every byte is hostile. What is not a well-formed, allowed, sensible message ends the channel
//! with a reason; what comes too fast is read slowly, so that the agent blocks itself; nothing is
//! held beyond one frame in each direction.

mod check;
mod pace;
#[cfg(test)]
mod tests;

use std::time::Duration;

use agentd_model::Chain;
use agentd_protocol::channel::{
    AGENT, CheckInfo, Ready, ReloadReply, Report, SUPERVISOR, Settings, Value,
};
use agentd_protocol::{Call, Frames, Reply, message};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

use crate::clock;
use crate::news::Teller;
use crate::wire::{FrameReader, ReadError, write_within};
use check::Refusal;
use pace::Pace;

/// An agent that does not take what it is sent within this time has hung.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// A process that ends closes its channel first. One that lives on for this long has broken it.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Bytes read at once; most messages of an agent are smaller.
const CHUNK: usize = 8 * 1024;

/// What an agent said, checked.
#[derive(Debug)]
pub enum Said {
    /// It does its work now.
    Ready {
        /// Its version.
        version: String,
        /// Its checks.
        checks: Vec<CheckInfo>,
    },
    /// It lives.
    Heartbeat,
    /// A check ran.
    Report(Report),
    /// Readings.
    Sample(Vec<Value>),
    /// It answered to its settings.
    Settled(ReloadReply),
    /// It sends faster than it may; it is read more slowly now.
    Slowed,
    /// It broke a rule; nothing more will be read.
    Broke(String),
    /// It closed its side.
    Closed,
}

/// The two sockets at agentd's side.
#[derive(Debug)]
pub struct Ends {
    /// The agent calls here.
    pub from_agent: UnixStream,
    /// The agent is called here.
    pub to_agent: UnixStream,
}

/// A handle on the task; dropping it ends the channel.
#[derive(Debug)]
pub struct Channel {
    settings: mpsc::Sender<Settings>,
    task: tokio::task::JoinHandle<()>,
}

impl Channel {
    /// Starts the conversation: `settings` first. What the agent says goes to `teller`, which may
    /// make the channel wait.
    pub fn open(ends: Ends, settings: Settings, teller: Teller) -> Self {
        let (orders, inbox) = mpsc::channel(4);
        let task = tokio::spawn(Conversation::new(ends, inbox, teller).run(settings));
        Self { settings: orders, task }
    }

    /// Sends new settings. `false`: the agent has not taken the last ones yet.
    pub fn reload(&self, settings: Settings) -> bool {
        self.settings.try_send(settings).is_ok()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Conversation {
    from_agent: FrameReader<tokio::net::unix::OwnedReadHalf>,
    answers: OwnedWriteHalf,
    replies: FrameReader<tokio::net::unix::OwnedReadHalf>,
    calls: OwnedWriteHalf,
    orders: mpsc::Receiver<Settings>,
    teller: Teller,
    pace: Pace,
    /// Calls on fd 4 that were not answered yet.
    unanswered: u32,
}

impl Conversation {
    fn new(ends: Ends, orders: mpsc::Receiver<Settings>, teller: Teller) -> Self {
        let (from_agent, answers) = ends.from_agent.into_split();
        let (replies, calls) = ends.to_agent.into_split();
        Self {
            from_agent: FrameReader::new(from_agent, Frames::CHANNEL_LIMIT, CHUNK),
            answers,
            replies: FrameReader::new(replies, Frames::CHANNEL_LIMIT, CHUNK),
            calls,
            orders,
            teller,
            pace: Pace::new(clock::mono()),
            unanswered: 0,
        }
    }

    async fn run(mut self, settings: Settings) {
        let said = match self.converse(settings).await {
            End::Closed => {
                // Dropped meanwhile if the process ends.
                tokio::time::sleep(CLOSE_GRACE).await;
                Said::Closed
            }
            End::Broke(reason) => Said::Broke(reason),
        };
        self.teller.said(said).await;
    }

    async fn converse(&mut self, settings: Settings) -> End {
        let mut turn = self.send_settings(settings).await;
        loop {
            if let Err(end) = turn {
                return end;
            }
            turn = tokio::select! {
                frame = self.from_agent.next() => match frame {
                    Ok(Some(frame)) => self.called(&frame).await,
                    Ok(None) => Err(End::Closed),
                    Err(err) => Err(End::from(err)),
                },
                frame = self.replies.next() => match frame {
                    Ok(Some(frame)) => self.answered(&frame).await,
                    Ok(None) => Err(End::Closed),
                    Err(err) => Err(End::from(err)),
                },
                Some(settings) = self.orders.recv() => self.send_settings(settings).await,
            };
        }
    }

    async fn send_settings(&mut self, settings: Settings) -> Result<(), End> {
        let method = format!("{AGENT}.Reload");
        let parameters =
            message::parameters(&method, &settings).map_err(|err| End::broke(Chain(&err)))?;
        let call = Call { method, parameters, oneway: false, more: false, upgrade: false };
        let bytes = message::encode(&call).map_err(|err| End::broke(Chain(&err)))?;
        self.unanswered += 1;
        write_within(&mut self.calls, &bytes, WRITE_LIMIT)
            .await
            .map_err(|err| End::unwritten("its settings", &err))
    }

    /// A reply on fd 4: the only call made there is `Reload`.
    async fn answered(&mut self, frame: &[u8]) -> Result<(), End> {
        if self.unanswered == 0 {
            return Err(End::broke("answered although nothing was asked"));
        }
        self.unanswered -= 1;
        let reply: Reply = parse("reply", frame)?;
        if let Some(error) = reply.error {
            let error = check::clean(&error, 128);
            return Err(End::broke(format_args!("refused its settings: {error}")));
        }
        let settled: ReloadReply =
            check::decode("reply to Reload", reply.parameters).map_err(End::broke)?;
        let settled = check::settled(settled);
        self.teller.said(Said::Settled(settled)).await;
        Ok(())
    }

    async fn called(&mut self, frame: &[u8]) -> Result<(), End> {
        let call: Call = parse("call", frame)?;
        let said = understand(call.method.as_str(), call.parameters).map_err(End::broke)?;
        let cost = check::cost(&said);
        if let Some(wait) = self.pace.spend(cost, frame.len(), clock::mono()) {
            if wait.is_new {
                self.teller.said(Said::Slowed).await;
            }
            tokio::time::sleep(wait.pause).await;
        }
        self.teller.said(said).await;
        if call.oneway {
            return Ok(());
        }
        let bytes = message::encode(&Reply::default()).map_err(|err| End::broke(Chain(&err)))?;
        write_within(&mut self.answers, &bytes, WRITE_LIMIT)
            .await
            .map_err(|err| End::unwritten("answers", &err))
    }
}

/// Why a channel is read no more.
enum End {
    /// The other side closed it, or is gone.
    Closed,
    /// The agent broke a rule.
    Broke(String),
}

impl End {
    fn broke(how: impl std::fmt::Display) -> Self {
        Self::Broke(how.to_string())
    }

    fn unwritten(what: &str, err: &std::io::Error) -> Self {
        match err.kind() {
            std::io::ErrorKind::TimedOut => Self::Broke(format!("does not take {what}: {err}")),
            _ => Self::Closed,
        }
    }
}

impl From<ReadError> for End {
    fn from(err: ReadError) -> Self {
        match &err {
            // A process that was killed while it wrote is gone, not to blame.
            ReadError::Io(_) | ReadError::Cut => Self::Closed,
            ReadError::Frame(_) => Self::broke(Chain(&err)),
        }
    }
}

fn understand(
    full: &str,
    parameters: serde_json::Map<String, serde_json::Value>,
) -> Result<Said, Refusal> {
    let method = full
        .strip_prefix(SUPERVISOR)
        .and_then(|rest| rest.strip_prefix('.'))
        .ok_or_else(|| Refusal::method(full))?;
    match method {
        "Ready" => check::ready(check::decode::<Ready>(method, parameters)?),
        "Heartbeat" => Ok(Said::Heartbeat),
        "Report" => check::report(check::decode(method, parameters)?),
        "Sample" => check::sample(check::decode(method, parameters)?),
        _ => Err(Refusal::method(full)),
    }
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, frame: &[u8]) -> Result<T, End> {
    serde_json::from_slice(frame).map_err(|err| {
        let why = check::clean(&err.to_string(), 200);
        End::broke(format_args!("sent a malformed {what}: {why}"))
    })
}
