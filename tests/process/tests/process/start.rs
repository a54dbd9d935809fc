//! Starting agentd, and what it shows then.

use std::collections::BTreeSet;

use agentd_protocol::control::{Explanation, Health, PhaseName, kind};
use harness::{Agentd, LIMIT, Scratch, Spec, is_alive, output_of};
use nix::unistd::geteuid;
use serde_json::json;

use crate::UP;

#[test]
fn every_agent_is_started_and_shown() {
    let scratch = Scratch::new();
    let names = ["monitor", "network", "security", "storage", "system"];
    names
        .iter()
        .for_each(|name| scratch.add(&scratch.good(name).agent("summary = \"one of five\"")));
    let agentd = Agentd::start(&scratch);
    for name in names {
        agentd.wait(name, "health ok", |agent| agent.health == Health::Ok);
        assert_eq!(agentd.phases(name), UP);
    }
    let list = agentd.list();
    let shown: Vec<&str> = list.agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(shown, names, "by name");
    let pids: BTreeSet<i32> = list.agents.iter().filter_map(|agent| agent.pid).collect();
    assert_eq!(pids.len(), 5);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    for agent in &list.agents {
        assert_eq!((agent.phase, agent.want.as_str()), (PhaseName::Running, "up"));
        assert_eq!((agent.restarts, agent.failures, agent.findings), (0, 0, 0));
        assert!(agent.enabled && agent.last_exit.is_none() && agent.detail.is_none());
        assert_eq!(agent.user, format!("uid {}", geteuid()));
        assert_eq!(agent.version.as_deref(), Some("1.2.3"));
        assert_eq!(agent.summary, "one of five");
        assert!(agent.health_reasons.is_empty());
        assert!(agent.seq <= list.seq);
        let [check] = agent.checks.as_slice() else { panic!("{:?}", agent.checks) };
        assert_eq!((check.name.as_str(), check.state.as_str()), ("probe", "measured"));
        assert!(check.last_ms.is_some());
    }
    assert_eq!(agentd.get("storage"), list.agents[3]);
}

#[test]
fn agentd_says_how_it_is_and_what_it_cannot_do_here() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    agentd.wait_event(kind::AGENTD, None, "all 1 wanted agents are running");
    let status = agentd.status();
    assert_eq!(status.pid, agentd.pid());
    assert_eq!(status.root, scratch.paths().root().to_string_lossy());
    assert_eq!(status.logs, scratch.paths().logs().to_string_lossy());
    assert_eq!(status.problems, []);
    assert!(status.all_ready_boot_ms.is_some());
    assert!(status.limits.iter().any(|limit| limit.contains("whole file system")));
    assert_eq!(status.seq, agentd.last_events(1)[0].seq);
}

#[test]
fn the_plan_of_a_cell_is_explained_with_what_it_lacks_here() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    let plan: Explanation =
        agentd.call("Agents.Explain", &json!({ "name": "a" })).expect("there is an a");
    assert_eq!(plan.name, "a");
    let last = plan.operations.last().expect("something is done");
    assert!(last.contains("fake-agent"), "ends with the program: {:?}", plan.operations);
    assert!(plan.operations.iter().any(|line| line == "no new privileges"), "{plan:?}");
    assert!(plan.missing.iter().any(|line| line.starts_with("user agentos-a")), "{plan:?}");
}

#[test]
fn without_agents_agentd_answers_all_the_same() {
    let scratch = Scratch::new();
    let agentd = Agentd::start(&scratch);
    assert_eq!(agentd.list().agents, []);
    assert_eq!(agentd.status().problems, []);
    agentd.stop();
}

#[test]
fn an_agent_that_is_not_enabled_is_shown_and_left_alone() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a").agent("enabled = false"));
    let agentd = Agentd::start(&scratch);
    let agent = agentd.get("a");
    assert_eq!((agent.phase, agent.want.as_str(), agent.pid), (PhaseName::Idle, "down", None));
    assert!(!agent.enabled);
    agentd.ask("Start", "a").expect("it can be started by hand");
    agentd.wait_running("a");
    assert_eq!(agentd.phases("a"), UP);
}

#[test]
fn a_program_that_knows_nothing_of_agentd_can_be_an_agent() {
    let sleep = Spec::new("plain", &["/bin/sleep", "1000"]).agent("kit = false");
    let scratch = Scratch::with(&[sleep]);
    scratch.add(&scratch.fake("polite", &["silent"]).agent("kit = false"));
    let agentd = Agentd::start(&scratch);
    for name in ["plain", "polite"] {
        agentd.wait_running(name);
        assert_eq!(agentd.get(name).health, Health::Ok);
    }
    harness::wait_for("polite to hold SIGTERM back", LIMIT, || {
        let log = scratch.agent_log("polite");
        if log.contains("step silent") { Ok(()) } else { Err(log) }
    });
    for (name, end) in [("plain", "killed by SIGTERM"), ("polite", "exit status 0")] {
        agentd.ask("Stop", name).expect("it can be stopped");
        agentd.wait_phase(name, PhaseName::Idle);
        let idle = format!("idle (stopped as asked, {end})");
        let stopping = "stopping (stopped as asked)";
        assert_eq!(agentd.phases(name), ["waiting", "spawning", "running", stopping, &idle]);
    }
    scratch.assert_no_process();
}

#[test]
fn a_second_agentd_in_the_same_place_refuses_to_start() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    let pid = agentd.wait_running("a");
    let second = output_of(&mut Agentd::command(&scratch, &[]));
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another agentd runs here"), "{said}");
    let lock = scratch.paths().runtime().join("agentd.lock");
    assert!(said.contains(&*lock.to_string_lossy()), "names the lock: {said}");
    assert_eq!(agentd.get("a").pid, Some(pid), "the first is not disturbed");
    agentd.stop();
    Agentd::start(&scratch).wait_running("a");
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let scratch = Scratch::new();
    std::fs::remove_dir_all(scratch.paths().root()).expect("it was there");
    let refused = output_of(&mut Agentd::command(&scratch, &[]));
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("--root: cannot use") && said.contains("No such file"), "{said}");
}

#[test]
fn check_says_what_is_wrong_and_changes_nothing() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    scratch.add(&scratch.good("b"));
    let good = output_of(&mut Agentd::command(&scratch, &["--check"]));
    assert_eq!(good.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&good.stdout), "2 agents: a, b\n");
    scratch.write(&scratch.vendor_file("b"), "[agent]\nname = 7\n");
    let bad = output_of(&mut Agentd::command(&scratch, &["--check"]));
    assert_eq!(bad.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&bad.stdout), "1 agents: a\n");
    let said = String::from_utf8_lossy(&bad.stderr);
    assert!(said.contains("b.toml:2:8: agent.name: found 7"), "{said}");
    assert!(!scratch.paths().runtime().exists() && !scratch.paths().state().exists());
}
