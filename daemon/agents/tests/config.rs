//! Every file in `configs/agents.d` is what agentd takes, and says the same as the code: exactly the
//! agent's checks, each with its defaults.
#![forbid(unsafe_code)]
#![allow(clippy::panic, reason = "clippy does not see helpers of a test as a test")]

use std::collections::BTreeMap;
use std::path::Path;

use agentd_kit::{Agent, InForce, Thresholds};
use agentd_model::{AgentSpec, CheckSpec, parse_spec};

fn shipped(agent: &Agent) -> AgentSpec {
    let file = format!("configs/agents.d/{}.toml", agent.name());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(&file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{file}: {err}"));
    parse_spec(&file, &text).unwrap_or_else(|err| panic!("{err}"))
}

/// The file's words for what the code has.
fn as_written(set: &InForce, has_allow_list: bool) -> CheckSpec {
    CheckSpec {
        enabled: None,
        every: Some(set.every),
        timeout: Some(set.timeout),
        warning: set.thresholds.and_then(|limits| limits.warning),
        critical: set.thresholds.and_then(|limits| limits.critical),
        margin: set.thresholds.map(|limits: Thresholds| limits.margin),
        raise_after: Some(set.raise_after),
        clear_after: Some(set.clear_after),
        allow: has_allow_list.then(|| set.allow.clone()),
    }
}

#[test]
fn the_shipped_files_say_what_the_code_does() {
    for name in agentd_agents::NAMES {
        let agent = agentd_agents::agent(name).expect("it is listed");
        let spec = shipped(&agent);
        assert_eq!(spec.name.as_str(), name);
        assert_eq!(spec.exec, [format!("/usr/lib/agentos/agents/{name}")]);
        assert!(spec.kit && spec.enabled, "{name}");
        assert!(!agent.checks().is_empty(), "{name} has no checks");
        let in_code: BTreeMap<String, CheckSpec> = agent
            .checks()
            .iter()
            .map(|check| {
                let set = InForce::from(check.defaults());
                let has_allow_list = check.defaults().has_allow_list();
                (check.name().to_owned(), as_written(&set, has_allow_list))
            })
            .collect();
        assert_eq!(spec.checks, in_code, "{name}");
    }
}

#[test]
fn there_is_a_file_for_every_agent_and_for_nothing_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/agents.d");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .expect("configs/agents.d is there")
        .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, agentd_agents::NAMES.map(|name| format!("{name}.toml")));
}
