//! What can be asked of an agent, how that is answered, and what becomes of it.

use agentd_protocol::Code;
use agentd_protocol::control::{Disposition, Health, PhaseName, kind};
use harness::{Agentd, LIMIT, Scratch, wait_for};
use nix::unistd::geteuid;
use serde_json::json;

use crate::UP;

const VERBS: [&str; 5] = ["Start", "Stop", "Restart", "Enable", "Disable"];

fn one_good() -> (Scratch, Agentd) {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    (scratch, agentd)
}

#[test]
fn asking_twice_is_not_an_error() {
    use Disposition::{Accepted, AlreadySo};
    let (scratch, agentd) = one_good();
    let ask = |verb: &str| agentd.ask(verb, "a").expect("may be asked");
    let first = agentd.get("a").pid.expect("it runs");
    assert_eq!(ask("Start"), AlreadySo);
    assert_eq!(ask("Stop"), Accepted);
    agentd.wait_phase("a", PhaseName::Idle);
    scratch.assert_no_process();
    assert_eq!(ask("Stop"), AlreadySo);
    assert_eq!(ask("Start"), Accepted);
    let second = agentd.wait_replaced("a", first);
    assert_eq!(ask("Restart"), Accepted);
    agentd.wait_replaced("a", second);
    for (verb, enabled) in [("Disable", false), ("Enable", true)] {
        assert_eq!(ask(verb), Accepted);
        assert_eq!(agentd.get("a").enabled, enabled);
        assert_eq!(ask(verb), AlreadySo);
    }
    let (stopped, restarted) = ("stopped as asked", "restarted as asked");
    let stop = [format!("stopping ({stopped})"), format!("idle ({stopped}, exit status 0)")];
    let restart =
        [format!("stopping ({restarted})"), format!("waiting ({restarted}, exit status 0)")];
    let up = UP.map(str::to_owned);
    let whole = [&up[..], &stop, &up, &restart, &up[1..]].concat();
    assert_eq!(agentd.phases("a"), whole);
    let agent = agentd.get("a");
    assert_eq!((agent.restarts, agent.failures), (2, 0), "no failure of the agent's");
}

#[test]
fn every_request_is_on_record_with_who_asked() {
    let (_scratch, agentd) = one_good();
    for verb in ["Start", "Disable", "Restart"] {
        agentd.ask(verb, "a").expect("may be asked");
    }
    let told: Vec<_> = agentd
        .events_of(kind::REQUEST, Some("a"))
        .into_iter()
        .map(|event| {
            assert_eq!(event.fields["caller_uid"], geteuid().to_string());
            assert_eq!(event.fields["front"], "varlink");
            (event.fields["verb"].clone(), event.fields["disposition"].clone())
        })
        .collect();
    let pair = |verb: &str, disposition: &str| (verb.to_owned(), disposition.to_owned());
    assert_eq!(
        told,
        [pair("start", "already so"), pair("disable", "accepted"), pair("restart", "accepted")]
    );
}

#[test]
fn an_agent_that_is_not_there_is_not_found_and_a_name_that_is_none_is_invalid() {
    let (_scratch, agentd) = one_good();
    agentd.wait("a", "ok", |agent| agent.health == Health::Ok);
    let seq = agentd.status().seq;
    for verb in VERBS {
        let unknown = agentd.ask(verb, "web").expect_err("there is no web");
        assert_eq!(unknown.name(), "org.agentos.Agents.NotFound");
        assert_eq!(unknown.message(), "no agent is called web");
        let bad = agentd.ask(verb, "../a").expect_err("no name");
        assert_eq!(bad.code(), Some(Code::Invalid));
        assert!(bad.message().contains("\"../a\" is not an agent name"), "{bad}");
    }
    for method in ["Get", "Explain"] {
        let call = |name: &str| {
            let method = format!("Agents.{method}");
            agentd.call::<serde_json::Value>(&method, &json!({ "name": name }))
        };
        assert_eq!(call("web").expect_err("there is no web").code(), Some(Code::NotFound));
        assert_eq!(call("").expect_err("no name").code(), Some(Code::Invalid));
    }
    assert_eq!(agentd.status().seq, seq, "no trace in the history");
}

#[test]
fn enable_and_disable_survive_a_restart_of_agentd() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("off"));
    scratch.add(&scratch.good("on").agent("enabled = false"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("off");
    agentd.ask("Disable", "off").expect("may be asked");
    agentd.ask("Enable", "on").expect("may be asked");
    assert_eq!(agentd.get("off").phase, PhaseName::Running, "does not stop it");
    assert_eq!(agentd.get("on").phase, PhaseName::Idle, "does not start it");
    agentd.stop();
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("on");
    let off = agentd.get("off");
    assert_eq!((off.phase, off.enabled), (PhaseName::Idle, false));
    assert!(agentd.get("on").enabled);
    assert_eq!(agentd.phases("off"), [""; 0]);
}

/// A stop that arrives before the process is known must not be lost.
#[test]
fn start_then_stop_at_once_ends_down() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a").agent("enabled = false"));
    let agentd = Agentd::start(&scratch);
    let mut client = agentd.client();
    for round in 0..100 {
        for verb in ["Start", "Stop"] {
            let _: serde_json::Value = client
                .call(&format!("org.agentos.Agents.{verb}"), &json!({ "name": "a" }))
                .unwrap_or_else(|err| panic!("{verb} in round {round}: {err}"));
        }
        // Every other time the next start comes while the last stop is not over.
        if round % 2 == 0 {
            agentd.wait_phase("a", PhaseName::Idle);
        }
    }
    let agent = agentd.wait_phase("a", PhaseName::Idle);
    assert_eq!((agent.want.as_str(), agent.pid), ("down", None));
    scratch.assert_no_process();
    let history = agentd.history("a");
    assert!(history.iter().all(|step| step.to != "backoff" && step.to != "failed"));
}

#[test]
fn stop_then_start_at_once_ends_up_in_a_new_process() {
    let scratch = Scratch::new();
    // It takes its time to end, so that the start comes before the end.
    let steps = ["ignore-sigterm", "settings", "ready:probe", "live"];
    scratch.add(&scratch.fake("a", &steps).restart("stop_grace = \"300ms\""));
    let agentd = Agentd::start(&scratch);
    let first = agentd.wait_running("a");
    for verb in ["Stop", "Start"] {
        assert_eq!(agentd.ask(verb, "a").expect("may be asked"), Disposition::Accepted);
    }
    let second = agentd.wait_replaced("a", first);
    assert_eq!(scratch.processes(), [second]);
    let stop = ["stopping (stopped as asked)", "waiting (stopped as asked, killed)"];
    assert_eq!(agentd.phases("a"), [&UP[..], &stop, &UP[1..]].concat());
}

/// Whatever came before, in whatever order: the last wish wins.
#[test]
fn in_a_storm_of_requests_the_last_wish_wins() {
    let (scratch, agentd) = one_good();
    for (last, phase, processes) in [("Stop", PhaseName::Idle, 0), ("Start", PhaseName::Running, 1)]
    {
        std::thread::scope(|scope| {
            for number in 0..4 {
                let mut client = agentd.client();
                scope.spawn(move || {
                    for round in 0..25 {
                        let verb = ["Start", "Stop", "Restart"][(number + round * 7) % 3];
                        let method = format!("org.agentos.Agents.{verb}");
                        let _: serde_json::Value =
                            client.call(&method, &json!({ "name": "a" })).expect("may be asked");
                    }
                });
            }
        });
        agentd.ask(last, "a").expect("may be asked");
        agentd.wait_phase("a", phase);
        wait_for("as many processes as there should be", LIMIT, || {
            let left = scratch.processes();
            if left.len() == processes { Ok(()) } else { Err(format!("{left:?}")) }
        });
    }
}
