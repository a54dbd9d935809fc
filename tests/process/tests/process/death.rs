//! The death of agentd itself, and what the next one finds.

use agentd_protocol::control::{EventQuery, kind};
use agentd_store::Reader;
use harness::{Agentd, LIMIT, Scratch, Spec, is_alive, wait_for};

use crate::UP;

#[test]
fn after_kill_9_the_next_agentd_goes_on() {
    let scratch = Scratch::new();
    let orders = format!("orders:{}", scratch.beside("a.orders").display());
    // Says nothing of its check by itself.
    scratch.add(&scratch.fake("a", &[&orders, "settings", "ready:probe", "live"]));
    scratch.add(&scratch.good("b").agent("needs = [\"a\"]"));
    let agentd = Agentd::start(&scratch);
    let first = agentd.wait_running("b");
    scratch.order("a", "report:probe:k=warning");
    wait_for("the finding", LIMIT, || agentd.findings().pop().ok_or("none"));
    agentd.ask("Disable", "b").expect("may be asked");
    let last = agentd.status().seq;
    // What was told is on disk a moment later; when, the file says.
    wait_for("the disk to have it all", LIMIT, || {
        let events = Reader::open(&scratch.paths().state())
            .and_then(|reader| reader.events(0, None, None, 1))
            .map_err(|err| err.to_string())?;
        let written = events.last().map_or(0, |event| event.seq);
        if written >= last { Ok(()) } else { Err(format!("{written} of {last}")) }
    });
    agentd.kill();
    // An agent that speaks the channel ends when the channel does.
    wait_for("the agents to notice", LIMIT, || {
        if is_alive(first) { Err("one lives") } else { Ok(()) }
    });

    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    assert_eq!(agentd.phases("a"), UP, "begins anew");
    assert_eq!(agentd.phases("b"), [""; 0], "was disabled");
    assert_eq!(agentd.problems("store"), "");
    let began = agentd.began();
    assert!(
        began > 1 && began <= last + 1,
        "{began} after {last}: numbers go on, none is given twice"
    );
    let query = EventQuery { after_seq: Some(0), limit: Some(1000), ..EventQuery::default() };
    let events = agentd.events(&query);
    for (event, expected) in events.iter().zip(1..) {
        assert_eq!(event.seq, expected);
    }
    let stops = events.iter().filter(|event| event.message == "agentd stopped").count();
    assert_eq!(stops, 0, "the first one never said goodbye");
    assert_eq!(events.iter().filter(|event| event.kind == kind::FINDING_OPENED).count(), 1);
    assert_eq!(agentd.findings().len(), 1);
}

/// Where there are no control groups nobody can tell whose an orphan is. agentd says that.
#[test]
fn what_a_killed_agentd_leaves_behind_is_cleared_or_the_limit_is_told() {
    let scratch = Scratch::new();
    scratch.add(&Spec::new("plain", &["/bin/sleep", "1000"]).agent("kit = false"));
    let agentd = Agentd::start(&scratch);
    let orphan = agentd.wait_running("plain");
    agentd.kill();
    let agentd = Agentd::start(&scratch);
    let second = agentd.wait_running("plain");
    assert_ne!(orphan, second);
    let limits = agentd.status().limits.join("\n");
    if limits.contains("no delegated control group") {
        assert!(limits.contains("outlive"), "{limits}");
    } else {
        assert!(!is_alive(orphan));
    }
    assert_eq!(agentd.phases("plain"), ["waiting", "spawning", "running"]);
}

#[test]
fn a_lock_and_a_socket_of_a_dead_agentd_are_no_obstacle() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    for _ in 0..5 {
        let agentd = Agentd::start(&scratch);
        agentd.wait_running("a");
        assert!(scratch.paths().control_socket().exists());
        agentd.kill();
    }
}
