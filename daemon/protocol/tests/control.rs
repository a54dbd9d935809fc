//! The control interfaces: the files in `varlink/` and the types in `control` say the same.
//!
//! For each method a sample of its parameters and its reply with everything set must have exactly
//! the fields of the file, and one with nothing optional set must still fit; what the file calls
//! optional may be null or absent when it is read.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helper fails the test; clippy sees only functions marked #[test]"
)]

mod idl;

use std::collections::{BTreeMap, BTreeSet};

use agentd_model::Severity;
use agentd_protocol::control::*;
use agentd_protocol::{Code, idl as files};
use idl::{Interface, Type, holds, parse};
use serde::Serialize;
use serde_json::{Value, json};

fn interface(name: &str) -> Interface {
    let (_, text) = files::CONTROL.into_iter().find(|(known, _)| *known == name).unwrap();
    parse(text)
}

fn a_check(is_full: bool) -> CheckView {
    CheckView {
        name: "disk".to_owned(),
        summary: "space".to_owned(),
        state: "measured".to_owned(),
        reason: is_full.then(|| "timed out".to_owned()),
        every_ms: 30_000,
        last_ms: is_full.then_some(1),
        took_ms: is_full.then_some(2),
    }
}

fn an_agent(is_full: bool) -> AgentView {
    let text = |text: &str| is_full.then(|| text.to_owned());
    AgentView {
        name: "storage".to_owned(),
        summary: "disks".to_owned(),
        want: "up".to_owned(),
        enabled: true,
        phase: PhaseName::Running,
        detail: text("why"),
        since_ms: 1,
        pid: is_full.then_some(7),
        started_ms: is_full.then_some(2),
        user: "agentos-storage".to_owned(),
        cgroup: text("agents/storage"),
        health: Health::Ok,
        health_reasons: vec!["a".to_owned()],
        restarts: 1,
        failures: 2,
        last_exit: text("exit status 1"),
        criticality: "important".to_owned(),
        exec: vec!["/x".to_owned()],
        version: text("1"),
        checks: vec![a_check(is_full)],
        findings: 3,
        seq: 4,
    }
}

#[test]
fn agents() {
    let file = interface(AGENTS);
    let named: BTreeSet<&str> = file.methods.keys().map(String::as_str).collect();
    let requests = ["Start", "Stop", "Restart", "Enable", "Disable"];
    assert_eq!(named, ["List", "Get", "Explain"].into_iter().chain(requests).collect());

    let (none, list) = &file.methods["List"];
    assert_eq!(none, &Type::Struct(BTreeMap::new()));
    let [full, bare] = [true, false].map(|is| AgentList { seq: 1, agents: vec![an_agent(is)] });
    holds((&file, list), &full, &bare);
    holds((&file, &file.types["Agent"]), &an_agent(true), &an_agent(false));
    holds((&file, &file.types["Check"]), &a_check(true), &a_check(false));

    let arg = AgentArg { name: "storage".to_owned() };
    let (name, one) = &file.methods["Get"];
    holds((&file, name), &arg, &arg);
    let [full, bare] = [true, false].map(|is| AgentReply { agent: an_agent(is) });
    holds((&file, one), &full, &bare);
    for verb in requests {
        let (name, reply) = &file.methods[verb];
        holds((&file, name), &arg, &arg);
        let [taken, already] = [Disposition::Accepted, Disposition::AlreadySo]
            .map(|disposition| RequestReply { disposition });
        holds((&file, reply), &taken, &already);
    }
    let (name, explanation) = &file.methods["Explain"];
    holds((&file, name), &arg, &arg);
    let line = || vec!["x".to_owned()];
    let full = Explanation { name: "storage".to_owned(), operations: line(), missing: line() };
    holds((&file, explanation), &full, &full);
}

#[test]
fn events() {
    let file = interface(EVENTS);
    let named: Vec<&String> = file.methods.keys().collect();
    assert_eq!(named, ["Follow", "List"]);
    let event = |agent: Option<&str>| EventView {
        seq: 1,
        time_ms: 2,
        kind: kind::PHASE.to_owned(),
        agent: agent.map(str::to_owned),
        message: "m".to_owned(),
        fields: BTreeMap::from([("from".to_owned(), "idle".to_owned())]),
    };
    let query = EventQuery {
        after_seq: Some(1),
        since_ms: Some(2),
        agent: Some("a".to_owned()),
        limit: Some(3),
    };
    for (method, (parameters, reply)) in &file.methods {
        holds((&file, parameters), &query, &EventQuery::default());
        if method == "List" {
            let [full, bare] = [Some("a"), None].map(|a| EventList { events: vec![event(a)] });
            holds((&file, reply), &full, &bare);
        } else {
            let [full, bare] =
                [Some("a"), None].map(|a| EventReply { event: event(a), dropped: 0 });
            holds((&file, reply), &full, &bare);
        }
    }
}

#[test]
fn every_kind_of_event_is_in_the_file_with_its_fields() {
    let source = include_str!("../src/control.rs");
    let text = include_str!("../varlink/org.agentos.Events.varlink");
    let mut kinds = 0;
    for (doc, line) in source.lines().zip(source.lines().skip(1)) {
        let Some(word) = line.trim().strip_prefix("pub const ").filter(|_| line.starts_with(' '))
        else {
            continue;
        };
        let kind = word.split('"').nth(1).unwrap();
        let stands = text
            .lines()
            .find(|line| line.split_whitespace().nth(1) == Some(kind))
            .unwrap_or_else(|| panic!("{kind} is not in the file"));
        for field in doc.split('`').skip(1).step_by(2) {
            assert!(stands.contains(field), "{kind}: {field} is not in {stands}");
        }
        kinds += 1;
    }
    assert_eq!(kinds, 13);
}

#[test]
fn findings() {
    let file = interface(FINDINGS);
    let [full, bare] = [Some(9), None].map(|resolved_ms| FindingList {
        seq: 1,
        findings: vec![FindingView {
            agent: "storage".to_owned(),
            check: "disk".to_owned(),
            key: "space:/var".to_owned(),
            severity: Severity::Warning,
            summary: "s".to_owned(),
            evidence: BTreeMap::from([("path".to_owned(), "/var".to_owned())]),
            opened_ms: 1,
            seen_ms: 2,
            resolved_ms,
            stale: false,
        }],
    });
    let (parameters, reply) = &file.methods["List"];
    holds((&file, reply), &full, &bare);
    let query = FindingQuery { agent: Some("storage".to_owned()), all: true };
    holds((&file, parameters), &query, &FindingQuery::default());
    assert_eq!(file.methods.len(), 1);
}

#[test]
fn metrics() {
    let file = interface(METRICS);
    let text = str::to_owned;
    let info = MetricInfo { name: text("cpu"), unit: text("percent"), last: 1.5, last_ms: 2 };
    let list = MetricList { metrics: vec![info] };
    holds((&file, &file.methods["List"].1), &list, &list);
    let (parameters, reply) = &file.methods["Read"];
    let query = |since_ms| MetricQuery { name: text("cpu"), since_ms };
    holds((&file, parameters), &query(Some(1)), &query(None));
    let point = MetricPoint { minute_ms: 1, count: 6, min: 0.5, mean: 1.0, max: 2.5 };
    let series = MetricSeries { name: text("cpu"), unit: text("percent"), points: vec![point] };
    holds((&file, reply), &series, &series);
    assert_eq!(file.methods.len(), 2);
}

#[test]
fn manager() {
    let file = interface(MANAGER);
    let text = str::to_owned;
    let version = Version { version: text("0.1.0"), pid: 1 };
    holds((&file, &file.methods["Version"].1), &version, &version);
    let [full, bare] = [Some(8_000), None].map(|all_ready_boot_ms| Status {
        version: text("0.1.0"),
        pid: 1,
        started_ms: 2,
        all_ready_boot_ms,
        root: text("/"),
        logs: text("journal"),
        seq: 3,
        problems: vec![Problem {
            area: text("config"),
            subject: text("network.toml"),
            message: text("line 3"),
        }],
        limits: vec![text("no cgroup v2")],
    });
    holds((&file, &file.methods["Status"].1), &full, &bare);
    let (parameters, reply) = &file.methods["Reload"];
    holds((&file, parameters), &ReloadArg { dry_run: true }, &ReloadArg::default());
    let names = || vec![text("network")];
    let report = ReloadReport { added: names(), changed: names(), removed: names(), applied: true };
    holds((&file, reply), &report, &report);
    assert_eq!(file.methods.len(), 3);
}

#[test]
fn enums_have_the_same_words() {
    fn words<T: Serialize>(all: &[T]) -> Vec<Value> {
        all.iter().map(|word| serde_json::to_value(word).unwrap()).collect()
    }
    let same = |file: &str, name: &str, ours: Vec<Value>| {
        let Type::Enum(theirs) = &interface(file).types[name] else { panic!("{name}: no enum") };
        assert_eq!(ours, theirs.iter().map(|word| json!(word)).collect::<Vec<_>>(), "{name}");
    };
    use PhaseName::{Backoff, Failed, Idle, Running, Spawning, Starting, Stopping, Waiting};
    let phases = [Idle, Waiting, Spawning, Starting, Running, Stopping, Backoff, Failed];
    same(AGENTS, "Phase", words(&phases));
    assert_eq!(words(&phases), phases.map(PhaseName::as_str), "on the screen as on the wire");
    let healths = [Health::Unknown, Health::Ok, Health::Degraded, Health::Stale];
    same(AGENTS, "Health", words(&healths));
    assert_eq!(words(&healths), healths.map(Health::as_str), "on the screen as on the wire");
    same(AGENTS, "Disposition", words(&[Disposition::Accepted, Disposition::AlreadySo]));
    let severities = [Severity::Info, Severity::Warning, Severity::Critical];
    same(FINDINGS, "Severity", words(&severities));
}

#[test]
fn each_of_our_interfaces_declares_every_code_and_no_other_error() {
    let detail = ErrorDetail { message: "m".to_owned() };
    for (name, text) in files::CONTROL.into_iter().filter(|(name, _)| name.contains("agentos")) {
        let file = parse(text);
        let declared: BTreeSet<&str> = file.errors.keys().map(String::as_str).collect();
        assert_eq!(declared, Code::ALL.into_iter().map(Code::as_str).collect(), "{name}");
        for error in file.errors.values() {
            holds((&file, error), &detail, &detail);
        }
    }
}

#[test]
fn each_file_declares_the_interface_it_is_named_for_and_uses_every_type() {
    for (name, text) in files::CONTROL {
        let file = parse(text);
        assert_eq!(file.name, name);
        for declared in file.types.keys() {
            let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            let uses = code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric()));
            assert!(uses.filter(|word| word == declared).count() > 1, "{name}: {declared}");
        }
    }
}

#[test]
fn varlinks_own_interface_is_the_standard_one() {
    let file = interface("org.varlink.service");
    let errors: Vec<&String> = file.errors.keys().collect();
    let standard = [
        "ExpectedMore",
        "InterfaceNotFound",
        "InvalidParameter",
        "MethodNotFound",
        "MethodNotImplemented",
        "PermissionDenied",
    ];
    assert_eq!(errors, standard);
    let methods: Vec<&String> = file.methods.keys().collect();
    assert_eq!(methods, ["GetInfo", "GetInterfaceDescription"]);
}
