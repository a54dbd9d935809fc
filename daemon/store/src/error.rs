//! What can go wrong with a database, and of what kind it is.

use std::path::PathBuf;

/// What a failure means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No space left; the same write may succeed later.
    Full,
    /// The file is damaged; open the store again to have it set aside.
    Corrupt,
    /// The file is not ours, or from a newer agentd. It was not touched.
    Foreign,
    /// The write was refused: a repeat or a gap in the numbers of events.
    Refused,
    /// Anything else: input or output, permissions, a lock held too long.
    Other,
}

/// A verb of the store failed; nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("cannot {verb} {}", file.display())]
    Sqlite {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The number of an event does not follow the last one.
    #[error("event {found} does not follow event {last}")]
    OutOfOrder {
        /// The last recorded.
        last: u64,
        /// The one refused.
        found: u64,
    },
}

impl StoreError {
    /// What it means for the caller.
    pub fn kind(&self) -> ErrorKind {
        todo!()
    }
}
