//! The channel's interfaces: the files in `varlink/` and the types in `channel` say the same.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helper fails the test; clippy sees only functions marked #[test]"
)]

mod idl;

use std::collections::BTreeMap;

use agentd_model::{Finding, Severity};
use agentd_protocol::Code;
use agentd_protocol::channel::*;
use idl::{Type, holds, parse};
use serde_json::json;

#[test]
fn what_agentd_offers_an_agent() {
    let file = parse(include_str!("../varlink/org.agentos.Supervisor.varlink"));
    assert_eq!(file.name, SUPERVISOR);
    let named: Vec<&String> = file.methods.keys().collect();
    assert_eq!(named, ["Heartbeat", "Ready", "Report", "Sample"]);
    let nothing = Type::Struct(BTreeMap::new());
    for (method, (parameters, reply)) in &file.methods {
        assert_eq!(reply, &nothing, "{method}");
        assert_eq!(parameters == &nothing, method == "Heartbeat", "{method}");
    }

    let ready = Ready {
        version: "1".to_owned(),
        checks: vec![CheckInfo {
            name: "space".to_owned(),
            summary: "space".to_owned(),
            every_ms: 1,
            timeout_ms: 2,
        }],
    };
    holds((&file, &file.methods["Ready"].0), &ready, &ready);

    let report = |is_full: bool| Report {
        check: "space".to_owned(),
        outcome: if is_full { Outcome::Unknown } else { Outcome::Measured },
        reason: is_full.then(|| "timed out".to_owned()),
        findings: [Severity::Info, Severity::Warning, Severity::Critical]
            .map(|severity| Finding {
                key: "space:/var".to_owned(),
                severity,
                summary: "full".to_owned(),
                evidence: BTreeMap::from([("percent".to_owned(), "96".to_owned())]),
            })
            .into(),
        took_ms: 3,
    };
    holds((&file, &file.methods["Report"].0), &report(true), &report(false));

    let sample = Sample {
        values: vec![Value { name: "cpu.busy".to_owned(), value: 0.5, unit: "percent".to_owned() }],
    };
    holds((&file, &file.methods["Sample"].0), &sample, &sample);
}

#[test]
fn every_error_agentd_may_answer_an_agent_is_declared() {
    let file = parse(include_str!("../varlink/org.agentos.Supervisor.varlink"));
    let declared: Vec<&str> = file.errors.keys().map(String::as_str).collect();
    let mut codes = Code::ALL.map(Code::as_str);
    codes.sort_unstable();
    assert_eq!(declared, codes);
}

#[test]
fn what_an_agent_offers_agentd() {
    let file = parse(include_str!("../varlink/org.agentos.Agent.varlink"));
    assert_eq!(file.name, AGENT);
    let named: Vec<&String> = file.methods.keys().collect();
    assert_eq!(named, ["Reload"]);
    let (parameters, reply) = &file.methods["Reload"];

    let full = CheckSettings {
        enabled: Some(true),
        every_ms: Some(1),
        timeout_ms: Some(2),
        warning: Some(85.5),
        critical: Some(95.0),
        margin: Some(1.0),
        raise_after: Some(3),
        clear_after: Some(4),
        allow: Some(vec!["tcp:22".to_owned()]),
    };
    holds((&file, &file.types["CheckSettings"]), &full, &CheckSettings::default());
    let settings = |checks: CheckSettings| Settings {
        name: "storage".to_owned(),
        heartbeat_ms: 5000,
        checks: BTreeMap::from([("space".to_owned(), checks)]),
    };
    holds((&file, parameters), &settings(full), &settings(CheckSettings::default()));
    let problems = ReloadReply { problems: vec!["no check is called \"dsik\"".to_owned()] };
    holds((&file, reply), &problems, &ReloadReply::default());
}

#[test]
fn a_reply_without_problems_may_leave_them_out() {
    let reply: ReloadReply = serde_json::from_value(json!({})).unwrap();
    assert_eq!(reply, ReloadReply::default());
}
