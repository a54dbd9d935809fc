//! `events`: what happened, and with `-f` what happens, without a gap between the two and across
//! a restart of agentd.

use std::time::{Duration, Instant};

use agentd_protocol::control::{
    EVENTS, EventList, EventQuery, EventReply, EventView, MANAGER, Status,
};
use serde_json::json;

use super::{Outcome, Session, hint};
use crate::args;
use crate::client::{Client, Events};
use crate::client_error::ClientError;
use crate::clock;
use crate::failure::Failure;
use crate::render::count;
use crate::render::events::Page;

/// How many are shown when nobody says how many.
const DEFAULT: u32 = 20;

/// Most that agentd gives at once.
const MOST: u32 = 1_000;

/// Time from one try to reach agentd again to the next.
const AGAIN: Duration = Duration::from_millis(200);

/// `agentctl events`.
pub(super) fn run(session: &mut Session<'_>, args: &args::Events) -> Result<Outcome, Failure> {
    let since = args.since.as_ref().map(|since| since.at(&session.screen.now)).transpose()?;
    let agent = args.name.as_ref().map(ToString::to_string);
    let mut client = session.connect(args.json)?;
    // Taken before the list: what happens in between is in both, and is shown once.
    let status: Status = client.call(MANAGER, "Status", &json!({}))?;
    let limit = args.lines.unwrap_or(if since.is_some() { MOST } else { DEFAULT });
    let query = EventQuery {
        since_ms: since.map(|since| since.as_millisecond()),
        agent: agent.clone(),
        limit: Some(limit),
        after_seq: None,
    };
    let reply: Result<EventList, _> = client.call(EVENTS, "List", &query);
    let EventList { events } = reply.map_err(|err| match &agent {
        Some(name) => hint::agent(&mut client, name, err),
        None => err.into(),
    })?;
    let is_cut = usize::try_from(MOST).is_ok_and(|most| events.len() >= most);
    if is_cut && args.lines.is_none() {
        session.say(&format!("there are more; these are the newest {}", events.len()));
    }
    let mut view = View { page: Page::of_all(), is_json: args.json.json };
    view.page.measure(&session.screen, &events);
    events.iter().try_for_each(|event| view.show(session, event))?;
    if args.follow {
        let seen = events.last().map_or(0, |event| event.seq).max(status.seq);
        return follow(session, client, &mut view, agent, seen);
    }
    if events.is_empty() && !args.json.json {
        session.say("nothing happened in that time");
    }
    Ok(Outcome::Done)
}

struct View {
    page: Page,
    is_json: bool,
}

impl View {
    fn show(&mut self, session: &mut Session<'_>, event: &EventView) -> Result<(), Failure> {
        if self.is_json {
            return session.json_line(event);
        }
        Ok(self.page.draw(&session.screen, event, session.out)?)
    }
}

/// Shows events until the reader or agentd is gone for good.
fn follow(
    session: &mut Session<'_>,
    client: Client,
    view: &mut View,
    agent: Option<String>,
    mut seen: u64,
) -> Result<Outcome, Failure> {
    let query =
        |seen| EventQuery { after_seq: Some(seen), agent: agent.clone(), ..EventQuery::default() };
    session.out.flush()?;
    let mut stream = client.follow(&query(seen))?;
    loop {
        match stream.next_event(None) {
            Ok(Some(EventReply { event, dropped })) => {
                if dropped > 0 {
                    let lost = usize::try_from(dropped).unwrap_or(usize::MAX);
                    session.say(&format!("{} were dropped here", count(lost, "event")));
                }
                seen = seen.max(event.seq);
                session.screen.now = clock::now();
                view.show(session, &event)?;
                session.out.flush()?;
            }
            Ok(None) => {}
            Err(err) if err.may_pass() => {
                session.say(&format!("{err}; trying to reach it again"));
                stream = again(session, &query(seen), err)?;
                session.say("agentd is there again");
            }
            Err(err) => return Err(err.into()),
        }
    }
}

/// Opens the stream again, for as long as an answer may take.
fn again(
    session: &Session<'_>,
    query: &EventQuery,
    mut last: ClientError,
) -> Result<Events, Failure> {
    let end: Instant = clock::instant() + session.endpoint.timeout;
    while clock::instant() < end {
        match Client::connect(&session.endpoint).and_then(|client| client.follow(query)) {
            Ok(stream) => return Ok(stream),
            Err(err) if err.may_pass() => last = err,
            Err(err) => return Err(err.into()),
        }
        clock::pause(AGAIN);
    }
    Err(last.into())
}
