//! What an agent's end, silence, fault or delay does: each rule by its name, as a story with its
//! whole history.

use super::*;

#[test]
fn a_crash_loop_is_restarted_at_once_then_doubling_and_ends_in_failed() {
    let mut sim = Sim::running(usual());
    sim.exited(CRASH).up();
    for base in [1, 2, 4] {
        let crashed = sim.now;
        sim.exited(CRASH);
        assert_eq!(sim.agent.phase.name(), "backoff");
        sim.wait(millis(base * 800 - 1));
        assert_eq!(sim.agent.phase.name(), "backoff", "before {base} s less a fifth");
        let Phase::Backoff { until, .. } = sim.agent.phase else { panic!("{:?}", sim.agent) };
        let rest = until.since(sim.now);
        sim.wait(rest).up();
        assert!(sim.now.since(crashed) <= millis(base * 1200), "after {base} s and a fifth");
    }
    sim.exited(CRASH).wait(secs(86_400)).on(Event::Cleared);
    let up = ["spawning: spawn", "starting", "running"];
    let mut expected = vec!["waiting"];
    expected.extend(up);
    for _ in 0..3 {
        expected.extend(["backoff", "waiting"]);
        expected.extend(up);
    }
    expected.push("failed");
    assert_eq!(sim.history, expected);
    assert_eq!(sim.spawns, 5);
    assert_eq!(sim.agent.failures(), 5);
    assert_eq!(sim.agent.phase.last().unwrap().to_string(), "exit status 1");
}

#[test]
fn one_that_crashes_seldom_is_never_given_up() {
    let mut sim = Sim::running(Policy { kit: false, ..usual() });
    for _ in 0..100 {
        sim.wait(secs(75)).exited(CRASH);
        assert_eq!(sim.agent.phase, Phase::Waiting { failures: 1 });
        sim.up();
    }
}

#[test]
fn a_budget_of_one_start_allows_no_restart() {
    let mut sim = Sim::running(budget(1, secs(60)));
    sim.exited(CRASH);
    assert_eq!(sim.history, ["failed"]);
}

#[test]
fn a_first_delay_is_waited_for() {
    let restart = RestartPolicy { first_delay: secs(3), ..usual().restart };
    let mut sim = Sim::running(Policy { restart, ..usual() });
    sim.exited(CRASH).wait(millis(2999));
    assert_eq!(sim.history, ["backoff"]);
    sim.wait(millis(1));
    assert_eq!(sim.history, ["backoff", "waiting"]);
}

#[test]
fn a_clean_end_on_failure_is_left_at_that_until_a_request() {
    let mut sim = Sim::running(usual());
    sim.exited(CLEAN).on(Event::Cleared).wait(secs(3600));
    assert_eq!(sim.history, ["idle"]);
    assert_eq!(sim.agent.want, Want::Up);
    sim.on(Event::Start).up();
    assert_eq!(sim.history, ["idle", "waiting", "spawning: spawn", "starting", "running"]);
}

#[test]
fn never_means_never_and_always_means_after_a_clean_end_too() {
    let mut never = Sim::running(when(RestartWhen::Never));
    never.exited(CRASH).on(Event::Cleared);
    assert_eq!(never.history, ["idle"]);
    let mut always = Sim::running(when(RestartWhen::Always));
    always.exited(CLEAN);
    assert_eq!(always.history, ["waiting"]);
    let mut signal = Sim::running(usual());
    signal.exited(ExitStatus::Signalled { signal: 15, core: false });
    assert_eq!(signal.history, ["waiting"]);
}

#[test]
fn one_not_ready_in_time_is_ended_and_counts_as_failed() {
    let mut sim = Sim::new(usual());
    sim.on(Event::Start).on(Event::Cleared).spawned();
    sim.wait(secs(9)).on(Event::Heard).wait(secs(5)).on(Event::Ready).exited(CLEAN);
    let expected = ["waiting", "spawning: spawn", "starting", "stopping: terminate", "waiting"];
    assert_eq!(sim.history, expected, "alive is not ready, and ready is too late now");
    assert_eq!(sim.agent.failures(), 1);
    sim.on(Event::Cleared).spawned().wait(secs(15)).exited(KILLED);
    assert_eq!(sim.agent.failures(), 2);
    let exit = sim.agent.phase.last().unwrap().to_string();
    assert_eq!(exit, "not ready within 10s, killed");
}

#[test]
fn three_missed_heartbeats_kill_it_at_once() {
    let mut sim = Sim::running(usual());
    sim.wait(secs(14)).on(Event::Heard).wait(millis(14_999));
    assert_eq!(sim.history, Vec::<String>::new());
    sim.wait(millis(1));
    assert_eq!(sim.history, ["stopping: kill"]);
    let exit = sim.agent.phase.exit(KILLED).unwrap().to_string();
    assert_eq!(exit, "hung: no heartbeat for 15s, killed");
    sim.exited(KILLED).up();
    assert_eq!(sim.agent.failures(), 1);
}

#[test]
fn waking_from_a_long_sleep_kills_nobody_who_still_lives() {
    let mut sim = Sim::running(usual());
    sim.sleep(secs(8 * 3600));
    assert_eq!(sim.history, Vec::<String>::new());
    sim.wait(millis(4999)).on(Event::Heard).wait(secs(14));
    assert_eq!(sim.history, Vec::<String>::new());
}

#[test]
fn one_that_hung_before_a_long_sleep_is_killed_a_heartbeat_after_it() {
    let mut sim = Sim::running(usual());
    sim.sleep(secs(8 * 3600)).wait(secs(5));
    assert_eq!(sim.history, ["stopping: kill"]);
}

#[test]
fn one_that_misbehaves_is_killed_and_counts_as_failed() {
    let mut sim = Sim::running(usual());
    sim.misbehaved().misbehaved().exited(KILLED);
    assert_eq!(sim.history, ["stopping: kill", "waiting"]);
    assert_eq!(sim.agent.failures(), 1);
    sim.on(Event::Cleared).spawned().misbehaved().exited(KILLED);
    assert_eq!(sim.agent.failures(), 2);
    let exit = sim.agent.phase.last().unwrap().to_string();
    assert_eq!(exit, "misbehaved: garbage, killed");
}

#[test]
fn a_fault_stays_the_cause_of_an_end_that_is_asked_for_later() {
    let mut sim = Sim::running(usual());
    sim.misbehaved().on(Event::Stop).exited(KILLED).wait(secs(3600));
    assert_eq!(sim.history, ["stopping: kill", "idle"]);
    let exit = sim.agent.phase.last().unwrap().to_string();
    assert_eq!(exit, "misbehaved: garbage, killed");
}

#[test]
fn a_spawn_that_fails_takes_the_path_of_a_crash() {
    let mut sim = Sim::new(budget(3, secs(60)));
    sim.on(Event::Start).on(Event::Cleared).spawn_failed();
    assert_eq!(sim.agent.phase, Phase::Waiting { failures: 1 });
    sim.on(Event::Cleared).spawn_failed();
    assert_eq!(sim.agent.phase.name(), "backoff");
    sim.wait(secs(2)).on(Event::Cleared).spawn_failed();
    assert_eq!(sim.agent.phase.name(), "failed");
    let exit = sim.agent.phase.last().unwrap().to_string();
    assert_eq!(exit, "could not start: no such file");
}

#[test]
fn running_long_enough_clears_the_failures() {
    for kit in [false, true] {
        let mut sim = Sim::running(Policy { kit, ..usual() });
        sim.exited(CRASH).up().exited(CRASH).wait(secs(2)).up();
        for _ in 0..5 {
            sim.wait(secs(10)).on(Event::Heard);
        }
        sim.wait(millis(9999));
        assert_eq!(sim.agent.failures(), 2);
        sim.wait(millis(1));
        assert_eq!(sim.agent.failures(), 0, "kit {kit}");
        sim.exited(CRASH);
        assert_eq!(sim.agent.phase, Phase::Waiting { failures: 1 });
    }
}

#[test]
fn agents_that_fall_together_do_not_rise_together() {
    let until = |first_pid| {
        let mut sim = Sim::new(usual());
        sim.next_pid = first_pid;
        sim.on(Event::Start).up().exited(CRASH).up().exited(CRASH);
        sim.timer.unwrap()
    };
    let all: std::collections::BTreeSet<Mono> = (0..20).map(|i| until(100 + 2 * i)).collect();
    assert!(all.len() > 15, "{all:?}");
}

#[test]
fn a_process_nobody_asked_for_is_killed_and_changes_nothing() {
    let running = Sim::running(usual()).agent;
    let stray = Event::Spawned(pid(7));
    let (after, actions) = step(running.clone(), stray, &usual(), Mono(secs(1000)));
    assert_eq!((after, actions), (running.clone(), vec![Action::Kill(pid(7))]));
    let repeated = Event::Spawned(pid(100));
    let (after, actions) = step(running.clone(), repeated, &usual(), Mono(secs(1000)));
    assert_eq!((after, actions), (running, vec![]));
}

#[test]
fn a_change_of_policy_alone_leaves_a_timer_that_puts_itself_right() {
    let mut sim = Sim::running(usual());
    sim.policy.restart.heartbeat = secs(10);
    let at = sim.timer.take().unwrap();
    sim.now = at;
    sim.on(Event::Timer);
    assert_eq!(sim.history, Vec::<String>::new(), "15 s are fine now");
    sim.wait(secs(15));
    assert_eq!(sim.history, ["stopping: kill"]);
}

#[test]
fn a_timer_that_fires_too_early_changes_nothing() {
    let early = |sim: &mut Sim| {
        let before = sim.agent.clone();
        sim.wait(millis(900)).on(Event::Timer);
        assert_eq!(sim.agent, before);
    };
    let mut sim = Sim::new(usual());
    early(sim.on(Event::Start));
    early(sim.on(Event::Cleared));
    early(sim.spawned());
    early(sim.on(Event::Ready));
    early(sim.on(Event::Restart));
    sim.wait(secs(5));
    early(&mut sim);
    sim.policy.restart.first_delay = secs(9);
    sim.exited(KILLED).up();
    early(sim.exited(CRASH));
    early(sim.on(Event::Stop));
}
