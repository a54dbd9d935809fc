//! Who may do what: strangers, readers, root.

use harness::{LIMIT, wait_for};
use zbus::{OwnedObjectPath, OwnedVariant};

use crate::bed::{Bed, READER, STRANGER};
use crate::peer::{AGENT, MANAGER, OBJECTS, PROPERTIES, Peer, ROOT, Refusal, path_of};

const FORBIDDEN: &str = "org.agentos.Error.Forbidden";
const DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";

/// Every verb that needs the right to manage, on both interfaces.
fn manage(peer: &Peer) -> Vec<(&'static str, Result<String, Refusal>)> {
    let verbs = ["Start", "Stop", "Restart", "Enable", "Disable"];
    let mut answers: Vec<_> =
        verbs.into_iter().map(|verb| (verb, peer.manager(verb, &"web"))).collect();
    answers.extend(verbs.into_iter().map(|verb| (verb, peer.agent("web", verb))));
    let reloaded = peer.manager::<(Vec<String>, Vec<String>, Vec<String>, bool)>("Reload", &true);
    answers.push(("Reload", reloaded.map(|_| String::new())));
    answers
}

/// Every verb that needs the right to read.
fn read(peer: &Peer) -> Vec<(&'static str, Result<(), Refusal>)> {
    type Agents = (u64, Vec<(String, String, String, String, u32, u64, u32, OwnedObjectPath)>);
    type Events =
        Vec<(u64, i64, String, String, String, std::collections::HashMap<String, String>)>;
    vec![
        ("ListAgents", peer.manager::<Agents>("ListAgents", &()).map(drop)),
        ("GetAgent", peer.manager::<OwnedObjectPath>("GetAgent", &"web").map(drop)),
        ("ListEvents", peer.manager::<Events>("ListEvents", &(0u64, 0i64, "", 0u32)).map(drop)),
        ("ListFindings", peer.manager::<OwnedFindings>("ListFindings", &("", true)).map(drop)),
        (
            "ListMetrics",
            peer.manager::<Vec<(String, String, f64, i64)>>("ListMetrics", &()).map(drop),
        ),
        ("Explain", peer.manager::<(Vec<String>, Vec<String>)>("Explain", &"web").map(drop)),
    ]
}

type OwnedFindings = (u64, Vec<FindingRow>);
type FindingRow = (
    String,
    String,
    String,
    String,
    String,
    std::collections::HashMap<String, String>,
    i64,
    i64,
    i64,
    bool,
);

/// Every way to read what properties show.
fn properties(peer: &Peer) -> Vec<(&'static str, Result<(), Refusal>)> {
    type Managed = std::collections::HashMap<
        OwnedObjectPath,
        std::collections::HashMap<String, crate::peer::Properties>,
    >;
    let web = path_of("web");
    vec![
        ("Get of the manager", peer.get::<u32>(ROOT, MANAGER, "AgentsTotal").map(drop)),
        ("Get of an agent", peer.get::<String>(&web, AGENT, "Phase").map(drop)),
        ("GetAll of the manager", peer.get_all(ROOT, MANAGER).map(drop)),
        ("GetAll of an agent", peer.get_all(&web, AGENT).map(drop)),
        (
            "GetManagedObjects",
            peer.call::<Managed>(ROOT, OBJECTS, "GetManagedObjects", &()).map(drop),
        ),
    ]
}

fn assert_refused<T>(answers: Vec<(&str, Result<T, Refusal>)>, name: &str, right: &str) {
    assert!(!answers.is_empty());
    for (verb, answer) in answers {
        let Err(refusal) = answer else { panic!("{verb} was not refused") };
        assert_eq!(refusal.name, name, "{verb}: {refusal}");
        assert!(
            refusal.message.contains(&format!("needs the right '{right}'")),
            "{verb}: {refusal}"
        );
    }
}

fn assert_given<T>(answers: Vec<(&str, Result<T, Refusal>)>) {
    for (verb, answer) in answers {
        if let Err(refusal) = answer {
            panic!("{verb}: {refusal}");
        }
    }
}

#[test]
fn a_stranger_is_told_the_version_and_for_the_rest_which_right_is_missing() {
    let Some(bed) = Bed::as_root("a_stranger_is_told_the_version", &["web"]) else { return };
    let pid = bed.agentd().wait_running("web");
    let stranger = bed.peer(STRANGER);
    assert_refused(read(&stranger), FORBIDDEN, "read");
    assert_refused(manage(&stranger), FORBIDDEN, "manage");
    assert_refused(properties(&stranger), DENIED, "read");

    let (version, process) = stranger.version().unwrap();
    assert_eq!(i64::from(process), i64::from(bed.agentd().pid()));
    assert_eq!(stranger.get::<String>(ROOT, MANAGER, "Version").unwrap(), version);
    assert_eq!(stranger.get::<u32>(ROOT, MANAGER, "Pid").unwrap(), process);
    assert!(stranger.introspect(ROOT).contains(MANAGER));
    assert_eq!(bed.agentd().wait_running("web"), pid, "nothing was done");
    assert!(bed.agentd().get("web").enabled);
}

#[test]
fn a_member_of_the_group_reads_everything_and_changes_nothing() {
    let Some(bed) = Bed::as_root("a_member_of_the_group_reads", &["web"]) else { return };
    let pid = bed.agentd().wait_running("web");
    let reader = bed.peer(READER);
    assert_given(read(&reader));
    assert_given(properties(&reader));
    assert_refused(manage(&reader), FORBIDDEN, "manage");
    assert_eq!(bed.agentd().wait_running("web"), pid, "nothing was done");
    let seen = bed.agentd().log();
    assert!(!seen.contains("request decided"), "no refusal is recorded as a request");
}

#[test]
fn the_right_is_that_of_the_connection_and_not_of_the_name_of_the_user() {
    let Some(bed) = Bed::as_root("the_right_is_that_of_the_connection", &["web"]) else { return };
    // Listed as a member in the group file, but connected without the group.
    let resigned = bed.peer(crate::bed::Who { groups: &[], ..READER });
    assert_refused(read(&resigned), FORBIDDEN, "read");
}

#[test]
fn whoever_runs_agentd_may_do_everything() {
    let bed = Bed::with(&["web"]);
    let root = bed.root();
    assert_given(read(&root));
    assert_given(properties(&root));
    let before = bed.agentd().wait_running("web");
    assert_eq!(root.agent::<String>("web", "Restart").unwrap(), "accepted");
    bed.agentd().wait_replaced("web", before);
    assert_eq!(root.manager::<String>("Stop", &"web").unwrap(), "accepted");
    wait_for("web to be down", LIMIT, || {
        let answer = root.agent::<String>("web", "Stop").unwrap();
        let phase = root.get::<String>(&path_of("web"), AGENT, "Phase").unwrap();
        if (answer.as_str(), phase.as_str()) == ("already_so", "idle") {
            Ok(())
        } else {
            Err(phase)
        }
    });
    assert_eq!(root.agent::<String>("web", "Disable").unwrap(), "accepted");
    assert_eq!(root.manager::<String>("Disable", &"web").unwrap(), "already_so");
    wait_for("web to be disabled", LIMIT, || {
        let is_enabled = root.get::<bool>(&path_of("web"), AGENT, "Enabled").unwrap();
        if is_enabled { Err("it is enabled") } else { Ok(()) }
    });
    assert_eq!(root.manager::<String>("Enable", &"web").unwrap(), "accepted");
    assert_eq!(root.manager::<String>("Start", &"web").unwrap(), "accepted");
    bed.agentd().wait_running("web");
}

#[test]
fn nothing_is_set_by_property() {
    let bed = Bed::with(&["web"]);
    let root = bed.root();
    let value = zbus::Variant::from("down");
    for property in ["Want", "Phase", "Nothing"] {
        let arguments = (AGENT, property, &value);
        let set = root.call::<OwnedVariant>(&path_of("web"), PROPERTIES, "Set", &arguments);
        assert_eq!(set.unwrap_err().name, "org.freedesktop.DBus.Error.PropertyReadOnly");
    }
    assert_eq!(bed.agentd().get("web").want, "up");
}
