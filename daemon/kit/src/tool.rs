//! Runs a helper program and takes what it prints: the one place in an agent that starts a process.
//!
//! Always with an absolute path, nothing on its standard input, an environment of `LC_ALL=C` alone,
//! a time limit after which it is killed, and a limit on what it may print.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// Most bytes of standard error that are kept for the message.
const MAX_STDERR: u64 = 4 * 1024;

/// What a program printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit status, or `None` when a signal ended it.
    pub status: Option<i32>,
    /// Standard output; bytes that are not UTF-8 became U+FFFD.
    pub stdout: String,
    /// The beginning of its standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with status 0.
    pub fn is_success(&self) -> bool {
        self.status == Some(0)
    }
}

/// A helper program gave nothing usable.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Only absolute paths are run: there is no search path in a cell.
    #[error("{program} is not an absolute path")]
    Relative {
        /// What was to be run.
        program: String,
    },
    /// It could not be started.
    #[error("cannot start {program}")]
    Start {
        /// What was to be run.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Its output could not be read, or its end not be waited for.
    #[error("cannot read from {program}")]
    Read {
        /// What was run.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It was killed because its time was up.
    #[error("{program} did not end within {} ms and was killed", limit.as_millis())]
    Timeout {
        /// What was run.
        program: String,
        /// How long it had.
        limit: Duration,
    },
    /// It was killed because it printed too much.
    #[error("{program} printed more than {cap} bytes and was killed")]
    TooMuch {
        /// What was run.
        program: String,
        /// What it was allowed.
        cap: usize,
    },
}

/// Runs `program` to its end. Any exit status is `Ok`: what it means is the caller's to know.
/// Cancel safe: dropping the future kills the program.
pub async fn run(
    program: &str,
    args: &[&str],
    limit: Duration,
    cap: usize,
) -> Result<Output, ToolError> {
    let name = || program.to_owned();
    if !Path::new(program).is_absolute() {
        return Err(ToolError::Relative { program: name() });
    }
    #[expect(clippy::disallowed_methods, reason = "the one place that starts programs")]
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ToolError::Start { program: name(), source })?;
    let stdout = child.stdout.take().expect("it was asked for just above");
    let stderr = child.stderr.take().expect("it was asked for just above");
    let read = |source| ToolError::Read { program: name(), source };
    let work = async {
        let out = async {
            let bytes = read_to(stdout, cap as u64 + 1).await.map_err(read)?;
            if bytes.len() > cap {
                return Err(ToolError::TooMuch { program: name(), cap });
            }
            Ok(bytes)
        };
        let err = async { read_start(stderr).await.map_err(read) };
        let (out, err) = tokio::try_join!(out, err)?;
        let status = child.wait().await.map_err(read)?;
        Ok(Output {
            status: status.code(),
            stdout: String::from_utf8_lossy(&out).into_owned(),
            stderr: String::from_utf8_lossy(&err).trim().to_owned(),
        })
    };
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(ToolError::Timeout { program: name(), limit }),
    }
}

async fn read_to(from: impl AsyncRead + Unpin, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// The beginning; the rest is read and dropped, so that the program is not held up.
async fn read_start(mut from: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let bytes = read_to(&mut from, MAX_STDERR).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    async fn shell(script: &str, limit: Duration, cap: usize) -> Result<Output, ToolError> {
        run("/bin/sh", &["-c", script], limit, cap).await
    }

    #[tokio::test]
    async fn what_it_prints_and_how_it_ends_is_told() {
        let out = shell("echo out; echo err >&2; exit 3", LONG, 100).await.unwrap();
        assert_eq!((out.status, out.is_success()), (Some(3), false));
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out\n", "err"));
        let out = shell("kill -9 $$", LONG, 100).await.unwrap();
        assert_eq!(out.status, None);
    }

    #[tokio::test]
    async fn its_environment_is_one_variable_and_its_input_is_empty() {
        let out = run("/usr/bin/env", &[], LONG, 1000).await.unwrap();
        assert_eq!(out.stdout, "LC_ALL=C\n");
        assert!(shell("cat", LONG, 10).await.unwrap().is_success());
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let script = format!("echo $$ > {}; exec sleep 1000", pid_file.display());
        // Long enough for the shell to have written its pid on a busy machine.
        let err = shell(&script, Duration::from_secs(2), 10).await.unwrap_err();
        assert!(matches!(err, ToolError::Timeout { .. }), "{err}");
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let end = crate::clock::boot() + LONG;
        // Gone, or a zombie until the runtime reaps it.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(crate::clock::boot() < end, "{pid} still lives");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_that_prints_too_much_is_killed_and_its_complaints_are_cut() {
        let err = shell("yes", LONG, 1000).await.unwrap_err();
        assert!(matches!(err, ToolError::TooMuch { cap: 1000, .. }), "{err}");
        let out = shell("head -c 100000 /dev/zero | tr '\\0' x >&2", LONG, 0).await.unwrap();
        assert_eq!(out.stderr.len() as u64, MAX_STDERR);
    }

    #[tokio::test]
    async fn only_absolute_paths_that_exist_are_run() {
        let err = run("sh", &[], LONG, 1).await.unwrap_err();
        assert!(matches!(err, ToolError::Relative { .. }), "{err}");
        let err = run("/nonexistent", &[], LONG, 1).await.unwrap_err();
        assert!(matches!(err, ToolError::Start { .. }), "{err}");
    }
}
