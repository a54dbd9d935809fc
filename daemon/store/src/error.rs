//! What can go wrong with a database, and of what kind it is.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

/// What a failure means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No space left; the same write may succeed later.
    Full,
    /// The file is damaged. Open the store again to have it set aside and begun anew.
    Corrupt,
    /// The file is not ours, or from a newer agentd. It was not touched.
    Foreign,
    /// What was to be written is wrong in itself.
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
    /// The file belongs to some other program.
    #[error(
        "{} is not a database of agentd (its application id is {found:#x}); move it away",
        file.display()
    )]
    Foreign {
        /// Which file.
        file: PathBuf,
        /// Its `application_id`.
        found: i32,
    },
    /// The file was written by a newer agentd.
    #[error(
        "{} has schema {found}, this agentd knows {known}: run the newer agentd or move it away",
        file.display()
    )]
    Newer {
        /// Which file.
        file: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest one known.
        known: i64,
    },
    /// A damaged file could not be moved out of the way.
    #[error("cannot move damaged {} aside", file.display())]
    SetAside {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The number of an event does not follow the last one.
    #[error("event {found} does not follow event {last}")]
    OutOfOrder {
        /// The last recorded.
        last: u64,
        /// The one refused.
        found: u64,
    },
    /// A reading is not a finite number, or a sample has no readings.
    #[error("a sample of {series} is not a number or has no readings")]
    NotANumber {
        /// Of which series.
        series: String,
    },
}

impl StoreError {
    /// What it means for the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Sqlite { source, .. } => sqlite_kind(source),
            Self::Foreign { .. } | Self::Newer { .. } => ErrorKind::Foreign,
            Self::OutOfOrder { .. } | Self::NotANumber { .. } => ErrorKind::Refused,
            Self::SetAside { .. } => ErrorKind::Other,
        }
    }
}

pub(crate) fn sqlite_kind(error: &rusqlite::Error) -> ErrorKind {
    let extended = error.sqlite_error().map(|e| e.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ErrorKind::Full,
        // A full file system shows as this when the index of the WAL is to grow.
        Some(ErrorCode::SystemIoFailure)
            if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) =>
        {
            ErrorKind::Full
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        _ => ErrorKind::Other,
    }
}
