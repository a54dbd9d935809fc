//! The journal, through journalctl: it knows rotation, rights, paging and what may be shown.

use std::os::unix::process::CommandExt;

use super::{Outcome, Wanted};
use crate::failure::Failure;

/// Where Debian has it (systemd's package, file list).
const JOURNALCTL: &str = "/usr/bin/journalctl";

/// Becomes journalctl, so that its exit status, its pager and an interrupt are those of the person
/// who asked. Comes back only with the reason why not.
#[expect(clippy::disallowed_methods, reason = "the one program that agentctl runs")]
pub(super) fn show(wanted: &Wanted) -> Result<Outcome, Failure> {
    let mut command = std::process::Command::new(JOURNALCTL);
    let source = command.args(arguments(wanted)).exec();
    Err(Failure::Journal { program: JOURNALCTL, source })
}

fn arguments(wanted: &Wanted) -> Vec<String> {
    let mut arguments = vec![format!("--identifier={}", wanted.identifier())];
    if let Some(lines) = wanted.lines {
        arguments.push(format!("--lines={lines}"));
    }
    if let Some(since) = wanted.since {
        // systemd.time(7): seconds since the epoch, whatever the time zone.
        arguments.push(format!("--since=@{}", since.as_second()));
    }
    if wanted.is_followed {
        arguments.push("--follow".to_owned());
    }
    arguments.push(if wanted.is_json { "--output=json" } else { "--no-hostname" }.to_owned());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            name: "network".to_owned(),
            is_agent: true,
            is_followed: false,
            lines: Some(100),
            since: None,
            is_json: false,
        }
    }

    #[test]
    fn journalctl_is_asked_for_the_agent_and_nothing_else() {
        let plain = ["--identifier=agent-network", "--lines=100", "--no-hostname"];
        assert_eq!(arguments(&wanted()), plain);
        let name = "agentd".to_owned();
        let own = Wanted { name, is_agent: false, lines: None, ..wanted() };
        assert_eq!(arguments(&own), ["--identifier=agentd", "--no-hostname"]);
        let since = Some("2026-11-20T08:00:00.9Z".parse().unwrap());
        let all = Wanted { since, is_followed: true, is_json: true, lines: None, ..wanted() };
        let expected =
            ["--identifier=agent-network", "--since=@1795161600", "--follow", "--output=json"];
        assert_eq!(arguments(&all), expected);
    }
}
