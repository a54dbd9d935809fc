//! What is there: objects, interfaces, annotations, and the bus's own errors for what is not.

use zbus::OwnedObjectPath;

use crate::bed::Bed;
use crate::peer::{AGENT, MANAGER, OBJECTS, PROPERTIES, ROOT, path_of};

/// The part of an introspection that is about one interface.
fn interface<'x>(xml: &'x str, name: &str) -> &'x str {
    let from = xml.find(&format!("<interface name=\"{name}\">")).unwrap_or_else(|| panic!("{xml}"));
    let length = xml[from..].find("</interface>").unwrap();
    &xml[from..from + length]
}

/// Properties whose changes are announced so.
fn emitting(xml: &str, how: &str) -> Vec<String> {
    let annotation = format!("EmitsChangedSignal\" value=\"{how}\"");
    let properties = xml.split("<property name=\"").skip(1);
    let fitting = properties.filter(|property| property.contains(&annotation));
    let mut names: Vec<String> =
        fitting.map(|property| property.split('"').next().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn objects_and_interfaces_are_where_they_should_be() {
    let bed = Bed::with(&["web", "db-one"]);
    let root = bed.root();
    let xml = root.introspect(ROOT);
    let manager = interface(&xml, MANAGER);
    for method in [
        "ListAgents",
        "GetAgent",
        "Start",
        "Stop",
        "Restart",
        "Enable",
        "Disable",
        "Reload",
        "ListEvents",
        "ListFindings",
        "ListMetrics",
        "ReadMetric",
        "Explain",
        "GetVersion",
    ] {
        assert!(manager.contains(&format!("<method name=\"{method}\">")), "{method}: {manager}");
    }
    let event = &manager[manager.find("<signal name=\"Event\">").unwrap()..];
    let types: String =
        event.split("type=\"").skip(1).take(6).map(|arg| arg.split('"').next().unwrap()).collect();
    assert_eq!(types, "txsssa{ss}");
    assert!(interface(&xml, OBJECTS).contains("GetManagedObjects"));
    assert!(interface(&xml, PROPERTIES).contains("PropertiesChanged"));
    assert_eq!(emitting(manager, "const"), ["Limits", "Pid", "StartedMs", "Version"]);
    assert_eq!(emitting(manager, "false"), ["Seq"]);

    let path: OwnedObjectPath = root.manager("GetAgent", &"db-one").unwrap();
    assert_eq!(path.as_str(), "/org/agentos/Agentd1/agents/db_one");
    let xml = root.introspect(&path);
    let agent = interface(&xml, AGENT);
    assert_eq!(emitting(agent, "const"), ["Name"]);
    assert_eq!(emitting(agent, "false"), ["Checks"]);
    let properties = root.get_all(&path, AGENT).unwrap();
    for name in properties.keys() {
        assert!(agent.contains(&format!("<property name=\"{name}\"")), "{name}: {agent}");
    }
    assert_eq!(properties.len(), agent.matches("<property ").count());
}

#[test]
fn what_is_not_there_has_the_names_of_the_bus() {
    let bed = Bed::with(&["web"]);
    let root = bed.root();
    let prefix = "org.freedesktop.DBus.Error.";
    let unknown = root.manager::<String>("Explode", &()).unwrap_err();
    assert_eq!(unknown.name, format!("{prefix}UnknownMethod"));
    let unknown = root.get::<String>(ROOT, MANAGER, "Mood").unwrap_err();
    assert_eq!(unknown.name, format!("{prefix}UnknownProperty"));
    let unknown = root.call::<String>(ROOT, AGENT, "Stop", &()).unwrap_err();
    assert_eq!(unknown.name, format!("{prefix}UnknownInterface"));
    let unknown = root.call::<String>(&path_of("nobody"), AGENT, "Stop", &()).unwrap_err();
    assert_eq!(unknown.name, format!("{prefix}UnknownObject"));
}
