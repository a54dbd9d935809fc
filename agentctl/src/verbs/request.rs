//! The verbs that change something: `start`, `stop`, `restart`, `enable`, `disable`.
//!
//! Each agent is asked for by itself. What fails for one is said and stops no other; the exit
//! status is that of the first failure.

use std::collections::BTreeMap;
use std::time::Duration;

use agentd_model::AgentName;
use agentd_protocol::Code;
use agentd_protocol::control::{
    AGENTS, AgentArg, AgentList, AgentView, Disposition, PhaseName, RequestReply,
};

use super::{Outcome, Session, hint, wait};
use crate::args;
use crate::client::Client;
use crate::client_error::ClientError;
use crate::failure::Failure;
use crate::render::agents::state;
use serde_json::json;

/// What is asked of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Start,
    Stop,
    Restart,
    Enable,
    Disable,
}

impl Request {
    fn method(self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::Stop => "Stop",
            Self::Restart => "Restart",
            Self::Enable => "Enable",
            Self::Disable => "Disable",
        }
    }

    /// What is said when it was taken, and when it was so already.
    fn words(self, disposition: Disposition) -> &'static str {
        match (self, disposition) {
            (Self::Start, Disposition::Accepted) => "starting",
            (Self::Start, Disposition::AlreadySo) => "already up",
            (Self::Stop, Disposition::Accepted) => "stopping",
            (Self::Stop, Disposition::AlreadySo) => "already down",
            (Self::Restart, Disposition::Accepted) => "restarting",
            (Self::Restart, Disposition::AlreadySo) => "already restarting",
            (Self::Enable, Disposition::Accepted) => "enabled",
            (Self::Enable, Disposition::AlreadySo) => "already enabled",
            (Self::Disable, Disposition::Accepted) => "disabled",
            (Self::Disable, Disposition::AlreadySo) => "already disabled",
        }
    }
}

/// `agentctl start`, `stop` and `restart`.
pub(super) fn run(
    session: &mut Session<'_>,
    request: Request,
    args: &args::Request,
) -> Result<Outcome, Failure> {
    let mut client = session.connect(args::Json { json: false })?;
    // A restart is over when another process runs, so the present one must be known before.
    let before = match (request, args.wait) {
        (Request::Restart, Some(_)) => processes(&mut client)?,
        _ => BTreeMap::new(),
    };
    let asked = ask_all(session, &mut client, &[request], &args.names)?;
    if let Some(limit) = args.wait {
        wait_for(session, request, &asked.taken, &before, limit)?;
    }
    asked.outcome()
}

/// `agentctl enable`.
pub(super) fn enable(
    session: &mut Session<'_>,
    names: &[AgentName],
    is_now: bool,
) -> Result<Outcome, Failure> {
    let requests = [Request::Enable, Request::Start];
    let mut client = session.connect(args::Json { json: false })?;
    ask_all(session, &mut client, &requests[..1 + usize::from(is_now)], names)?.outcome()
}

/// `agentctl disable`.
pub(super) fn disable(
    session: &mut Session<'_>,
    names: &[AgentName],
    is_now: bool,
) -> Result<Outcome, Failure> {
    let requests = [Request::Disable, Request::Stop];
    let mut client = session.connect(args::Json { json: false })?;
    ask_all(session, &mut client, &requests[..1 + usize::from(is_now)], names)?.outcome()
}

/// What became of the requests.
struct Asked {
    /// Of these agents all that was asked was taken.
    taken: Vec<String>,
    failed: Option<Code>,
}

impl Asked {
    fn outcome(self) -> Result<Outcome, Failure> {
        self.failed.map_or(Ok(Outcome::Done), |code| Err(Failure::Said(code)))
    }
}

/// Asks for one agent after the other. Only agentd's own no lets it go on: after anything else the
/// connection may be out of step.
fn ask_all(
    session: &mut Session<'_>,
    client: &mut Client,
    requests: &[Request],
    names: &[AgentName],
) -> Result<Asked, Failure> {
    let mut asked = Asked { taken: Vec::new(), failed: None };
    for name in names {
        match ask(session, client, requests, name) {
            Ok(()) => asked.taken.push(name.to_string()),
            Err(failure @ (Failure::Unknown { .. } | Failure::Client(ClientError::Answer(_)))) => {
                asked.failed.get_or_insert(failure.code());
                session.say(&failure.text());
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(asked)
}

fn ask(
    session: &mut Session<'_>,
    client: &mut Client,
    requests: &[Request],
    name: &AgentName,
) -> Result<(), Failure> {
    for request in requests {
        let reply: Result<RequestReply, _> =
            client.call(AGENTS, request.method(), &AgentArg { name: name.to_string() });
        let reply = reply.map_err(|err| hint::agent(client, name.as_str(), err))?;
        writeln!(session.out, "{name}: {}", request.words(reply.disposition))?;
        session.out.flush()?;
    }
    Ok(())
}

/// Which process an agent has: a pid alone may be used again.
type Process = (Option<i32>, Option<i64>);

fn process(agent: &AgentView) -> Process {
    (agent.pid, agent.started_ms)
}

fn processes(client: &mut Client) -> Result<BTreeMap<String, Process>, ClientError> {
    let list: AgentList = client.call(AGENTS, "List", &json!({}))?;
    Ok(list.agents.iter().map(|agent| (agent.name.clone(), process(agent))).collect())
}

/// Waits until what was asked is so for all of these.
fn wait_for(
    session: &mut Session<'_>,
    request: Request,
    names: &[String],
    before: &BTreeMap<String, Process>,
    limit: Duration,
) -> Result<(), Failure> {
    let what = match request {
        Request::Stop => "not every agent is down",
        Request::Start | Request::Restart | Request::Enable | Request::Disable => {
            "not every agent runs"
        }
    };
    let list = wait::until(&session.endpoint, limit, what, |list| {
        let mut missing = Vec::new();
        for name in names {
            let Some(agent) = list.agents.iter().find(|agent| agent.name == *name) else {
                missing.push(format!("{name}: agentd does not know it any more"));
                continue;
            };
            let is_so = match request {
                Request::Stop => {
                    matches!(agent.phase, PhaseName::Idle | PhaseName::Failed)
                }
                Request::Start | Request::Restart | Request::Enable | Request::Disable => {
                    if agent.phase == PhaseName::Failed {
                        return Err(Failure::GaveUp { agent: name.clone(), state: state(agent) });
                    }
                    let is_other = before.get(name) != Some(&process(agent));
                    agent.phase == PhaseName::Running && is_other
                }
            };
            if !is_so {
                missing.push(wait::line(agent));
            }
        }
        Ok(missing)
    })?;
    for agent in list.agents.iter().filter(|agent| names.contains(&agent.name)) {
        let pid = agent.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
        writeln!(session.out, "{}: {}{pid}", agent.name, agent.phase.as_str())?;
    }
    Ok(())
}
