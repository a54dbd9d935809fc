//! A stop ends with nothing left, whatever the agent has started.

use agentd_protocol::control::PhaseName;
use harness::{Agentd, LIMIT, Scratch, wait_for};

use crate::UP;

/// Starts `a`, which has a child that takes `steps`, and waits until both live.
fn with_child(steps: &str) -> (Scratch, Agentd) {
    let scratch = Scratch::new();
    let orders = format!("orders:{}", scratch.beside("a.orders").display());
    let child = format!("child:{steps}");
    scratch.add(&scratch.fake("a", &[&orders, &child, "settings", "ready:probe", "live"]));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    wait_for("the child to come to its last step", LIMIT, || {
        let log = scratch.agent_log("a");
        if log.contains("step hang") { Ok(()) } else { Err(log) }
    });
    assert_eq!(scratch.processes().len(), 2);
    (scratch, agentd)
}

#[test]
fn a_stop_kills_children_that_ignore_sigterm() {
    let (scratch, agentd) = with_child("ignore-sigterm+hang");
    agentd.ask("Stop", "a").expect("may be asked");
    agentd.wait_phase("a", PhaseName::Idle);
    scratch.assert_no_process();
}

#[test]
fn a_crash_takes_the_children_with_it_before_the_next_start() {
    let (scratch, agentd) = with_child("ignore-sigterm+hang");
    let first = agentd.get("a").pid.expect("it runs");
    let before = scratch.processes();
    scratch.order("a", "exit:5");
    agentd.wait_replaced("a", first);
    let after = scratch.processes();
    assert!(before.iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");
    assert_eq!(agentd.phases("a"), [&UP[..], &["waiting (exit status 5)"], &UP[1..]].concat());
}

#[test]
fn an_agent_that_ignores_sigterm_is_killed_when_its_grace_is_over() {
    let scratch = Scratch::new();
    let steps = ["ignore-sigterm", "settings", "ready:probe", "live"];
    scratch.add(&scratch.fake("a", &steps).restart("stop_grace = \"200ms\""));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    agentd.ask("Stop", "a").expect("may be asked");
    agentd.wait_phase("a", PhaseName::Idle);
    let stop = ["stopping (stopped as asked)", "idle (stopped as asked, killed)"];
    assert_eq!(agentd.phases("a"), [&UP[..], &stop].concat());
    let history = agentd.history("a");
    let took = history[5].time_ms - history[4].time_ms;
    assert!((195..2000).contains(&took), "{took} ms");
    scratch.assert_no_process();
}

/// Where there are control groups nothing escapes; where there are none agentd says what does.
#[test]
fn a_process_that_leaves_its_session_is_killed_or_the_limit_is_told() {
    let (scratch, agentd) = with_child("session+ignore-sigterm+hang");
    let limits = agentd.status().limits.join("\n");
    agentd.ask("Stop", "a").expect("may be asked");
    agentd.wait_phase("a", PhaseName::Idle);
    if limits.contains("a process that leaves its session outlives a stop") {
        assert_eq!(scratch.processes().len(), 1, "as was said");
    } else {
        scratch.assert_no_process();
    }
}
