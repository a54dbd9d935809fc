//! Where an agent's standard output and error go: the journal, under `agent-NAME`, or a log file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use agentd_cell::Output;
use agentd_model::{AgentName, Paths};

/// journald's socket for plain lines.
pub const JOURNAL_STREAM: &str = "/run/systemd/journal/stdout";
/// syslog's `info`, for lines without a priority of their own.
const PRIORITY_INFO: u8 = 6;

/// The output could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the log of {agent} at {}", path.display())]
pub struct OutputError {
    agent: AgentName,
    path: PathBuf,
    source: io::Error,
}

/// Opens the output of one process: a journal stream on an appliance, else its log file.
pub fn open(agent: &AgentName, paths: &Paths, journal: &Path) -> Result<Output, OutputError> {
    if paths.is_system() && journal.exists() {
        stream(agent, journal).map_err(|source| fail(agent, journal, source))
    } else {
        file(&paths.log(agent)).map_err(|source| fail(agent, &paths.log(agent), source))
    }
}

fn fail(agent: &AgentName, path: &Path, source: io::Error) -> OutputError {
    OutputError { agent: agent.clone(), path: path.to_owned(), source }
}

/// The stream's header, a line each: identifier, unit, priority, whether lines carry a priority,
/// and where journald passes them on to (sd_journal_stream_fd(3), as journald reads it).
fn stream(agent: &AgentName, journal: &Path) -> io::Result<Output> {
    let mut stream = UnixStream::connect(journal)?;
    write!(stream, "agent-{agent}\n\n{PRIORITY_INFO}\n1\n0\n0\n0\n")?;
    stream.shutdown(std::net::Shutdown::Read)?;
    Ok(Output { stdout: stream.try_clone()?.into(), stderr: stream.into() })
}

fn file(path: &Path) -> io::Result<Output> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    Ok(Output { stdout: file.try_clone()?.into(), stderr: file.into() })
}
