//! `list`, `show` and `explain`.

use agentd_protocol::control::{
    AGENTS, AgentArg, AgentList, AgentReply, AgentView, EVENTS, EventList, EventQuery, EventView,
    Explanation, FINDINGS, FindingList, FindingQuery, FindingView, Health, PhaseName,
};
use serde::Serialize;
use serde_json::json;

use super::{Outcome, Session, hint, wait};
use crate::args;
use crate::failure::Failure;
use crate::render;

/// How many events `show` shows.
const LAST_EVENTS: u32 = 8;

/// `agentctl list`.
pub(super) fn list(session: &mut Session<'_>, args: &args::List) -> Result<Outcome, Failure> {
    let list: AgentList = match args.wait {
        None => session.connect(args.json)?.call(AGENTS, "List", &json!({}))?,
        Some(limit) => {
            let what = "not every enabled agent runs";
            wait::until(session.endpoint_for(args.json), limit, what, |list| Ok(not_ready(list)))?
        }
    };
    if args.json.json {
        session.json(&list)?;
    } else if list.agents.is_empty() {
        session.say("there are no agents");
    } else {
        render::agents::list(&session.screen, &list, session.out)?;
    }
    Ok(Outcome::Done)
}

/// Which enabled agents do not run yet, or have not been measured.
fn not_ready(list: &AgentList) -> Vec<String> {
    let is_ready =
        |agent: &&AgentView| agent.phase == PhaseName::Running && agent.health != Health::Unknown;
    let enabled = list.agents.iter().filter(|agent| agent.enabled);
    enabled.filter(|agent| !is_ready(agent)).map(wait::line).collect()
}

/// What `show --json` prints.
#[derive(Debug, Serialize)]
struct Shown {
    agent: AgentView,
    findings: Vec<FindingView>,
    events: Vec<EventView>,
}

/// `agentctl show NAME`.
pub(super) fn show(session: &mut Session<'_>, args: &args::Show) -> Result<Outcome, Failure> {
    let name = args.name.to_string();
    let mut client = session.connect(args.json)?;
    let reply: Result<AgentReply, _> = client.call(AGENTS, "Get", &AgentArg { name: name.clone() });
    let AgentReply { agent } =
        reply.map_err(|err| hint::agent(&mut client, args.name.as_str(), err))?;
    let query = FindingQuery { agent: Some(name.clone()), all: false };
    let FindingList { findings, .. } = client.call(FINDINGS, "List", &query)?;
    let query = EventQuery { agent: Some(name), limit: Some(LAST_EVENTS), ..EventQuery::default() };
    let EventList { events } = client.call(EVENTS, "List", &query)?;
    if args.json.json {
        session.json(&Shown { agent, findings, events })?;
    } else {
        render::agent::show(&session.screen, &agent, &findings, &events, session.out)?;
    }
    Ok(Outcome::Done)
}

/// `agentctl explain NAME`.
pub(super) fn explain(session: &mut Session<'_>, args: &args::Explain) -> Result<Outcome, Failure> {
    let mut client = session.connect(args.json)?;
    let reply: Result<Explanation, _> =
        client.call(AGENTS, "Explain", &AgentArg { name: args.name.to_string() });
    let explanation = reply.map_err(|err| hint::agent(&mut client, args.name.as_str(), err))?;
    if args.json.json {
        session.json(&explanation)?;
    } else {
        render::status::explain(&session.screen, &explanation, session.out)?;
    }
    Ok(Outcome::Done)
}
