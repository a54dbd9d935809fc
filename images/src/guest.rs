//! Talking to a running machine: the host's side of the protocol of `guest/runner.sh`, and the units
//! and files that QEMU hands to systemd as credentials.
//!
//! What must hold: nothing in the image serves this; without the credentials there is no way in.
//! Everything that comes from the guest is checked before it is believed.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::clock::Deadline;
use crate::interrupt;

/// The name of the virtio port, on both sides.
pub(crate) const PORT: &str = "agentos.runner";

const RUNNER: &str = include_str!("../guest/runner.sh");

/// After `multi-user.target`, so that it takes no time from what is being timed; the target is
/// reached whatever fails on the way.
const RUNNER_UNIT: &str = "\
[Unit]
Description=Commands from the host
After=multi-user.target
[Service]
ExecStart=/bin/bash /run/credentials/@system/agentos.runner
Restart=always
RestartSec=1
KillMode=process
";

/// A root shell on the serial console, started when asked for.
const CONSOLE_UNIT: &str = "\
[Unit]
Description=Root shell on the serial console
[Service]
ExecStart=/bin/bash --rcfile /run/credentials/@system/agentos.console
Environment=HOME=/root
WorkingDirectory=/
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
TTYReset=yes
# An interactive shell takes no notice of SIGTERM.
KillSignal=SIGHUP
Restart=always
RestartSec=0
";

/// `systemctl poweroff` asks logind first, which is not in the image, and says so twice.
const CONSOLE_RC: &str = "\
PS1='agentos:\\w# '
PAGER=cat SYSTEMD_PAGER= HISTFILE=
export PAGER SYSTEMD_PAGER
poweroff() { systemctl start --no-block --job-mode=replace-irreversibly poweroff.target; }
reboot() { systemctl start --no-block --job-mode=replace-irreversibly reboot.target; }
";

const WANT_RUNNER: &str = "[Unit]\nWants=agentos-runner.service\n";

/// Ends the machine in good order.
pub(crate) const POWER_OFF: &str =
    "systemctl start --no-block --job-mode=replace-irreversibly poweroff.target";
/// Restarts it in good order.
pub(crate) const REBOOT: &str =
    "systemctl start --no-block --job-mode=replace-irreversibly reboot.target";

/// Most that a command's output may be: enough for any test, little enough to hold.
const MAX_OUTPUT: usize = 256 << 20;
const MAX_LINE: usize = 4096;

/// Lines of the console that an error shows.
const LAST_LINES: usize = 30;

/// How long the machine may take to end a command whose time is up, and to send its answer.
const ANSWER: Duration = Duration::from_secs(20);

/// What a command in the machine did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 128 and the signal's number if a signal ended it.
    pub status: i32,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: Vec<u8>,
}

/// The machine did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// It took too long.
    #[error("the machine did not answer within {} s while {doing}", limit.as_secs())]
    TimeOut {
        /// What was waited for.
        doing: String,
        /// For how long.
        limit: Duration,
    },
    /// QEMU is gone.
    #[error("the machine ended while {doing}")]
    Ended {
        /// What was waited for.
        doing: String,
    },
    /// The port.
    #[error("cannot talk to the machine while {doing}")]
    Port {
        /// What was being done.
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It spoke, but not our protocol.
    #[error("the machine answered something else while {doing}: {line:?}")]
    Protocol {
        /// What was waited for.
        doing: String,
        /// What came.
        line: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted while {doing}")]
    Interrupted {
        /// What was waited for.
        doing: String,
    },
}

/// The credentials, as pairs of a name and a value, that bring the units into a machine.
pub(crate) fn credentials() -> Vec<(&'static str, &'static str)> {
    vec![
        ("agentos.runner", RUNNER),
        ("agentos.console", CONSOLE_RC),
        ("systemd.extra-unit.agentos-runner.service", RUNNER_UNIT),
        ("systemd.extra-unit.agentos-console.service", CONSOLE_UNIT),
        ("systemd.unit-dropin.multi-user.target", WANT_RUNNER),
    ]
}

/// The host's end of the port.
#[derive(Debug)]
pub(crate) struct Runner<S = UnixStream> {
    stream: S,
    buffer: Vec<u8>,
    next_id: u64,
}

impl Runner {
    /// Takes over a connected socket.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        // Short, so that deadlines, Ctrl-C and the machine's end are noticed.
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self::over(stream))
    }
}

impl<S: Read + Write> Runner<S> {
    fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), next_id: 1 }
    }

    /// Waits for the machine to say hello, which it does once per boot. Gives the boot's id.
    pub(crate) fn hello(
        &mut self,
        limit: Duration,
        alive: &mut dyn FnMut() -> bool,
    ) -> Result<String, GuestError> {
        let mut wait = Wait::new("booting", limit, alive);
        loop {
            let line = self.line(&mut wait)?;
            if let Some(id) = line.strip_prefix("hello ") {
                return Ok(id.to_owned());
            }
            // The rest of an answer to a command that was given up, from before a reboot.
        }
    }

    /// Tells the machine to run a script and does not wait: it may be the machine's last.
    pub(crate) fn order(&mut self, script: &str, limit: Duration) -> Result<u64, GuestError> {
        let id = self.next_id;
        self.next_id += 1;
        let seconds = limit.as_secs().max(1);
        let request = format!("run {id} {seconds} {}\n{script}", script.len());
        self.stream.write_all(request.as_bytes()).map_err(|source| GuestError::Port {
            doing: format!("ordering {}", shorten(script)),
            source,
        })?;
        Ok(id)
    }

    /// Runs a script in the machine with bash and waits for its end.
    ///
    /// One that is not done after `limit` is ended there, and this fails; the machine then takes
    /// the next.
    pub(crate) fn run(
        &mut self,
        script: &str,
        limit: Duration,
        alive: &mut dyn FnMut() -> bool,
    ) -> Result<Output, GuestError> {
        let doing = format!("running {}", shorten(script));
        let id = self.order(script, limit)?;
        // The machine's own limit comes first; its answer takes a while under emulation.
        let mut wait = Wait::new(&doing, limit + ANSWER, alive);
        loop {
            let line = self.line(&mut wait)?;
            let done = parse_done(&line)
                .ok_or_else(|| GuestError::Protocol { doing: doing.clone(), line: line.clone() })?;
            let stdout = self.exactly(done.out, &mut wait)?;
            let stderr = self.exactly(done.err, &mut wait)?;
            if done.id != id {
                continue; // The answer to a command that was given up.
            }
            // timeout(1): 124 if the command was ended, 137 if that took SIGKILL. The command may
            // also have given these itself, but then not with its time used up.
            if matches!(done.status, 124 | 137) && wait.deadline.left() <= ANSWER {
                return Err(GuestError::TimeOut { doing, limit });
            }
            return Ok(Output { status: done.status, stdout, stderr });
        }
    }

    /// The next line, without its end.
    fn line(&mut self, wait: &mut Wait<'_>) -> Result<String, GuestError> {
        let end = loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                break end;
            }
            if self.buffer.len() > MAX_LINE {
                let start = String::from_utf8_lossy(&self.buffer[..200]).into_owned();
                return Err(wait.protocol(start));
            }
            self.more(wait)?;
        };
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..=end);
        Ok(line)
    }

    fn exactly(&mut self, length: usize, wait: &mut Wait<'_>) -> Result<Vec<u8>, GuestError> {
        while self.buffer.len() < length {
            self.more(wait)?;
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Reads whatever is there, or waits a little.
    fn more(&mut self, wait: &mut Wait<'_>) -> Result<(), GuestError> {
        let mut chunk = [0; 65536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(wait.ended()),
                Ok(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    return Ok(());
                }
                Err(err) if is_nothing_yet(&err) => wait.check()?,
                Err(source) => return Err(wait.port(source)),
            }
        }
    }
}

fn is_nothing_yet(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// A wait for the machine: what for, until when, and whether it still runs.
struct Wait<'a> {
    doing: &'a str,
    deadline: Deadline,
    alive: &'a mut dyn FnMut() -> bool,
}

impl<'a> Wait<'a> {
    fn new(doing: &'a str, limit: Duration, alive: &'a mut dyn FnMut() -> bool) -> Self {
        Self { doing, deadline: Deadline::after(limit), alive }
    }

    fn check(&mut self) -> Result<(), GuestError> {
        let doing = || self.doing.to_owned();
        if interrupt::is_interrupted() {
            return Err(GuestError::Interrupted { doing: doing() });
        }
        if self.deadline.is_over() {
            return Err(GuestError::TimeOut { doing: doing(), limit: self.deadline.limit() });
        }
        if !(self.alive)() {
            return Err(self.ended());
        }
        Ok(())
    }

    fn ended(&self) -> GuestError {
        let doing = self.doing.to_owned();
        if interrupt::is_interrupted() {
            return GuestError::Interrupted { doing };
        }
        GuestError::Ended { doing }
    }

    fn port(&self, source: io::Error) -> GuestError {
        GuestError::Port { doing: self.doing.to_owned(), source }
    }

    fn protocol(&self, line: String) -> GuestError {
        GuestError::Protocol { doing: self.doing.to_owned(), line }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Done {
    id: u64,
    status: i32,
    out: usize,
    err: usize,
}

fn parse_done(line: &str) -> Option<Done> {
    let words: Vec<_> = line.strip_prefix("done ")?.split(' ').collect();
    let [id, status, out, err] = words.as_slice() else {
        return None;
    };
    let done = Done {
        id: id.parse().ok()?,
        status: status.parse().ok()?,
        out: out.parse().ok()?,
        err: err.parse().ok()?,
    };
    (done.out <= MAX_OUTPUT && done.err <= MAX_OUTPUT).then_some(done)
}

/// The end of what a console or a program said, indented, for an error message.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    lines[from..].iter().map(|line| format!("\n    {}", line.trim_end())).collect()
}

/// Enough of a script to know it by.
fn shorten(script: &str) -> String {
    let first = script.lines().next().unwrap_or_default();
    if first.len() == script.len() && first.chars().count() <= 80 {
        return format!("`{first}`");
    }
    let start: String = first.chars().take(80).collect();
    format!("`{start}…`")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A machine that says what it was told to, a few bytes at a time.
    struct Fake {
        says: VecDeque<u8>,
        heard: Vec<u8>,
    }

    impl Read for Fake {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = buf.len().min(3).min(self.says.len());
            for (at, byte) in self.says.drain(..n).enumerate() {
                buf[at] = byte;
            }
            Ok(n)
        }
    }

    impl Write for Fake {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.heard.extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn fake(says: &[u8]) -> Runner<Fake> {
        Runner::over(Fake { says: says.iter().copied().collect(), heard: Vec::new() })
    }

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn output_comes_back_byte_by_byte_as_it_was() {
        let mut runner = fake(b"done 1 7 6 4\n\0\xff\ndon\nerr\n");
        let output = runner.run("x", LIMIT, &mut || true).unwrap();
        assert_eq!(output.status, 7);
        assert_eq!(output.stdout, b"\0\xff\ndon");
        assert_eq!(output.stderr, b"\nerr");
        assert_eq!(runner.stream.heard, b"run 1 5 1\nx");
    }

    #[test]
    fn the_answer_to_a_command_that_was_given_up_is_passed_over() {
        let mut runner = fake(b"done 1 0 3 0\nolddone 2 0 3 0\nnew");
        runner.next_id = 2;
        let output = runner.run("x", LIMIT, &mut || true).unwrap();
        assert_eq!(output.stdout, b"new");
    }

    #[test]
    fn an_answer_that_is_none_is_shown() {
        let mut runner = fake(b"done 1 0 -1 0\n");
        let err = runner.run("true", LIMIT, &mut || true).unwrap_err();
        assert_eq!(
            err.to_string(),
            "the machine answered something else while running `true`: \"done 1 0 -1 0\""
        );
    }

    #[test]
    fn a_length_beyond_reason_is_refused() {
        assert_eq!(parse_done("done 1 0 99999999999 0"), None);
    }

    #[test]
    fn the_machines_end_is_told_from_silence() {
        let err = fake(b"hel").hello(LIMIT, &mut || true).unwrap_err();
        assert!(matches!(err, GuestError::Ended { .. }), "{err}");
    }
}
