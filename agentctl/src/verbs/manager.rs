//! `reload`, `doctor` and `version`: agentd itself.

use agentd_protocol::control::{
    AGENTS, AgentList, AgentView, MANAGER, ReloadArg, ReloadReport, Status, Version,
};
use serde::Serialize;
use serde_json::json;

use super::{Outcome, Session};
use crate::args::{self, Json};
use crate::failure::Failure;
use crate::render::{self, agents::is_well};

/// `agentctl reload`.
pub(super) fn reload(session: &mut Session<'_>, args: &args::Reload) -> Result<Outcome, Failure> {
    let arg = ReloadArg { dry_run: args.dry_run };
    let report: ReloadReport = session.connect(args.json)?.call(MANAGER, "Reload", &arg)?;
    if args.json.json {
        session.json(&report)?;
    } else {
        render::status::reload(&session.screen, &report, session.out)?;
    }
    Ok(Outcome::Done)
}

/// What `doctor --json` prints.
#[derive(Debug, Serialize)]
struct Diagnosis<'a> {
    status: &'a Status,
    /// Agents that are not well and of which no problem speaks already.
    agents: &'a [&'a AgentView],
}

/// `agentctl doctor`.
pub(super) fn doctor(session: &mut Session<'_>, json: Json) -> Result<Outcome, Failure> {
    let mut client = session.connect(json)?;
    let status: Status = client.call(MANAGER, "Status", &json!({}))?;
    let list: AgentList = client.call(AGENTS, "List", &json!({}))?;
    let is_said = |agent: &AgentView| {
        status.problems.iter().any(|it| it.area == "agent" && it.subject == agent.name)
    };
    let unwell: Vec<&AgentView> =
        list.agents.iter().filter(|agent| !is_well(agent) && !is_said(agent)).collect();
    if json.json {
        session.json(&Diagnosis { status: &status, agents: &unwell })?;
    } else {
        render::status::doctor(&session.screen, &status, &unwell, session.out)?;
    }
    let is_all_well = status.problems.is_empty() && unwell.is_empty();
    Ok(if is_all_well { Outcome::Done } else { Outcome::No })
}

/// What `version --json` prints.
#[derive(Debug, Serialize)]
struct Versions {
    agentctl: &'static str,
    /// Null if agentd did not answer.
    agentd: Option<Version>,
}

/// `agentctl version`.
pub(super) fn version(session: &mut Session<'_>, json: Json) -> Result<Outcome, Failure> {
    let agentctl = env!("CARGO_PKG_VERSION");
    let answer: Result<Version, _> =
        session.connect(json).and_then(|mut client| client.call(MANAGER, "Version", &json!({})));
    if json.json {
        session.json(&Versions { agentctl, agentd: answer.as_ref().ok().cloned() })?;
    } else {
        writeln!(session.out, "agentctl {agentctl}")?;
        if let Ok(Version { version, pid }) = &answer {
            writeln!(session.out, "agentd   {version}, process {pid}")?;
        }
    }
    answer.map(|_| Outcome::Done).map_err(Failure::from)
}
