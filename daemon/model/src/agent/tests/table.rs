//! The whole machine as a table, phase by event: what is reviewed when it changes.

use std::fmt::Write;

use super::*;

/// One agent in each phase, all that makes a difference within a phase included.
fn agents() -> Vec<(&'static str, Agent)> {
    let since = Mono(secs(1000));
    let pid = pid(100);
    let last = super::super::Exit::Ended(CRASH);
    let up = |phase| Agent { want: Want::Up, phase, ..Agent::new() };
    let down = |phase| Agent { want: Want::Down, phase, ..Agent::new() };
    let spawning = |again| Phase::Spawning { failures: 1, since, again };
    let stopping =
        |cause, again, killed| Phase::Stopping { pid, since, cause, killed, again, failures: 1 };
    let hang = Cause::Hang { silent: secs(15) };
    vec![
        ("idle, wanted down", down(Phase::Idle { last: None })),
        ("idle, wanted up", up(Phase::Idle { last: Some(last.clone()) })),
        ("waiting", up(Phase::Waiting { failures: 1 })),
        ("spawning, wanted up", up(spawning(false))),
        ("spawning, to be replaced", up(spawning(true))),
        ("spawning, wanted down", down(spawning(false))),
        ("starting", up(Phase::Starting { pid, since, failures: 1 })),
        ("running", up(Phase::Running { pid, since, heard: since, failures: 1 })),
        ("stopping as asked", down(stopping(Cause::Asked, false, false))),
        ("stopping as asked, wanted up", up(stopping(Cause::Asked, true, false))),
        ("stopping for a restart", up(stopping(Cause::Restart, true, false))),
        ("stopping one that hung", up(stopping(hang, false, true))),
        ("backoff", up(Phase::Backoff { until: since + secs(2), failures: 1, last: last.clone() })),
        ("failed", up(Phase::Failed { last, failures: 5 })),
    ]
}

#[test]
fn every_event_in_every_phase() {
    let events = [
        Event::Start,
        Event::Stop,
        Event::Restart,
        Event::Cleared,
        Event::Spawned(pid(7)),
        Event::SpawnFailed("no such file".to_owned()),
        Event::Ready,
        Event::Heard,
        Event::Misbehaved("garbage".to_owned()),
        Event::Exited(CRASH),
        Event::Exited(CLEAN),
        Event::Timer,
    ];
    let mut table = String::new();
    for (name, agent) in agents() {
        writeln!(table, "{name}").unwrap();
        for event in &events {
            // Sixteen seconds later every time limit is over.
            let now = Mono(secs(1016));
            let (after, actions) = step(agent.clone(), event.clone(), &usual(), now);
            let result = if after == agent && actions.is_empty() {
                "-".to_owned()
            } else {
                format!("want {}, {:?} {actions:?}", after.want.as_str(), after.phase)
            };
            writeln!(table, "  {event:?}: {result}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}
