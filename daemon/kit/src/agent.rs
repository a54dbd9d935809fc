//! An agent as a value, and the program that it makes.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use agentd_model::AgentName;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::check::{Check, CheckError};
use crate::host::Host;
use crate::inherited::{self, Channel};
use crate::log::Log;
use crate::session::{Patience, SessionError, serve};

/// What runs once on a clean end.
pub(crate) type AtStop = Box<dyn FnOnce(&Host)>;

/// An agent: a name, a version and its checks.
pub struct Agent {
    pub(crate) name: Cow<'static, str>,
    pub(crate) version: &'static str,
    pub(crate) checks: Vec<Check>,
    pub(crate) at_stop: Option<AtStop>,
}

impl Agent {
    /// An agent without checks. `name` is that of its file, its journal identifier and its user.
    pub fn new(name: &'static str, version: &'static str) -> Self {
        Self { name: name.into(), version, checks: Vec::new(), at_stop: None }
    }

    /// Adds a check.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Does `last` once, when SIGTERM asked for the end. It must be quick: the process is killed
    /// when its grace time is over.
    #[must_use]
    pub fn at_stop(mut self, last: impl FnOnce(&Host) + 'static) -> Self {
        self.at_stop = Some(Box::new(last));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its checks.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("checks", &self.checks)
            .finish_non_exhaustive()
    }
}

/// What a run of an agent came to, as an exit status.
const STOPPED: u8 = 0;
const BROKEN: u8 = 1;
const NOT_STARTED: u8 = 2;

/// Where the launcher says which agent this is.
const NAME_VARIABLE: &str = "AGENTOS_AGENT";

/// Threads for checks that may hang, besides one for each check that blocks.
const SPARE_THREADS: usize = 2;

/// Stack of such a thread. Checks parse text and walk folders; 2 MiB would only be address space,
/// but a cell may limit that.
const THREAD_STACK: usize = 512 * 1024;

/// Runs an agent until it is told to end. The exit status is 0 after SIGTERM, 1 when agentd went
/// away or broke the protocol, 2 when agentd did not start it at all.
pub fn run(mut agent: Agent) -> ExitCode {
    if let Some(name) = name_in_its_file() {
        agent.name = name.into();
    }
    let name = agent.name.clone();
    let channel = match inherited::channel() {
        Ok(channel) => channel,
        Err(err) => {
            let text = format!(
                "{name}: this is an agent and is started by agentd ({}); to see it: agentctl show {name}\n",
                CheckError::from(err)
            );
            // If standard error is closed, there is nobody left to tell.
            std::io::stderr().write_all(text.as_bytes()).ok();
            return ExitCode::from(NOT_STARTED);
        }
    };
    if tracing::subscriber::set_global_default(Log::new(name.into_owned())).is_err() {
        // Only a second `run` in one process comes here; the first one's log serves it.
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "code of the agent panicked");
    }));
    match live(agent, channel) {
        Ok(()) => {
            tracing::info!("agent was told to end");
            ExitCode::from(STOPPED)
        }
        Err(err) => {
            tracing::error!(err = %CheckError::from(err), "agent ended");
            ExitCode::from(BROKEN)
        }
    }
}

/// The name that agentd knows this process by. One program can serve two agents.
fn name_in_its_file() -> Option<String> {
    let name: AgentName = std::env::var(NAME_VARIABLE).ok()?.parse().ok()?;
    Some(name.into())
}

/// Why an agent ended other than by SIGTERM.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot take over the channel")]
    Channel(#[source] io::Error),
    #[error("cannot catch SIGTERM")]
    Signal(#[source] io::Error),
    #[error(transparent)]
    Session(#[from] SessionError),
}

fn live(mut agent: Agent, channel: Channel) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(agent.checks.len() + SPARE_THREADS)
        .thread_stack_size(THREAD_STACK)
        .build()
        .map_err(RunError::Runtime)?;
    let host = Host::system();
    let at_stop = agent.at_stop.take();
    let end = LocalSet::new().block_on(&runtime, async {
        let socket = |socket: std::os::unix::net::UnixStream| {
            socket.set_nonblocking(true)?;
            UnixStream::from_std(socket)
        };
        let to_agentd = socket(channel.to_agentd).map_err(RunError::Channel)?;
        let from_agentd = socket(channel.from_agentd).map_err(RunError::Channel)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
        let stop = async {
            terminate.recv().await;
        };
        let patience = Patience::USUAL;
        serve(agent, host.clone(), to_agentd, from_agentd, patience, stop).await?;
        Ok(())
    });
    // A thread that hangs in the kernel must not hold up the end.
    runtime.shutdown_background();
    if let (Ok(()), Some(last)) = (&end, at_stop) {
        last(&host);
    }
    end
}
