//! The one place that starts programs: fixed environment, own process group, a time limit, and an
//! error that shows what was run and the end of what it said.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::interrupt;

/// Programs are found here and nowhere else, whatever the caller's PATH says.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is kept of the caller's environment. Everything else could change what is built.
const KEPT: [&str; 14] = [
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
];

/// Lines of output that an error carries.
const TAIL_LINES: usize = 25;

/// A program could not be run, or did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It did not start.
    #[error("cannot start {command}")]
    Start {
        /// As a person would type it.
        command: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It ended with a status other than 0.
    #[error("{command} ended with {status}{tail}")]
    Failed {
        /// As a person would type it.
        command: String,
        /// How it ended.
        status: String,
        /// The end of its output, indented.
        tail: String,
    },
    /// It was still running at the end of its time.
    #[error("{command} was stopped: it took longer than {} s{tail}", limit.as_secs())]
    TimeOut {
        /// As a person would type it.
        command: String,
        /// What it was given.
        limit: Duration,
        /// The end of its output, indented.
        tail: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted while running {command}")]
    Interrupted {
        /// As a person would type it.
        command: String,
    },
    /// Its output could not be kept.
    #[error("cannot write the log of {command}")]
    Log {
        /// As a person would type it.
        command: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// A program to be run, and how.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    limit: Duration,
}

impl Program {
    /// A program by name or path, to be ended after ten minutes.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            directory: None,
            limit: Duration::from_secs(600),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// The same, started by another program that is given it as arguments.
    #[must_use]
    pub(crate) fn after(&self, starter: [&str; 4]) -> Self {
        let [program, args @ ..] = starter;
        let mut all: Vec<OsString> = args.iter().map(Into::into).collect();
        all.push(self.program.clone());
        all.extend(self.args.iter().cloned());
        Self { program: program.into(), args: all, ..self.clone() }
    }

    /// Sets a variable in its environment.
    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Where it runs.
    #[must_use]
    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// How long it may take.
    #[must_use]
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end, with its output in the file `log`, which stays.
    pub(crate) fn run_logged(&self, log: &Path) -> Result<(), ExecError> {
        let no_log = |source| ExecError::Log { command: self.to_string(), source };
        let out = File::create(log).map_err(no_log)?;
        let err = out.try_clone().map_err(no_log)?;
        self.finish(out.into(), err.into(), log).map(drop)
    }

    /// Runs it to its end and gives what it wrote to stdout.
    pub(crate) fn capture(&self) -> Result<Vec<u8>, ExecError> {
        let no_log = |source| ExecError::Log { command: self.to_string(), source };
        let dir = tempfile::tempdir().map_err(no_log)?;
        let (out, err) = (dir.path().join("out"), dir.path().join("err"));
        let stdout = File::create(&out).map_err(no_log)?;
        let stderr = File::create(&err).map_err(no_log)?;
        self.finish(stdout.into(), stderr.into(), &err)?;
        fs::read(&out).map_err(no_log)
    }

    /// Starts it and leaves it running in its own process group, stdin closed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(&self, stdout: Stdio, stderr: Stdio) -> Result<Child, ExecError> {
        #[allow(
            clippy::disallowed_methods,
            reason = "this is the place where this crate starts programs"
        )]
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8");
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .map_err(|source| ExecError::Start { command: self.to_string(), source })
    }

    fn finish(&self, stdout: Stdio, stderr: Stdio, said: &Path) -> Result<(), ExecError> {
        let mut child = self.spawn(stdout, stderr)?;
        let group = pid_of(&child);
        let registered = interrupt::Child::register(group);
        let (tell, told) = mpsc::channel();
        let waiter = thread::spawn(move || {
            // The receiver is gone only if the caller panicked.
            let _unheard = tell.send(child.wait());
        });
        let (ended, late) = match told.recv_timeout(self.limit) {
            Ok(ended) => (Some(ended), false),
            Err(_) => {
                let _gone_already = killpg(group, Signal::SIGKILL);
                (told.recv().ok(), true)
            }
        };
        drop(registered);
        let _joined = waiter.join();
        let command = self.to_string();
        if interrupt::is_interrupted() {
            return Err(ExecError::Interrupted { command });
        }
        let tail = tail_of(said);
        if late {
            let limit = self.limit;
            return Err(ExecError::TimeOut { command, limit, tail });
        }
        let status = match ended {
            Some(Ok(status)) if status.success() => return Ok(()),
            Some(Ok(status)) => status.to_string(),
            Some(Err(source)) => return Err(ExecError::Start { command, source }),
            None => "no status".to_owned(),
        };
        Err(ExecError::Failed { command, status, tail })
    }
}

/// The process id of a child that has not been waited for.
pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("Linux's process ids fit an i32"))
}

/// The last lines of a log, ready to follow an error message; nothing if there are none. Programs
/// that draw progress bars end their lines with a carriage return.
fn tail_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines[from..].iter().map(|line| format!("\n    {line}")).collect()
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.to_string_lossy())?;
        for arg in &self.args {
            let arg = arg.to_string_lossy();
            if arg.is_empty() || arg.contains([' ', '"', '\'', '$', '\n']) {
                write!(f, " '{}'", arg.replace('\'', r"'\''"))?;
            } else {
                write!(f, " {arg}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_and_the_end_of_its_output() {
        let dir = tempfile::tempdir().unwrap();
        let err = Program::new("sh")
            .args(["-c", "echo first; echo 'the reason' >&2; exit 3"])
            .run_logged(&dir.path().join("log"))
            .unwrap_err();
        assert_eq!(
            err.to_string(),
            "sh -c 'echo first; echo '\\''the reason'\\'' >&2; exit 3' ended with exit status: 3\
             \n    first\n    the reason"
        );
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_its_children() {
        let err = Program::new("sh")
            .args(["-c", "sleep 1000 & wait"])
            .limit(Duration::from_millis(50))
            .capture()
            .unwrap_err();
        assert!(matches!(err, ExecError::TimeOut { .. }), "{err}");
    }

    #[test]
    fn the_callers_environment_is_not_passed_on() {
        let out = Program::new("env").capture().unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(!out.contains("CARGO_MANIFEST_DIR"), "{out}");
        assert!(out.contains(&format!("PATH={PATH}\n")), "{out}");
    }
}
