//! Two front ends, one agentd: what the control socket says, the bus says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agentd_protocol::control::{EventQuery, FindingView};
use harness::{LIMIT, wait_for};
use zbus::OwnedObjectPath;

use crate::bed::Bed;
use crate::peer::{AGENT, MANAGER, OBJECTS, Properties, ROOT, path_of};

type Row = (String, String, String, String, u32, u64, u32, OwnedObjectPath);
type Event = (u64, i64, String, String, String, BTreeMap<String, String>);
type Finding =
    (String, String, String, String, String, BTreeMap<String, String>, i64, i64, i64, bool);
type Point = (i64, u32, f64, f64, f64);
type Managed = HashMap<OwnedObjectPath, HashMap<String, Properties>>;

/// With an agent that has a check and findings, and one of which is known little.
fn bed() -> Bed {
    let mut bed = Bed::without_agentd(&["db-one"]);
    bed.scratch.add(&bed.scratch.good("web"));
    bed.bus.start();
    bed.start();
    bed.wait_name();
    bed.agentd().wait_running("db-one");
    bed.agentd().wait_running("web");
    bed.scratch.order("web", "report:probe:space:/var=warning,inodes:/=critical");
    bed.scratch.order("web", "report:probe:space:/var=warning");
    bed.agentd().wait("web", "with one finding left", |agent| {
        agent.findings == 1 && bed.agentd().all_findings().len() == 2
    });
    bed
}

/// Asks both until they show the same moment, which is soon: little happens here.
#[track_caller]
fn at_one_moment<A, B>(what: &str, mut ask: impl FnMut() -> ((u64, A), (u64, B))) -> (A, B) {
    wait_for(what, LIMIT, || {
        let ((one_seq, one), (other_seq, other)) = ask();
        if one_seq == other_seq { Ok((one, other)) } else { Err(format!("{one_seq} {other_seq}")) }
    })
}

fn value(properties: &mut Properties, name: &str) -> serde_json::Value {
    let value = properties.remove(name).unwrap_or_else(|| panic!("no property {name}"));
    serde_json::to_value(&value).unwrap()["value"].take()
}

#[test]
fn the_lists_of_agents_are_the_same() {
    let bed = bed();
    let root = bed.root();
    let (socket, bus) = at_one_moment("one list of agents", || {
        let list = bed.agentd().list();
        ((list.seq, list.agents), root.manager::<(u64, Vec<Row>)>("ListAgents", &()).unwrap())
    });
    let socket: Vec<_> = socket
        .into_iter()
        .map(|agent| {
            let (phase, health) = (agent.phase.as_str().into(), agent.health.as_str().into());
            let pid = u32::try_from(agent.pid.unwrap_or(0)).unwrap();
            let path = OwnedObjectPath::try_from(path_of(&agent.name)).unwrap();
            (agent.name, agent.want, phase, health, pid, agent.restarts, agent.findings, path)
        })
        .collect::<Vec<Row>>();
    assert_eq!(socket, bus);
    assert_eq!(bus.len(), 2);
}

#[test]
fn every_property_of_an_agent_is_that_of_the_control_socket() {
    let bed = bed();
    let root = bed.root();
    for name in ["web", "db-one"] {
        // The bus is told within milliseconds of what the socket already shows.
        wait_for("the same on both", LIMIT, || {
            let view = serde_json::to_value(bed.agentd().get(name)).unwrap();
            let mut properties = root.get_all(&path_of(name), AGENT).unwrap();
            for (field, expected) in view.as_object().unwrap() {
                let property = property_of(field);
                let found = value(&mut properties, &property);
                if found != as_on_the_bus(field, expected) {
                    return Err(format!("{property}: {found} and {expected}"));
                }
            }
            assert!(properties.is_empty(), "shown on the bus only: {properties:?}");
            Ok(())
        });
    }
}

/// The property that shows a field of `org.agentos.Agents.Agent`.
fn property_of(field: &str) -> String {
    match field {
        "cgroup" => "ControlGroup".into(),
        other => other.split('_').map(capitalised).collect(),
    }
}

/// The value of a field as D-Bus has it: a type for nothing there is not, nor a name for a part.
fn as_on_the_bus(field: &str, value: &serde_json::Value) -> serde_json::Value {
    match field {
        "checks" => {
            let order = ["name", "summary", "state", "reason", "every_ms", "last_ms", "took_ms"];
            let rows = value.as_array().unwrap().iter();
            rows.map(|row| order.iter().map(|part| as_on_the_bus(part, &row[part])).collect())
                .collect::<Vec<serde_json::Value>>()
                .into()
        }
        _ if !value.is_null() => value.clone(),
        "pid" | "started_ms" | "last_ms" | "took_ms" => 0.into(),
        _ => "".into(),
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[test]
fn all_properties_are_of_one_moment() {
    let bed = bed();
    let root = bed.root();
    let path = path_of("db-one");
    let mut seen = BTreeSet::new();
    wait_for("ten processes", LIMIT, || {
        root.agent::<String>("db-one", "Restart").unwrap();
        for _ in 0..20 {
            let mut all = root.get_all(&path, AGENT).unwrap();
            let [phase, pid, started] =
                ["Phase", "Pid", "StartedMs"].map(|name| value(&mut all, name));
            let has_process =
                ["starting", "running", "stopping"].contains(&phase.as_str().unwrap());
            assert_eq!(pid != 0, has_process, "{phase} with process {pid}");
            assert_eq!(started != 0, has_process, "{phase} started at {started}");
            seen.extend(pid.as_u64());
        }
        if seen.len() > 10 { Ok(()) } else { Err(seen.len()) }
    });
}

#[test]
fn managed_objects_are_the_agents_with_their_properties() {
    let bed = bed();
    let root = bed.root();
    let managed: Managed = root.call(ROOT, OBJECTS, "GetManagedObjects", &()).unwrap();
    let mut paths: Vec<&str> = managed.keys().map(|path| path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, [path_of("db-one"), path_of("web")]);
    for (path, interfaces) in &managed {
        assert_eq!(interfaces.keys().collect::<Vec<_>>(), [AGENT]);
        let alone = root.get_all(path, AGENT).unwrap();
        assert_eq!(interfaces[AGENT].keys().collect::<BTreeSet<_>>(), alone.keys().collect());
        assert_eq!(interfaces[AGENT]["Name"], alone["Name"]);
    }
}

#[test]
fn findings_events_plans_and_the_version_are_the_same() {
    let bed = bed();
    let root = bed.root();
    let mut socket = bed.agentd().all_findings();
    let (_, bus) = root.manager::<(u64, Vec<Finding>)>("ListFindings", &("", true)).unwrap();
    let expected = socket.drain(..).map(|finding: FindingView| {
        let severity = finding.severity.as_str().to_owned();
        (
            finding.agent,
            finding.check,
            finding.key,
            severity,
            finding.summary,
            finding.evidence,
            finding.opened_ms,
            finding.seen_ms,
            finding.resolved_ms.unwrap_or(0),
            finding.stale,
        )
    });
    assert_eq!(bus, expected.collect::<Vec<_>>());
    assert_eq!(bus.len(), 2);
    let (_, of_other) =
        root.manager::<(u64, Vec<Finding>)>("ListFindings", &("db-one", true)).unwrap();
    assert_eq!(of_other, []);

    let query = EventQuery { agent: Some("web".into()), limit: Some(5), ..EventQuery::default() };
    let expected = bed.agentd().events(&query).into_iter().map(|event| {
        (
            event.seq,
            event.time_ms,
            event.kind,
            event.agent.unwrap_or_default(),
            event.message,
            event.fields,
        )
    });
    let bus: Vec<Event> = root.manager("ListEvents", &(0u64, 0i64, "web", 5u32)).unwrap();
    assert_eq!(bus, expected.collect::<Vec<_>>());
    assert_eq!(bus.len(), 5);
    let after: Vec<Event> = root.manager("ListEvents", &(bus[2].0, 0i64, "web", 5u32)).unwrap();
    assert_eq!(after, bus[3..]);

    let explained: agentd_protocol::control::Explanation =
        bed.agentd().call("Agents.Explain", &serde_json::json!({ "name": "web" })).unwrap();
    let plan: (Vec<String>, Vec<String>) = root.manager("Explain", &"web").unwrap();
    assert_eq!(plan, (explained.operations, explained.missing));

    let status = bed.agentd().status();
    let expected = serde_json::json!({
        "Version": status.version,
        "Pid": status.pid,
        "StartedMs": status.started_ms,
        "Limits": status.limits,
        "AllReadyBootMs": status.all_ready_boot_ms,
        "AgentsTotal": 2,
        "AgentsRunning": 2,
        "FindingsOpen": 1,
        "Problems": [],
        "Seq": status.seq,
    });
    wait_for("the same status on both", LIMIT, || {
        let mut shown = root.get_all(ROOT, MANAGER).unwrap();
        let names: Vec<String> = shown.keys().cloned().collect();
        let shown: serde_json::Map<_, _> =
            names.into_iter().map(|name| (name.clone(), value(&mut shown, &name))).collect();
        let shown = serde_json::Value::from(shown);
        if shown == expected { Ok(()) } else { Err(format!("{shown} and {expected}")) }
    });
}

#[test]
fn readings_are_the_same() {
    let bed = bed();
    bed.scratch.order("web", "sample:cpu.busy:12.5");
    let root = bed.root();
    let metrics = wait_for("a kept reading", LIMIT, || {
        let metrics: Vec<(String, String, f64, i64)> = root.manager("ListMetrics", &()).unwrap();
        if metrics.is_empty() { Err("none") } else { Ok(metrics) }
    });
    let list: agentd_protocol::control::MetricList =
        bed.agentd().call("Metrics.List", &serde_json::json!({})).unwrap();
    let expected = list.metrics.into_iter().map(|it| (it.name, it.unit, it.last, it.last_ms));
    assert_eq!(metrics, expected.collect::<Vec<_>>());
    let (unit, points): (String, Vec<Point>) =
        root.manager("ReadMetric", &("cpu.busy", 0i64)).unwrap();
    assert_eq!(unit, metrics[0].1);
    let [(_, 1, least, mean, most)] = points.as_slice() else { panic!("{points:?}") };
    assert_eq!([*least, *mean, *most].map(|it| it.to_string()), ["12.5"; 3].map(str::to_owned));
}
