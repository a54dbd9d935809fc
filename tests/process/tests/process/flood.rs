//! Too much: on the channel, in findings, in the log. It is read slowly, and nobody else notices.

use agentd_protocol::control::{Disposition, Health, PhaseName, kind};
use harness::{Agentd, LIMIT, Scratch, memory_kib, wait_for};

use crate::UP;

/// What a debug build of agentd may ever need, floods and all.
const MOST_KIB: u64 = 96 * 1024;

#[test]
fn floods_are_read_slowly_and_hurt_nobody_else() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("neighbour"));
    for kind in ["heartbeat", "report"] {
        let flood = format!("flood:{kind}");
        scratch.add(&scratch.fake(kind, &["settings", "ready:probe", &flood]));
    }
    let agentd = Agentd::start(&scratch);
    let neighbour = agentd.wait_running("neighbour");
    for name in ["heartbeat", "report"] {
        let agent = agentd.wait(name, "degraded", |agent| agent.health == Health::Degraded);
        assert_eq!(agent.health_reasons, ["sends faster than it may and is read slowly"]);
        let told = agentd.events_of(kind::CHANNEL, Some(name));
        let [told] = told.as_slice() else { panic!("told once a minute: {told:?}") };
        assert_eq!(told.fields["reason"], "sends faster than it may; it is read slowly");
    }
    // The flood goes on meanwhile.
    for (verb, phase) in [("Stop", PhaseName::Idle), ("Start", PhaseName::Running)] {
        assert_eq!(agentd.ask(verb, "neighbour").expect("may be asked"), Disposition::Accepted);
        agentd.wait_phase("neighbour", phase);
    }
    agentd.wait_replaced("neighbour", neighbour);
    // At 50 findings a second: three reports, of which the third resolves what the second found.
    wait_for("the flood of findings to be taken", LIMIT, || {
        let seq = agentd.status().seq;
        if seq > 1024 { Ok(()) } else { Err(seq) }
    });
    assert_eq!(agentd.findings().len(), 256, "what the last report found");
    for name in ["heartbeat", "report"] {
        let agent = agentd.get(name);
        assert_eq!((agent.phase, agent.restarts), (PhaseName::Running, 0), "degraded, not killed");
        agentd.ask("Stop", name).expect("may be asked");
        agentd.wait_phase(name, PhaseName::Idle);
    }
    let (_, most) = memory_kib(agentd.pid());
    assert!(most < MOST_KIB, "agentd had {most} KiB");
}

#[test]
fn more_findings_than_an_agent_may_have_are_not_taken_and_it_is_degraded() {
    let scratch = Scratch::new();
    let orders = format!("orders:{}", scratch.beside("a.orders").display());
    let steps = [&orders, "settings", "ready:one,two,three", "report:one", "report:two", "live"];
    scratch.add(&scratch.fake("a", &steps));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    scratch.order("a", "fill:one:x:256");
    scratch.order("a", "fill:two:y:256");
    scratch.order("a", "fill:three:z:3");
    let agent = agentd.wait("a", "degraded by it", |agent| {
        agent.health_reasons.iter().any(|reason| reason.contains("too many findings"))
    });
    assert!(agent.health_reasons.contains(&"has too many findings; 3 were not taken".to_owned()));
    assert_eq!(agent.findings, 512);
    assert_eq!(agentd.phases("a"), UP);
}

#[test]
fn a_flooded_log_is_the_agents_own() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("neighbour"));
    let steps = ["flood-log:32", "settings", "ready:probe", "report:probe", "live"];
    scratch.add(&scratch.fake("loud", &steps));
    let agentd = Agentd::start(&scratch);
    agentd.wait("loud", "ok", |agent| agent.health == Health::Ok);
    assert!(scratch.agent_log("loud").len() > 32 << 20);
    assert!(!agentd.log().contains("xxxx"), "nothing of it in agentd's own");
    let (_, most) = memory_kib(agentd.pid());
    assert!(most < MOST_KIB, "agentd had {most} KiB");
    assert_eq!(agentd.phases("neighbour"), UP);
}
