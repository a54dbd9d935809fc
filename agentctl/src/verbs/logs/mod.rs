//! `logs`: the journal's on an appliance, a file below a scratch directory.
//!
//! On an appliance this works without agentd too, as that is when its log is wanted most.

mod file;
mod journal;

use std::path::PathBuf;
use std::time::Duration;

use agentd_model::{AgentName, Paths};
use agentd_protocol::control::{AGENTS, AgentArg, AgentReply, MANAGER, Status};
use serde_json::json;

use super::{Outcome, Session, hint};
use crate::args;
use crate::client::{Client, Endpoint};
use crate::failure::Failure;

/// How many lines are shown when nobody says how many.
const DEFAULT: u32 = 100;

/// What `Status.logs` says where the log is the journal's.
const JOURNAL: &str = "journal";

/// Longest wait for an agentd that may be the very reason why its log is wanted.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which part of which log.
struct Wanted {
    /// Whose: `agentd` or the name of an agent.
    name: String,
    is_agent: bool,
    is_followed: bool,
    lines: Option<u32>,
    since: Option<jiff::Timestamp>,
    is_json: bool,
}

impl Wanted {
    /// The journal's name for whose log it is.
    fn identifier(&self) -> String {
        if self.is_agent { format!("agent-{}", self.name) } else { self.name.clone() }
    }
}

/// `agentctl logs`.
pub(super) fn run(session: &mut Session<'_>, args: &args::Logs) -> Result<Outcome, Failure> {
    let since = args.since.as_ref().map(|since| since.at(&session.screen.now)).transpose()?;
    let default = since.is_none().then_some(DEFAULT);
    let wanted = Wanted {
        name: args.name.as_ref().map_or("agentd", AgentName::as_str).to_owned(),
        is_agent: args.name.is_some(),
        is_followed: args.follow,
        lines: args.lines.or(default),
        since,
        is_json: args.json,
    };
    match folder(session, &wanted)? {
        None => journal::show(&wanted),
        Some(_) if !wanted.is_agent => Err(Failure::NoOwnLog),
        Some(folder) => {
            file::show(session, &folder.join(format!("{}.log", wanted.name)), &wanted)?;
            Ok(Outcome::Done)
        }
    }
}

/// Where the log files are; none where the log is the journal's. agentd knows; where it does not
/// answer, the root directory decides.
fn folder(session: &Session<'_>, wanted: &Wanted) -> Result<Option<PathBuf>, Failure> {
    let timeout = session.endpoint.timeout.min(PATIENCE);
    let endpoint = Endpoint { timeout, ..session.endpoint.clone() };
    let asked = Client::connect(&endpoint).and_then(|mut client| {
        let status: Status = client.call(MANAGER, "Status", &json!({}))?;
        Ok((client, status))
    });
    match (asked, session.endpoint.root.as_ref().map(Paths::under)) {
        (Ok((mut client, status)), _) => {
            if wanted.is_agent {
                let arg = AgentArg { name: wanted.name.clone() };
                let known: Result<AgentReply, _> = client.call(AGENTS, "Get", &arg);
                known.map_err(|err| hint::agent(&mut client, &wanted.name, err))?;
            }
            Ok((status.logs != JOURNAL).then(|| PathBuf::from(status.logs)))
        }
        (Err(_), Some(paths)) => Ok((!paths.is_system()).then(|| paths.logs())),
        (Err(err), None) => Err(err.into()),
    }
}
