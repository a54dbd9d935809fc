//! What the bus is told without asking, and who hears it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use harness::{LIMIT, wait_for};
use zbus::message::Message;
use zbus::{OwnedObjectPath, OwnedVariant};

use crate::bed::{Bed, READER, STRANGER, has_others, idler};
use crate::peer::{AGENT, MANAGER, OBJECTS, PROPERTIES, Properties, ROOT, path_of};

type Event = (u64, i64, String, String, String, BTreeMap<String, String>);
type Added = (OwnedObjectPath, HashMap<String, Properties>);

fn is(message: &Message, interface: &str, member: &str) -> bool {
    let header = message.header();
    header.interface().is_some_and(|name| name.as_str() == interface)
        && header.member().is_some_and(|name| name.as_str() == member)
}

fn event(message: &Message) -> Option<Event> {
    is(message, MANAGER, "Event").then(|| message.body().deserialize().unwrap())
}

/// What a signal says changed of an agent.
fn changed(message: &Message, agent: &str) -> Option<Properties> {
    let of_agent = message.header().path().is_some_and(|path| path.as_str() == path_of(agent));
    if !of_agent || !is(message, PROPERTIES, "PropertiesChanged") {
        return None;
    }
    let body = message.body();
    let (interface, changed, invalidated): (String, Properties, Vec<String>) =
        body.deserialize().unwrap();
    assert_eq!((interface.as_str(), invalidated.as_slice()), (AGENT, [].as_slice()));
    Some(changed)
}

fn text(value: &OwnedVariant) -> String {
    value.try_clone().unwrap().try_into().unwrap()
}

fn phase(told: &Properties) -> String {
    told.get("Phase").map(text).unwrap_or_default()
}

#[test]
fn changes_of_properties_are_told_with_their_values() {
    let bed = Bed::with(&["web"]);
    bed.agentd().wait_running("web");
    let root = bed.root();
    let mut ear = root.listen();
    root.agent::<String>("web", "Stop").unwrap();
    let mut told = Properties::new();
    ear.wait("web being down", |signal| {
        let changed = changed(signal, "web")?;
        assert!(!changed.contains_key("Name"), "it never changes: {changed:?}");
        assert!(!changed.contains_key("Checks"), "it is there to be asked for: {changed:?}");
        told.extend(changed);
        (phase(&told) == "idle").then_some(())
    });
    assert_eq!(text(&told["Want"]), "down");
    assert_eq!(
        text(&told["LastExit"]),
        text(&root.get_all(&path_of("web"), AGENT).unwrap()["LastExit"])
    );
    assert!(!text(&told["LastExit"]).is_empty());
    // In the end what was told is what is.
    root.agent::<String>("web", "Start").unwrap();
    wait_for("what was told to be what is", LIMIT, || {
        let signals = std::iter::from_fn(|| ear.next_within(Duration::from_millis(1)));
        signals.filter_map(|signal| changed(&signal, "web")).for_each(|new| told.extend(new));
        let now = root.get_all(&path_of("web"), AGENT).unwrap();
        let differs = told.iter().find(|(name, value)| now.get(*name) != Some(*value));
        match differs {
            None if phase(&told) == "running" => Ok(()),
            differs => Err(format!("{differs:?}")),
        }
    });
}

#[test]
fn the_manager_counts_aloud() {
    let bed = Bed::with(&["web", "db"]);
    bed.agentd().wait_running("web");
    bed.agentd().wait_running("db");
    let root = bed.root();
    wait_for("two running", LIMIT, || {
        let running: u32 = root.get(ROOT, MANAGER, "AgentsRunning").unwrap();
        if running == 2 { Ok(()) } else { Err(running) }
    });
    let mut ear = root.listen();
    root.agent::<String>("web", "Stop").unwrap();
    ear.wait("one running", |signal| {
        if !is(signal, PROPERTIES, "PropertiesChanged") {
            return None;
        }
        let body = signal.body();
        let (interface, mut changed, _): (String, Properties, Vec<String>) =
            body.deserialize().unwrap();
        if interface != MANAGER {
            return None;
        }
        assert!(!changed.contains_key("Seq"), "Event tells it: {changed:?}");
        let running = changed.remove("AgentsRunning")?;
        (u32::try_from(running) == Ok(1)).then_some(())
    });
}

#[test]
fn events_are_told_in_order_without_gaps_and_never_before_they_show() {
    let bed = Bed::with(&["web"]);
    bed.agentd().wait_running("web");
    let root = bed.root();
    let mut ear = root.listen();
    let after = bed.agentd().status().seq;
    let mut heard: Vec<Event> = Vec::new();
    for _ in 0..20 {
        root.agent::<String>("web", "Restart").unwrap();
        ear.wait("web running again", |signal| {
            let event = event(signal)?;
            let seq: u64 = root.get(ROOT, MANAGER, "Seq").unwrap();
            assert!(seq >= event.0, "event {} was told while {seq} was shown", event.0);
            let is_up = event.5.get("to").is_some_and(|to| to == "running");
            heard.push(event);
            is_up.then_some(())
        });
    }
    heard.retain(|event| event.0 > after);
    for pair in heard.windows(2) {
        assert_eq!(pair[0].0 + 1, pair[1].0, "{pair:?}");
    }
    let listed: Vec<Event> = root.manager("ListEvents", &(after, 0i64, "", 1000u32)).unwrap();
    assert_eq!(heard, listed[..heard.len()]);
    let request = heard.iter().find(|event| event.2 == "agent.request").expect("the request");
    assert_eq!((request.3.as_str(), request.5["verb"].as_str()), ("web", "restart"));
    assert_eq!(request.5["front"], "dbus");
}

#[test]
fn objects_come_and_go_with_their_agents() {
    let bed = Bed::with(&["web"]);
    let root = bed.root();
    let mut ear = root.listen();
    bed.scratch.add(&idler("db-one"));
    type Report = (Vec<String>, Vec<String>, Vec<String>, bool);
    let dry: Report = root.manager("Reload", &true).unwrap();
    assert_eq!((dry.0.as_slice(), dry.3), (["db-one".to_owned()].as_slice(), false));
    let report: Report = root.manager("Reload", &false).unwrap();
    assert_eq!((report.0, report.3), (vec!["db-one".to_owned()], true));
    let (path, interfaces) = ear.wait("a new object", |signal| {
        is(signal, OBJECTS, "InterfacesAdded")
            .then(|| signal.body().deserialize::<Added>().unwrap())
    });
    assert_eq!(path.as_str(), path_of("db-one"));
    assert_eq!(text(&interfaces[AGENT]["Name"]), "db-one");
    assert_eq!(root.get::<String>(&path, AGENT, "Name").unwrap(), "db-one");

    bed.scratch.remove("db-one");
    root.manager::<Report>("Reload", &false).unwrap();
    let (gone, interfaces) = ear.wait("an object gone", |signal| {
        is(signal, OBJECTS, "InterfacesRemoved")
            .then(|| signal.body().deserialize::<(OwnedObjectPath, Vec<String>)>().unwrap())
    });
    assert_eq!((gone, interfaces), (path.clone(), vec![AGENT.to_owned()]));
    let refusal = root.get::<String>(&path, AGENT, "Name").unwrap_err();
    assert_eq!(refusal.name, "org.freedesktop.DBus.Error.UnknownObject");
}

#[test]
fn readers_hear_and_strangers_hear_nothing_from_the_first_moment_on() {
    let test = "readers_hear_and_strangers_hear_nothing";
    if !has_others(test) {
        return;
    }
    let mut bed = Bed::without_agentd(&["web"]);
    bed.bus.start();
    let (stranger, reader) = (bed.peer(STRANGER), bed.peer(READER));
    let (mut strange, mut read) = (stranger.listen(), reader.listen());
    bed.start();
    bed.wait_name();
    bed.agentd().wait_running("web");
    bed.root().agent::<String>("web", "Restart").unwrap();
    bed.scratch.add(&idler("db"));
    bed.root().manager::<(Vec<String>, Vec<String>, Vec<String>, bool)>("Reload", &false).unwrap();
    // The objects of the start, which come before the name does, and everything after.
    let mut missing = BTreeSet::from(["an object", "an event", "a change", "db running"]);
    read.wait("the last of all that", |signal| {
        if is(signal, OBJECTS, "InterfacesAdded") {
            missing.remove("an object");
        }
        if changed(signal, "web").is_some() {
            missing.remove("a change");
        }
        if let Some((.., agent, _, fields)) = event(signal) {
            missing.remove("an event");
            if agent == "db" && fields.get("to").is_some_and(|to| to == "running") {
                missing.remove("db running");
            }
        }
        missing.is_empty().then_some(())
    });
    // Delivered in order: what was told before this answer would have come before it.
    stranger.version().unwrap();
    let heard = strange.next_within(Duration::ZERO);
    assert!(heard.is_none(), "{heard:?}");
}
