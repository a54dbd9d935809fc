//! systemd's own tools as peers: varlinkctl, busctl, journalctl.

use agentd_protocol::control::AgentList;
use serde_json::Value;

use crate::machine::Machine;

const SOCKET: &str = "/run/agentos/control.sock";

pub(crate) fn varlinkctl_speaks_to_the_control_socket(machine: &mut Machine) {
    let info = machine.run(&format!("varlinkctl info {SOCKET}"));
    assert!(info.contains("agentos") && info.contains("org.agentos.Agents"), "{info}");
    for interface in ["Agents", "Events", "Findings", "Manager", "Metrics"] {
        let text = machine.run(&format!("varlinkctl introspect {SOCKET} org.agentos.{interface}"));
        assert!(text.contains(&format!("interface org.agentos.{interface}")), "{text}");
        assert!(text.contains("error NotFound"), "{text}");
    }
    let list: AgentList =
        machine.json(&format!("varlinkctl call -j {SOCKET} org.agentos.Agents.List '{{}}'"));
    assert_eq!(list.agents.len(), 5);
    let unknown = machine.try_run(&format!(
        "varlinkctl call {SOCKET} org.agentos.Agents.Get '{{\"name\":\"nobody\"}}'"
    ));
    assert_ne!(unknown.status, 0);
    assert!(unknown.stderr.contains("org.agentos.Agents.NotFound"), "{unknown}");
    // A stream: from the first event on, as many as there are so far.
    let stream = machine.run(&format!(
        "timeout 5 varlinkctl call --more -j {SOCKET} org.agentos.Events.Follow \
         '{{\"after_seq\":0,\"limit\":5}}' || test $? = 124"
    ));
    let first: Value = serde_json::Deserializer::from_str(&stream.replace('\u{1e}', ""))
        .into_iter()
        .next()
        .expect("an event")
        .expect("JSON");
    assert!(first["event"]["seq"].is_u64(), "{stream}");
}

pub(crate) fn busctl_speaks_to_the_bus_name(machine: &mut Machine) {
    let name = "org.agentos.Agentd1";
    let manager = "/org/agentos/Agentd1";
    let tree = machine.run(&format!("busctl introspect --no-pager {name} {manager}"));
    assert!(tree.contains("org.agentos.Agentd1.Manager"), "{tree}");
    let agent = format!("{manager}/agents/network");
    let tree = machine.run(&format!("busctl introspect --no-pager {name} {agent}"));
    assert!(tree.contains("org.agentos.Agentd1.Agent") && tree.contains(".Phase"), "{tree}");
    let phase =
        machine.run(&format!("busctl get-property {name} {agent} org.agentos.Agentd1.Agent Phase"));
    assert_eq!(phase.trim(), "s \"running\"");
    let call = machine
        .run(&format!("busctl call {name} {manager} org.agentos.Agentd1.Manager Start s network"));
    assert_eq!(call.trim(), "s \"already_so\"");
    let missing = machine.try_run(&format!(
        "busctl call {name} {manager} org.agentos.Agentd1.Manager Start s nobody"
    ));
    assert!(missing.status != 0 && missing.stderr.contains("nobody"), "{missing}");
    // Signals are seen while something happens.
    let seen = machine.run(&format!(
        "busctl monitor --no-pager --match \"type='signal',path_namespace='{manager}'\" \
         > /run/seen 2>&1 & watcher=$!; \
         for i in $(seq 50); do grep -q Monitoring /run/seen && break; sleep 0.2; done; \
         agentctl restart network --wait >/dev/null; \
         for i in $(seq 50); do grep -q Member=Event /run/seen && grep -q PropertiesChanged /run/seen && break; sleep 0.2; done; \
         kill $watcher; cat /run/seen; rm /run/seen"
    ));
    assert!(seen.contains("Member=Event"), "{seen}");
    assert!(seen.contains("Member=PropertiesChanged"), "{seen}");
    machine.wait_healthy();
}

pub(crate) fn an_unprivileged_caller_may_not_stop(machine: &mut Machine) {
    let before = machine.agent("network").pid;
    let member = "setpriv --reuid=nobody --regid=nogroup --groups=agentos --";
    let stranger = "setpriv --reuid=nobody --regid=nogroup --clear-groups --";
    machine.run(&format!("{member} agentctl list >/dev/null"));
    let stop = machine.try_run(&format!("{member} agentctl stop network"));
    assert_eq!(stop.status, 4, "{stop}");
    assert!(stop.stderr.contains("manage"), "the missing right is named: {stop}");
    let closed = machine.try_run(&format!("{stranger} agentctl list"));
    assert_ne!(closed.status, 0);
    assert!(closed.stderr.contains("group") && closed.stderr.contains("agentos"), "{closed}");
    let raw = machine.try_run(&format!(
        "{member} varlinkctl call {SOCKET} org.agentos.Agents.Stop '{{\"name\":\"network\"}}'"
    ));
    assert!(raw.status != 0 && raw.stderr.contains("Forbidden"), "{raw}");
    for who in [member, stranger] {
        let bus = machine.try_run(&format!(
            "{who} busctl call org.agentos.Agentd1 /org/agentos/Agentd1 \
             org.agentos.Agentd1.Manager Stop s network"
        ));
        assert!(bus.status != 0 && bus.stderr.contains("manage"), "{bus}");
    }
    assert_eq!(machine.agent("network").pid, before);
}

pub(crate) fn the_journal_has_fields(machine: &mut Machine) {
    let lines = machine.run("journalctl -t agent-network -o json --no-pager");
    let entry = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("journalctl writes JSON"))
        .find(|entry| entry["AGENT"] == "network")
        .unwrap_or_else(|| panic!("no line with AGENT= in {lines}"));
    assert_eq!(entry["SYSLOG_IDENTIFIER"], "agent-network");
    // One line per transition, with the number of its event.
    let events = machine.events("network");
    let phases = events.iter().filter(|event| event.kind == "agent.phase");
    for event in phases {
        let seq = event.seq;
        let lines = machine
            .run(&format!("journalctl -t agentd -o json --no-pager SEQ={seq} AGENT=network"));
        let found: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(found.len(), 1, "event {seq}: {lines}");
        assert_eq!(found[0]["TO"], event.fields["to"].as_str());
    }
}
