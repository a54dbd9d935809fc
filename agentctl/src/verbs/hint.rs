//! What may have been meant by a name that agentd does not know.

use agentd_protocol::Code;
use agentd_protocol::control::{AGENTS, AgentList, METRICS, MetricList};
use serde_json::json;

use crate::client::Client;
use crate::client_error::ClientError;
use crate::failure::Failure;

/// Adds the nearest agent to an answer that there is no agent of that name.
pub(crate) fn agent(client: &mut Client, name: &str, err: ClientError) -> Failure {
    if err.code() != Code::NotFound {
        return err.into();
    }
    let known: Result<AgentList, _> = client.call(AGENTS, "List", &json!({}));
    let known = known.map(|list| list.agents.into_iter().map(|agent| agent.name).collect());
    with_nearest(err, name, known, "agentctl list")
}

/// Adds the nearest series to an answer that there is no series of that name.
pub(crate) fn metric(client: &mut Client, name: &str, err: ClientError) -> Failure {
    if err.code() != Code::NotFound {
        return err.into();
    }
    let known: Result<MetricList, _> = client.call(METRICS, "List", &json!({}));
    let known = known.map(|list| list.metrics.into_iter().map(|metric| metric.name).collect());
    with_nearest(err, name, known, "agentctl metrics")
}

fn with_nearest(
    source: ClientError,
    name: &str,
    known: Result<Vec<String>, ClientError>,
    verb: &str,
) -> Failure {
    let near = known.ok().and_then(|known| nearest(name, known));
    let hint = match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!("`{verb}` shows what there is"),
    };
    Failure::Unknown { source, hint }
}

/// The known name that is nearest, if it is near at all: a slip or two, or a part of it.
fn nearest(name: &str, known: Vec<String>) -> Option<String> {
    let distance = |known: &String| {
        let is_part = name.len() > 1 && known.contains(name);
        let slips = strsim::damerau_levenshtein(name, known);
        let allowed = name.chars().count().div_ceil(3);
        (is_part || slips <= allowed).then_some((!is_part, slips))
    };
    known
        .into_iter()
        .filter_map(|known| Some((distance(&known)?, known)))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_or_a_part_finds_the_name_and_nonsense_does_not() {
        let near = |name| {
            let known = ["monitor", "network", "security", "storage", "system"];
            nearest(name, known.map(str::to_owned).to_vec())
        };
        assert_eq!(near("netwrok").as_deref(), Some("network"));
        assert_eq!(near("sys").as_deref(), Some("system"));
        assert_eq!(near("storrage").as_deref(), Some("storage"));
        assert_eq!(near("web"), None);
        assert_eq!(near("x"), None);
    }
}
