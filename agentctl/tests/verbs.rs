//! What each verb asks of agentd, prints for a program, and ends with.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helper fails the test; clippy sees only functions marked #[test]"
)]

mod fake;

use agentd_protocol::Code;
use agentd_protocol::control::*;
use fake::{Done, Fake, Wire, agentctl, by_samples, samples, without};
use serde_json::{Value, json};

/// A program's view of the samples. A field renamed here is an interface broken.
#[test]
fn json_is_an_interface() {
    let fake = Fake::of_samples();
    let cases: [(&str, &[&str]); 9] = [
        ("list", &["list"]),
        ("show", &["show", "network"]),
        ("events", &["events"]),
        ("findings", &["findings", "--all"]),
        ("metrics", &["metrics"]),
        ("series", &["metrics", "cpu.busy"]),
        ("explain", &["explain", "network"]),
        ("reload", &["reload", "--dry-run"]),
        ("version", &["version"]),
    ];
    for (name, args) in cases {
        let out = fake.run(&[args, &["--json"]].concat()).result();
        let lines: Vec<Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        insta::assert_json_snapshot!(name, lines);
    }
    let doctor = fake.run(&["doctor", "--json"]);
    assert_eq!(doctor.status, 1);
    insta::assert_json_snapshot!("doctor", serde_json::from_str::<Value>(&doctor.out).unwrap());
}

#[test]
fn the_list_is_of_the_types_that_agentd_speaks() {
    let out = Fake::of_samples().run(&["list", "--json"]).result();
    assert_eq!(serde_json::from_str::<AgentList>(&out).unwrap(), samples::agents());
}

#[test]
fn requests_go_on_after_a_refusal_and_end_with_its_status() {
    let fake = Fake::of_samples();
    let done = fake.run(&["start", "storrage", "storage", "zzz", "monitor"]);
    assert_eq!(done.status, i32::from(Code::NotFound.exit_status()));
    assert_eq!(done.out, "storage: starting\nmonitor: starting\n");
    insta::assert_snapshot!(done.err, @"
    agentctl: no agent is called storrage
      did you mean storage?
    agentctl: no agent is called zzz
      `agentctl list` shows what there is
    ");
}

#[test]
fn enabling_now_also_starts_and_disabling_now_also_stops() {
    let asked = |args: &[&str]| {
        let fake = Fake::of_samples();
        let out = fake.run(args).result();
        let methods: Vec<String> = fake.calls().into_iter().map(|(method, _)| method).collect();
        (out, methods.join(" "))
    };
    let both = asked(&["enable", "--now", "storage"]);
    let expected = ("storage: already enabled\nstorage: starting\n", "Agents.Enable Agents.Start");
    assert_eq!(both, (expected.0.to_owned(), expected.1.to_owned()));
    assert_eq!(asked(&["enable", "storage"]).1, "Agents.Enable");
    assert_eq!(asked(&["disable", "--now", "storage"]).1, "Agents.Disable Agents.Stop");
    assert_eq!(asked(&["disable", "storage"]).1, "Agents.Disable");
    assert_eq!(asked(&["restart", "storage"]).0, "storage: restarting\n");
}

#[test]
fn times_cross_the_wire_as_milliseconds() {
    let fake = Fake::of_samples();
    fake.run(&["metrics", "cpu.busy", "--since", "2026-11-20T08:00:00Z"]).result();
    let (method, parameters) = fake.calls().pop().unwrap();
    assert_eq!(method, "Metrics.Read");
    assert_eq!(parameters, json!({"name": "cpu.busy", "since_ms": 1_795_161_600_000_i64}));
    fake.run(&["events", "network", "--since", "2026-11-20 08:00", "-n", "7"]).result();
    let (method, parameters) = fake.calls().pop().unwrap();
    assert_eq!(method, "Events.List");
    let expected = json!({"since_ms": 1_795_161_600_000_i64, "agent": "network", "limit": 7});
    assert_eq!(parameters, expected);
}

#[test]
fn doctor_says_no_while_something_is_wrong() {
    let fake = Fake::of_samples();
    let done = fake.run(&["doctor"]);
    assert_eq!((done.status, done.err.as_str()), (1, ""));
    assert!(done.out.ends_with("\n1 problem; 3 agents are not well.\n"), "{}", done.out);
    let fake = Fake::answering(|call, wire: &mut Wire| match call.method.as_str() {
        "org.agentos.Manager.Status" => wire.reply(&samples::good_status()),
        _ => wire.reply(&samples::well()),
    });
    assert!(fake.run(&["doctor"]).result().ends_with("\nNothing is wrong.\n"));
}

#[test]
fn an_agent_that_is_a_problem_is_named_once() {
    let fake = Fake::answering(|call, wire: &mut Wire| match call.method.as_str() {
        "org.agentos.Manager.Status" => {
            let [area, subject, message] = ["agent", "security", "gave up"].map(str::to_owned);
            let problems = vec![Problem { area, subject, message }];
            wire.reply(&Status { problems, ..samples::good_status() })
        }
        _ => by_samples(call, wire),
    });
    let done = fake.run(&["doctor"]);
    assert_eq!(done.status, 1);
    assert_eq!(done.out.matches("security").count(), 1, "{}", done.out);
}

#[test]
fn the_version_is_shown_without_agentd_too() {
    let absent = Fake::absent();
    let done = absent.run(&["version"]);
    assert_eq!(done.status, i32::from(Code::Unavailable.exit_status()));
    assert_eq!(done.out, concat!("agentctl ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(done.err.contains("agentd does not run"), "{}", done.err);
    let done = absent.run(&["version", "--json"]);
    let shown: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(shown, json!({"agentctl": env!("CARGO_PKG_VERSION"), "agentd": null}));
}

#[test]
fn where_there_is_nothing_the_result_is_empty() {
    let fake = Fake::answering(|call, wire: &mut Wire| {
        match call.method.trim_start_matches("org.agentos.") {
            "Agents.List" => wire.reply(&AgentList { seq: 0, agents: Vec::new() }),
            "Findings.List" => wire.reply(&FindingList { seq: 0, findings: Vec::new() }),
            "Metrics.List" => wire.reply(&MetricList { metrics: Vec::new() }),
            "Metrics.Read" => {
                wire.reply(&MetricSeries { points: Vec::new(), ..samples::series(0) })
            }
            "Events.List" => wire.reply(&EventList { events: Vec::new() }),
            _ => wire.reply(&samples::status()),
        }
    });
    let verbs: [&[&str]; 5] =
        [&["list"], &["findings"], &["metrics"], &["metrics", "cpu.busy"], &["events"]];
    for args in verbs {
        let done = fake.run(args);
        assert_eq!((done.status, done.out.as_str()), (0, ""), "{args:?}");
        assert!(done.err.starts_with("agentctl: "), "{args:?}: {}", done.err);
    }
    assert_eq!(fake.run(&["findings", "--json"]).result(), "{\"seq\":0,\"findings\":[]}\n");
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let fake = Fake::of_samples();
    let plain = fake.run(&["list"]).result();
    assert!(!plain.contains('\u{1b}'));
    assert!(fake.run(&["list", "--color", "always"]).result().contains('\u{1b}'));
    assert_eq!(fake.run(&["list", "--color=never"]).result(), plain);
    let json = fake.run(&["list", "--json", "--color=always"]).result();
    assert!(!json.contains('\u{1b}'));
}

#[test]
fn a_table_fits_the_columns_there_are() {
    let fake = Fake::of_samples();
    let out = Done::of(fake.command(&["list"]).env("COLUMNS", "70").output().unwrap()).result();
    assert!(out.lines().all(|line| line.chars().count() <= 70), "{out}");
    assert!(out.contains('…'), "{out}");
    let mut unknown = fake.command(&["list"]);
    let out = Done::of(unknown.env_remove("COLUMNS").output().unwrap()).result();
    assert!(!out.contains('…'), "into a pipe everything goes whole: {out}");
}

#[test]
fn the_socket_can_be_named() {
    let fake = Fake::of_samples();
    let socket = fake.socket();
    let args = ["--socket", socket.to_str().unwrap(), "explain", "network", "--json"];
    let out = Done::of(agentctl(&args).output().unwrap()).result();
    assert_eq!(serde_json::from_str::<Explanation>(&out).unwrap(), samples::explanation());
}

#[test]
fn completions_know_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Done::of(agentctl(&["completion", shell]).output().unwrap()).result();
        for verb in ["list", "restart", "explain", "completion"] {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn logs_of_a_scratch_directory_are_files() {
    let fake = Fake::absent();
    let logs = fake.dir.path().join("elsewhere");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join("network.log"), "one\ntwo \u{1b}[31mred\nthree").unwrap();
    let folder = logs.to_str().unwrap().to_owned();
    fake.start(move |call, wire: &mut Wire| match call.method.as_str() {
        "org.agentos.Manager.Status" => {
            wire.reply(&Status { logs: folder.clone(), ..samples::status() })
        }
        _ => by_samples(call, wire),
    });
    let message = fake.run(&["logs"]).failure(3);
    assert!(message.contains("writes to its standard error"), "{message}");
    assert_eq!(fake.run(&["logs", "network", "-n", "2"]).result(), "two �[31mred\nthree\n");
    assert_eq!(fake.run(&["logs", "network", "-n", "0"]).result(), "");
    let json = fake.run(&["logs", "network", "-n1", "--json"]).result();
    assert_eq!(json, "{\"MESSAGE\":\"three\",\"SYSLOG_IDENTIFIER\":\"agent-network\"}\n");
    let message = fake.run(&["logs", "network", "--since", "1h"]).failure(2);
    let expected =
        "agentctl: --since needs the journal; ROOT/elsewhere/network.log is a file: use -n\n";
    assert_eq!(without(fake.dir.path(), &message), expected);
    let message = fake.run(&["logs", "netwrk"]).failure(3);
    assert!(message.contains("did you mean network?"), "{message}");
    let message = fake.run(&["logs", "storage"]).failure(3);
    assert!(message.contains("cannot read"), "{message}");
}

#[test]
fn logs_are_read_without_agentd_too() {
    let fake = Fake::absent();
    let logs = fake.dir.path().join("var/log/agentos");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::write(logs.join("storage.log"), "cannot start\n").unwrap();
    assert_eq!(fake.run(&["logs", "storage"]).result(), "cannot start\n");
}
