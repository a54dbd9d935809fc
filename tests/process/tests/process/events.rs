//! Events: their numbers, and following them without missing one.

use std::collections::BTreeMap;

use agentd_protocol::Code;
use agentd_protocol::control::{EventQuery, EventReply, EventView, Health, PhaseName, kind};
use harness::{Agentd, LIMIT, Scratch, wait_for};
use serde_json::json;

fn after(seq: u64) -> EventQuery {
    EventQuery { after_seq: Some(seq), ..EventQuery::default() }
}

/// Fails unless the numbers rise by one from `first` on.
#[track_caller]
fn assert_no_gap(events: &[EventView], first: u64) {
    for (event, expected) in events.iter().zip(first..) {
        assert_eq!(event.seq, expected, "a gap or a repeat: {events:#?}");
    }
}

/// Makes about `count` events, one request each, a hundred at a time.
fn make_events(agentd: &Agentd, count: usize) {
    let mut client = agentd.client();
    let call = json!({ "method": "org.agentos.Agents.Start", "parameters": { "name": "a" } });
    let some = format!("{call}\0").repeat(100);
    for _ in 0..count.div_ceil(100) {
        client.send_bytes(some.as_bytes()).expect("agentd reads");
        for _ in 0..100 {
            client.reply().expect("agentd answers");
        }
    }
}

fn one_good() -> (Scratch, Agentd) {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    // The last event of a start.
    agentd.wait("a", "ok", |agent| agent.health == Health::Ok);
    (scratch, agentd)
}

#[test]
fn numbers_go_on_without_a_gap_when_agentd_is_restarted() {
    let (scratch, agentd) = one_good();
    assert_eq!(agentd.began(), 1, "the first event of all");
    agentd.ask("Restart", "a").expect("may be asked");
    agentd.stop();
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    agentd.stop();
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    let events = agentd.events(&EventQuery { limit: Some(1000), ..after(0) });
    assert_no_gap(&events, 1);
    let starts: Vec<u64> = events
        .iter()
        .filter(|event| event.kind == kind::AGENTD && event.fields.contains_key("version"))
        .map(|event| event.seq)
        .collect();
    assert_eq!(starts.len(), 3);
    assert_eq!(starts[2], agentd.began());
    let times: Vec<i64> = events.iter().map(|event| event.time_ms).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn what_is_asked_of_the_past_is_what_comes() {
    let (_scratch, agentd) = one_good();
    let all = agentd.events(&after(0));
    assert_no_gap(&all, 1);
    let last = all.last().expect("there are some").seq;
    assert_eq!(agentd.last_events(2), all[all.len() - 2..]);
    assert_eq!(agentd.events(&after(last - 1)), all[all.len() - 1..]);
    assert_eq!(agentd.events(&after(last + 100)), []);
    let of_a = EventQuery { agent: Some("a".into()), ..after(0) };
    let of_agent: Vec<EventView> =
        all.iter().filter(|event| event.agent.as_deref() == Some("a")).cloned().collect();
    assert_eq!(agentd.events(&of_a), of_agent);
    let middle = all[all.len() / 2].time_ms;
    let since = EventQuery { since_ms: Some(middle), ..EventQuery::default() };
    let later: Vec<EventView> =
        all.iter().filter(|event| event.time_ms >= middle).cloned().collect();
    assert_eq!(agentd.events(&since), later);
}

#[test]
fn limits_and_names_are_checked() {
    let (_scratch, agentd) = one_good();
    let list = |query: serde_json::Value| {
        agentd.call::<serde_json::Value>("Events.List", &query).map(drop)
    };
    for limit in [0, 1001, u32::MAX] {
        let refused = list(json!({ "limit": limit })).expect_err("out of range");
        assert_eq!(refused.name(), "org.agentos.Events.Invalid");
        assert_eq!(refused.message(), format!("limit is {limit}, but must be 1 to 1000"));
    }
    for limit in [1, 1000] {
        list(json!({ "limit": limit })).expect("in range");
    }
    let refused = list(json!({ "agent": "no name" })).expect_err("no name");
    assert_eq!(refused.code(), Some(Code::Invalid));
    list(json!({ "agent": "unheard-of" }))
        .expect("nobody is called so, and nothing happened to them");
    for wrong in [json!({ "limit": -1 }), json!({ "after_seq": "1" }), json!({ "since_ms": 1.5 })] {
        let refused = list(wrong).expect_err("of the wrong type");
        assert_eq!(refused.name(), "org.varlink.service.InvalidParameter");
    }
    list(json!({ "limit": null, "agent": null })).expect("null is absent");
}

/// A client that takes the snapshot and then the events above it knows everything, whatever happens
/// meanwhile.
#[test]
fn a_snapshot_and_the_events_above_it_are_the_whole_story() {
    let scratch = Scratch::new();
    let names = ["a", "b", "c"];
    names.iter().for_each(|name| scratch.add(&scratch.good(name)));
    let agentd = Agentd::start(&scratch);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..12 {
                let verb = ["Stop", "Start", "Restart"][round % 3];
                for name in names {
                    agentd_ask(agentd.socket(), verb, name);
                }
            }
            is_over.store(true, std::sync::atomic::Ordering::Release);
        });
        while !is_over.load(std::sync::atomic::Ordering::Acquire) {
            let snapshot = agentd.list();
            let mut shown: BTreeMap<String, String> = snapshot
                .agents
                .iter()
                .map(|agent| (agent.name.clone(), agent.phase.as_str().to_owned()))
                .collect();
            let stream = agentd.follow(&after(snapshot.seq));
            for (reply, expected) in stream.zip(snapshot.seq + 1..).take(20) {
                let EventReply { event, dropped } = reply.expect("the stream goes on");
                assert_eq!((event.seq, dropped), (expected, 0));
                if event.kind == kind::PHASE {
                    let name = event.agent.expect("a phase is an agent's");
                    let before = shown.insert(name, event.fields["to"].clone());
                    assert_eq!(before.as_ref(), Some(&event.fields["from"]), "{snapshot:?}");
                }
                if is_over.load(std::sync::atomic::Ordering::Acquire) {
                    break;
                }
            }
        }
    });
}

fn agentd_ask(socket: &std::path::Path, verb: &str, name: &str) {
    let mut client = harness::Client::connect(socket).expect("agentd listens");
    let method = format!("org.agentos.Agents.{verb}");
    let _: serde_json::Value =
        client.call(&method, &json!({ "name": name })).expect("may be asked");
}

#[test]
fn a_follower_gets_all_of_the_past_it_asks_for_however_much() {
    let (_scratch, agentd) = one_good();
    make_events(&agentd, 2500);
    let last = agentd.status().seq;
    let events: Vec<EventView> = agentd
        .follow(&after(0))
        .map(|reply| reply.expect("the stream goes on"))
        .map(|reply| {
            assert_eq!(reply.dropped, 0);
            reply.event
        })
        .take(usize::try_from(last).expect("not so many"))
        .collect();
    assert_no_gap(&events, 1);
}

#[test]
fn without_a_beginning_only_new_events_come_and_limit_is_not_used() {
    let (_scratch, agentd) = one_good();
    let mut stream = agentd.follow(&EventQuery { limit: Some(0), ..EventQuery::default() });
    // A stream begins at some moment after the call: this one once it has told something.
    let first = std::thread::scope(|scope| {
        let reader = scope.spawn(|| stream.next().expect("a stream has no end").expect("an event"));
        wait_for("the stream to tell something", LIMIT, || {
            agentd.ask("Start", "a").expect("may be asked");
            if reader.is_finished() { Ok(()) } else { Err("nothing") }
        });
        reader.join().expect("the reader does not fail")
    });
    assert_eq!(first.event.kind, kind::REQUEST, "nothing of the past: {first:?}");
    assert_eq!(first.dropped, 0);
}

#[test]
fn a_follower_of_one_agent_hears_of_no_other() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    scratch.add(&scratch.good("b"));
    let agentd = Agentd::start(&scratch);
    let query = EventQuery { agent: Some("b".into()), ..after(0) };
    let mut stream = agentd.follow(&query);
    agentd.wait_running("a");
    agentd.wait_running("b");
    agentd.ask("Stop", "a").expect("may be asked");
    agentd.wait_phase("a", PhaseName::Idle);
    agentd.ask("Stop", "b").expect("may be asked");
    for reply in &mut stream {
        let event = reply.expect("the stream goes on").event;
        assert_eq!(event.agent.as_deref(), Some("b"));
        if event.fields.get("to").is_some_and(|to| to == "idle") {
            return;
        }
    }
}

#[test]
fn a_slow_follower_is_told_how_many_it_lost() {
    let (_scratch, agentd) = one_good();
    let from = agentd.status().seq;
    let mut stream = agentd.follow(&after(from));
    agentd.ask("Start", "a").expect("may be asked");
    let first = stream.next().expect("a stream has no end").expect("an event");
    assert_eq!(first.event.seq, from + 1);
    // More than agentd keeps for a follower and the socket takes; it reads none of it meanwhile.
    make_events(&agentd, 8000);
    let last = agentd.status().seq;
    let mut expected = from + 2;
    let mut lost = 0;
    for reply in stream {
        let EventReply { event, dropped } = reply.expect("it is not hung up on");
        assert_eq!(event.seq, expected + dropped, "told how many it lost, exactly");
        expected = event.seq + 1;
        lost += dropped;
        if event.seq == last {
            break;
        }
    }
    assert!(lost > 0, "nothing was lost: the test made too few events");
}

/// More events at once than wait for a slow disk may be lost. What is not is there, and what is lost
/// is told in its place.
#[test]
fn after_a_burst_every_number_is_accounted_for() {
    let (scratch, agentd) = one_good();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| make_events(&agentd, 2500));
        }
    });
    let last = agentd.status().seq;
    assert!(last > 10_000);
    agentd.stop();
    let agentd = Agentd::start(&scratch);
    assert_eq!(agentd.problems("store"), "");
    let (mut seen, mut lost, mut told) = (0, 0, 0);
    for reply in agentd.follow(&after(0)) {
        let EventReply { event, dropped } = reply.expect("the stream goes on");
        assert_eq!(dropped, 0);
        let field = |name: &str| event.fields[name].parse::<u64>().expect("a number");
        if event.kind == kind::STORE_LOST {
            assert_eq!((field("first"), field("last")), (seen + 1, event.seq));
            lost += event.seq - seen;
        } else {
            assert_eq!(event.seq, seen + 1);
        }
        if event.kind == kind::STORE_RECOVERED {
            told += field("lost");
        }
        seen = event.seq;
        if seen > last {
            break;
        }
    }
    // Each event is a row that waits to be written; what was lost last is noticed after the end.
    assert!(told <= lost, "{told} of {lost}");
}
