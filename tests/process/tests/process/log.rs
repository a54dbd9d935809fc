//! Logs: each agent's own, and agentd's with a line for each transition.

use std::os::unix::fs::PermissionsExt;

use agentd_protocol::control::PhaseName;
use harness::{Agentd, LIMIT, Scratch, Spec, wait_for};

#[test]
fn what_an_agent_puts_out_is_in_its_own_log_across_restarts() {
    let scratch = Scratch::new();
    let script = "echo to stdout; echo to stderr >&2; exec sleep 1000";
    scratch.add(&Spec::new("a", &["/bin/sh", "-c", script]).agent("kit = false"));
    let agentd = Agentd::start(&scratch);
    let log = |times: usize| {
        wait_for("the lines in the log", LIMIT, || {
            let log = scratch.agent_log("a");
            if log == "to stdout\nto stderr\n".repeat(times) { Ok(()) } else { Err(log) }
        });
    };
    agentd.wait_running("a");
    log(1);
    agentd.ask("Restart", "a").expect("may be asked");
    log(2);
    let file = scratch.paths().log(&"a".parse().expect("a name"));
    let mode = file.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "not for everyone: {mode:o}");
}

#[test]
fn agentds_log_has_one_line_per_transition() {
    let scratch = Scratch::new();
    scratch.add(&scratch.good("a"));
    let agentd = Agentd::start(&scratch);
    agentd.wait_running("a");
    agentd.ask("Stop", "a").expect("may be asked");
    agentd.wait_phase("a", PhaseName::Idle);
    let history = agentd.history("a");
    let log = agentd.log();
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("agent changed phase")).collect();
    assert_eq!(lines.len(), history.len(), "{log}");
    for (line, step) in lines.iter().zip(&history) {
        for part in [
            format!("from={:?}", step.from),
            format!("to={:?}", step.to),
            format!("seq={}", step.seq),
            "agent=\"a\"".to_owned(),
        ] {
            assert!(line.contains(&part), "{part} is not in {line}");
        }
    }
    assert!(!log.contains('\u{1b}'), "no colour where no terminal is");
}
