//! Agents that live and do nothing: silence, a stopped process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentd_protocol::control::{Health, PhaseName, kind};
use harness::{Agentd, Client, Scratch, clock, phases, state_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::{ONCE, UP};

#[test]
fn an_agent_that_falls_silent_is_killed_and_the_event_says_why() {
    let scratch = Scratch::new();
    let quiet = scratch.fake("a", &["settings", "ready:probe", "silent"]);
    scratch.add(&quiet.restart("heartbeat = \"100ms\"").restart(ONCE));
    scratch.add(&scratch.good("neighbour"));
    let agentd = Agentd::start(&scratch);
    let neighbour = agentd.wait_running("neighbour");
    agentd.wait_phase("a", PhaseName::Failed);
    let history = agentd.history("a");
    assert_eq!(phases(&history)[..4], UP);
    let [.., stopping, failed] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!(
        (history.len(), stopping.to.as_str(), failed.to.as_str()),
        (6, "stopping", "failed")
    );
    let cause = stopping.cause.as_deref().expect("why it is ended");
    assert!(cause.starts_with("hung: no heartbeat for 3"), "three of 100 ms: {cause}");
    assert_eq!(failed.exit.as_deref(), Some(format!("{cause}, killed").as_str()));
    assert_eq!(agentd.get("neighbour").pid, Some(neighbour));
}

/// A heartbeat of more than a second, because agentd looks how well its agents do once a second, and
/// one is stale only between the second heartbeat that it missed and the third.
#[test]
fn a_stopped_process_is_noticed_and_replaced() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a").restart("heartbeat = \"1300ms\""));
    let agentd = Agentd::start(&scratch);
    agentd.wait("a", "ok", |agent| agent.health == Health::Ok);
    let first = agentd.wait_running("a");
    kill(Pid::from_raw(first), Signal::SIGSTOP).expect("it runs");
    let stale = agentd.wait("a", "stale", |agent| agent.health == Health::Stale);
    assert_eq!(stale.pid, Some(first));
    assert_eq!(state_of(first), Some('T'), "told before it is killed");
    assert!(stale.health_reasons[0].starts_with("not heard from for"), "{stale:?}");
    agentd.wait_replaced("a", first);
    assert_eq!(state_of(first), None, "gone and reaped");
    let history = agentd.history("a");
    let whole = phases(&history);
    assert_eq!(whole[..4], UP);
    let cause = history[4].cause.clone().expect("why it is ended");
    assert!(cause.starts_with("hung: no heartbeat for 3"), "three of 1.3 s: {cause}");
    assert_eq!(whole[4..6], [format!("stopping ({cause})"), format!("waiting ({cause}, killed)")]);
    assert_eq!(whole[6..9], UP[1..]);
    let health = agentd.events_of(kind::HEALTH, Some("a"));
    let turns: Vec<&str> = health.iter().map(|event| event.fields["to"].as_str()).collect();
    assert_eq!(turns[..2], ["ok", "stale"]);
}

/// Requests come as fast as they are answered, and still time passes for agentd.
#[test]
fn a_storm_of_requests_holds_up_no_timer() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("asked"));
    let quiet = scratch.fake("quiet", &["settings", "ready:probe", "silent"]);
    let quiet = quiet.restart("heartbeat = \"100ms\"").restart(ONCE);
    scratch.add(&quiet.agent("enabled = false"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("asked");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(agentd.socket()).expect("agentd listens");
                let call = json!({
                    "method": "org.agentos.Agents.Start", "parameters": { "name": "asked" }
                });
                let some = format!("{call}\0").repeat(50);
                while !is_over.load(Ordering::Relaxed) {
                    client.send_bytes(some.as_bytes()).expect("agentd reads");
                    for _ in 0..50 {
                        client.reply().expect("agentd answers");
                    }
                }
            });
        }
        agentd.ask("Start", "quiet").expect("may be asked");
        let deadline = clock() + Duration::from_secs(10);
        while agentd.get("quiet").phase != PhaseName::Failed && clock() < deadline {}
        let phase = agentd.get("quiet").phase;
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(phase, PhaseName::Failed, "its silence was noticed during the storm");
    });
}

#[test]
fn one_that_beats_but_never_says_ready_is_late() {
    let scratch = Scratch::new();
    let agent = scratch.fake("a", &["settings", "live"]).restart("ready_within = \"300ms\"");
    scratch.add(&agent.restart("heartbeat = \"20ms\"").restart(ONCE));
    let agentd = Agentd::start(&scratch);
    agentd.wait_phase("a", PhaseName::Failed);
    let late = "not ready within 300ms";
    let (stopping, failed) =
        (format!("stopping ({late})"), format!("failed ({late}, exit status 0)"));
    assert_eq!(agentd.phases("a"), [&UP[..3], &[&stopping, &failed]].concat());
}
