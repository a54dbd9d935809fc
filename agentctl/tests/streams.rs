//! What agentctl waits for and follows: no event is lost or shown twice, every wait has an end,
//! and a reader that goes away is no failure.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helper fails the test; clippy sees only functions marked #[test]"
)]

mod fake;

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentd_protocol::Code;
use agentd_protocol::control::*;
use fake::{Done, Fake, Wire, by_samples, samples};
use serde_json::{Value, json};

fn event(seq: u64) -> EventView {
    EventView { seq, message: format!("event {seq}"), ..samples::events().remove(0) }
}

fn told(seq: u64, dropped: u64) -> EventReply {
    EventReply { event: event(seq), dropped }
}

fn spawned(fake: &Fake, args: &[&str]) -> Child {
    fake.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Done {
    Done::of(child.wait_with_output().unwrap())
}

/// Which events were printed, by their numbers.
fn numbers(out: &str) -> Vec<u64> {
    out.lines().map(|line| serde_json::from_str::<EventView>(line).unwrap().seq).collect()
}

/// Where `Follow` was asked to begin, each time.
fn follows(fake: &Fake) -> Vec<Value> {
    let is_follow = |(method, parameters)| (method == "Events.Follow").then_some(parameters);
    fake.calls().into_iter().filter_map(is_follow).collect()
}

#[test]
fn following_begins_where_the_list_ended_and_survives_a_restart_of_agentd() {
    // The list holds an event that came after the status was taken; the first stream ends after
    // one event, as in a restart of agentd; the second goes on and then agentd is gone for good.
    let streams = AtomicUsize::new(0);
    let fake = Fake::answering(move |call, wire: &mut Wire| {
        match call.method.trim_start_matches("org.agentos.") {
            "Manager.Status" => wire.reply(&Status { seq: 11, ..samples::status() }),
            "Events.List" => wire.reply(&EventList { events: vec![event(11), event(12)] }),
            _ if streams.fetch_add(1, Ordering::SeqCst) == 0 => {
                wire.more(&told(13, 0))?;
                Err(io::ErrorKind::Other.into())
            }
            _ => {
                wire.more(&told(14, 0))?;
                wire.more(&told(19, 4))?;
                wire.error(call, Code::Exhausted, "too slow")
            }
        }
    });
    let done = fake.run(&["events", "-f", "--json"]);
    assert_eq!(numbers(&done.out), [11, 12, 13, 14, 19]);
    assert_eq!(follows(&fake), [json!({"after_seq": 12}), json!({"after_seq": 13})]);
    assert_eq!(done.status, i32::from(Code::Exhausted.exit_status()));
    insta::assert_snapshot!(done.err, @"
    agentctl: agentd closed the connection to org.agentos.Events.Follow; trying to reach it again
    agentctl: agentd is there again
    agentctl: 4 events were dropped here
    agentctl: too slow
    ");
}

#[test]
fn following_an_agent_of_which_nothing_is_known_begins_at_the_status() {
    let fake = Fake::answering(|call, wire: &mut Wire| match call.method.as_str() {
        "org.agentos.Events.Follow" => wire.error(call, Code::Internal, "over"),
        "org.agentos.Events.List" => wire.reply(&EventList { events: Vec::new() }),
        _ => by_samples(call, wire),
    });
    fake.run(&["events", "-f", "monitor"]).failure(Code::Internal.exit_status());
    assert_eq!(follows(&fake), [json!({"after_seq": 26, "agent": "monitor"})]);
}

#[test]
fn a_followed_agentd_that_does_not_come_back_is_given_up() {
    let fake = Fake::answering(|call, wire: &mut Wire| match call.method.as_str() {
        "org.agentos.Events.Follow" => {
            // Nobody can connect any more.
            std::fs::remove_file(socket_of(wire)).unwrap();
            Err(io::ErrorKind::Other.into())
        }
        "org.agentos.Events.List" => wire.reply(&EventList { events: vec![event(27)] }),
        _ => by_samples(call, wire),
    });
    let done = fake.run(&["events", "-f", "--timeout", "300ms"]);
    assert_eq!(done.status, i32::from(Code::Unavailable.exit_status()));
    assert!(done.err.contains("agentd does not run"), "{}", done.err);
}

fn socket_of(wire: &Wire) -> std::path::PathBuf {
    wire.0.local_addr().unwrap().as_pathname().unwrap().to_owned()
}

#[test]
fn events_are_shown_as_they_come_and_a_closed_pipe_ends_it_well() {
    let (tell, told_to) = mpsc::channel::<u64>();
    let told_to = Mutex::new(told_to);
    let fake = Fake::answering(move |call, wire: &mut Wire| match call.method.as_str() {
        "org.agentos.Events.Follow" => {
            let told_to = told_to.lock().unwrap();
            loop {
                wire.more(&told(told_to.recv().map_err(io::Error::other)?, 0))?;
            }
        }
        "org.agentos.Events.List" => wire.reply(&EventList { events: vec![event(27)] }),
        _ => by_samples(call, wire),
    });
    let mut child = spawned(&fake, &["events", "-f", "--json"]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for seq in [27, 28, 29] {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(numbers(&line), [seq]);
        tell.send(seq + 1).unwrap();
    }
    drop(out);
    // One may still have been written before the reader went away.
    tell.send(31).unwrap();
    tell.send(32).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

/// An agentd whose agents change when the test says so: each `List` answers the newest state, and
/// each change is told to whoever follows.
struct Changing {
    fake: Fake,
    state: Arc<Mutex<AgentList>>,
    followers: Receiver<Sender<u64>>,
}

impl Changing {
    fn new(first: AgentList) -> Self {
        let state = Arc::new(Mutex::new(first));
        let (announce, followers) = mpsc::channel::<Sender<u64>>();
        let (announce, shown) = (Mutex::new(announce), Arc::clone(&state));
        let fake = Fake::answering(move |call, wire: &mut Wire| match call.method.as_str() {
            "org.agentos.Agents.List" => {
                let list = shown.lock().unwrap().clone();
                wire.reply(&list)
            }
            "org.agentos.Events.Follow" => {
                let (tell, told_to) = mpsc::channel();
                announce.lock().unwrap().send(tell).map_err(io::Error::other)?;
                loop {
                    wire.more(&told(told_to.recv().map_err(io::Error::other)?, 0))?;
                }
            }
            _ => by_samples(call, wire),
        });
        Self { fake, state, followers }
    }

    /// Whoever follows next, to be told of changes.
    fn follower(&self) -> Sender<u64> {
        let limit = Duration::from_secs(30);
        self.followers.recv_timeout(limit).expect("agentctl follows what it waits for")
    }

    fn change(&self, change: impl FnOnce(&mut AgentView)) {
        let mut state = self.state.lock().unwrap();
        state.seq += 1;
        change(&mut state.agents[0]);
    }
}

fn one(agent: AgentView) -> AgentList {
    AgentList { seq: 5, agents: vec![agent] }
}

#[test]
fn list_waits_until_every_enabled_agent_runs_and_is_measured() {
    let unmeasured = AgentView { health: Health::Unknown, ..samples::agent("network", "x", 7) };
    let disabled = AgentView {
        enabled: false,
        ..samples::down(samples::agent("web", "x", 0), PhaseName::Idle, None)
    };
    let mut list = one(samples::down(unmeasured.clone(), PhaseName::Starting, None));
    list.agents.push(disabled);
    let world = Changing::new(list);
    let mut child = spawned(&world.fake, &["list", "--wait", "--json"]);
    let tell = world.follower();
    assert_eq!(follows(&world.fake), [json!({"after_seq": 5})]);

    world.change(|agent| *agent = unmeasured);
    tell.send(6).unwrap();
    // It runs, and was not measured: another event is waited for.
    while world.fake.calls().iter().filter(|(method, _)| method == "Agents.List").count() < 2 {
        std::thread::yield_now();
    }
    assert!(child.try_wait().unwrap().is_none());
    world.change(|agent| agent.health = Health::Degraded);
    tell.send(7).unwrap();
    let list: AgentList = serde_json::from_str(&ended(child).result()).unwrap();
    assert_eq!((list.seq, list.agents[0].health), (7, Health::Degraded));
}

#[test]
fn list_waits_for_an_agentd_that_is_not_there_yet() {
    let fake = Fake::absent();
    let child = spawned(&fake, &["list", "--wait", "--json"]);
    fake.start(|_, wire: &mut Wire| wire.reply(&samples::well()));
    ended(child).result();
}

#[test]
fn list_waits_on_while_agentd_is_replaced() {
    // The first connection breaks; the second finds agents that run.
    let is_first = AtomicBool::new(true);
    let fake = Fake::answering(move |_, wire: &mut Wire| {
        if is_first.swap(false, Ordering::SeqCst) {
            return Err(io::ErrorKind::Other.into());
        }
        wire.reply(&samples::well())
    });
    fake.run(&["list", "--wait"]).result();
}

#[test]
fn a_wait_that_ends_says_who_is_missing_and_why() {
    let fake = Fake::answering(|call, wire: &mut Wire| match call.method.as_str() {
        "org.agentos.Events.Follow" => wire.wait_for_end(),
        _ => by_samples(call, wire),
    });
    let message = fake.run(&["list", "--wait=300ms"]).failure(Code::Timeout.exit_status());
    insta::assert_snapshot!(message, @"
    agentctl: not every enabled agent runs; waited 300ms
      security: failed: 5 starts within 5min are used up; its last process ended with exit status 101
      system: backoff: next start in 8s; its last process ended with exit status 1
    ");
    let message = Fake::absent().run(&["list", "--wait=200ms"]).failure(7);
    assert!(message.contains("agentd does not run"), "{message}");
}

#[test]
fn what_no_waiting_will_mend_is_said_at_once() {
    let fake = Fake::answering(|call, wire: &mut Wire| {
        wire.error(call, Code::Forbidden, "not in group agentos")
    });
    fake.run(&["list", "--wait"]).failure(Code::Forbidden.exit_status());
}

#[test]
fn a_restart_is_waited_for_until_another_process_runs() {
    let world = Changing::new(one(samples::agent("network", "x", 7)));
    let mut child = spawned(&world.fake, &["restart", "--wait", "network"]);
    let tell = world.follower();
    assert!(child.try_wait().unwrap().is_none(), "the old process is not the new one");
    world.change(|agent| (agent.pid, agent.started_ms) = (Some(8), Some(samples::NOW)));
    tell.send(6).unwrap();
    assert_eq!(ended(child).result(), "network: restarting\nnetwork: running, process 8\n");
}

#[test]
fn a_stop_is_waited_for_until_there_is_no_process() {
    let world = Changing::new(one(samples::agent("network", "x", 7)));
    let child = spawned(&world.fake, &["stop", "--wait", "network"]);
    let tell = world.follower();
    world.change(|agent| *agent = samples::down(agent.clone(), PhaseName::Idle, None));
    tell.send(6).unwrap();
    assert_eq!(ended(child).result(), "network: stopping\nnetwork: idle\n");
}

#[test]
fn a_start_that_fails_for_good_is_not_waited_for() {
    let starting = samples::down(samples::agent("network", "x", 7), PhaseName::Starting, None);
    let world = Changing::new(one(starting));
    let child = spawned(&world.fake, &["start", "--wait", "network"]);
    let tell = world.follower();
    world.change(|agent| {
        let failed = samples::down(agent.clone(), PhaseName::Failed, Some("no starts are left"));
        *agent = AgentView { last_exit: Some("exit status 1".to_owned()), ..failed };
    });
    tell.send(6).unwrap();
    let done = ended(child);
    assert_eq!(done.status, i32::from(Code::Conflict.exit_status()));
    assert_eq!(done.out, "network: starting\n");
    insta::assert_snapshot!(done.err, @"
    agentctl: network did not come up
      failed: no starts are left; its last process ended with exit status 1
      see why:  agentctl logs network
    ");
}

#[test]
fn a_log_file_is_followed_through_its_rotation() {
    let fake = Fake::absent();
    let logs = fake.dir.path().join("var/log/agentos");
    std::fs::create_dir_all(&logs).unwrap();
    let path = logs.join("storage.log");
    std::fs::write(&path, "one\ntwo\nthr").unwrap();
    let mut child = spawned(&fake, &["logs", "storage", "-f", "-n", "2"]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(line(), "two\n");
    let append = |path: &std::path::Path, text: &str| {
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    append(&path, "ee\n");
    assert_eq!(line(), "three\n", "a line is shown when it is whole");
    std::fs::rename(&path, logs.join("storage.log.1")).unwrap();
    append(&logs.join("storage.log.1"), "last of the old\n");
    std::fs::write(&path, "first of the new\n").unwrap();
    assert_eq!(line(), "last of the old\n");
    assert_eq!(line(), "first of the new\n");
    child.kill().unwrap();
    child.wait().unwrap();
}
