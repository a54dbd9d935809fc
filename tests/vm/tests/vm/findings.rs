//! Trouble is made, the finding comes within its documented interval and with evidence; trouble is
//! mended, it goes.

use std::time::Duration;

use agentd_protocol::control::FindingView;

use crate::machine::{Machine, now};

/// What a check under emulation may take beyond its interval: its own run and the asking.
const SLACK: Duration = Duration::from_secs(15);

pub(crate) fn a_clean_boot_has_no_findings(machine: &mut Machine) {
    machine.wait_healthy();
    let findings = machine.findings();
    assert!(findings.is_empty(), "{findings:#?}");
}

/// Waits for an open finding with this key, for at most `readings` intervals of its check.
fn await_finding(machine: &mut Machine, agent: &str, key: &str, readings: u32) -> FindingView {
    let began = now();
    let found = machine.wait_for(&format!("finding {key}"), Duration::from_secs(180), |machine| {
        let findings = machine.findings();
        let found = findings.iter().find(|finding| finding.agent == agent && finding.key == key);
        found.cloned().ok_or_else(|| format!("{findings:?}"))
    });
    let waited = began.elapsed();
    let every = interval(machine, agent, &found.check);
    let limit = every * readings + SLACK;
    assert!(waited <= limit, "{key} came after {waited:?}, documented are {limit:?}");
    assert!(!found.evidence.is_empty(), "no evidence: {found:?}");
    assert!(!found.summary.is_empty() && !found.stale, "{found:?}");
    found
}

fn await_resolved(machine: &mut Machine, key: &str) {
    machine.wait_for(&format!("end of {key}"), Duration::from_secs(180), |machine| {
        let findings = machine.findings();
        if findings.iter().any(|finding| finding.key == key) {
            Err(format!("{findings:?}"))
        } else {
            Ok(())
        }
    });
}

fn interval(machine: &mut Machine, agent: &str, check: &str) -> Duration {
    let agent = machine.agent(agent);
    let check = agent.checks.iter().find(|view| view.name == check).expect("the check is listed");
    Duration::from_millis(check.every_ms)
}

/// What the event log says of a finding's life.
fn life(machine: &mut Machine, agent: &str, key: &str) -> Vec<String> {
    let events = machine.events(agent);
    let of_key =
        events.into_iter().filter(|event| event.fields.get("key").is_some_and(|k| k == key));
    of_key.map(|event| event.kind).collect()
}

pub(crate) fn a_failing_unit(machine: &mut Machine) {
    machine.try_run("systemd-run --unit=doomed.service /bin/false");
    let finding = await_finding(machine, "system", "unit-failed:doomed.service", 2);
    assert!(finding.summary.contains("doomed.service"), "{finding:?}");
    machine.run("systemctl reset-failed doomed.service");
    await_resolved(machine, "unit-failed:doomed.service");
    assert_eq!(
        life(machine, "system", "unit-failed:doomed.service"),
        ["finding.opened", "finding.resolved"]
    );
}

pub(crate) fn a_stopped_resolver(machine: &mut Machine) {
    machine.run("systemctl stop systemd-resolved.service systemd-resolved-varlink.socket systemd-resolved-monitor.socket 2>/dev/null || systemctl stop systemd-resolved.service");
    await_finding(machine, "network", "dns:resolved", 3);
    machine.run("systemctl start systemd-resolved.service");
    await_resolved(machine, "dns:resolved");
}

pub(crate) fn a_new_listener(machine: &mut Machine) {
    machine.run(
        "systemd-run --unit=intruder.service python3 --version >/dev/null 2>&1; \
         systemctl reset-failed 2>/dev/null; \
         systemd-socket-activate --listen=0.0.0.0:8099 /bin/cat >/dev/null 2>&1 & echo $! > /run/intruder",
    );
    let finding = await_finding(machine, "security", "listener:tcp/0.0.0.0:8099", 3);
    assert!(finding.summary.contains("8099"), "{finding:?}");
    machine.run("kill $(cat /run/intruder); rm /run/intruder");
    await_resolved(machine, "listener:tcp/0.0.0.0:8099");
}

pub(crate) fn a_full_data_partition(machine: &mut Machine) {
    machine.run(
        "free=$(df --output=avail -B1M /var | tail -1); fallocate -l $((free - 20))M /var/filler",
    );
    let finding = await_finding(machine, "storage", "space:/var", 3);
    assert_eq!(finding.severity.as_str(), "critical", "{finding:?}");
    machine.run("rm /var/filler");
    await_resolved(machine, "space:/var");
    let listed = machine.run("agentctl findings --all --json");
    assert!(listed.contains("space:/var"), "resolved findings are remembered: {listed}");
}
