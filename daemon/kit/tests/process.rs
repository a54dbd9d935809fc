//! A real agent process: how it ends, and what a person sees who starts it by hand.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "clippy does not see helpers of a test as a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agentd_kit::clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take before a test gives up.
const LIMIT: Duration = Duration::from_secs(20);

/// An agent and agentd's ends of its channel.
struct Tiny {
    child: Child,
    calls: BufReader<UnixStream>,
    asks: UnixStream,
}

#[expect(clippy::disallowed_methods, reason = "the one place that starts programs in this test")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

fn tiny() -> PathBuf {
    // target/debug/deps/process-HASH -> target/debug/examples/tiny, which a plain `cargo test`
    // builds first. `cargo test --test process` alone runs what an earlier build left there.
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/tiny")
}

impl Tiny {
    /// Starts it with the channel on descriptors 3 and 4, as the launcher does.
    fn start() -> Self {
        let (calls, to_agentd) = UnixStream::pair().unwrap();
        let (asks, from_agentd) = UnixStream::pair().unwrap();
        for socket in [&calls, &asks] {
            socket.set_read_timeout(Some(LIMIT)).unwrap();
        }
        let child = command("/bin/sh")
            .args(["-c", "exec \"$0\" 3<&0 4<&1 </dev/null >/dev/null"])
            .arg(tiny())
            .stdin(Stdio::from(OwnedFd::from(to_agentd)))
            .stdout(Stdio::from(OwnedFd::from(from_agentd)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, calls: BufReader::new(calls), asks }
    }

    fn ready(&mut self) {
        let settings = r#"{"name":"tiny","heartbeat_ms":100,"checks":{"hangs":{"timeout_ms":50}}}"#;
        write!(
            self.asks,
            "{{\"method\":\"org.agentos.Agent.Reload\",\"parameters\":{settings}}}\0"
        )
        .unwrap();
        assert!(self.until("Ready").contains("\"name\":\"hangs\""));
        self.calls.get_mut().write_all(b"{\"parameters\":{}}\0").unwrap();
    }

    /// The next call that holds `word`.
    fn until(&mut self, word: &str) -> String {
        loop {
            let mut frame = Vec::new();
            let count = self.calls.read_until(0, &mut frame).unwrap();
            assert!(count > 0, "the agent ended before {word:?}: {}", self.stderr());
            let text = String::from_utf8(frame).unwrap();
            if text.contains(word) {
                return text;
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Exit status, once it ended.
    fn status(&mut self) -> Option<i32> {
        let end = clock::boot() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(clock::boot() < end, "waited {LIMIT:?} for the end");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn sigterm_ends_it_with_status_0_within_a_second_though_a_check_hangs() {
    let mut tiny = Tiny::start();
    tiny.ready();
    let hung = tiny.until("\"check\":\"hangs\"");
    assert!(hung.contains("\"outcome\":\"unknown\""), "{hung}");
    tiny.until("Heartbeat");
    let asked = clock::boot();
    kill(tiny.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(tiny.status(), Some(0));
    let took = clock::boot().since(asked);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(tiny.stderr().contains("last words"));
}

#[test]
fn sigterm_before_the_first_settings_ends_it_with_status_0() {
    let mut tiny = Tiny::start();
    // An answer to a first call shows that it is up, and so catches the signal.
    tiny.asks.write_all(b"{\"method\":\"a.b\"}\0").unwrap();
    assert_eq!(tiny.asks.read(&mut [0; 1]).unwrap(), 1);
    kill(tiny.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(tiny.status(), Some(0));
}

#[test]
fn an_agentd_that_goes_away_ends_it_with_status_1_and_without_last_words() {
    let mut tiny = Tiny::start();
    tiny.ready();
    let (gone, _) = UnixStream::pair().unwrap();
    tiny.asks = gone;
    assert_eq!(tiny.status(), Some(1));
    assert!(!tiny.stderr().contains("last words"));
}

#[test]
fn started_by_hand_it_says_who_starts_it() {
    for script in [
        "exec \"$0\" 3<&- 4<&-",                   // nothing there
        "exec \"$0\" 3</dev/null 4</dev/null",     // something else there
        "exec \"$0\" 3<&0 4</dev/null </dev/null", // half of it there
    ] {
        let (_peer, socket) = UnixStream::pair().unwrap();
        let out = command("/bin/sh")
            .args(["-c", script])
            .arg(tiny())
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .output()
            .unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{script}: {said}");
        assert!(said.starts_with("tiny: this is an agent and is started by agentd"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(out.stdout.is_empty());
    }
}

#[test]
fn helper_programs_and_the_channel_do_not_meet() {
    let mut tiny = Tiny::start();
    tiny.ready();
    tiny.until("Heartbeat");
    let fds = format!("/proc/{}/fd", tiny.pid());
    for entry in std::fs::read_dir(&fds).unwrap() {
        let entry = entry.unwrap();
        let number = entry.file_name().into_string().unwrap();
        let info = format!("/proc/{}/fdinfo/{number}", tiny.pid());
        let target = std::fs::read_link(entry.path()).unwrap();
        if target.to_string_lossy().starts_with("socket:") {
            let text = std::fs::read_to_string(&info).unwrap();
            let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
            assert_ne!(flags & 0o2_000_000, 0, "descriptor {number} is not close-on-exec");
        }
    }
}
