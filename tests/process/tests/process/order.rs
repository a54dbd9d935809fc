//! Who is started before whom, and who is stopped before whom.

use agentd_protocol::control::{EventQuery, PhaseName, kind};
use harness::{Agentd, LIMIT, Scratch, Spec, phases};
use nix::sys::signal::Signal;

use crate::{ONCE, UP};

/// An agent that says that it is ready when it is ordered to.
fn late(scratch: &Scratch, name: &str) -> Spec {
    let orders = format!("orders:{}", scratch.beside(&format!("{name}.orders")).display());
    scratch.fake(name, &[&orders, "settings", "live"])
}

#[test]
fn an_agent_waits_for_what_it_needs_and_says_so() {
    let scratch = Scratch::new();
    scratch.add(&late(&scratch, "base"));
    scratch.add(&scratch.good("middle").agent("needs = [\"base\"]"));
    scratch.add(&scratch.good("top").agent("after = [\"middle\"]"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_phase("base", PhaseName::Starting);
    let detail = |name: &str| agentd.get(name).detail.unwrap_or_default();
    assert_eq!(detail("middle"), "waiting for base: not ready");
    assert_eq!(detail("top"), "waiting for middle: waits itself");
    assert_eq!(agentd.status().all_ready_boot_ms, None);
    scratch.order("base", "ready:probe");
    agentd.wait_running("top");
    let running = |name: &str| agentd.history(name)[3].clone();
    let spawning = |name: &str| agentd.history(name)[1].clone();
    for (before, after) in [("base", "middle"), ("middle", "top")] {
        assert_eq!(phases(&agentd.history(after)), UP);
        assert!(running(before).seq < spawning(after).seq, "{before} before {after}");
    }
}

#[test]
fn a_need_that_is_not_wanted_or_failed_holds_back_and_an_order_does_not() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("off").agent("enabled = false"));
    scratch.add(&scratch.fake("broken", &["exit:1"]).restart(ONCE));
    scratch.add(&scratch.good("needs-off").agent("needs = [\"off\"]"));
    scratch.add(&scratch.good("needs-broken").agent("needs = [\"broken\"]"));
    scratch.add(&scratch.good("after-both").agent("after = [\"off\", \"broken\"]"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("after-both");
    agentd.wait_phase("broken", PhaseName::Failed);
    agentd.wait("needs-broken", "the reason in words", |agent| {
        agent.detail.as_deref() == Some("waiting for broken: failed")
    });
    let waiting = agentd.get("needs-off");
    assert_eq!(waiting.phase, PhaseName::Waiting);
    assert_eq!(waiting.detail.as_deref(), Some("waiting for off: not wanted"));
    agentd.ask("Start", "off").expect("may be asked");
    agentd.wait_running("needs-off");
    assert_eq!(agentd.phases("needs-off"), UP);
    assert_eq!(agentd.phases("needs-broken"), ["waiting"]);
}

#[test]
fn what_depends_on_others_is_stopped_before_them() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    scratch.add(&scratch.good("b").agent("needs = [\"a\"]"));
    scratch.add(&scratch.good("c").agent("after = [\"b\"]"));
    scratch.add(&scratch.good("other"));
    let agentd = Agentd::start(&scratch);
    for name in ["a", "b", "c", "other"] {
        agentd.wait_running(name);
    }
    let began = agentd.began();
    agentd.stop();
    scratch.assert_no_process();
    // Asked of the next one, which has it from the store.
    let agentd = Agentd::start(&scratch);
    let query =
        EventQuery { after_seq: Some(began - 1), limit: Some(1000), ..EventQuery::default() };
    let events = agentd.events(&query);
    let seq_of = |name: &str, to: &str| {
        let found = events.iter().find(|event| {
            event.kind == kind::PHASE
                && event.agent.as_deref() == Some(name)
                && event.fields["to"] == to
        });
        found.unwrap_or_else(|| panic!("{name} never was {to}: {events:#?}")).seq
    };
    assert!(seq_of("c", "idle") < seq_of("b", "stopping"));
    assert!(seq_of("b", "idle") < seq_of("a", "stopping"));
    assert!(seq_of("other", "stopping") < seq_of("b", "stopping"), "waits for nobody");
    let stopped = events.iter().find(|event| event.message == "agentd stopped");
    assert!(stopped.expect("the end is on record").seq > seq_of("a", "idle"));
}

#[test]
fn agentd_stops_whatever_its_agents_are_doing() {
    let scratch = Scratch::new();
    scratch.add(&late(&scratch, "starting"));
    scratch.add(&scratch.good("waiting").agent("needs = [\"starting\"]"));
    scratch.add(&scratch.fake("backoff", &["exit:1"]));
    scratch.add(&scratch.fake("failed", &["exit:1"]).restart(ONCE));
    scratch.add(&scratch.good("idle").agent("enabled = false"));
    let stubborn = ["ignore-sigterm", "settings", "ready:probe", "live"];
    scratch.add(&scratch.fake("stubborn", &stubborn).restart("stop_grace = \"100ms\""));
    let agentd = Agentd::start(&scratch);
    for (name, phase) in [
        ("starting", PhaseName::Starting),
        ("waiting", PhaseName::Waiting),
        ("backoff", PhaseName::Backoff),
        ("failed", PhaseName::Failed),
        ("stubborn", PhaseName::Running),
    ] {
        agentd.wait_phase(name, phase);
    }
    agentd.stop();
    scratch.assert_no_process();
}

#[test]
fn while_agentd_stops_nothing_is_started_any_more() {
    let scratch = Scratch::new();
    let stubborn = ["ignore-sigterm", "settings", "ready:probe", "live"];
    scratch.add(&scratch.fake("stubborn", &stubborn).restart("stop_grace = \"1s\""));
    scratch.add(&scratch.good("a").agent("enabled = false"));
    let mut agentd = Agentd::start(&scratch);
    agentd.wait_running("stubborn");
    agentd.signal(Signal::SIGTERM);
    agentd.wait_phase("stubborn", PhaseName::Stopping);
    for verb in ["Start", "Restart"] {
        let refused = agentd.ask(verb, "a").expect_err("agentd stops");
        assert_eq!(refused.name(), "org.agentos.Agents.Conflict");
        assert_eq!(refused.message(), "agentd is stopping and starts nothing any more");
    }
    assert!(agentd.wait_end(LIMIT).success());
    scratch.assert_no_process();
}
