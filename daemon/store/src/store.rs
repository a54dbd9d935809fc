//! The writer: both files behind domain verbs, one transaction each.
//!
//! The state file decides whether there is a store at all. The metrics file may fail without holding
//! up anything else: it is then opened again at the next sample.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentd_model::AgentName;

use crate::file::File;
use crate::metrics::{self, METRICS};
use crate::state::{self, STATE, Write};
use crate::{ErrorKind, FindingRow, SampleRow, StoreError};

/// What [`Store::open`] found.
#[derive(Debug, Default)]
pub struct Opened {
    /// Damaged files that were moved out of the way, as they are called now; each was begun anew.
    pub set_aside: Vec<PathBuf>,
    /// Whether the last writer ended without [`Store::close`].
    pub was_unclean: bool,
    /// The number of the last recorded event; 0 if there is none.
    pub last_seq: u64,
    /// Why the metrics file could not be opened, if so. [`Store::samples`] tries again.
    pub metrics_failed: Option<StoreError>,
}

/// How long and how much is kept. Open findings and the newest event are always kept.
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
    /// The oldest minutes above this number, of all series together, go.
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

/// The one writer. Every call may wait for the disk: keep it on a thread of its own. Dropping it
/// without [`Store::close`] counts as an unclean end. If a verb fails with [`ErrorKind::Corrupt`],
/// drop it and open it again.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    state: File,
    metrics: Option<File>,
}

impl Store {
    /// Opens or begins the files in `dir`, which must exist. A damaged file is set aside; one that
    /// is not ours or newer than we know is refused untouched.
    pub fn open(dir: &Path) -> Result<(Self, Opened), StoreError> {
        let mut state = File::open(dir, &STATE)?;
        let mut last_seq = state.file.read("read", state::last_seq);
        if last_seq.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt) {
            // Ended cleanly and was damaged since. It is marked as in use now, and so is checked.
            drop(state);
            state = File::open(dir, &STATE)?;
            last_seq = state.file.read("read", state::last_seq);
        }
        let mut opened = Opened {
            last_seq: last_seq?,
            was_unclean: state.was_unclean,
            set_aside: state.set_aside.into_iter().collect(),
            metrics_failed: None,
        };
        let metrics = match File::open(dir, &METRICS) {
            Ok(found) => {
                opened.was_unclean |= found.was_unclean;
                opened.set_aside.extend(found.set_aside);
                Some(found.file)
            }
            Err(error) => {
                opened.metrics_failed = Some(error);
                None
            }
        };
        Ok((Self { dir: dir.to_owned(), state: state.file, metrics }, opened))
    }

    /// Writes all of `writes` durably, or nothing. Refuses a repeat or a gap in the numbers of
    /// events ([`StoreError::OutOfOrder`]).
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.state.write("write to", |tx| writes.iter().try_for_each(|w| state::write(tx, w)))
    }

    /// What the operator enabled or disabled; an agent that is absent was never asked about.
    pub fn enabled(&self) -> Result<BTreeMap<AgentName, bool>, StoreError> {
        self.state.read("read", state::enabled)
    }

    /// Findings that were open when last recorded, worst first.
    pub fn open_findings(&self) -> Result<Vec<FindingRow>, StoreError> {
        self.state.read("read", |db| state::open_findings(db, None))
    }

    /// Adds `samples` to a minute, all or none; what the minute has of a series already is merged.
    /// A damaged metrics file fails this call and is set aside by the next.
    pub fn samples(&mut self, minute_ms: i64, samples: &[SampleRow]) -> Result<(), StoreError> {
        self.with_metrics("write to", |tx| metrics::write(tx, minute_ms, samples))
    }

    /// Removes what `retention` does not keep. If the metrics fail, the rest is done all the same.
    pub fn prune(&mut self, now_ms: i64, retention: &Retention) -> Result<Pruned, StoreError> {
        let (events, findings) =
            self.state.write("prune", |tx| state::prune(tx, now_ms, retention))?;
        let metrics = self.with_metrics("prune", |tx| metrics::prune(tx, now_ms, retention))?;
        Ok(Pruned { events, findings, metrics })
    }

    /// Ends cleanly, so that the next opening need not check the files.
    pub fn close(self) -> Result<(), StoreError> {
        let metrics = self.metrics.map_or(Ok(()), File::close);
        self.state.close().and(metrics)
    }

    fn with_metrics<T>(
        &mut self,
        verb: &'static str,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, crate::file::Failure>,
    ) -> Result<T, StoreError> {
        let file = match &mut self.metrics {
            Some(file) => file,
            none => none.insert(File::open(&self.dir, &METRICS)?.file),
        };
        let done = file.write(verb, work);
        if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt) {
            self.metrics = None;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventRow;

    fn event(seq: u64, bytes: usize) -> Write {
        Write::Event(EventRow {
            seq,
            time_ms: 1_000,
            kind: "agentd".into(),
            agent: None,
            message: "x".repeat(bytes),
            fields: BTreeMap::new(),
        })
    }

    fn sample(value: f64) -> SampleRow {
        SampleRow {
            name: "cpu.used".into(),
            unit: "%".into(),
            count: 1,
            min: value,
            sum: value,
            max: value,
            last: value,
            last_ms: 1_000,
        }
    }

    /// As much room as the file has now and `pages` more, as on a file system that is nearly full.
    fn allow(file: &File, pages: i64) {
        let db = &file.connection;
        let now: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let set = format!("PRAGMA max_page_count = {}", now + pages);
        db.query_row(&set, [], |_| Ok(())).unwrap();
    }

    #[test]
    fn a_full_disk_fails_the_verb_alone_and_the_next_may_succeed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(dir.path()).unwrap();
        store.write(&[event(1, 10)]).unwrap();
        allow(&store.state, 2);
        let error = store.write(&[event(2, 10), event(3, 1 << 20)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
        // Nothing of it was written, and what fits is.
        store.write(&[event(2, 10)]).unwrap();
        allow(&store.state, 1 << 20);
        store.write(&[event(3, 1 << 20)]).unwrap();
        assert_eq!(store.state.read("read", state::last_seq).unwrap(), 3);
        store.close().unwrap();
    }

    #[test]
    fn state_goes_on_while_metrics_fail_and_metrics_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(dir.path()).unwrap();
        store.samples(0, &[sample(1.0)]).unwrap();
        // A page of garbage below SQLite, seen at the next read of it: the cache is let go first.
        let metrics = store.metrics.as_ref().unwrap();
        metrics.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        metrics.connection.release_memory().unwrap();
        let path = dir.path().join("metrics.db");
        let pages = std::fs::metadata(&path).unwrap().len();
        std::fs::write(&path, vec![0xa5; usize::try_from(pages).unwrap()]).unwrap();

        let error = store.samples(0, &[sample(2.0)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        store.write(&[event(1, 10)]).unwrap();
        store.samples(0, &[sample(3.0)]).unwrap();
        assert!(dir.path().join("metrics.db.corrupt-1").exists());
        store.close().unwrap();
    }
}
