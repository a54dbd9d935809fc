//! Readers: connections that cannot write.

use std::path::{Path, PathBuf};

use agentd_model::AgentName;

use crate::file::{File, open_to_read};
use crate::metrics::{self, METRICS};
use crate::state::{self, STATE, Which};
use crate::{EventRow, FindingRow, MetricName, Series, StoreError};

/// Most resolved findings in one answer.
const RESOLVED: u32 = 1000;

/// Reads what a [`crate::Store`] on the same directory has written, neither holding it up nor held
/// up by it. `Send`, not `Sync`: one for each thread that reads. Open it again after the store was
/// opened again, or it may read a file that was set aside.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    state: File,
}

impl Reader {
    /// Opens what a [`crate::Store`] has opened in `dir`.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self { dir: dir.to_owned(), state: open_to_read(dir, &STATE)? })
    }

    /// The newest `limit` of the events above `after_seq`, from `since_ms` on, about `agent`;
    /// oldest first.
    pub fn events(
        &self,
        after_seq: u64,
        since_ms: Option<i64>,
        agent: Option<&AgentName>,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        let which = (Which::Newest, limit);
        self.state.read("read", |db| state::events(db, after_seq, since_ms, agent, which))
    }

    /// The oldest `limit` of the same, oldest first: for whoever wants all of them, piece by piece.
    pub fn events_onward(
        &self,
        after_seq: u64,
        since_ms: Option<i64>,
        agent: Option<&AgentName>,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        let which = (Which::Oldest, limit);
        self.state.read("read", |db| state::events(db, after_seq, since_ms, agent, which))
    }

    /// Open findings, worst first; with `all`, after them the last 1000 resolved, newest first.
    pub fn findings(
        &self,
        agent: Option<&AgentName>,
        all: bool,
    ) -> Result<Vec<FindingRow>, StoreError> {
        self.state.read("read", |db| {
            let mut findings = state::open_findings(db, agent)?;
            if all {
                findings.extend(state::resolved_findings(db, agent, RESOLVED)?);
            }
            Ok(findings)
        })
    }

    /// Every kept series, by name.
    pub fn metric_names(&self) -> Result<Vec<MetricName>, StoreError> {
        self.metrics()?.read("read", metrics::names)
    }

    /// The points of `name` from `since_ms` on; `None` if there is no such series.
    pub fn series(&self, name: &str, since_ms: i64) -> Result<Option<Series>, StoreError> {
        self.metrics()?.read("read", |db| metrics::series(db, name, since_ms))
    }

    /// Opened for each question: they are rare, and the writer may have begun the file anew.
    fn metrics(&self) -> Result<File, StoreError> {
        open_to_read(&self.dir, &METRICS)
    }
}
