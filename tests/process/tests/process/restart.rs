//! What becomes of an agent that ends: when it is started again, and when it is given up.

use agentd_protocol::control::{Disposition, PhaseName};
use harness::{Agentd, LIMIT, Scratch, Spec, Step, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{ONCE, UP};

#[test]
fn the_first_restart_is_immediate_and_the_end_is_told() {
    let scratch = Scratch::new();
    let ends = [
        ("exit:3", "exit status 3"),
        ("signal:9", "killed by SIGKILL"),
        ("signal:6", "killed by SIGABRT"),
    ];
    let name = |at: usize| format!("a{at}");
    (0..ends.len()).for_each(|at| scratch.add(&scratch.good(&name(at))));
    let agentd = Agentd::start(&scratch);
    for (at, (order, end)) in ends.iter().enumerate() {
        let name = name(at);
        let first = agentd.wait_running(&name);
        scratch.order(&name, order);
        agentd.wait_replaced(&name, first);
        let again = format!("waiting ({end})");
        let whole = [&UP[..], &[again.as_str()], &UP[1..]].concat();
        assert_eq!(agentd.phases(&name), whole);
        let agent = agentd.get(&name);
        assert_eq!((agent.restarts, agent.failures), (1, 1));
        assert_eq!(agent.last_exit.as_deref(), Some(*end));
    }
    assert_eq!(scratch.processes().len(), ends.len());
}

#[test]
fn kill_9_from_outside_is_a_failure_like_any_other() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    let first = agentd.wait_running("a");
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("it runs");
    let second = agentd.wait_replaced("a", first);
    let history = agentd.history("a");
    assert_eq!(agentd.phases("a")[4], "waiting (killed by SIGKILL)");
    let pids: Vec<Option<i32>> = history.iter().map(|step| step.pid).collect();
    let (one, two) = (Some(first), Some(second));
    assert_eq!(pids, [None, None, one, one, one, None, two, two], "each event names its process");
}

#[test]
fn delays_grow_then_it_is_given_up_and_stays_visible_until_started() {
    let scratch = Scratch::new();
    scratch.add(
        &scratch
            .fake("a", &["settings", "ready:probe", "exit:1"])
            .restart("max_delay = \"1500ms\"")
            .restart("budget = { starts = 4, within = \"1h\" }"),
    );
    scratch.add(&scratch.good("neighbour"));
    let agentd = Agentd::start(&scratch);
    let neighbour = agentd.wait_running("neighbour");
    let failed = agentd.wait_phase("a", PhaseName::Failed);
    let end = "(exit status 1)";
    let (now, later, over) =
        (format!("waiting {end}"), format!("backoff {end}"), format!("failed {end}"));
    let tries = [&[now.as_str()], &UP[1..], &[&later], &UP, &[&later], &UP, &[&over]].concat();
    let whole = [&UP[..], &tries].concat();
    assert_eq!(agentd.phases("a"), whole);

    let history = agentd.history("a");
    let failures: Vec<u32> =
        history.iter().filter(|step| step.exit.is_some()).map(|step| step.failures).collect();
    assert_eq!(failures, [1, 2, 3, 4]);
    let waits: Vec<i64> = history
        .windows(2)
        .filter(|pair| pair[0].to == "backoff")
        .map(|pair| pair[1].time_ms - pair[0].time_ms)
        .collect();
    let [second, third] = waits.as_slice() else { panic!("{waits:?}") };
    assert!((790..1400).contains(second), "about a second: {second} ms");
    assert!((1190..1900).contains(third), "twice that, capped at 1.5 s: {third} ms");

    assert_eq!((failed.want.as_str(), failed.pid), ("up", None));
    assert_eq!(failed.detail.as_deref(), Some("exit status 1; given up"));
    assert!(agentd.list().agents.iter().any(|agent| agent.phase == PhaseName::Failed));
    assert!(agentd.problems("agent").contains("was given up: exit status 1"));
    assert_eq!(agentd.get("neighbour").pid, Some(neighbour));

    assert_eq!(agentd.ask("Start", "a").expect("may be asked"), Disposition::Accepted);
    let again: Vec<Step> = wait_for("four more tries", LIMIT, || {
        let history = agentd.history("a").split_off(whole.len());
        let is_begun = history.iter().filter(|step| step.to == "running").count() == 2;
        if is_begun { Ok(history) } else { Err(format!("{history:?}")) }
    });
    assert_eq!(again[0].failures, 0, "a new account");
    assert_eq!(agentd.problems("agent"), "");
}

#[test]
fn an_agent_that_never_gets_ready_is_stopped_and_tried_again() {
    let scratch = Scratch::new();
    scratch.add(
        &scratch
            .fake("a", &["settings", "hang"])
            .restart("ready_within = \"200ms\"")
            .restart("budget = { starts = 2, within = \"1h\" }"),
    );
    let agentd = Agentd::start(&scratch);
    agentd.wait_phase("a", PhaseName::Failed);
    let late = "not ready within 200ms";
    let (stopping, end) = (format!("stopping ({late})"), format!("({late}, killed by SIGTERM)"));
    let (waiting, failed) = (format!("waiting {end}"), format!("failed {end}"));
    let start = &UP[..3];
    let whole = [start, &[&stopping, &waiting], &start[1..], &[&stopping, &failed]].concat();
    assert_eq!(agentd.phases("a"), whole);
    assert_eq!(agentd.get("a").failures, 2);
    scratch.assert_no_process();
}

#[test]
fn what_ended_by_itself_is_restarted_as_its_policy_says() {
    let scratch = Scratch::new();
    for (name, when, order, is_restarted) in CASES {
        let when = format!("when = \"{when}\"");
        scratch.add(&scratch.good(name).restart(&when));
        let _ = (order, is_restarted);
    }
    let agentd = Agentd::start(&scratch);
    for (name, _, order, is_restarted) in CASES {
        let first = agentd.wait_running(name);
        scratch.order(name, order);
        let status = order.trim_start_matches("exit:");
        if is_restarted {
            agentd.wait_replaced(name, first);
            let again = format!("waiting (exit status {status})");
            assert_eq!(agentd.phases(name), [&UP[..], &[&again], &UP[1..]].concat());
        } else {
            let agent = agentd.wait_phase(name, PhaseName::Idle);
            assert_eq!(agent.want, "up", "nobody asked for its end");
            let idle = format!("idle (exit status {status})");
            assert_eq!(agentd.phases(name), [&UP[..], &[idle.as_str()]].concat());
            agentd.ask("Start", name).expect("may be asked");
            agentd.wait_running(name);
        }
    }
}

const CASES: [(&str, &str, &str, bool); 6] = [
    ("always-good", "always", "exit:0", true),
    ("always-bad", "always", "exit:9", true),
    ("failure-good", "on-failure", "exit:0", false),
    ("failure-bad", "on-failure", "exit:9", true),
    ("never-good", "never", "exit:0", false),
    ("never-bad", "never", "exit:9", false),
];

#[test]
fn running_long_enough_clears_the_failures() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a").restart("stable_after = \"50ms\""));
    let agentd = Agentd::start(&scratch);
    let mut pid = agentd.wait_running("a");
    for _ in 0..3 {
        scratch.order("a", "exit:1");
        pid = agentd.wait_replaced("a", pid);
        agentd.wait("a", "no failures", |agent| agent.failures == 0);
    }
    let again = [&["waiting (exit status 1)"], &UP[1..]].concat();
    assert_eq!(agentd.phases("a"), [&UP[..], &again, &again, &again].concat());
}

/// Runs once, fails twice: the second failure is followed by a wait of a second.
fn in_backoff() -> (Scratch, Agentd) {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a").restart("budget = { starts = 10, within = \"1h\" }"));
    let agentd = Agentd::start(&scratch);
    let pid = agentd.wait_running("a");
    scratch.order("a", "exit:1");
    agentd.wait_replaced("a", pid);
    scratch.order("a", "exit:1");
    let agent = agentd.wait_phase("a", PhaseName::Backoff);
    let detail = agent.detail.expect("says how it stands");
    assert!(detail.starts_with("exit status 1; starting again within "), "{detail}");
    (scratch, agentd)
}

#[test]
fn a_start_during_a_delay_does_not_wait_for_its_end() {
    let (_scratch, agentd) = in_backoff();
    assert_eq!(agentd.ask("Start", "a").expect("may be asked"), Disposition::Accepted);
    agentd.wait_running("a");
    let end = "(exit status 1)";
    let (now, later) = (format!("waiting {end}"), format!("backoff {end}"));
    let whole = [&UP[..], &[&now], &UP[1..], &[&later], &UP].concat();
    assert_eq!(agentd.phases("a"), whole);
    let history = agentd.history("a");
    let [.., backoff, waiting, _, _, _] = history.as_slice() else { panic!("{history:?}") };
    assert!(waiting.time_ms - backoff.time_ms < 790, "before the delay is over");
    assert_eq!(agentd.get("a").failures, 0);
}

#[test]
fn a_stop_during_a_delay_cancels_the_start() {
    let (scratch, agentd) = in_backoff();
    assert_eq!(agentd.ask("Stop", "a").expect("may be asked"), Disposition::Accepted);
    let agent = agentd.get("a");
    assert_eq!((agent.phase, agent.want.as_str()), (PhaseName::Idle, "down"));
    let begun = harness::clock();
    // Longer than the delay was: the moment at which it would have been started has passed.
    wait_for("the delay to be over", LIMIT, || {
        if begun.elapsed().as_millis() > 1300 { Ok(()) } else { Err("it is not") }
    });
    assert_eq!(agentd.phases("a").last().map(String::as_str), Some("idle"));
    scratch.assert_no_process();
}

#[test]
fn a_program_that_is_gone_is_named_and_its_agent_given_up() {
    let scratch = Scratch::new();
    let program = scratch.beside("program");
    std::fs::copy(harness::programs().fake_agent.as_path(), &program).expect("a copy can be made");
    let shown = program.to_str().expect("plain text");
    let agent = Spec::new("a", &[shown, "silent"]).agent("kit = false").restart(ONCE);
    scratch.add(&agent.restart("stable_after = \"1ms\""));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    std::fs::remove_file(&program).expect("it was there");
    agentd.ask("Restart", "a").expect("may be asked");
    let failed = agentd.wait_phase("a", PhaseName::Failed);
    let last = failed.last_exit.expect("how it ended");
    assert!(last.starts_with("could not start: ") && last.contains(shown), "{last}");
    assert!(last.contains("No such file"), "{last}");
    let history = agentd.phases("a");
    let (before, end) = history.split_at(6);
    assert_eq!(before[..3], ["waiting", "spawning", "running"]);
    assert_eq!(before[5], "spawning");
    assert_eq!(end, [format!("failed ({last})")]);
}
