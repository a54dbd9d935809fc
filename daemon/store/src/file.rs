//! One database file: opening, checking, migrating, closing. Knows nothing of what is in it.
//!
//! A file has one row in `marker`, which says `clean` between [`File::close`] and the next opening
//! only. Where it does not, the last writer was cut off and the whole file is checked before use. A
//! damaged file is renamed to `NAME.corrupt-N`, with its `-wal` and its like, and never deleted.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use crate::StoreError;
use crate::error::{ErrorKind, sqlite_kind};

/// How long a verb waits for another connection's lock. Readers hold none in WAL mode; this is for
/// a second agentd during an upgrade, or someone's sqlite3, or a disk without a WAL.
const BUSY: Duration = Duration::from_secs(2);
/// The WAL is cut back to this after a checkpoint; a burst would leave it large for good.
const WAL_BYTES: i64 = 4 << 20;

/// What kind of file it is.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    /// `PRAGMA application_id`.
    pub(crate) application_id: i32,
    /// `PRAGMA synchronous`: what survives a power cut.
    pub(crate) synchronous: &'static str,
    /// From nothing to the newest version, a step each; `PRAGMA user_version` counts them.
    pub(crate) migrations: &'static [&'static str],
}

/// An open file, for the writer.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    pub(crate) connection: Connection,
}

/// What opening a file found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) set_aside: Option<PathBuf>,
    pub(crate) was_unclean: bool,
}

/// Why a file could not be opened as it is.
enum Refusal {
    Damaged,
    Error(StoreError),
}

impl File {
    /// Opens or begins the file in `dir`.
    pub(crate) fn open(dir: &Path, schema: &Schema) -> Result<Found, StoreError> {
        let path = dir.join(schema.name);
        match Self::try_open(&path, schema) {
            Ok((file, was_unclean)) => Ok(Found { file, set_aside: None, was_unclean }),
            Err(Refusal::Error(error)) => Err(error),
            Err(Refusal::Damaged) => {
                let aside = set_aside(&path)
                    .map_err(|source| StoreError::SetAside { file: path.clone(), source })?;
                match Self::try_open(&path, schema) {
                    Ok((file, _)) => Ok(Found { file, set_aside: Some(aside), was_unclean: true }),
                    Err(Refusal::Error(error)) => Err(error),
                    Err(Refusal::Damaged) => {
                        let source = io::Error::other("a new file is damaged too");
                        Err(StoreError::SetAside { file: path, source })
                    }
                }
            }
        }
    }

    fn try_open(path: &Path, schema: &Schema) -> Result<(Self, bool), Refusal> {
        let fail = |source| {
            if sqlite_kind(&source) == ErrorKind::Corrupt {
                Refusal::Damaged
            } else {
                let file = path.to_owned();
                Refusal::Error(StoreError::Sqlite { verb: "open", file, source })
            }
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection =
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(fail)?;
        prepare(&connection).map_err(fail)?;
        // A damaged file is set aside with its WAL as it was, not with what is left of it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fail)?;
        let version = check_owner(&connection, path, schema, fail)?;
        // From here on the file is ours, and only from here on is it written to.
        configure(&connection, path, schema).map_err(fail)?;
        let was_unclean = version > 0 && !is_clean(&connection).map_err(fail)?;
        if was_unclean && !is_sound(&connection).map_err(fail)? {
            return Err(Refusal::Damaged);
        }
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
            .map_err(fail)?;
        migrate(&mut connection, schema, version).map_err(fail)?;
        mark(&connection, false).map_err(fail)?;
        Ok((Self { path: path.to_owned(), connection }, was_unclean))
    }

    /// Runs `work` in one transaction that takes the write lock at its beginning, so that it never
    /// fails half-way for want of it.
    pub(crate) fn write<T>(
        &mut self,
        verb: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let run = || -> Result<T, Failure> {
            let behavior = TransactionBehavior::Immediate;
            let transaction = self.connection.transaction_with_behavior(behavior)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        let done = run();
        done.map_err(|failure| failure.into_error(verb, &self.path))
    }

    /// Runs `work`, which only reads, on one state of the file.
    pub(crate) fn read<T>(
        &self,
        verb: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        // Unchecked is only that no transaction is open yet, and none is but within `write`.
        let run = || work(&*self.connection.unchecked_transaction()?);
        run().map_err(|error| Failure::Sqlite(error).into_error(verb, &self.path))
    }

    /// Ends cleanly: the next opening need not check the file.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        let fail = |source| Failure::Sqlite(source).into_error("close", &self.path);
        mark(&self.connection, true).map_err(fail)?;
        self.connection.close().map_err(|(_, source)| fail(source))
    }
}

/// Why a transaction was given up.
#[derive(Debug)]
pub(crate) enum Failure {
    Sqlite(rusqlite::Error),
    Refused(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failure {
    fn into_error(self, verb: &'static str, file: &Path) -> StoreError {
        match self {
            Self::Sqlite(source) => StoreError::Sqlite { verb, file: file.to_owned(), source },
            Self::Refused(error) => error,
        }
    }
}

/// Opens a file for reading alone. It must exist.
pub(crate) fn open_to_read(dir: &Path, schema: &Schema) -> Result<File, StoreError> {
    let path = dir.join(schema.name);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(&path, flags)?;
        prepare(&connection)?;
        Ok(connection)
    };
    match open() {
        Ok(connection) => Ok(File { path, connection }),
        Err(source) => Err(StoreError::Sqlite { verb: "open", file: path, source }),
    }
}

/// What concerns the connection and not the file.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    // No function or virtual table that a manipulated schema names is run for us (SQLite's
    // "Defense Against The Dark Arts").
    connection.pragma_update(None, "trusted_schema", false)
}

/// The schema version of a file that is ours; 0 if it is empty.
fn check_owner(
    connection: &Connection,
    path: &Path,
    schema: &Schema,
    fail: impl Fn(rusqlite::Error) -> Refusal,
) -> Result<i64, Refusal> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(&fail)?;
    let is_empty = number("schema_version").map_err(&fail)? == 0;
    if id != schema.application_id && !(id == 0 && is_empty) {
        let file = path.to_owned();
        return Err(Refusal::Error(StoreError::Foreign { file, found: id }));
    }
    let found = number("user_version").map_err(&fail)?;
    let known = newest(schema);
    if found > known {
        let file = path.to_owned();
        return Err(Refusal::Error(StoreError::Newer { file, found, known }));
    }
    Ok(found)
}

fn newest(schema: &Schema) -> i64 {
    i64::try_from(schema.migrations.len()).unwrap_or(i64::MAX)
}

fn configure(connection: &Connection, path: &Path, schema: &Schema) -> rusqlite::Result<()> {
    // These two answer with what is now so, hence a query.
    let mode = if has_small_blocks(path) { "TRUNCATE" } else { "WAL" };
    connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", schema.synchronous)?;
    connection.query_row(&format!("PRAGMA journal_size_limit = {WAL_BYTES}"), [], |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// Whether the file system allocates less than a page of memory at once (a small ext4 does).
///
/// SQLite maps the index of a WAL into memory and writes one byte in every 4096 of it before, so that
/// the room is there (`unixShmMap`). With smaller blocks most of it is not, and on a full disk the
/// next write to the mapping ends the process with SIGBUS. A rollback journal needs no mapping;
/// readers and the writer then wait for each other, which is better than no agentd.
fn has_small_blocks(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.blksize() < 4096)
}

fn is_clean(connection: &Connection) -> rusqlite::Result<bool> {
    let clean = connection.query_row("SELECT clean FROM marker", [], |row| row.get(0)).optional();
    clean.map(|clean| clean == Some(true))
}

fn is_sound(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA quick_check(1)", [], |row| Ok(row.get::<_, String>(0)? == "ok"))
}

fn mark(connection: &Connection, clean: bool) -> rusqlite::Result<()> {
    let sql = "INSERT INTO marker (id, clean) VALUES (1, ?1) \
               ON CONFLICT (id) DO UPDATE SET clean = excluded.clean";
    connection.execute(sql, [clean]).map(drop)
}

/// Brings a file of `version` to the newest schema, all steps or none.
fn migrate(connection: &mut Connection, schema: &Schema, version: i64) -> rusqlite::Result<()> {
    if version == newest(schema) {
        return Ok(());
    }
    let done = usize::try_from(version).unwrap_or(0);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if version == 0 {
        transaction.execute_batch(MARKER)?;
    }
    for step in schema.migrations.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", schema.application_id)?;
    transaction.pragma_update(None, "user_version", newest(schema))?;
    transaction.commit()
}

const MARKER: &str = "CREATE TABLE marker (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    clean INTEGER NOT NULL CHECK (clean IN (0, 1))
) STRICT;";

/// Renames a damaged file and what belongs to it. What it is now called.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut number = 1_u32;
    while with(&format!(".corrupt-{number}")).try_exists()? {
        number += 1;
    }
    let aside = with(&format!(".corrupt-{number}"));
    // The database last: a new one must never find the old one's WAL and take it for its own.
    for suffix in ["-wal", "-shm", "-journal", ""] {
        match fs::rename(with(suffix), with(&format!(".corrupt-{number}{suffix}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}
