//! Waiting for agents: a snapshot, then a look after each event above it, until it is so or the
//! time is up.
//!
//! agentd may not be there yet, or be replaced while we wait: both only mean that it is not so yet.

use std::time::{Duration, Instant};

use agentd_protocol::control::{AGENTS, AgentList, AgentView, EventQuery};
use serde_json::json;

use crate::client::{Client, Endpoint};
use crate::client_error::ClientError;
use crate::clock;
use crate::failure::Failure;
use crate::render::agents::state;

/// Time from one look at a socket that is not there to the next.
const AGAIN: Duration = Duration::from_millis(100);

/// A look is taken this often even if no event says so: health may age without one.
const LOOK: Duration = Duration::from_secs(2);

/// An agent that is waited for, in a line.
pub(super) fn line(agent: &AgentView) -> String {
    format!("{}: {}", agent.name, state(agent))
}

/// Waits until `missing` names nothing, and returns the snapshot of which that is true. A failure
/// of `missing` ends the wait.
pub(super) fn until(
    endpoint: &Endpoint,
    limit: Duration,
    what: &'static str,
    mut missing: impl FnMut(&AgentList) -> Result<Vec<String>, Failure>,
) -> Result<AgentList, Failure> {
    let end = clock::instant() + limit;
    let mut last_seen;
    loop {
        match attempt(endpoint, end, &mut missing) {
            Ok(Seen::All(list)) => return Ok(list),
            Ok(Seen::Missing(names)) => last_seen = names,
            Err(Failure::Client(err)) if err.may_pass() => last_seen = vec![err.to_string()],
            Err(Failure::Client(err @ ClientError::TimedOut { .. })) => {
                last_seen = vec![err.to_string()];
            }
            Err(other) => return Err(other),
        }
        if left(end).is_zero() {
            return Err(Failure::NotYet { what, within: limit, missing: last_seen });
        }
        clock::pause(AGAIN.min(left(end)));
    }
}

enum Seen {
    All(AgentList),
    /// The time is up, and this was missing at the last look.
    Missing(Vec<String>),
}

/// Watches over one pair of connections: one to look, one that says when to look again.
fn attempt(
    endpoint: &Endpoint,
    end: Instant,
    missing: &mut impl FnMut(&AgentList) -> Result<Vec<String>, Failure>,
) -> Result<Seen, Failure> {
    let endpoint =
        Endpoint { timeout: endpoint.timeout.min(left(end).max(AGAIN)), ..endpoint.clone() };
    let mut client = Client::connect(&endpoint)?;
    let mut look = || -> Result<(AgentList, Vec<String>), Failure> {
        let list: AgentList = client.call(AGENTS, "List", &json!({}))?;
        let names = missing(&list)?;
        Ok((list, names))
    };
    let (mut list, mut names) = look()?;
    if names.is_empty() {
        return Ok(Seen::All(list));
    }
    let query = EventQuery { after_seq: Some(list.seq), ..EventQuery::default() };
    let mut events = Client::connect(&endpoint)?.follow(&query)?;
    while !left(end).is_zero() {
        events.next_event(Some(LOOK.min(left(end))))?;
        (list, names) = look()?;
        if names.is_empty() {
            return Ok(Seen::All(list));
        }
    }
    Ok(Seen::Missing(names))
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(clock::instant())
}
