//! Readers: connections that cannot write.

use std::path::Path;

use agentd_model::AgentName;

use crate::{EventRow, FindingRow, MetricName, Series, StoreError};

/// Reads what a [`crate::Store`] in the same directory has written, without holding it up. `Send`,
/// not `Sync`: one for each thread that reads.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// Opens the files that a [`crate::Store`] has opened in `dir`.
    pub fn open(_dir: &Path) -> Result<Self, StoreError> {
        todo!()
    }

    /// The newest `limit` of the events above `after_seq`, from `since_ms` on, about `agent`; oldest first.
    pub fn events(
        &self,
        _after_seq: u64,
        _since_ms: Option<i64>,
        _agent: Option<&AgentName>,
        _limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        todo!()
    }

    /// Open findings, worst first; with `all`, then the last 1000 resolved, newest first.
    pub fn findings(
        &self,
        _agent: Option<&AgentName>,
        _all: bool,
    ) -> Result<Vec<FindingRow>, StoreError> {
        todo!()
    }

    /// Every kept series, by name.
    pub fn metric_names(&self) -> Result<Vec<MetricName>, StoreError> {
        todo!()
    }

    /// The points of `name` from `since_ms` on; `None` if there is no such series.
    pub fn series(&self, _name: &str, _since_ms: i64) -> Result<Option<Series>, StoreError> {
        todo!()
    }
}
