//! What every start does, in a scratch directory as on an appliance.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use agentd_cell::{Channel, Mode, Op, Started};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use crate::bed::{Bed, LAUNCHER, replace};
use crate::support::spec;

#[test]
fn the_environment_is_the_fixed_one() {
    let ended = Bed::anywhere().run(&spec(&["/usr/bin/env"]), Mode::Scratch);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let mut lines: Vec<&str> = ended.stdout.lines().collect();
    lines.sort_unstable();
    let path = "PATH=/usr/sbin:/usr/bin";
    assert_eq!(lines, ["AGENTOS_AGENT=network", "HOME=/", "LANG=C.UTF-8", path]);
}

#[test]
fn signals_privileges_and_limits_are_as_planned() {
    // Without a shell, which blocks signals for a moment whenever it forks.
    let bed = Bed::anywhere();
    let text = bed.run(&spec(&["/usr/bin/cat", "/proc/self/status"]), Mode::Scratch).stdout;
    for line in ["NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000"] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    // Blocked and ignored survive execve(2); the Rust runtime of the launcher ignores SIGPIPE.
    for name in ["SigBlk", "SigIgn"] {
        assert!(text.contains(&format!("{name}:\t0000000000000000")), "{name} in\n{text}");
    }
    // So that there is a limit to take away; the hard one is all that may be had without root.
    let hard = if bed.facts.euid == 0 {
        RLIM_INFINITY
    } else {
        getrlimit(Resource::RLIMIT_CORE).unwrap().1
    };
    setrlimit(Resource::RLIMIT_CORE, hard, hard).unwrap();
    let mut spec = spec(&[]);
    spec.cell.files_max = 77;
    let script = "echo $$; cut -d' ' -f6 /proc/$$/stat; pwd; umask; ulimit -Hn; ulimit -c";
    let text = bed.shell(&spec, Mode::Scratch, script);
    let lines: Vec<&str> = text.lines().collect();
    let &[pid, session, folder, umask, files, core] = lines.as_slice() else {
        panic!("{text}");
    };
    assert_eq!([folder, umask, files, core], ["/", "0077", "77", "0"]);
    assert_eq!(session, pid, "leads its own session");
}

#[test]
fn nothing_is_open_but_what_the_agent_is_given() {
    let bed = Bed::anywhere();
    // What a careless library may leave behind in agentd: low and high, and not close-on-exec.
    let null = std::fs::File::open("/dev/null").unwrap();
    let leaked = [3, 40, 200].map(|number| fcntl_dupfd_cloexec(&null, number).unwrap());
    for fd in &leaked {
        fcntl_setfd(fd, FdFlags::empty()).unwrap();
    }
    let seen = bed.run(&spec(&["/usr/bin/ls", "/proc/self/fd"]), Mode::Scratch).stdout;
    // The last is ls reading the folder.
    assert_eq!(seen, "0\n1\n2\n3\n");
    let seen = bed.shell(&spec(&[]), Mode::Scratch, "readlink /proc/self/fd/0");
    assert_eq!(seen, "/dev/null\n");
    drop(leaked);
}

#[test]
fn the_channel_is_on_3_and_4() {
    let bed = Bed::anywhere();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (mut ours_down, theirs_down) = UnixStream::pair().unwrap();
    let mut spec = spec(&["/usr/bin/sh", "-c", "ls /proc/self/fd; echo up >&3; cat <&4 >&3"]);
    spec.kit = true;
    let plan = bed.plan(&spec, Mode::Scratch);
    let channel = Channel { to_agentd: theirs.as_fd(), to_agent: theirs_down.as_fd() };
    let running = bed.start(&plan, Some(channel));
    drop((theirs, theirs_down));
    ours_down.write_all(b"down\n").unwrap();
    drop(ours_down);
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "up\ndown\n");
    assert_eq!(running.end().stdout, "0\n1\n2\n3\n4\n5\n");
}

#[test]
fn an_op_that_fails_is_named_and_nothing_runs() {
    let bed = Bed::anywhere();
    let mut plan = bed.plan(&spec(&["/usr/bin/echo", "ran"]), Mode::Scratch);
    let procs = "/nonexistent/cgroup.procs".into();
    replace(&mut plan, |op| *op == Op::NewSession, Op::JoinCgroup { procs });
    let ended = bed.start(&plan, None).end();
    assert_eq!(ended.failure().op, "join /nonexistent/cgroup.procs");
    assert!(ended.failure().error.starts_with("No such file or directory"), "{ended:?}");
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(126), ""));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let ended = Bed::anywhere().run(&spec(&["/nonexistent/agent"]), Mode::Scratch);
    assert!(ended.failure().op.starts_with("run /nonexistent/agent"), "{ended:?}");
    assert_eq!(ended.status, Some(126));
}

#[test]
fn a_failure_of_any_length_arrives() {
    let long = format!("/nonexistent/{}", "\u{1}é\"".repeat(8_000));
    let ended = Bed::anywhere().run(&spec(&[&long]), Mode::Scratch);
    assert!(ended.failure().op.starts_with("run \"/nonexistent/"), "{ended:?}");
}

#[test]
fn a_plan_that_does_not_end_in_a_program_is_a_failure() {
    let bed = Bed::anywhere();
    let mut plan = bed.plan(&spec(&["/usr/bin/true"]), Mode::Scratch);
    plan.ops.pop();
    let ended = bed.start(&plan, None).end();
    assert_eq!(ended.failure().error, "the plan does not end with it");
}

#[test]
fn the_pid_is_the_agents_own() {
    let bed = Bed::anywhere();
    let plan = bed.plan(&spec(&["/usr/bin/sh", "-c", "echo $$"]), Mode::Scratch);
    let running = bed.start(&plan, None);
    let pid = running.pid();
    assert_eq!(running.end().stdout, format!("{pid}\n"));
}

#[test]
fn an_agent_that_is_killed_was_started() {
    let bed = Bed::anywhere();
    let ended = bed.run(&spec(&["/usr/bin/sh", "-c", "kill -9 $$"]), Mode::Scratch);
    assert_eq!((ended.started, ended.status), (Started::Done, None));
}

#[test]
fn started_by_hand_it_says_who_starts_it() {
    #[allow(clippy::disallowed_methods, reason = "the launcher without agentd is the point")]
    let output = Command::new(LAUNCHER).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("agentd-launch: agentd starts this program"), "{text}");
}
