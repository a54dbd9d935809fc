//! What polkit has to say, and what it cannot hold up.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::clock;
use zbus::message::Flags;

use crate::bed::{Bed, READER, STRANGER, has_others};
use crate::peer::{AGENT, MANAGER, PROPERTIES, ROOT, path_of};
use crate::played::{Asked, Manner, Polkit};

const ACTION: &str = "org.agentos.agentd1.manage";

#[test]
fn polkit_is_asked_about_the_connection_and_its_yes_is_done() {
    let Some(bed) = Bed::as_root("polkit_is_asked_about_the_connection", &["web"]) else { return };
    bed.agentd().wait_running("web");
    let polkit = Polkit::play(&bed, Manner::Yes);
    let stranger = bed.peer(STRANGER);
    assert_eq!(stranger.agent::<String>("web", "Stop").unwrap(), "accepted");
    bed.agentd().wait("web", "down", |agent| agent.want == "down");
    // Willing to wait for a person: said so by the message, and passed on.
    let flags = [Flags::ALLOW_INTERACTIVE_AUTH];
    let started = stranger.begin(ROOT, MANAGER, "Start", &flags, &"web");
    assert_eq!(started.answer::<String>().unwrap(), "accepted");
    bed.agentd().wait_running("web");
    let asked = |flags| Asked {
        kind: "system-bus-name".into(),
        name: stranger.name(),
        action: ACTION.into(),
        flags,
    };
    assert_eq!(polkit.asked(), [asked(0), asked(1)]);
    // May manage, by polkit, and still not read.
    let listed = stranger.get::<u32>(ROOT, MANAGER, "AgentsTotal").unwrap_err();
    assert_eq!(listed.name, "org.freedesktop.DBus.Error.AccessDenied");
    let events = bed.agentd().last_events(100);
    let by = events.iter().find(|event| event.message.starts_with("stop asked by uid 60001"));
    assert_eq!(by.expect("the request is recorded").fields["front"], "dbus");
}

#[test]
fn polkit_says_no_or_fails_and_nothing_is_done() {
    let Some(bed) = Bed::as_root("polkit_says_no_or_fails", &["web"]) else { return };
    let pid = bed.agentd().wait_running("web");
    let polkit = Polkit::play(&bed, Manner::No);
    let reader = bed.peer(READER);
    for manner in [Manner::No, Manner::Fails] {
        polkit.be(manner);
        let refusal = reader.agent::<String>("web", "Stop").unwrap_err();
        assert_eq!(refusal.name, "org.agentos.Error.Forbidden", "{manner:?}: {refusal}");
        assert!(refusal.message.contains("needs the right 'manage'"), "{refusal}");
        assert!(refusal.message.contains(ACTION), "{refusal}");
    }
    assert_eq!(polkit.asked().len(), 2);
    assert_eq!(bed.agentd().wait_running("web"), pid);
    assert!(bed.agentd().log().contains("out of order"), "the log says why");
}

#[test]
fn root_is_never_asked() {
    let bed = Bed::with(&["web"]);
    bed.agentd().wait_running("web");
    let polkit = Polkit::play(&bed, Manner::No);
    assert_eq!(bed.root().agent::<String>("web", "Stop").unwrap(), "accepted");
    assert_eq!(polkit.asked(), []);
}

#[test]
fn a_dialogue_holds_up_nobody_and_no_user_opens_many() {
    let Some(bed) = Bed::as_root("a_dialogue_holds_up_nobody", &["web", "db"]) else { return };
    bed.agentd().wait_running("web");
    let polkit = Polkit::play(&bed, Manner::Waits);
    let (stranger, reader) = (bed.peer(STRANGER), bed.peer(READER));
    let path = path_of("web");
    let ask = |peer: &crate::peer::Peer| {
        peer.begin(&path, AGENT, "Stop", &[Flags::ALLOW_INTERACTIVE_AUTH], &())
    };
    let waiting: Vec<_> = (0..4).map(|_| ask(&stranger)).collect();
    polkit.wait_asked(4);
    let refusal = ask(&stranger).answer::<String>().unwrap_err();
    assert_eq!(refusal.name, "org.agentos.Error.Exhausted", "{refusal}");

    // The same object, the same interface, and the object's end. A `Set`, which nobody may, must not
    // wait for the dialogues to end either, and have others wait behind it.
    let root = bed.root();
    let set = (AGENT, "Want", zbus::Variant::from("down"));
    let set = stranger.call::<()>(&path, PROPERTIES, "Set", &set).unwrap_err();
    assert_eq!(set.name, "org.freedesktop.DBus.Error.PropertyReadOnly", "{set}");
    assert_eq!(reader.get::<String>(&path, AGENT, "Phase").unwrap(), "running");
    assert!(!reader.get_all(&path, AGENT).unwrap().is_empty());
    assert!(root.introspect(&path).contains(AGENT));
    assert_eq!(root.agent::<String>("web", "Restart").unwrap(), "accepted");
    let another = ask(&reader);
    polkit.wait_asked(5);
    bed.scratch.remove("web");
    let reloaded: (Vec<String>, Vec<String>, Vec<String>, bool) =
        root.manager("Reload", &false).unwrap();
    assert_eq!(reloaded.2, ["web"]);
    bed.agentd().wait_running("db");
    assert!(waiting.iter().all(|call| !call.is_answered()) && !another.is_answered());

    polkit.be(Manner::Yes);
    for call in waiting.into_iter().chain([another]) {
        // Allowed, but the agent is gone by now, or on its way.
        if let Err(refusal) = call.answer::<String>() {
            assert_eq!(refusal.name, "org.agentos.Error.NotFound", "{refusal}");
        }
    }
}

#[test]
fn without_polkit_the_refusal_is_prompt() {
    let Some(bed) = Bed::as_root("without_polkit_the_refusal_is_prompt", &["web"]) else { return };
    let begun = clock();
    for _ in 0..3 {
        let refusal = bed.peer(STRANGER).agent::<String>("web", "Stop").unwrap_err();
        assert_eq!(refusal.name, "org.agentos.Error.Forbidden", "{refusal}");
    }
    assert!(begun.elapsed().as_secs() < 5, "took {:?}", begun.elapsed());
    let told = bed.agentd().log().matches("polkit did not answer").count();
    assert_eq!(told, 1, "a caller cannot fill the log");
}

#[test]
fn a_polkit_that_does_not_come_up_is_not_waited_for() {
    let test = "a_polkit_that_does_not_come_up_is_not_waited_for";
    if !has_others(test) {
        return;
    }
    let mut bed = Bed::without_agentd(&["web"]);
    let program = bed.scratch.beside("polkitd");
    // For as long as the bus is there: nobody else ends it.
    let script =
        format!("#!/bin/sh\nwhile [ -S {} ]; do sleep 1; done\n", bed.bus.socket().display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let service = format!(
        "[D-BUS Service]\nName=org.freedesktop.PolicyKit1\nUser=root\nExec={}\n",
        program.display()
    );
    fs::write(bed.bus.services().join("org.freedesktop.PolicyKit1.service"), service).unwrap();
    bed.bus.start();
    bed.start();
    bed.wait_name();
    let begun = clock();
    let flags = [Flags::ALLOW_INTERACTIVE_AUTH];
    let stranger = bed.peer(STRANGER);
    let stop = stranger.begin(&path_of("web"), AGENT, "Stop", &flags, &());
    let refusal = stop.answer::<String>().unwrap_err();
    assert_eq!(refusal.name, "org.agentos.Error.Forbidden", "{refusal}");
    // Sooner than the bus gives up on it (25 s), and than any client.
    assert!(begun.elapsed().as_secs() < 20, "took {:?}", begun.elapsed());
}
