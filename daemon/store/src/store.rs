//! The writer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentd_model::AgentName;

use crate::{EventRow, FindingRow, SampleRow, StoreError};

/// What [`Store::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Damaged files that were moved out of the way; each was begun anew.
    pub set_aside: Vec<PathBuf>,
    /// Whether the last writer ended without [`Store::close`].
    pub was_unclean: bool,
    /// The number of the last recorded event; 0 if there is none.
    pub last_seq: u64,
}

/// One change of the state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Records an event.
    Event(EventRow),
    /// Records a finding, in place of what was recorded for its agent, key and `opened_ms`.
    Finding(FindingRow),
    /// Records whether an agent is started with agentd.
    Enabled {
        /// Which agent.
        agent: AgentName,
        /// Whether.
        enabled: bool,
    },
}

/// How long and how much is kept. Open findings are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events older than this go.
    pub events: Duration,
    /// The oldest events above this number go.
    pub events_max: u64,
    /// Findings resolved longer ago than this go.
    pub findings: Duration,
    /// The longest resolved findings above this number go.
    pub findings_max: u64,
    /// Minutes older than this go.
    pub metrics: Duration,
    /// The oldest minutes of all series above this number go.
    pub metrics_max: u64,
}

/// How many rows [`Store::prune`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Events.
    pub events: u64,
    /// Findings.
    pub findings: u64,
    /// Minutes of metrics.
    pub metrics: u64,
}

/// The one writer. Dropping it without [`Store::close`] counts as an unclean end.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens or begins the files in `dir` (which must exist).
    pub fn open(_dir: &Path) -> Result<(Self, Opened), StoreError> {
        todo!()
    }

    /// Writes all of `writes`, or nothing. Refuses a repeat or a gap in the numbers of events.
    pub fn write(&mut self, _writes: &[Write]) -> Result<(), StoreError> {
        todo!()
    }

    /// What the operator enabled or disabled; an agent that is absent was never asked about.
    pub fn enabled(&self) -> Result<BTreeMap<AgentName, bool>, StoreError> {
        todo!()
    }

    /// Findings that were open when last recorded.
    pub fn open_findings(&self) -> Result<Vec<FindingRow>, StoreError> {
        todo!()
    }

    /// Adds readings to a minute; what the minute has of a series already is merged.
    pub fn samples(&mut self, _minute_ms: i64, _samples: &[SampleRow]) -> Result<(), StoreError> {
        todo!()
    }

    /// Removes what `retention` does not keep.
    pub fn prune(&mut self, _now_ms: i64, _retention: &Retention) -> Result<Pruned, StoreError> {
        todo!()
    }

    /// Ends cleanly.
    pub fn close(self) -> Result<(), StoreError> {
        todo!()
    }
}
