//! Whatever agentd does or fails to do, agentctl ends, with the status of the right code and a
//! message that says what can be done.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helper fails the test; clippy sees only functions marked #[test]"
)]

mod fake;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use agentd_protocol::Code;
use fake::{Done, Fake, Wire, agentctl, samples, without};
use nix::sys::socket::{self, Backlog};
use serde_json::json;

#[test]
fn no_socket() {
    let fake = Fake::absent();
    let message = fake.run(&["list"]).failure(Code::Unavailable.exit_status());
    insta::assert_snapshot!(without(fake.dir.path(), &message), @"
    agentctl: agentd does not run (no ROOT/run/agentos/control.sock)
      start it:  agentd --root ROOT
    ");
    let message =
        Done::of(agentctl(&["list", "--socket", "/nowhere"]).output().unwrap()).failure(6);
    insta::assert_snapshot!(message, @"
    agentctl: agentd does not run (no /nowhere)
      is this the path of agentd's control socket?
    ");
}

#[test]
fn a_socket_that_nobody_listens_on() {
    let fake = Fake::absent();
    drop(fake.bind());
    let message = fake.run(&["list"]).failure(6);
    assert!(message.contains("nobody listens on"), "{message}");
    assert!(message.contains("start it:"), "{message}");
}

#[test]
fn a_socket_that_one_may_not_open() {
    let fake = Fake::of_samples();
    std::fs::set_permissions(fake.socket(), PermissionsExt::from_mode(0o000)).unwrap();
    let mut command = fake.command(&["list"]);
    if nix::unistd::geteuid().is_root() {
        // Root may open anything, so another user asks, with a copy that it may run.
        let copy = fake.dir.path().join("agentctl");
        std::fs::copy(command.get_program(), &copy).unwrap();
        std::fs::set_permissions(fake.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        command = fake.command_of(&copy, &["list"]);
        command.uid(65_534).gid(65_534);
    }
    let message = Done::of(command.output().unwrap()).failure(Code::Forbidden.exit_status());
    insta::assert_snapshot!(without(fake.dir.path(), &message), @"
    agentctl: may not open ROOT/run/agentos/control.sock: membership of group `agentos` is missing
      as root:  usermod --append --groups agentos USER
      then log in again; `id` shows the groups of this session
      members of that group may look; what changes something takes root
    ");
}

#[test]
fn a_path_that_is_too_long_for_a_socket() {
    let long = format!("/tmp/{}", "x".repeat(200));
    let message = Done::of(agentctl(&["--root", &long, "list"]).output().unwrap()).failure(6);
    assert!(message.contains("File name too long"), "{message}");
}

#[test]
fn every_code_has_its_exit_status_and_its_message() {
    for code in Code::ALL {
        let fake = Fake::answering(move |call, wire: &mut Wire| {
            wire.error(call, code, "one reason\nand another")
        });
        let message = fake.run(&["doctor"]).failure(code.exit_status());
        assert_eq!(message, "agentctl: one reason\n  and another\n");
    }
}

#[test]
fn errors_of_the_protocol_itself() {
    let cases = [
        ("org.varlink.service.MethodNotFound", Code::Internal, "agentctl version"),
        ("org.varlink.service.InvalidParameter", Code::Invalid, "InvalidParameter"),
        ("org.varlink.service.PermissionDenied", Code::Forbidden, "PermissionDenied"),
        ("com.example.Odd", Code::Internal, "com.example.Odd"),
    ];
    for (error, code, words) in cases {
        let fake = Fake::answering(move |_, wire: &mut Wire| {
            wire.send(&json!({"x": 1}), false, Some(error.to_owned()))
        });
        let message = fake.run(&["list"]).failure(code.exit_status());
        assert!(message.contains(error) && message.contains(words), "{message}");
        assert!(message.contains("{\"x\":1}"), "{message}");
    }
}

#[test]
fn answers_that_are_none() {
    let cases: [(&[u8], &str); 6] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n\0", "expected value"),
        (b"[]\0", "missing field"),
        (b"{\"parameters\":{\"seq\":1}}\0", "missing field `agents`"),
        (b"{\"parameters\":{\"seq\":-1,\"agents\":[]}}\0", "invalid value"),
        (b"\xff\xfe\0", "expected value"),
        (b"{\"parameters\":", "it broke off in the middle"),
    ];
    for (bytes, words) in cases {
        let fake = Fake::answering(move |_, wire: &mut Wire| {
            wire.raw(bytes)?;
            Err(io::ErrorKind::Other.into())
        });
        let message = fake.run(&["list"]).failure(Code::Internal.exit_status());
        assert!(message.contains(words), "{message}");
        assert!(message.contains("org.agentos.Agents.List"), "{message}");
    }
}

#[test]
fn an_answer_without_an_end_is_given_up_at_a_limit() {
    let fake = Fake::answering(|_, wire: &mut Wire| {
        loop {
            wire.raw(&[b'x'; 65_536])?;
        }
    });
    let message = fake.run(&["list"]).failure(Code::Internal.exit_status());
    assert!(message.contains("longer than 4194304 bytes"), "{message}");
}

#[test]
fn an_answer_that_nests_too_deep_is_refused() {
    let fake = Fake::answering(|_, wire: &mut Wire| {
        wire.raw(format!("{{\"parameters\":{{\"x\":{}", "[".repeat(100_000)).as_bytes())?;
        wire.raw(b"\0")
    });
    let message = fake.run(&["list"]).failure(Code::Internal.exit_status());
    assert!(message.contains("recursion limit"), "{message}");
}

#[test]
fn no_answer() {
    let fake = Fake::answering(|_, wire: &mut Wire| wire.wait_for_end());
    let message = fake.run(&["list", "--timeout", "200ms"]).failure(Code::Timeout.exit_status());
    assert!(
        message.contains("did not answer to org.agentos.Agents.List within 200ms"),
        "{message}"
    );
}

#[test]
fn an_answer_that_drips_is_no_answer() {
    let fake = Fake::answering(|_, wire: &mut Wire| {
        loop {
            wire.raw(b" ")?;
            wire.0.set_read_timeout(Some(std::time::Duration::from_millis(20)))?;
            // As long as agentctl listens, this reads nothing and times out.
            if let Ok(0) = io::Read::read(&mut wire.0, &mut [0]) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    });
    fake.run(&["list", "--timeout", "300ms"]).failure(Code::Timeout.exit_status());
}

#[test]
fn a_connection_that_is_closed_instead_of_an_answer() {
    let fake = Fake::answering(|_, _: &mut Wire| Err(io::ErrorKind::Other.into()));
    let message = fake.run(&["list"]).failure(Code::Unavailable.exit_status());
    assert!(message.contains("closed the connection"), "{message}");
}

#[test]
fn a_listener_whose_queue_is_full_does_not_hold_agentctl() {
    let fake = Fake::absent();
    let listener = fake.bind();
    // unix(7): a backlog of 0 still takes one connection.
    socket::listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let first = std::os::unix::net::UnixStream::connect(fake.socket()).unwrap();
    let message = fake.run(&["list", "--timeout", "200ms"]).failure(Code::Timeout.exit_status());
    assert!(message.contains("connect within 200ms"), "{message}");
    drop((first, listener));
}

#[test]
fn what_an_agent_says_controls_no_terminal() {
    let hostile = || {
        let mut list = samples::agents();
        for agent in &mut list.agents {
            agent.name = samples::HOSTILE.to_owned();
            agent.health_reasons = vec![samples::HOSTILE.to_owned()];
        }
        list
    };
    let fake = Fake::answering(move |_, wire: &mut Wire| wire.reply(&hostile()));
    let is_control = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    let shown = fake.run(&["list"]).result();
    assert!(shown.contains("red �[31m csi �2J bell � turned � end"), "{shown}");
    assert!(!shown.contains(is_control), "{shown:?}");
    let json = fake.run(&["list", "--json"]).result();
    assert!(!json.contains(is_control), "{json:?}");
    let list: agentd_protocol::control::AgentList = serde_json::from_str(&json).unwrap();
    assert_eq!(list, hostile(), "a program gets what was sent");
    let fake =
        Fake::answering(|call, wire: &mut Wire| wire.error(call, Code::Internal, samples::HOSTILE));
    let message = fake.run(&["list"]).failure(Code::Internal.exit_status());
    assert!(!message.contains(is_control), "{message:?}");
    // What cannot be understood is quoted.
    let fake = Fake::answering(|_, wire: &mut Wire| {
        let mut agent = serde_json::to_value(samples::network()).unwrap();
        agent["phase"] = samples::HOSTILE.into();
        wire.reply(&json!({"seq": 1, "agents": [agent]}))
    });
    let message = fake.run(&["list", "--json"]).failure(Code::Internal.exit_status());
    assert!(message.contains("csi") && !message.contains(is_control), "{message:?}");
}

#[test]
fn a_name_that_is_nearly_right() {
    let fake = Fake::of_samples();
    let message = fake.run(&["show", "netwrok"]).failure(Code::NotFound.exit_status());
    assert_eq!(message, "agentctl: no agent is called netwrok\n  did you mean network?\n");
    let message = fake.run(&["explain", "zzz"]).failure(3);
    let hint = "agentctl: no agent is called zzz\n  `agentctl list` shows what there is\n";
    assert_eq!(message, hint);
    let message = fake.run(&["metrics", "cpu"]).failure(3);
    assert_eq!(message, "agentctl: no such readings are kept\n  did you mean cpu.busy?\n");
}
