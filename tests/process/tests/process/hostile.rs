//! Agents that break the rules of their channel. Each hurts itself alone, and the event says why.

use agentd_protocol::control::{Health, PhaseName, kind};
use harness::{Agentd, Scratch, memory_kib};

use crate::{ONCE, UP};

/// What an agent does once it runs, and how the reason begins for which it is killed.
const CRIMES: [(&str, &str); 16] = [
    ("garbage", "sent a malformed call: "),
    ("oversize", "message is longer than 262144 bytes"),
    ("close", "closed its channel"),
    ("raw:[]", "sent a malformed call: "),
    ("raw:{\"method\":7}", "sent a malformed call: "),
    (
        "call:org.agentos.Supervisor.Stop:{}",
        "called \"org.agentos.Supervisor.Stop\", which there is not",
    ),
    ("call:org.agentos.Agents.Stop:{\"name\":\"neighbour\"}", "called \"org.agentos.Agents.Stop\""),
    ("call:org.agentos.Supervisor.Report:{\"check\":7}", "sent a malformed Report: "),
    (
        "call:org.agentos.Supervisor.Report:{\"check\":\"probe\",\"outcome\":\"maybe\",\"took_ms\":1}",
        "sent a malformed Report: unknown variant `maybe`",
    ),
    (
        "call:org.agentos.Supervisor.Report:{\"check\":\"probe\",\"outcome\":\"measured\",\"took_ms\":-1}",
        "sent a malformed Report: ",
    ),
    ("report:probe:same=info,same=info", "sent a Report with a key that is used twice"),
    ("report:probe:\u{1b}[2J=info", "sent a Report with a key that is not plain text"),
    ("fill:probe:many:257", "sent a Report with 257 findings, more than 256"),
    ("report:other", "reported on \"other\", a check it never named"),
    ("sample:not a name:1", "sent a Sample with a name that is not a name"),
    ("answer:{}", "answered although nothing was asked"),
];

#[test]
fn whoever_breaks_a_rule_is_killed_alone_and_the_event_says_why() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("neighbour"));
    let name = |at: usize| format!("bad-{at}");
    (0..CRIMES.len()).for_each(|at| scratch.add(&scratch.good(&name(at)).restart(ONCE)));
    let agentd = Agentd::start(&scratch);
    let neighbour = agentd.wait_running("neighbour");
    for (at, (crime, _)) in CRIMES.iter().enumerate() {
        agentd.wait_running(&name(at));
        scratch.order(&name(at), crime);
    }
    for (at, (crime, reason)) in CRIMES.iter().enumerate() {
        let name = name(at);
        agentd.wait_phase(&name, PhaseName::Failed);
        let history = agentd.history(&name);
        let cause = history[4].cause.clone().unwrap_or_default();
        assert!(cause.starts_with(&format!("misbehaved: {reason}")), "{crime}: {cause}");
        // Some notice that agentd has hung up and end by themselves before they are killed.
        let exit = history[5].exit.clone().unwrap_or_default();
        let ends = [format!("{cause}, killed"), format!("{cause}, exit status 0")];
        assert!(ends.contains(&exit), "{crime}: {exit}");
        let end = [format!("stopping ({cause})"), format!("failed ({exit})")];
        assert_eq!(agentd.phases(&name), [&UP.map(str::to_owned)[..], &end].concat(), "{crime}");
        if *crime != "close" {
            let told = agentd.events_of(kind::CHANNEL, Some(&name));
            assert_eq!(told.len(), 1, "{crime}: {told:?}");
            assert_eq!(cause, format!("misbehaved: {}", told[0].fields["reason"]));
            assert!(!told[0].message.contains(char::is_control), "safe to show");
        }
    }
    assert_eq!(scratch.processes(), [neighbour]);
    assert_eq!(agentd.phases("neighbour"), UP);
    assert_eq!(agentd.get("neighbour").health, Health::Ok);
    let (_, most) = memory_kib(agentd.pid());
    assert!(most < 64 * 1024, "agentd had {most} KiB");
}

#[test]
fn half_a_message_and_a_closed_channel_blame_the_channel() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a").restart(ONCE));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    scratch.order("a", "half");
    scratch.order("a", "close");
    agentd.wait_phase("a", PhaseName::Failed);
    let cause = "misbehaved: closed its channel";
    let end = [format!("stopping ({cause})"), format!("failed ({cause}, killed)")];
    assert_eq!(agentd.phases("a"), [&UP.map(str::to_owned)[..], &end].concat());
}

#[test]
fn an_agent_that_refuses_its_settings_or_has_problems_with_them() {
    let scratch = Scratch::new();
    let with = |name: &str, settings: &str| {
        scratch.fake(name, &[settings, "ready:probe", "report:probe", "live"]).restart(ONCE)
    };
    scratch.add(&with("refuses", "settings-error:org.agentos.Agent.No"));
    scratch.add(&with("grumbles", "settings-problem:no check is called dsik"));
    let agentd = Agentd::start(&scratch);
    let refuses = agentd.wait_phase("refuses", PhaseName::Failed);
    let last = refuses.last_exit.expect("how it ended");
    let why = "misbehaved: refused its settings: org.agentos.Agent.No, ";
    assert!(last.starts_with(why), "{last}");
    let grumbles = agentd.wait("grumbles", "degraded", |agent| agent.health == Health::Degraded);
    assert_eq!(grumbles.phase, PhaseName::Running);
    assert_eq!(grumbles.health_reasons, ["no check is called dsik"]);
}

#[test]
fn a_check_that_could_not_measure_is_never_ok() {
    let scratch = Scratch::new();
    scratch.add(&scratch.fake(
        "a",
        &[
            &format!("orders:{}", scratch.beside("a.orders").display()),
            "settings",
            "ready:one,two",
            "report:one",
            "live",
        ],
    ));
    let agentd = Agentd::start(&scratch);
    agentd.wait("a", "one of two checks through", |agent| {
        agent.checks.iter().any(|check| check.state == "measured")
    });
    let agent = agentd.get("a");
    assert_eq!(agent.health, Health::Unknown);
    assert_eq!(agent.health_reasons, ["its first checks are not through"]);
    scratch.order("a", "unknown:two:the disk does not answer");
    let agent = agentd.wait("a", "degraded", |agent| agent.health == Health::Degraded);
    assert_eq!(agent.health_reasons, ["check two is unknown: the disk does not answer"]);
    assert_eq!(agent.checks[1].reason.as_deref(), Some("the disk does not answer"));
    scratch.order("a", "report:two");
    agentd.wait("a", "ok", |agent| agent.health == Health::Ok);
    assert_eq!(agentd.phases("a"), UP);
}
