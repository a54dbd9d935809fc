//! The metrics file: what each series read, minute by minute.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};

use crate::file::{Failure, Schema};
use crate::{MetricName, PointRow, Retention, SampleRow, Series, StoreError};

pub(crate) const METRICS: Schema = Schema {
    name: "metrics.db",
    application_id: 0x6167_6d65, // "agme"
    synchronous: "NORMAL",
    migrations: &["
        CREATE TABLE series (
            id      INTEGER PRIMARY KEY,
            name    TEXT NOT NULL UNIQUE,
            unit    TEXT NOT NULL,
            last    REAL NOT NULL,
            last_ms INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE point (
            series    INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
            minute_ms INTEGER NOT NULL,
            count     INTEGER NOT NULL,
            min       REAL NOT NULL,
            sum       REAL NOT NULL,
            max       REAL NOT NULL,
            PRIMARY KEY (series, minute_ms)
        ) STRICT, WITHOUT ROWID;
    "],
};

pub(crate) fn write(
    tx: &Transaction<'_>,
    minute_ms: i64,
    samples: &[SampleRow],
) -> Result<(), Failure> {
    let series = "INSERT INTO series (name, unit, last, last_ms) \
                  VALUES (:name, :unit, :last, :last_ms) ON CONFLICT (name) DO UPDATE SET \
                  unit = excluded.unit, \
                  last = iif(excluded.last_ms >= last_ms, excluded.last, last), \
                  last_ms = max(excluded.last_ms, last_ms) RETURNING id";
    let point = "INSERT INTO point (series, minute_ms, count, min, sum, max) \
                 VALUES (:series, :minute_ms, :count, :min, :sum, :max) \
                 ON CONFLICT (series, minute_ms) DO UPDATE SET \
                 count = min(count + excluded.count, 4294967295), sum = sum + excluded.sum, \
                 min = min(min, excluded.min), max = max(max, excluded.max)";
    let (mut series, mut point) = (tx.prepare_cached(series)?, tx.prepare_cached(point)?);
    for sample in samples {
        let is_number =
            [sample.min, sample.sum, sample.max, sample.last].iter().all(|v| v.is_finite());
        if sample.count == 0 || !is_number {
            let series = sample.name.clone();
            return Err(Failure::Refused(StoreError::NotANumber { series }));
        }
        let values = named_params! {
            ":name": sample.name,
            ":unit": sample.unit,
            ":last": sample.last,
            ":last_ms": sample.last_ms,
        };
        let id: i64 = series.query_row(values, |row| row.get(0))?;
        point.execute(named_params! {
            ":series": id,
            ":minute_ms": minute_ms,
            ":count": sample.count,
            ":min": sample.min,
            ":sum": sample.sum,
            ":max": sample.max,
        })?;
    }
    Ok(())
}

pub(crate) fn names(db: &Connection) -> rusqlite::Result<Vec<MetricName>> {
    let mut statement = db.prepare("SELECT name, unit, last, last_ms FROM series ORDER BY name")?;
    let rows = statement.query_map([], |row| {
        Ok(MetricName {
            name: row.get(0)?,
            unit: row.get(1)?,
            last: row.get(2)?,
            last_ms: row.get(3)?,
        })
    })?;
    rows.collect()
}

pub(crate) fn series(
    db: &Connection,
    name: &str,
    since_ms: i64,
) -> rusqlite::Result<Option<Series>> {
    let sql = "SELECT id, unit FROM series WHERE name = ?1";
    let found = db.query_row(sql, [name], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
    let Some((id, unit)) = found.optional()? else { return Ok(None) };
    let sql = "SELECT minute_ms, count, min, sum, max FROM point \
               WHERE series = ?1 AND minute_ms >= ?2 ORDER BY minute_ms";
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map((id, since_ms), point_of)?;
    Ok(Some(Series { unit, points: rows.collect::<rusqlite::Result<_>>()? }))
}

/// Removes old minutes, and series that have none left. How many minutes.
pub(crate) fn prune(tx: &Transaction<'_>, now_ms: i64, keep: &Retention) -> Result<u64, Failure> {
    let age = i64::try_from(keep.metrics.as_millis()).unwrap_or(i64::MAX);
    // Series by series: the primary key begins with it, and an index on the minute alone would cost
    // every write for what is done once an hour.
    let sql = "DELETE FROM point WHERE series IN (SELECT id FROM series) AND minute_ms < ?1";
    let old = tx.execute(sql, [now_ms.saturating_sub(age)])?;
    let most = i64::try_from(keep.metrics_max).unwrap_or(i64::MAX);
    let rows: i64 = tx.query_row("SELECT count(*) FROM point", [], |row| row.get(0))?;
    let mut many = 0;
    if rows > most {
        let sql = "DELETE FROM point WHERE (series, minute_ms) IN (SELECT series, minute_ms \
                   FROM point ORDER BY minute_ms DESC, series LIMIT -1 OFFSET ?1)";
        many = tx.execute(sql, [most])?;
    }
    tx.execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM point)", [])?;
    Ok((old + many) as u64)
}

fn point_of(row: &Row<'_>) -> rusqlite::Result<PointRow> {
    Ok(PointRow {
        minute_ms: row.get(0)?,
        count: row.get(1)?,
        min: row.get(2)?,
        sum: row.get(3)?,
        max: row.get(4)?,
    })
}
