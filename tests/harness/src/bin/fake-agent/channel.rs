//! The agent's end of its channel, with nothing between it and the wire.
#![allow(unsafe_code, reason = "a descriptor that was inherited has no safe form")]

use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use agentd_model::Finding;
use agentd_protocol::channel::{
    CheckInfo, Outcome, Ready, ReloadReply, Report, SUPERVISOR, Sample, Settings, TO_AGENT,
    TO_AGENTD, Value as Reading,
};
use agentd_protocol::{Call, Frames, Reply, message};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::say;

/// Both sockets.
#[derive(Debug)]
pub(crate) struct Channel {
    to_agentd: Option<Socket>,
    to_agent: Option<Socket>,
    /// How often agentd wants to hear from this agent.
    pub(crate) heartbeat: Duration,
}

/// What is answered to new settings.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Taken,
    Problem(String),
    Error(String),
}

/// agentd has closed its side.
#[derive(Debug)]
pub(crate) struct Gone;

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: UnixStream,
    frames: Frames,
}

impl Channel {
    /// The sockets that the launcher left open.
    pub(crate) fn inherited() -> Self {
        Self {
            to_agentd: Some(Socket::inherited(TO_AGENTD)),
            to_agent: Some(Socket::inherited(TO_AGENT)),
            heartbeat: Duration::from_secs(1),
        }
    }

    /// No sockets at all.
    pub(crate) fn closed() -> Self {
        Self { to_agentd: None, to_agent: None, heartbeat: Duration::from_secs(1) }
    }

    fn calls(&mut self) -> &mut Socket {
        self.to_agentd.as_mut().expect("the channel is open")
    }

    /// Where agentd calls, while it is open.
    pub(crate) fn served(&mut self) -> Option<&mut Socket> {
        self.to_agent.as_mut()
    }

    /// Waits for settings, notes them in the log and answers.
    pub(crate) fn answer_settings(&mut self, answer: &Answer) {
        let served = self.served().expect("the channel is open");
        let frame = loop {
            match served.next() {
                Ok(Some(frame)) => break frame,
                Ok(None) => {}
                Err(Gone) => panic!("agentd closed the channel instead of sending settings"),
            }
        };
        self.settle(&frame, answer);
    }

    /// Answers the call in `frame`, which must be new settings.
    pub(crate) fn settle(&mut self, frame: &[u8], answer: &Answer) {
        let call: Call = serde_json::from_slice(frame).expect("agentd sends calls");
        assert_eq!(call.method, "org.agentos.Agent.Reload");
        let text = Value::Object(call.parameters.clone()).to_string();
        let settings: Settings =
            serde_json::from_value(Value::Object(call.parameters)).expect("settings");
        self.heartbeat = Duration::from_millis(settings.heartbeat_ms);
        say(&format!("settings {text}"));
        let reply = match answer {
            Answer::Taken => reply_of(&ReloadReply::default()),
            Answer::Problem(text) => reply_of(&ReloadReply { problems: vec![text.clone()] }),
            Answer::Error(name) => Reply { error: Some(name.clone()), ..Reply::default() },
        };
        self.send_answer(&message::encode(&reply).expect("a reply is JSON"));
    }

    /// Says that it is ready and waits until agentd has heard that.
    pub(crate) fn ready(&mut self, checks: &[String]) {
        let checks = checks.iter().map(|name| CheckInfo {
            name: name.clone(),
            summary: format!("looks at {name}"),
            every_ms: 1000,
            timeout_ms: 500,
        });
        let ready = Ready { version: "1.2.3".into(), checks: checks.collect() };
        self.send(&call_of("Ready", &ready, false));
        // Nothing when agentd is gone, or has broken off the channel; then SIGKILL is on its way.
        drop(self.calls().next());
    }

    /// A sign of life, while the channel is open.
    pub(crate) fn beat(&mut self) {
        if self.to_agentd.is_some() {
            self.send(&call_of("Heartbeat", &Map::new(), true));
        }
    }

    pub(crate) fn report(&mut self, check: &str, findings: Vec<Finding>) {
        let outcome = Outcome::Measured;
        let check = check.to_owned();
        let report = Report { check, outcome, reason: None, findings, took_ms: 1 };
        self.send(&call_of("Report", &report, true));
    }

    pub(crate) fn unknown(&mut self, check: &str, reason: &str) {
        let report = Report {
            check: check.to_owned(),
            outcome: Outcome::Unknown,
            reason: Some(reason.to_owned()),
            findings: vec![],
            took_ms: 1,
        };
        self.send(&call_of("Report", &report, true));
    }

    pub(crate) fn sample(&mut self, name: &str, value: f64) {
        let value = Reading { name: name.to_owned(), value, unit: "1".into() };
        self.send(&call_of("Sample", &Sample { values: vec![value] }, true));
    }

    pub(crate) fn call(&mut self, method: &str, parameters: Map<String, Value>) {
        let method = method.to_owned();
        let call = Call { method, parameters, oneway: true, more: false, upgrade: false };
        self.send(&message::encode(&call).expect("a call is JSON"));
    }

    /// Sends bytes where agentd is called. That agentd is gone is seen by whoever reads.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        write(&mut self.calls().stream, bytes);
    }

    /// Sends bytes where agentd is answered.
    pub(crate) fn send_answer(&mut self, bytes: &[u8]) {
        write(&mut self.served().expect("the channel is open").stream, bytes);
    }
}

impl Socket {
    fn inherited(number: i32) -> Self {
        let path = format!("/proc/self/fd/{number}");
        assert!(Path::new(&path).exists(), "no channel: the spec says `kit = false`");
        // SAFETY: the descriptor must be open and nobody else's. It is open: the line above has
        // seen it; this program has one thread, so nobody closed it since. agentd-launch hands it
        // over (`agentd_protocol::channel`), nothing else here touches this number before, and
        // `Fake::channel` calls this once.
        let owned = unsafe { OwnedFd::from_raw_fd(number) };
        Self { stream: owned.into(), frames: Frames::new(Frames::CHANNEL_LIMIT) }
    }

    /// A whole message that was read already.
    pub(crate) fn buffered(&mut self) -> Option<Vec<u8>> {
        self.frames.next_frame()
    }

    /// Reads once, and gives a message if there is a whole one then.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Gone> {
        if let Some(frame) = self.buffered() {
            return Ok(Some(frame));
        }
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Gone),
            Ok(read) => {
                self.frames.push(&buffer[..read]).expect("agentd keeps to the limit");
                Ok(self.frames.next_frame())
            }
            Err(err) if err.kind() == io::ErrorKind::ConnectionReset => Err(Gone),
            Err(err) => panic!("the channel cannot be read: {err}"),
        }
    }
}

/// A call of agentd, as bytes.
pub(crate) fn call_of(method: &str, parameters: &impl Serialize, oneway: bool) -> Vec<u8> {
    let parameters = message::parameters(method, parameters).expect("parameters are an object");
    let method = format!("{SUPERVISOR}.{method}");
    let call = Call { method, parameters, oneway, more: false, upgrade: false };
    message::encode(&call).expect("a call is JSON")
}

fn reply_of(parameters: &impl Serialize) -> Reply {
    let parameters = message::parameters("reply", parameters).expect("a reply is an object");
    Reply { parameters, ..Reply::default() }
}

fn write(stream: &mut UnixStream, bytes: &[u8]) {
    match stream.write_all(bytes) {
        Ok(()) => {}
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => say("agentd reads no more"),
        Err(err) => panic!("the channel cannot be written: {err}"),
    }
}
