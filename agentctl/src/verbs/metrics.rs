//! `metrics`: the series, or one of them.

use agentd_protocol::control::{METRICS, MetricList, MetricQuery, MetricSeries};
use serde_json::json;

use super::{Outcome, Session, hint};
use crate::args;
use crate::failure::Failure;
use crate::render;

/// `agentctl metrics`.
pub(super) fn run(session: &mut Session<'_>, args: &args::Metrics) -> Result<Outcome, Failure> {
    let mut client = session.connect(args.json)?;
    let Some(name) = &args.name else {
        let list: MetricList = client.call(METRICS, "List", &json!({}))?;
        if args.json.json {
            session.json(&list)?;
        } else if list.metrics.is_empty() {
            session.say("no readings have been kept yet");
        } else {
            render::metrics::list(&session.screen, &list.metrics, session.out)?;
        }
        return Ok(Outcome::Done);
    };
    let since = args.since.as_ref().map(|since| since.at(&session.screen.now)).transpose()?;
    let query = MetricQuery { name: name.clone(), since_ms: since.map(|at| at.as_millisecond()) };
    let reply: Result<MetricSeries, _> = client.call(METRICS, "Read", &query);
    let series = reply.map_err(|err| hint::metric(&mut client, name, err))?;
    if args.json.json {
        session.json(&series)?;
    } else if series.points.is_empty() {
        session.say("no readings of that time have been kept");
    } else {
        render::metrics::series(&session.screen, &series, session.out)?;
    }
    Ok(Outcome::Done)
}
