//! A fake agentd: the other ends of both sockets, and an agent on a thread of its own.

use std::os::unix::net::UnixStream as StdStream;
use std::thread;
use std::time::Duration;

use agentd_protocol::channel::{Outcome, Ready, ReloadReply, Report, Sample, Settings};
use agentd_protocol::{Reply, message};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::super::{Incoming, Patience, SessionError, serve};
use crate::agent::Agent;
use crate::host::Host;

pub(super) const NO_METHOD: &str = "org.varlink.service.MethodNotFound";
pub(super) const NO_INTERFACE: &str = "org.varlink.service.InterfaceNotFound";

/// How long anything may take before a test gives up.
const LIMIT: Duration = Duration::from_secs(20);

/// What the agent called.
#[derive(Debug)]
pub(super) enum Call {
    Ready(Ready),
    Heartbeat,
    Report(Report),
    Sample(Sample),
}

pub(super) struct Agentd {
    calls: Incoming,
    answers: Option<OwnedWriteHalf>,
    asks: Option<OwnedWriteHalf>,
    replies: Incoming,
    stop: Option<oneshot::Sender<()>>,
    end: oneshot::Receiver<Result<(), SessionError>>,
}

/// Settings with a heartbeat of 50 ms.
pub(super) fn fast(checks: Value) -> Settings {
    let checks = serde_json::from_value(checks).unwrap();
    Settings { name: "test".to_owned(), heartbeat_ms: 50, checks }
}

/// Asks until it is so.
pub(super) fn wait_for(what: &str, mut probe: impl FnMut() -> bool) {
    let end = crate::clock::boot() + LIMIT;
    while !probe() {
        assert!(crate::clock::boot() < end, "waited {LIMIT:?} for {what}");
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(value) => value,
        Err(_) => panic!("waited {LIMIT:?} for {what}"),
    }
}

impl Agentd {
    pub(super) fn start(agent: impl FnOnce() -> Agent + Send + 'static) -> Self {
        Self::with_patience(Patience::USUAL, agent)
    }

    pub(super) fn with_patience(
        patience: Patience,
        agent: impl FnOnce() -> Agent + Send + 'static,
    ) -> Self {
        let (calls, to_agentd) = StdStream::pair().unwrap();
        let (asks, from_agentd) = StdStream::pair().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let result = LocalSet::new().block_on(&runtime, async {
                let stop = async {
                    // A test that ends early takes its agent with it.
                    stopped.await.ok();
                };
                let (to, from) = (socket(to_agentd), socket(from_agentd));
                serve(agent(), Host::system(), to, from, patience, stop).await
            });
            runtime.shutdown_background();
            ended.send(result).ok();
        });
        let (calls, answers) = socket(calls).into_split();
        let (replies, asks) = socket(asks).into_split();
        Self {
            calls: Incoming::new(calls),
            answers: Some(answers),
            asks: Some(asks),
            replies: Incoming::new(replies),
            stop: Some(stop),
            end,
        }
    }

    /// The whole handshake.
    pub(super) async fn ready(&mut self, settings: &Settings) {
        let reply = self.reload(settings).await;
        assert!(reply.problems.is_empty(), "{reply:?}");
        let first = self.next().await;
        assert!(matches!(first, Call::Ready(_)), "{first:?}");
        self.answer_ready().await;
    }

    pub(super) async fn reload(&mut self, settings: &Settings) -> ReloadReply {
        let call = json!({"method": "org.agentos.Agent.Reload", "parameters": settings});
        self.send_raw(&serde_json::to_vec(&call).unwrap()).await;
        let reply = self.reply().await;
        assert_eq!(reply.error, None);
        serde_json::from_value(Value::Object(reply.parameters)).unwrap()
    }

    /// Calls a method without parameters.
    pub(super) async fn call(&mut self, method: &str) -> Reply {
        self.send_raw(&serde_json::to_vec(&json!({"method": method})).unwrap()).await;
        self.reply().await
    }

    async fn reply(&mut self) -> Reply {
        let bytes = within("a reply", self.replies.next()).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    pub(super) async fn answer_ready(&mut self) {
        let bytes = message::encode(&Reply::default()).unwrap();
        self.answer_raw(&bytes[..bytes.len() - 1]).await;
    }

    /// Writes bytes and a NUL where agentd calls. An agent that is gone is not an error here.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) {
        let socket = self.asks.as_mut().unwrap();
        socket.write_all(bytes).await.ok();
        socket.write_all(&[0]).await.ok();
    }

    /// Writes bytes and a NUL where agentd answers.
    pub(super) async fn answer_raw(&mut self, bytes: &[u8]) {
        let socket = self.answers.as_mut().unwrap();
        socket.write_all(bytes).await.ok();
        socket.write_all(&[0]).await.ok();
    }

    pub(super) async fn next(&mut self) -> Call {
        decode(&within("a call", self.calls.next()).await.unwrap())
    }

    pub(super) async fn next_but_heartbeats(&mut self) -> Call {
        self.until("a call", |call| !matches!(call, Call::Heartbeat)).await
    }

    /// The next call, if one comes within `limit`.
    pub(super) async fn next_within(&mut self, limit: Duration) -> Option<Call> {
        let call = tokio::time::timeout(limit, self.calls.next()).await.ok()?;
        Some(decode(&call.unwrap()))
    }

    /// Reads until a call is as wanted.
    pub(super) async fn until(&mut self, what: &str, wanted: impl Fn(&Call) -> bool) -> Call {
        within(what, async {
            loop {
                let call = self.next().await;
                if wanted(&call) {
                    return call;
                }
            }
        })
        .await
    }

    /// Reads until there is such a report.
    pub(super) async fn report_of(&mut self, check: &str, outcome: Outcome) -> Report {
        let wanted = |call: &Call| {
            matches!(call, Call::Report(report)
                if report.check == check && report.outcome == outcome)
        };
        match self.until(&format!("{outcome:?} of {check}"), wanted).await {
            Call::Report(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Closes the socket where agentd calls.
    pub(super) fn hang_up_calls(&mut self) {
        self.asks = None;
    }

    /// Closes the socket where agentd answers.
    pub(super) fn hang_up_answers(&mut self) {
        self.answers = None;
    }

    /// Tells the agent to end and waits for that.
    pub(super) async fn stop(&mut self) -> Result<(), SessionError> {
        self.stop.take().unwrap().send(()).ok();
        self.ended().await
    }

    /// How the agent ended.
    pub(super) async fn ended(&mut self) -> Result<(), SessionError> {
        within("the agent's end", &mut self.end).await.unwrap()
    }
}

fn socket(socket: StdStream) -> UnixStream {
    socket.set_nonblocking(true).unwrap();
    UnixStream::from_std(socket).unwrap()
}

/// What was called, and whether it was called in the way the contract says.
fn decode(bytes: &[u8]) -> Call {
    let call: agentd_protocol::Call = serde_json::from_slice(bytes).unwrap();
    let method = call.method.strip_prefix("org.agentos.Supervisor.").unwrap();
    assert_eq!(call.oneway, method != "Ready", "{method}");
    match method {
        "Ready" => Call::Ready(typed(call.parameters)),
        "Heartbeat" => {
            assert!(call.parameters.is_empty());
            Call::Heartbeat
        }
        "Report" => Call::Report(typed(call.parameters)),
        "Sample" => Call::Sample(typed(call.parameters)),
        other => panic!("{other} is no method of agentd"),
    }
}

fn typed<T: DeserializeOwned>(parameters: Map<String, Value>) -> T {
    serde_json::from_value(Value::Object(parameters)).unwrap()
}
