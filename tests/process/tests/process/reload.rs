//! Reading the configuration again: all of it or nothing, and only what changed.

use agentd_protocol::Code;
use agentd_protocol::control::{Health, PhaseName, ReloadReport, kind};
use harness::{Agentd, LIMIT, Scratch, is_alive, wait_for};
use serde_json::json;

use crate::UP;

/// How often an agent was given settings.
fn settings_of(scratch: &Scratch, name: &str) -> Vec<String> {
    let log = scratch.agent_log(name);
    log.lines().filter_map(|line| line.strip_prefix("settings ")).map(str::to_owned).collect()
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn only_what_changed_is_touched() {
    let scratch = Scratch::new();
    for name in ["same", "settings", "quiet", "exec", "gone", "off"] {
        scratch.add(&scratch.good(name));
    }
    let agentd = Agentd::start(&scratch);
    let all = ["same", "settings", "quiet", "exec", "gone", "off"];
    let pids = all.map(|name| {
        agentd.wait(name, "ok", |agent| agent.health == Health::Ok).pid.expect("it runs")
    });
    agentd.ask("Stop", "off").expect("may be asked");
    agentd.wait_phase("off", PhaseName::Idle);

    scratch.add(&scratch.good("settings").check("probe", "warning = 7"));
    scratch.add(&scratch.good("quiet").agent("summary = \"says more\""));
    scratch.add(&scratch.good("exec").restart("heartbeat = \"4s\""));
    scratch.add(&scratch.good("off").restart("heartbeat = \"4s\""));
    scratch.add(&scratch.good("new"));
    scratch.remove("gone");

    let expected = ReloadReport {
        added: names(&["new"]),
        changed: names(&["exec", "off", "quiet", "settings"]),
        removed: names(&["gone"]),
        applied: false,
    };
    let seq = agentd.status().seq;
    assert_eq!(agentd.reload(true).expect("nothing is wrong"), expected);
    assert_eq!(agentd.status().seq, seq, "a dry run leaves no trace");
    assert_eq!(agentd.list().agents.len(), 6);

    let applied = ReloadReport { applied: true, ..expected };
    assert_eq!(agentd.reload(false).expect("nothing is wrong"), applied);
    let replaced = agentd.wait_replaced("exec", pids[3]);
    agentd.wait_running("new");
    wait_for("gone to be forgotten", LIMIT, || {
        let list = agentd.list().agents;
        if list.iter().any(|agent| agent.name == "gone") {
            Err(format!("{list:?}"))
        } else {
            Ok(())
        }
    });
    assert!(!is_alive(pids[4]));
    for (name, pid) in [("same", pids[0]), ("settings", pids[1]), ("quiet", pids[2])] {
        assert_eq!((agentd.get(name).pid, agentd.phases(name)), (Some(pid), names(&UP)));
    }
    assert_eq!(agentd.get("quiet").summary, "says more");
    wait_for("the new settings to arrive", LIMIT, || {
        let got = settings_of(&scratch, "settings");
        match got.as_slice() {
            [_, second] if second.contains("\"probe\":{\"warning\":7.0}") => Ok(()),
            _ => Err(format!("{got:?}")),
        }
    });
    assert_eq!(settings_of(&scratch, "same").len(), 1, "not bothered");
    let restart = ["stopping (restarted as asked)", "waiting (restarted as asked, exit status 0)"];
    assert_eq!(agentd.phases("exec"), [&UP[..], &restart, &UP[1..]].concat());
    assert_eq!(agentd.get("exec").pid, Some(replaced));
    assert!(settings_of(&scratch, "exec")[1].contains("\"heartbeat_ms\":4000"));
    assert_eq!(agentd.get("off").phase, PhaseName::Idle, "what is down stays down");
    let loaded = agentd.events_of(kind::CONFIG_LOADED, None);
    let [loaded] = loaded.as_slice() else { panic!("{loaded:?}") };
    assert_eq!(loaded.fields["added"], "new");
    assert_eq!(loaded.fields["changed"], "exec off quiet settings");
    assert_eq!(loaded.fields["removed"], "gone");

    let nothing = agentd.reload(false).expect("nothing is wrong");
    assert_eq!((nothing.added, nothing.changed, nothing.removed), (vec![], vec![], vec![]));
}

#[test]
fn a_broken_file_changes_nothing_and_is_told_until_it_is_mended() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    scratch.add(&scratch.good("b"));
    let agentd = Agentd::start(&scratch);
    let pids = ["a", "b"].map(|name| agentd.wait_running(name));
    // A change that would be good, beside one that is not: all or nothing.
    scratch.add(&scratch.good("b").restart("heartbeat = \"4s\""));
    scratch.write(&scratch.vendor_file("a"), "[agent]\nname = \"a\"\nexec = []\n");
    let place = format!("{}:3:8: agent.exec", scratch.vendor_file("a").display());
    for dry_run in [true, false] {
        let refused = agentd.reload(dry_run).expect_err("it is broken");
        assert_eq!(refused.code(), Some(Code::Invalid));
        assert!(refused.message().contains(&place), "{refused}");
        assert_eq!(agentd.problems("config").is_empty(), dry_run, "a dry run leaves no trace");
    }
    assert!(agentd.problems("config").starts_with(&place));
    let refused = agentd.events_of(kind::CONFIG_REFUSED, None);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].fields["problems"].starts_with(&place));
    let kept = ["a", "b"].map(|name| (agentd.get(name).pid, agentd.phases(name)));
    assert_eq!(kept, pids.map(|pid| (Some(pid), names(&UP))));

    scratch.add(&scratch.good("a"));
    let report = agentd.reload(false).expect("it is mended");
    assert_eq!(report.changed, ["b"]);
    assert_eq!(agentd.problems("config"), "");
    agentd.wait_replaced("b", pids[1]);
    assert_eq!(agentd.get("a").pid, Some(pids[0]));
}

#[test]
fn enabled_in_the_file_counts_until_the_operator_says_otherwise() {
    let scratch = Scratch::new();
    let on = |name: &str| scratch.good(name);
    let off = |name: &str| scratch.good(name).agent("enabled = false");
    scratch.add(&on("file"));
    scratch.add(&on("operator"));
    let agentd = Agentd::start(&scratch);
    let pids = ["file", "operator"].map(|name| agentd.wait_running(name));
    agentd.ask("Disable", "operator").expect("may be asked");
    agentd.ask("Enable", "operator").expect("may be asked");
    scratch.add(&off("file"));
    scratch.add(&off("operator"));
    agentd.reload(false).expect("nothing is wrong");
    assert!(!agentd.get("file").enabled);
    assert!(agentd.get("operator").enabled);
    let kept = ["file", "operator"].map(|name| agentd.get(name).pid);
    assert_eq!(kept, pids.map(Some), "neither is stopped by it");
}

#[test]
fn agentds_own_settings_take_effect_at_once() {
    let scratch = Scratch::new();
    let agentd = Agentd::start(&scratch);
    let limit = |most: u32| {
        let text = format!("[control]\nconnections_max = {most}\nconnections_per_uid = {most}\n");
        scratch.write(&scratch.paths().site().join("agentd.toml"), &text);
        // The call before this one may still hold its seat.
        wait_for("a seat to ask from", LIMIT, || agentd.reload(false).map(drop));
    };
    limit(1);
    let mut first = agentd.client();
    wait_for("the only seat", LIMIT, || {
        let answer = first.call::<serde_json::Value>("org.agentos.Manager.Version", &json!({}));
        if answer.is_err() {
            first = agentd.client();
        }
        answer.map(drop)
    });
    let refused = agentd.call::<serde_json::Value>("Manager.Status", &json!({}));
    let refused = refused.expect_err("no seat is left");
    assert_eq!(refused.name(), "org.agentos.Manager.Exhausted");
    drop(first);
    limit(10);
    let mut seated: Vec<_> = (0..3).map(|_| agentd.client()).collect();
    for client in &mut seated {
        let _: serde_json::Value =
            client.call("org.agentos.Manager.Version", &json!({})).expect("there is room");
    }
}

#[test]
fn an_agent_that_is_removed_and_comes_back_at_once_runs() {
    let scratch = Scratch::new();
    let stubborn = ["ignore-sigterm", "settings", "ready:probe", "live"];
    let agent = scratch.fake("a", &stubborn).restart("stop_grace = \"300ms\"");
    scratch.add(&agent);
    let agentd = Agentd::start(&scratch);
    let first = agentd.wait_running("a");
    scratch.remove("a");
    assert_eq!(agentd.reload(false).expect("nothing is wrong").removed, ["a"]);
    assert_eq!(agentd.get("a").phase, PhaseName::Stopping, "shown until it is gone");
    let gone = agentd.ask("Start", "a").expect_err("it is gone from the configuration");
    assert_eq!(gone.code(), Some(Code::NotFound));
    scratch.add(&agent);
    assert_eq!(agentd.reload(false).expect("nothing is wrong").added, ["a"]);
    let second = agentd.wait_replaced("a", first);
    assert_eq!(scratch.processes(), [second]);
    let stop = ["stopping (stopped as asked)", "waiting (stopped as asked, killed)"];
    assert_eq!(agentd.phases("a"), [&UP[..], &stop, &UP[1..]].concat());
}

#[test]
fn an_agent_that_does_not_answer_to_new_settings_is_not_called_ok() {
    let scratch = Scratch::new();
    let deaf = ["settings", "ready:probe", "report:probe", "deaf", "live"];
    let quick =
        |text| scratch.fake("a", &deaf).restart("heartbeat = \"200ms\"").check("probe", text);
    scratch.add(&quick("warning = 1"));
    let agentd = Agentd::start(&scratch);
    agentd.wait("a", "ok", |agent| agent.health == Health::Ok);
    scratch.add(&quick("warning = 2"));
    agentd.reload(false).expect("nothing is wrong");
    let agent = agentd.wait("a", "degraded", |agent| agent.health == Health::Degraded);
    assert_eq!(agent.health_reasons, ["does not answer to its settings"]);
    assert_eq!(agentd.phases("a"), UP);
}
