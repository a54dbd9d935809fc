//! The control socket: varlink as it is specified (varlink.org), and what a bad client gets.

use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::time::Duration;

use agentd_protocol::control::{AgentList, EventQuery, Version};
use agentd_protocol::{Call, Frames, Reply};
use harness::{Agentd, CallError, Client, LIMIT, Scratch, descriptors_of, memory_kib, wait_for};
use nix::unistd::{Group, getegid, geteuid};
use serde_json::{Map, Value, json};

const VERSION: &str = "org.agentos.Manager.Version";
const LIST: &str = "org.agentos.Agents.List";

fn one_good() -> (Scratch, Agentd) {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    (scratch, agentd)
}

fn call(method: &str) -> Call {
    let parameters = Map::new();
    Call { method: method.into(), parameters, oneway: false, more: false, upgrade: false }
}

fn error_of(client: &mut Client, method: &str, parameters: &Value) -> (String, Value) {
    match client.call::<Value>(method, parameters) {
        Err(CallError::Refused { name, parameters }) => (name, Value::Object(parameters)),
        other => panic!("{method} {parameters}: {other:?}"),
    }
}

#[test]
fn only_the_owner_and_the_group_may_connect() {
    let (scratch, _agentd) = one_good();
    let socket = scratch.paths().control_socket().metadata().expect("it is there");
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o660);
    assert_eq!(socket.uid(), geteuid().as_raw());
    let group = Group::from_name("agentos").expect("the groups can be read");
    let expected = group.filter(|_| geteuid().is_root()).map_or(getegid(), |group| group.gid);
    assert_eq!(socket.gid(), expected.as_raw());
}

#[test]
fn the_service_describes_itself() {
    let (_scratch, agentd) = one_good();
    let mut client = agentd.client();
    let info: Value = client.call("org.varlink.service.GetInfo", &json!({})).expect("answers");
    assert_eq!((&info["vendor"], &info["product"]), (&json!("agentos"), &json!("agentd")));
    let interfaces = info["interfaces"].as_array().expect("a list");
    assert_eq!(interfaces.len(), 6);
    for interface in interfaces {
        let method = "org.varlink.service.GetInterfaceDescription";
        let answer: Value =
            client.call(method, &json!({ "interface": interface })).expect("answers");
        let text = answer["description"].as_str().expect("text");
        let declared = format!("interface {}", interface.as_str().expect("text"));
        assert!(text.lines().any(|line| line == declared), "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_call_is_said_in_varlinks_own_words() {
    let (_scratch, agentd) = one_good();
    let mut client = agentd.client();
    let client = &mut client;
    for (method, error, parameter) in [
        ("org.agentos.Agents.Explode", "MethodNotFound", "method"),
        ("org.agentos.Manager.list", "MethodNotFound", "method"),
        ("org.varlink.service.Get", "MethodNotFound", "method"),
        ("org.agentos.Nothing.List", "InterfaceNotFound", "interface"),
        ("List", "InterfaceNotFound", "interface"),
        ("", "InterfaceNotFound", "interface"),
    ] {
        let (name, parameters) = error_of(client, method, &json!({}));
        assert_eq!(name, format!("org.varlink.service.{error}"), "{method}");
        let named = parameters[parameter].as_str().expect("says which");
        assert!(method.starts_with(named), "{method}: {parameters}");
    }
    for (method, parameters, said) in [
        ("org.agentos.Agents.Get", json!({}), "name"),
        ("org.agentos.Agents.Start", json!({ "name": 7 }), "7"),
        ("org.agentos.Agents.Start", json!({ "name": "a", "force": true }), "force"),
        ("org.agentos.Agents.List", json!({ "all": true }), "all"),
        ("org.agentos.Metrics.Read", json!({ "since_ms": 1 }), "name"),
        // A slip of the pen must not turn a question into a deed.
        ("org.agentos.Manager.Reload", json!({ "dryrun": true }), "dryrun"),
        ("org.agentos.Manager.Reload", json!({ "dry_run": "yes" }), "yes"),
    ] {
        let (name, detail) = error_of(client, method, &parameters);
        assert_eq!(name, "org.varlink.service.InvalidParameter", "{method} {parameters}");
        let detail = detail["parameter"].as_str().expect("says which");
        assert!(detail.contains(said), "{method} {parameters}: {detail}");
    }
    let (name, _) = error_of(client, "org.agentos.Events.Follow", &json!({}));
    assert_eq!(name, "org.varlink.service.ExpectedMore");
    let version: Version = client.call(VERSION, &json!({})).expect("the connection still works");
    assert_eq!(version.pid, agentd.pid());
}

#[test]
fn calls_may_be_sent_ahead_and_are_answered_in_order() {
    let (_scratch, agentd) = one_good();
    let mut client = agentd.client();
    let mut bytes = Vec::new();
    for at in 0..300 {
        let name = if at % 3 == 0 { "a".to_owned() } else { format!("x{at}") };
        let get = json!({ "method": "org.agentos.Agents.Get", "parameters": { "name": name } });
        bytes.extend_from_slice(get.to_string().as_bytes());
        bytes.push(0);
        // One that wants no answer gets none, not even an error.
        let oneway = json!({ "method": "org.agentos.Agents.Explode", "oneway": true });
        bytes.extend_from_slice(oneway.to_string().as_bytes());
        bytes.push(0);
    }
    client.send_bytes(&bytes).expect("agentd reads");
    for at in 0..300 {
        let Reply { parameters, error, continues } = client.reply().expect("an answer to each");
        assert!(!continues);
        if at % 3 == 0 {
            assert_eq!((error, &parameters["agent"]["name"]), (None, &json!("a")));
        } else {
            assert_eq!(error.as_deref(), Some("org.agentos.Agents.NotFound"));
            assert_eq!(parameters["message"], format!("no agent is called x{at}"));
        }
    }
}

#[test]
fn unknown_keys_of_a_message_are_passed_over_and_parameters_may_be_left_out() {
    let (_scratch, agentd) = one_good();
    let mut client = agentd.client();
    for message in [
        json!({ "method": VERSION }),
        json!({ "method": VERSION, "parameters": {}, "flags": [1], "upgrade": false }),
        json!({ "method": VERSION, "more": true }),
    ] {
        client.send_bytes(format!("{message}\0").as_bytes()).expect("agentd reads");
        let reply = client.reply().expect("an answer");
        assert_eq!((reply.error, reply.continues), (None, false), "{message}");
    }
}

#[test]
fn what_is_no_call_ends_the_connection_and_nothing_else() {
    let (_scratch, agentd) = one_good();
    let oversize = vec![b' '; Frames::CONTROL_LIMIT + 64 * 1024];
    let cases: [&[u8]; 5] = [b"no json\0", b"[]\0", b"{}\0", b"\0", &oversize];
    for bytes in cases {
        let mut client = agentd.client();
        // It may be hung up on before it has said all.
        client.send_bytes(bytes).ok();
        let answer = client.reply();
        assert!(matches!(answer, Err(CallError::HungUp)), "{answer:?}");
    }
    let mut half = agentd.client();
    half.send_bytes(b"{\"method\":\"org.agentos.Manag").expect("agentd reads");
    drop(half);
    agentd.client().call::<Version>(VERSION, &json!({})).expect("others are served");
    let (_, most) = memory_kib(agentd.pid());
    assert!(most < 64 * 1024, "agentd had {most} KiB");
}

#[test]
fn a_large_message_within_the_limit_is_taken() {
    let (_scratch, agentd) = one_good();
    let mut client = agentd.client();
    let name = "x".repeat(Frames::CONTROL_LIMIT - 1000);
    let refused = client
        .call::<Value>("org.agentos.Agents.Get", &json!({ "name": name }))
        .expect_err("no name");
    assert_eq!(refused.name(), "org.agentos.Agents.Invalid");
    assert!(refused.message().len() < 300, "what stood there is cut");
}

#[test]
fn connections_are_capped_and_the_cap_is_said() {
    let (scratch, agentd) = one_good();
    // The harness is root or not: root has all seats, others their own share (`front/varlink.rs`).
    let seats = if geteuid().is_root() { 64 } else { 16 };
    let is_served = |client: &mut Client| client.call::<Version>(VERSION, &json!({})).is_ok();
    let mut clients: Vec<Client> = Vec::new();
    // Connections that are being closed hold their seats a moment longer.
    wait_for("every seat to be taken", LIMIT, || {
        let mut client = agentd.client();
        if is_served(&mut client) {
            clients.push(client);
        }
        if clients.len() == seats { Ok(()) } else { Err(clients.len()) }
    });
    let mut late = agentd.client();
    let refused = late.call::<AgentList>(LIST, &json!({})).expect_err("no seat is left");
    assert_eq!(refused.name(), "org.agentos.Agents.Exhausted");
    assert_eq!(refused.message(), "too many connections; close some");
    assert!(matches!(late.reply(), Err(CallError::HungUp)));
    assert!(clients.iter_mut().all(is_served), "those who sit are served");
    clients.pop();
    wait_for("a seat to be free again", LIMIT, || {
        if is_served(&mut agentd.client()) { Ok(()) } else { Err("none is") }
    });
    drop(clients);
    drop(agentd);
    drop(scratch);
}

#[test]
fn connections_beyond_the_cap_do_not_eat_up_descriptors() {
    let (_scratch, agentd) = one_good();
    let mut clients: Vec<Client> = (0..500).map(|_| agentd.client()).collect();
    // The last is dealt with after all others: it is turned away, with or without a word.
    let last = clients.last_mut().expect("there are many");
    last.send(&call(VERSION)).ok();
    match last.reply() {
        Err(CallError::HungUp) => {}
        Ok(Reply { error: Some(_), .. }) => {}
        other => panic!("{other:?}"),
    }
    let open = descriptors_of(agentd.pid());
    assert!(open < 64 + 60, "agentd has {open} files open");
    drop(clients);
    wait_for("agentd to serve again", LIMIT, || {
        agentd.client().call::<Version>(VERSION, &json!({})).map(drop)
    });
}

#[test]
fn a_hundred_clients_at_once_are_all_served_and_leave_nothing_behind() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let limits = "[control]\nconnections_max = 150\nconnections_per_uid = 150\n";
    scratch.write(&scratch.paths().vendor().join("agentd.toml"), limits);
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    let before = descriptors_of(agentd.pid());
    let mut clients: Vec<Client> = (0..100).map(|_| agentd.client()).collect();
    for client in &mut clients {
        client.send(&call(LIST)).expect("agentd reads");
    }
    for client in clients.iter_mut().rev() {
        let reply = client.reply().expect("an answer");
        assert_eq!(reply.parameters["agents"][0]["name"], "a");
    }
    drop(clients);
    wait_for("every descriptor to be given back", LIMIT, || {
        let now = descriptors_of(agentd.pid());
        if now <= before { Ok(()) } else { Err(now) }
    });
}

/// Ten seconds: the limit for writing is part of what is tested.
#[test]
fn a_client_that_never_reads_is_dropped_and_holds_up_nobody() {
    let (_scratch, agentd) = one_good();
    let caller = agentd.client();
    caller.socket().set_write_timeout(Some(Duration::from_millis(100))).expect("can be set");
    let follow = json!({ "method": "org.agentos.Events.Follow", "more": true });
    let mut follower = agentd.client();
    follower.send_bytes(format!("{follow}\0").as_bytes()).expect("agentd reads");
    // Until its answers fill the socket and agentd reads no more of it.
    let list = format!("{}\0", json!({ "method": LIST }));
    let mut socket = caller.socket();
    let stuck = wait_for("the socket to be full", LIMIT, || {
        socket.write_all(list.as_bytes()).err().ok_or("it takes more")
    });
    assert_eq!(stuck.kind(), io::ErrorKind::WouldBlock);
    let mut others = agentd.client();
    wait_for("both to be dropped", LIMIT, || {
        // Feeds the follower, and is served all the time.
        for _ in 0..20 {
            let start = "org.agentos.Agents.Start";
            others.call::<Value>(start, &json!({ "name": "a" })).expect("others are served");
        }
        let is_dropped = |client: &Client| {
            let mut socket = client.socket();
            matches!(socket.write(b" ").map_err(|err| err.kind()), Err(io::ErrorKind::BrokenPipe))
        };
        let dropped = [is_dropped(&caller), is_dropped(&follower)];
        if dropped == [true; 2] { Ok(()) } else { Err(format!("{dropped:?}")) }
    });
    let (now, _) = memory_kib(agentd.pid());
    assert!(now < 64 * 1024, "agentd has {now} KiB");
}

#[test]
fn a_watcher_that_hangs_up_or_calls_again_ends_its_stream() {
    let (_scratch, agentd) = one_good();
    let past = EventQuery { after_seq: Some(0), ..EventQuery::default() };
    let mut streams: Vec<_> = (0..10).map(|_| agentd.follow(&past)).collect();
    for stream in &mut streams {
        stream.next().expect("a stream has no end").expect("an event");
    }
    let during = descriptors_of(agentd.pid());
    drop(streams);
    wait_for("every descriptor to be given back", LIMIT, || {
        let now = descriptors_of(agentd.pid());
        if now <= during - 10 { Ok(()) } else { Err(format!("{now} of {during}")) }
    });
    let mut stream = agentd.follow(&past);
    let seq = agentd.status().seq;
    while stream.next().expect("a stream has no end").expect("an event").event.seq < seq {}
    stream.client().send(&call(VERSION)).expect("agentd reads");
    assert!(matches!(stream.next(), Some(Err(CallError::HungUp))));
}
