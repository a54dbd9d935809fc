//! What requests do, in every phase and in every order: each rule by its name, as a story with
//! its whole history.

use super::*;

#[test]
fn a_start_leads_through_every_phase_to_running() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).on(Event::Cleared).spawned().on(Event::Ready);
    assert_eq!(sim.history, ["waiting", "spawning: spawn", "starting", "running"]);
    assert_eq!(sim.agent.pid(), Some(pid(100)));
    assert_eq!(sim.agent.failures(), 0);
}

#[test]
fn nothing_is_spawned_before_it_is_cleared() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).wait(secs(3600));
    assert_eq!(sim.history, ["waiting"]);
}

#[test]
fn cleared_twice_starts_once() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).on(Event::Cleared).on(Event::Cleared).spawned().on(Event::Cleared);
    sim.on(Event::Ready).on(Event::Cleared).exited(CRASH).up().exited(CRASH).on(Event::Cleared);
    let up = ["waiting", "spawning: spawn", "starting", "running"];
    assert_eq!(sim.history, [&up[..], &up[..], &["backoff"][..]].concat());
}

#[test]
fn without_kit_a_process_counts_as_ready_and_has_no_heartbeat() {
    let mut sim = Sim::new(Policy { kit: false, ..usual() });
    sim.on(Event::Start).on(Event::Cleared).spawned().wait(secs(86_400));
    assert_eq!(sim.history, ["waiting", "spawning: spawn", "running"]);
}

#[test]
fn a_stop_ends_it_with_sigterm() {
    let mut sim = Sim::running(usual());
    sim.on(Event::Stop).exited(CLEAN).wait(secs(3600));
    assert_eq!(sim.history, ["stopping: terminate", "idle"]);
    let exit = sim.agent.phase.last().unwrap().to_string();
    assert_eq!(exit, "stopped as asked, exit status 0");
}

#[test]
fn one_that_ignores_sigterm_is_killed_when_its_grace_is_over() {
    let mut sim = Sim::running(usual());
    sim.on(Event::Stop).wait(millis(4999));
    assert_eq!(sim.history, ["stopping: terminate"]);
    sim.wait(millis(1));
    assert_eq!(sim.history, ["stopping: terminate", "stopping: kill"]);
    sim.wait(secs(3600)).exited(KILLED);
    assert_eq!(sim.history, ["stopping: terminate", "stopping: kill", "idle"]);
}

#[test]
fn a_stop_before_the_pid_is_known_is_carried_out_when_it_is() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).on(Event::Cleared).on(Event::Stop).spawned().exited(CLEAN);
    assert_eq!(sim.history, ["waiting", "spawning: spawn", "stopping: terminate", "idle"]);
}

#[test]
fn a_stop_taken_back_before_the_pid_is_known_keeps_the_process() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).on(Event::Cleared).on(Event::Stop).on(Event::Start).spawned();
    assert_eq!(sim.history, ["waiting", "spawning: spawn", "starting"]);
}

#[test]
fn a_stop_before_a_failed_spawn_leaves_it_idle() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).on(Event::Cleared).on(Event::Stop).spawn_failed().wait(secs(3600));
    assert_eq!(sim.history, ["waiting", "spawning: spawn", "idle"]);
}

#[test]
fn a_restart_before_the_pid_is_known_replaces_that_process() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).on(Event::Cleared).on(Event::Restart).spawned().exited(CLEAN).up();
    assert_eq!(
        sim.history,
        [
            "waiting",
            "spawning: spawn",
            "stopping: terminate",
            "waiting",
            "spawning: spawn",
            "starting",
            "running"
        ]
    );
}

#[test]
fn a_restart_before_a_failed_spawn_is_tried_at_once() {
    let mut sim = Sim::new(when(RestartWhen::Never));
    sim.on(Event::Start).on(Event::Cleared).on(Event::Restart).spawn_failed().up();
    assert_eq!(sim.spawns, 2);
}

#[test]
fn a_restart_is_not_lost_through_a_stop_and_a_start_behind_it() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).on(Event::Cleared);
    sim.on(Event::Restart).on(Event::Stop).on(Event::Start).settle();
    assert_eq!(sim.agent.pid(), Some(pid(101)), "still the process that was to be replaced");
}

#[test]
fn a_start_during_a_stop_starts_it_again_after_its_end() {
    let mut sim = Sim::running(usual());
    sim.on(Event::Stop).on(Event::Start).exited(CLEAN).up();
    assert_eq!(
        sim.history,
        ["stopping: terminate", "waiting", "spawning: spawn", "starting", "running"]
    );
    assert_eq!(sim.agent.failures(), 0);
}

#[test]
fn a_restart_during_a_stop_starts_it_again_after_its_end() {
    let mut sim = Sim::running(usual());
    sim.on(Event::Stop).on(Event::Restart).exited(CLEAN);
    assert_eq!(sim.history, ["stopping: terminate", "waiting"]);
}

#[test]
fn a_stop_during_a_restart_wins() {
    let mut sim = Sim::running(usual());
    sim.on(Event::Restart).on(Event::Stop).exited(CLEAN).wait(secs(3600));
    assert_eq!(sim.history, ["stopping: terminate", "idle"]);
    let exit = sim.agent.phase.last().unwrap().to_string();
    assert_eq!(exit, "stopped as asked, exit status 0");
}

#[test]
fn of_many_requests_during_a_stop_the_last_wins() {
    let mut sim = Sim::running(usual());
    sim.on(Event::Stop).on(Event::Start).on(Event::Stop).on(Event::Start).on(Event::Stop);
    sim.exited(CLEAN).wait(secs(3600));
    assert_eq!(sim.history, ["stopping: terminate", "idle"]);
}

#[test]
fn restarts_that_were_asked_for_are_no_failures_and_not_in_the_budget() {
    let mut sim = Sim::running(usual());
    for _ in 0..20 {
        sim.on(Event::Restart).exited(CLEAN).up();
        assert_eq!(sim.agent.failures(), 0);
    }
    assert_eq!(sim.spawns, 21);
    sim.exited(CRASH);
    assert_eq!(sim.agent.phase, Phase::Waiting { failures: 1 });
}

#[test]
fn a_restart_while_starting_replaces_the_process() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).on(Event::Cleared).spawned().on(Event::Restart).exited(CRASH);
    assert_eq!(
        sim.history,
        ["waiting", "spawning: spawn", "starting", "stopping: terminate", "waiting"]
    );
    assert_eq!(sim.agent.failures(), 0);
}

#[test]
fn a_restart_of_one_that_is_down_starts_it() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Restart).up();
    assert_eq!(sim.history, ["waiting", "spawning: spawn", "starting", "running"]);
}

#[test]
fn a_stop_while_waiting_leaves_it_idle() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).on(Event::Stop).on(Event::Cleared);
    assert_eq!(sim.history, ["waiting", "idle"]);
}

#[test]
fn a_start_or_restart_of_a_failed_one_begins_anew() {
    for request in [Event::Start, Event::Restart] {
        let mut sim = Sim::running(budget(2, secs(60)));
        sim.exited(CRASH).up().exited(CRASH);
        assert_eq!(sim.agent.phase.name(), "failed");
        sim.on(request);
        assert_eq!(sim.agent.phase, Phase::Waiting { failures: 0 });
        sim.up().exited(CRASH);
        assert_eq!(sim.agent.phase, Phase::Waiting { failures: 1 }, "at once, as the first time");
    }
}

#[test]
fn a_stop_of_a_failed_one_keeps_how_it_ended() {
    let mut sim = Sim::running(budget(1, secs(60)));
    sim.exited(CRASH).on(Event::Stop);
    assert_eq!(sim.history, ["failed", "idle"]);
    assert_eq!(sim.agent.phase.last().unwrap().to_string(), "exit status 1");
}

#[test]
fn a_start_or_restart_during_backoff_starts_at_once() {
    for request in [Event::Start, Event::Restart] {
        let mut sim = Sim::running(usual());
        sim.exited(CRASH).up().exited(CRASH).on(request).up();
        assert_eq!(sim.agent.failures(), 0);
        assert_eq!(sim.spawns, 3);
    }
}

#[test]
fn a_stop_during_backoff_cancels_the_restart() {
    let mut sim = Sim::running(usual());
    sim.exited(CRASH).up().exited(CRASH).on(Event::Stop).wait(secs(3600)).on(Event::Cleared);
    assert_eq!(sim.agent.phase.name(), "idle");
    assert_eq!(sim.spawns, 2);
}

#[test]
fn a_start_while_a_faulty_one_is_killed_is_not_lost_to_its_policy() {
    for request in [Event::Start, Event::Restart] {
        let mut sim = Sim::running(when(RestartWhen::Never));
        sim.misbehaved().on(request.clone()).exited(KILLED).up();
        let mut spent = Sim::running(budget(1, secs(60)));
        spent.misbehaved().on(Event::Stop).on(request).exited(KILLED).up();
    }
}

#[test]
fn asking_for_what_is_so_changes_nothing() {
    let already = |sim: &Sim, request: Event| {
        let (after, actions) = step(sim.agent.clone(), request, &sim.policy, sim.now);
        assert_eq!((after, actions), (sim.agent.clone(), vec![]));
    };
    let mut sim = Sim::new(usual());
    already(&sim, Event::Stop);
    already(sim.on(Event::Start), Event::Start);
    already(sim.on(Event::Cleared), Event::Start);
    already(sim.spawned(), Event::Start);
    already(sim.on(Event::Ready), Event::Start);
    already(sim.on(Event::Restart), Event::Restart);
    already(&sim, Event::Start);
    already(sim.on(Event::Stop), Event::Stop);
    already(sim.exited(CLEAN), Event::Stop);
}
