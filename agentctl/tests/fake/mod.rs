//! An agentd made for the occasion, behind a real socket in a scratch directory, and agentctl run
//! against it.

#![allow(dead_code, reason = "shared: not every test uses every part")]

pub(crate) mod samples;

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use agentd_model::Paths;
use agentd_protocol::control::*;
use agentd_protocol::{Call, Code, Frames, Reply, message};
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

/// What answers a call. An error ends the connection.
pub(crate) trait Handler:
    Fn(&Call, &mut Wire) -> io::Result<()> + Send + Sync + 'static
{
}
impl<F: Fn(&Call, &mut Wire) -> io::Result<()> + Send + Sync + 'static> Handler for F {}

/// The answering end of a connection.
pub(crate) struct Wire(pub(crate) UnixStream);

impl Wire {
    /// The one answer.
    pub(crate) fn reply(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.send(value, false, None)
    }

    /// One answer of several.
    pub(crate) fn more(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.send(value, true, None)
    }

    /// One of our errors, of the interface that was called.
    pub(crate) fn error(&mut self, call: &Call, code: Code, text: &str) -> io::Result<()> {
        let (interface, _) = call.method.rsplit_once('.').unwrap();
        let detail = ErrorDetail { message: text.to_owned() };
        self.send(&detail, false, Some(code.varlink(interface)))
    }

    /// Whatever.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Any error.
    pub(crate) fn send(
        &mut self,
        value: &impl Serialize,
        continues: bool,
        error: Option<String>,
    ) -> io::Result<()> {
        let parameters = message::parameters("reply", value).unwrap();
        self.0.write_all(&message::encode(&Reply { parameters, continues, error }).unwrap())
    }

    /// Comes back when the other end is gone.
    pub(crate) fn wait_for_end(&mut self) -> io::Result<()> {
        while self.0.read(&mut [0; 64])? > 0 {}
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// The scratch directory, the socket in it, and every call that came.
pub(crate) struct Fake {
    pub(crate) dir: TempDir,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Fake {
    /// A directory where no agentd runs.
    pub(crate) fn absent() -> Self {
        Self { dir: TempDir::new().unwrap(), calls: Arc::default() }
    }

    /// An agentd that answers as the handler says.
    pub(crate) fn answering(handler: impl Handler) -> Self {
        let fake = Self::absent();
        fake.start(handler);
        fake
    }

    /// An agentd on a machine that is not quite well.
    pub(crate) fn of_samples() -> Self {
        Self::answering(by_samples)
    }

    /// Begins to answer.
    pub(crate) fn start(&self, handler: impl Handler) {
        let listener = self.bind();
        let (calls, handler) = (Arc::clone(&self.calls), Arc::new(handler));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (calls, handler) = (Arc::clone(&calls), Arc::clone(&handler));
                thread::spawn(move || serve(Wire(stream.unwrap()), &calls, &*handler));
            }
        });
    }

    /// The socket, with nobody who answers yet.
    pub(crate) fn bind(&self) -> UnixListener {
        std::fs::create_dir_all(self.socket().parent().unwrap()).unwrap();
        UnixListener::bind(self.socket()).unwrap()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        Paths::under(self.dir.path()).control_socket()
    }

    /// Names and parameters of the calls that came, without the interface's `org.agentos.`.
    pub(crate) fn calls(&self) -> Vec<(String, Value)> {
        let calls = self.calls.lock().unwrap();
        let short = |call: &Call| call.method.trim_start_matches("org.agentos.").to_owned();
        calls.iter().map(|call| (short(call), Value::Object(call.parameters.clone()))).collect()
    }

    /// agentctl against this agentd, in a fixed environment, ready to be spawned.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_agentctl")), args)
    }

    /// The same with a copy of agentctl.
    pub(crate) fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = fixed(program);
        command.arg("--root").arg(self.dir.path()).args(args);
        command
    }

    /// Runs agentctl to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().unwrap())
    }
}

fn serve(mut wire: Wire, calls: &Mutex<Vec<Call>>, handler: &impl Handler) {
    let mut frames = Frames::new(Frames::CONTROL_LIMIT);
    let mut buffer = [0; 4096];
    loop {
        let Ok(length) = wire.0.read(&mut buffer) else { return };
        if length == 0 {
            return;
        }
        frames.push(&buffer[..length]).unwrap();
        while let Some(frame) = frames.next_frame() {
            let call: Call = serde_json::from_slice(&frame).unwrap();
            calls.lock().unwrap().push(call.clone());
            if handler(&call, &mut wire).is_err() {
                return;
            }
        }
    }
}

/// Answers from the samples.
pub(crate) fn by_samples(call: &Call, wire: &mut Wire) -> io::Result<()> {
    let text = |name: &str| call.parameters.get(name).and_then(Value::as_str);
    let fits = |agent: &str| text("agent").is_none_or(|wanted| wanted == agent);
    let agent =
        samples::agents().agents.into_iter().find(|agent| Some(&*agent.name) == text("name"));
    let short = call.method.trim_start_matches("org.agentos.");
    match (short, agent) {
        ("Agents.List", _) => wire.reply(&samples::agents()),
        ("Agents.Get", Some(agent)) => wire.reply(&AgentReply { agent }),
        ("Agents.Explain", Some(_)) => wire.reply(&samples::explanation()),
        ("Agents.Start" | "Agents.Stop" | "Agents.Restart", Some(_)) => {
            wire.reply(&RequestReply { disposition: Disposition::Accepted })
        }
        ("Agents.Enable" | "Agents.Disable", Some(_)) => {
            wire.reply(&RequestReply { disposition: Disposition::AlreadySo })
        }
        (method, None) if method.starts_with("Agents.") => {
            let name = text("name").unwrap();
            wire.error(call, Code::NotFound, &format!("no agent is called {name}"))
        }
        ("Events.List", _) => {
            let mut events = samples::events();
            events.retain(|event| fits(event.agent.as_deref().unwrap_or_default()));
            wire.reply(&EventList { events })
        }
        ("Findings.List", _) => {
            let mut findings = samples::findings();
            let is_all = call.parameters.get("all") == Some(&Value::Bool(true));
            findings.retain(|it| fits(&it.agent) && (is_all || it.resolved_ms.is_none()));
            wire.reply(&FindingList { seq: 26, findings })
        }
        ("Metrics.List", _) => wire.reply(&samples::metrics()),
        ("Metrics.Read", _) if text("name") == Some("cpu.busy") => wire.reply(&samples::series(3)),
        ("Metrics.Read", _) => wire.error(call, Code::NotFound, "no such readings are kept"),
        ("Manager.Status", _) => wire.reply(&samples::status()),
        ("Manager.Version", _) => wire.reply(&Version { version: "0.1.0".to_owned(), pid: 212 }),
        ("Manager.Reload", _) => wire.reply(&samples::reload()),
        (other, _) => panic!("the samples have no answer to {other}"),
    }
}

/// agentctl in a fixed environment, against whatever agentd it finds.
pub(crate) fn agentctl(args: &[&str]) -> Command {
    let mut command = fixed(Path::new(env!("CARGO_BIN_EXE_agentctl")));
    command.args(args);
    command
}

#[expect(clippy::disallowed_methods, reason = "the one place where these tests start a program")]
fn fixed(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("TZ", "UTC").env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// How a run of agentctl ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Its result, if it did well and had nothing else to say.
    pub(crate) fn result(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// Its message, if it failed with that status and without a result.
    pub(crate) fn failure(self, status: u8) -> String {
        assert_eq!((self.status, self.out.as_str()), (i32::from(status), ""), "{}", self.err);
        assert!(self.err.starts_with("agentctl: "), "{}", self.err);
        self.err
    }
}

/// Without the name of the scratch directory, which is another each time.
pub(crate) fn without(dir: &Path, text: &str) -> String {
    text.replace(dir.to_str().unwrap(), "ROOT")
}
