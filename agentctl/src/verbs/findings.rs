//! `findings`.

use agentd_protocol::control::{FINDINGS, FindingList, FindingQuery};

use super::{Outcome, Session, hint};
use crate::args;
use crate::failure::Failure;
use crate::render;

/// `agentctl findings`.
pub(super) fn run(session: &mut Session<'_>, args: &args::Findings) -> Result<Outcome, Failure> {
    let mut client = session.connect(args.json)?;
    let agent = args.name.as_ref().map(ToString::to_string);
    let query = FindingQuery { agent: agent.clone(), all: args.all };
    let reply: Result<FindingList, _> = client.call(FINDINGS, "List", &query);
    let list = reply.map_err(|err| match &agent {
        Some(name) => hint::agent(&mut client, name, err),
        None => err.into(),
    })?;
    if args.json.json {
        session.json(&list)?;
    } else if list.findings.is_empty() {
        session.say(if args.all { "there are no findings" } else { "there are no open findings" });
    } else {
        render::findings::list(&session.screen, &list.findings, session.out)?;
    }
    Ok(Outcome::Done)
}
