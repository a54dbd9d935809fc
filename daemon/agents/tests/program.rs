//! The one program under its several names, and under others.
#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

/// Starts the program as `name`, as a person at a shell would: without a channel.
#[expect(clippy::disallowed_methods, reason = "the one place that starts programs in this test")]
fn start_as(name: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agentd-agents")).arg0(name).output().expect("it starts")
}

#[test]
fn under_an_agents_name_it_is_that_agent() {
    for name in agentd_agents::NAMES {
        let out = start_as(&format!("/usr/lib/agentos/agents/{name}"));
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(said.starts_with(&format!("{name}: this is an agent and is started by")), "{said}");
        assert_eq!(out.status.code(), Some(2));
    }
}

#[test]
fn under_any_other_name_it_lists_those_it_has() {
    for name in ["agentd-agents", "/x/nothing", "", "system/"] {
        let out = start_as(name);
        let said = String::from_utf8_lossy(&out.stderr);
        if name == "system/" {
            // A path's last part is a name with or without a slash behind it.
            assert!(said.starts_with("system: this is an agent"), "{said}");
        } else {
            assert!(said.ends_with("monitor, network, security, storage, system\n"), "{said}");
        }
        assert_eq!(out.status.code(), Some(2));
        assert!(out.stdout.is_empty());
    }
}

#[test]
fn names_and_agents_are_the_same() {
    for name in agentd_agents::NAMES {
        assert_eq!(agentd_agents::agent(name).expect("it is listed").name(), name);
    }
}
