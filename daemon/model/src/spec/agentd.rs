//! agentd's own file, `agentd.toml`. Every key has a default; an empty file is a good one.

use std::time::Duration;

use super::reader::{Reader, Table};
use super::{SpecError, rules};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const LONGEST_KEPT: Duration = Duration::from_secs(3650 * 86_400);

/// Settings of agentd itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentdConfig {
    /// Most connections to the control socket at a time.
    pub connections_max: u32,
    /// Most of them of one user.
    pub connections_per_uid: u32,
    /// How long events are kept.
    pub events_keep: Duration,
    /// How long readings are kept.
    pub metrics_keep: Duration,
    /// How long resolved findings are kept.
    pub findings_keep: Duration,
}

impl Default for AgentdConfig {
    fn default() -> Self {
        Self {
            connections_max: 64,
            connections_per_uid: 16,
            events_keep: DAY * 30,
            metrics_keep: DAY * 7,
            findings_keep: DAY * 30,
        }
    }
}

/// Reads `agentd.toml`. `file` is only for messages.
///
/// # Errors
///
/// Everything that is wrong with the file, each with line and column.
pub fn parse_agentd(file: &str, text: &str) -> Result<AgentdConfig, SpecError> {
    Reader::read(file, text, |reader, root| {
        let default = AgentdConfig::default();
        let mut control = root.table(reader, "control");
        let most = control.read(reader, "connections_max", rules::number(1..=10_000));
        let per_uid = control.read(reader, "connections_per_uid", rules::number(1..=10_000));
        let config = AgentdConfig {
            connections_max: most.map_or(default.connections_max, |it| it.value),
            connections_per_uid: per_uid.map_or(default.connections_per_uid, |it| it.value),
            events_keep: keep(reader, root, "events", default.events_keep),
            metrics_keep: keep(reader, root, "metrics", default.metrics_keep),
            findings_keep: keep(reader, root, "findings", default.findings_keep),
        };
        if config.connections_per_uid > config.connections_max {
            let at = per_uid.or(most).map_or(control.at(), |it| it.at);
            let path = control.path_of("connections_per_uid");
            let (per_uid, most) = (config.connections_per_uid, config.connections_max);
            reader.report(at, format!("{path}: {per_uid} is more than connections_max, {most}"));
        }
        control.finish(reader);
        Some(config)
    })
}

fn keep<'t>(
    reader: &mut Reader<'t>,
    root: &mut Table<'_, 't>,
    key: &'static str,
    default: Duration,
) -> Duration {
    let mut table = root.table(reader, key);
    let keep = table.read(reader, "keep", rules::duration(HOUR..=LONGEST_KEPT));
    table.finish(reader);
    keep.map_or(default, |it| it.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_says_every_default() {
        let text = include_str!("../../../../configs/agentd.toml");
        assert_eq!(parse_agentd("agentd.toml", text), Ok(AgentdConfig::default()));
        for key in ["connections_max", "connections_per_uid", "[events]", "[metrics]", "[findings]"]
        {
            assert!(text.lines().any(|line| line.starts_with(key)), "{key} is not explained");
        }
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse_agentd("agentd.toml", ""), Ok(AgentdConfig::default()));
    }

    #[test]
    fn keys_change_what_they_name() {
        let text = "[control]\nconnections_max = 9\nconnections_per_uid = 3\n\
                    [events]\nkeep = \"1h\"\n[metrics]\nkeep = \"2d\"\n[findings]\nkeep = \"3d\"\n";
        let expected = AgentdConfig {
            connections_max: 9,
            connections_per_uid: 3,
            events_keep: HOUR,
            metrics_keep: DAY * 2,
            findings_keep: DAY * 3,
        };
        assert_eq!(parse_agentd("agentd.toml", text), Ok(expected));
    }

    #[test]
    fn bad_values_are_refused_where_they_stand() {
        for (text, problem) in [
            (
                "[control]\nconnections_max = 8\n",
                "f:2:19: control.connections_per_uid: 16 is more than connections_max, 8",
            ),
            (
                "[control]\nconnections_max = 0\n",
                "f:2:19: control.connections_max: found 0, expected a whole number from 1 to 10000",
            ),
            (
                "[event]\nkeep = \"1d\"\n",
                "f:1:2: event: unknown key; the nearest known key is events",
            ),
            (
                "[events]\nkeep = \"1s\"\n",
                "f:2:8: events.keep: found \"1s\", expected a duration from \"1h\" to \"3650d\", as \
                 a number with ms, s, min, h or d",
            ),
        ] {
            assert_eq!(parse_agentd("f", text).unwrap_err().to_string(), problem);
        }
    }
}
