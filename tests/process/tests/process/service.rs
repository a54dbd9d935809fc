//! agentd as a service: what it tells systemd, and what an agent gets to see of all that.

use std::os::unix::net::UnixDatagram;

use agentd_protocol::control::{PhaseName, kind};
use harness::{Agentd, LIMIT, Scratch, Spec, wait_for};
use nix::sys::signal::Signal;

/// What was told on a socket of sd_notify(3) until it says `part`.
fn told_until(socket: &UnixDatagram, part: &str) -> String {
    let mut told = String::new();
    let mut buffer = [0; 4096];
    while !told.contains(part) {
        let read = socket.recv(&mut buffer);
        let read = read.unwrap_or_else(|err| panic!("{part} was not told: {err}; only {told}"));
        told += &String::from_utf8_lossy(&buffer[..read]);
        told.push('\n');
    }
    told
}

#[test]
fn systemd_is_told_when_agentd_is_ready_that_it_lives_and_that_it_stops() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let path = scratch.beside("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket can be made");
    socket.set_read_timeout(Some(LIMIT)).expect("can be set");
    let notify = path.to_str().expect("plain text");
    let environment = [("NOTIFY_SOCKET", notify), ("WATCHDOG_USEC", "5000000")];
    let mut agentd = Agentd::spawn_with(&scratch, &[], &environment);
    told_until(&socket, "READY=1");
    agentd.wait_answer();
    agentd.wait_running("a");
    told_until(&socket, "STATUS=1 of 1 agents running, 0 findings, 0 problems");
    told_until(&socket, "WATCHDOG=1");
    agentd.signal(Signal::SIGTERM);
    let told = told_until(&socket, "STOPPING=1");
    assert!(!told.contains("READY=1"), "once is enough: {told}");
    assert!(agentd.wait_end(LIMIT).success());
}

#[test]
fn an_agent_sees_a_fixed_environment_and_no_descriptor_but_its_own() {
    let scratch = Scratch::new();
    let script = "env | sort; for fd in 0 1 2 3 4 5 6 7 8 9; do \
                  [ -e /proc/$$/fd/$fd ] && echo $fd; done; pwd; umask; exec sleep 1000";
    scratch.add(&Spec::new("a", &["/bin/sh", "-c", script]).agent("kit = false"));
    let mut agentd = Agentd::spawn_with(&scratch, &[], &[("SECRET", "1"), ("LISTEN_FDS", "0")]);
    agentd.wait_answer();
    agentd.wait_running("a");
    let log = wait_for("the agent's last line", LIMIT, || {
        let log = scratch.agent_log("a");
        if log.ends_with("0077\n") { Ok(log) } else { Err(log) }
    });
    let environment = "AGENTOS_AGENT=a\nHOME=/\nLANG=C.UTF-8\nPATH=/usr/sbin:/usr/bin\nPWD=/\n";
    assert_eq!(log, format!("{environment}0\n1\n2\n/\n0077\n"));
}

#[test]
fn an_interrupt_from_the_terminal_stops_it_as_well() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let mut agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    agentd.signal(Signal::SIGINT);
    assert!(agentd.wait_end(LIMIT).success());
    scratch.assert_no_process();
    let agentd = Agentd::start(&scratch);
    agentd.wait_phase("a", PhaseName::Running);
    assert_eq!(agentd.events_of(kind::STORE_FAILED, None), []);
}
