//! Who waits for whom.

use std::collections::BTreeMap;

use super::*;
use crate::{AgentName, AgentSpec, stop_order, waits_for};

fn spec(text: &str) -> (AgentName, AgentSpec) {
    let text = format!("[agent]\nexec = [\"/bin/x\"]\n{text}");
    let spec = crate::parse_spec("x.toml", &text).unwrap();
    (spec.name.clone(), spec)
}

/// `a` is after `b` and needs `c`; `b` needs `d`.
fn specs() -> BTreeMap<AgentName, AgentSpec> {
    BTreeMap::from([
        spec("name = \"a\"\nafter = [\"b\"]\nneeds = [\"c\"]"),
        spec("name = \"b\"\nneeds = [\"d\"]"),
        spec("name = \"c\""),
        spec("name = \"d\""),
    ])
}

fn name(text: &str) -> AgentName {
    text.parse().unwrap()
}

/// What `a` waits for when the others are in these states.
fn a_waits_for(b: Agent, c: Agent, d: Agent) -> Vec<String> {
    let waiting = agent("waiting");
    let agents =
        BTreeMap::from([(name("a"), waiting), (name("b"), b), (name("c"), c), (name("d"), d)]);
    let reasons = waits_for(&name("a"), &specs(), |name| agents.get(name));
    reasons.iter().map(ToString::to_string).collect()
}

fn agent(phase: &str) -> Agent {
    let mut sim = Sim::new(budget(2, secs(60)));
    match phase {
        "down" => {}
        "waiting" => {
            sim.on(Event::Start);
        }
        "spawning" => {
            sim.on(Event::Start).on(Event::Cleared);
        }
        "spawning, wanted down" => {
            sim.on(Event::Start).on(Event::Cleared).on(Event::Stop);
        }
        "starting" => {
            sim.on(Event::Start).on(Event::Cleared).spawned();
        }
        "running" => {
            sim.on(Event::Start).up();
        }
        "stopping" => {
            sim.on(Event::Start).up().on(Event::Stop);
        }
        "restarting" => {
            sim.on(Event::Start).up().on(Event::Restart);
        }
        "ended" => {
            sim.on(Event::Start).up().exited(CLEAN);
        }
        "backoff" => {
            sim.policy.restart.first_delay = secs(9);
            sim.on(Event::Start).up().exited(CRASH);
        }
        "failed" => {
            sim.on(Event::Start).up().exited(CRASH).up().exited(CRASH);
        }
        other => panic!("no such phase: {other}"),
    }
    sim.agent
}

#[test]
fn a_need_holds_back_until_it_runs() {
    for (phase, lack) in [
        ("down", Some("not wanted")),
        ("waiting", Some("waits itself")),
        ("spawning", Some("not ready")),
        ("spawning, wanted down", Some("not wanted")),
        ("starting", Some("not ready")),
        ("running", None),
        ("stopping", Some("stopping")),
        ("restarting", Some("stopping")),
        ("ended", Some("ended and not restarted")),
        ("backoff", Some("failed, tried again later")),
        ("failed", Some("failed")),
    ] {
        let expected: Vec<String> = lack.iter().map(|lack| format!("c: {lack}")).collect();
        assert_eq!(a_waits_for(agent("down"), agent(phase), agent("running")), expected, "{phase}");
    }
}

#[test]
fn an_order_holds_back_only_while_the_other_is_on_its_way_up() {
    for (phase, lack) in [
        ("down", None),
        ("waiting", Some("waits itself")),
        ("spawning", Some("not ready")),
        ("spawning, wanted down", None),
        ("starting", Some("not ready")),
        ("running", None),
        ("stopping", None),
        ("restarting", Some("stopping")),
        ("ended", None),
        ("backoff", None),
        ("failed", None),
    ] {
        let expected: Vec<String> = lack.iter().map(|lack| format!("b: {lack}")).collect();
        let waits = a_waits_for(agent(phase), agent("running"), agent("running"));
        assert_eq!(waits, expected, "{phase}");
    }
}

#[test]
fn an_order_is_no_need_in_disguise() {
    // b waits for d. Whoever is only after b waits with it while d comes up, and not for ever.
    for (phase, holds_back) in [
        ("starting", true),
        ("waiting", true),
        ("down", false),
        ("failed", false),
        ("backoff", false),
    ] {
        let waits = a_waits_for(agent("waiting"), agent("running"), agent(phase));
        assert_eq!(!waits.is_empty(), holds_back, "{phase}: {waits:?}");
    }
}

#[test]
fn a_need_that_is_not_loaded_holds_back_and_says_so() {
    let waits = waits_for(&name("b"), &specs(), |_| None);
    assert_eq!(waits.iter().map(ToString::to_string).collect::<Vec<_>>(), ["d: no such agent"]);
}

#[test]
fn a_cycle_holds_nobody_back_for_ever() {
    // `check_set` refuses it; if one came through, asking must still end.
    let specs = BTreeMap::from([
        spec("name = \"a\"\nafter = [\"b\"]"),
        spec("name = \"b\"\nneeds = [\"c\"]"),
        spec("name = \"c\"\nneeds = [\"b\"]"),
    ]);
    let waiting = agent("waiting");
    assert_eq!(waits_for(&name("a"), &specs, |_| Some(&waiting)), []);
    assert_eq!(stop_order(&specs), [vec![name("a")], vec![name("b"), name("c")]]);
}

#[test]
fn dependants_are_stopped_first() {
    let order = stop_order(&specs());
    assert_eq!(order, [vec![name("a")], vec![name("b"), name("c")], vec![name("d")]]);
    assert_eq!(stop_order(&BTreeMap::new()), Vec::<Vec<AgentName>>::new());
}
