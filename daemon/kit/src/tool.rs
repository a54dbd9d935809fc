//! Runs a helper program and takes what it prints: the one place in an agent that starts a process.
//!
//! Always with an absolute path, nothing on its standard input, an environment of `LC_ALL=C` alone,
//! a time limit after which it is killed, and a limit on what it may print.

use std::path::PathBuf;
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
    if !PathBuf::from(program).is_absolute() {
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
    let work = async {
        let (out, err) = tokio::try_join!(read_all(stdout, cap), read_start(stderr))?;
        if out.len() > cap {
            return Ok(None);
        }
        Ok(Some((out, err, child.wait().await?)))
    };
    match tokio::time::timeout(limit, work).await {
        Err(_) => Err(ToolError::Timeout { program: name(), limit }),
        Ok(Err(source)) => Err(ToolError::Read { program: name(), source }),
        Ok(Ok(None)) => Err(ToolError::TooMuch { program: name(), cap }),
        Ok(Ok(Some((out, err, status)))) => Ok(Output {
            status: status.code(),
            stdout: String::from_utf8_lossy(&out).into_owned(),
            stderr: String::from_utf8_lossy(&err).trim().to_owned(),
        }),
    }
}

/// Everything up to the end, or one byte more than `cap`.
async fn read_all(from: impl AsyncRead + Unpin, cap: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(cap as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// The beginning; the rest is read and dropped, so that the program is not held up.
async fn read_start(mut from: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    (&mut from).take(MAX_STDERR).read_to_end(&mut bytes).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(bytes)
}
