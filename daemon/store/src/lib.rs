//! The store: the only place with SQL.
//!
//! Two SQLite files in one directory: `agentd.db` holds what must survive a power cut (events,
//! findings, what the operator enabled), `metrics.db` the readings, of which the last seconds may be
//! lost. One [`Store`] writes, from one thread; any number of [`Reader`]s read on connections of their
//! own. Every verb is one transaction: it happens whole or not at all, and after a failure the next
//! one may succeed. What to do when it does not is the supervisor's business.
#![forbid(unsafe_code)]

mod error;
mod file;
mod metrics;
mod reader;
mod row;
mod state;
mod store;

pub use error::{ErrorKind, StoreError};
pub use reader::Reader;
pub use row::{EventRow, FindingRow, MetricName, PointRow, SampleRow, Series};
pub use state::{LOST, Write};
pub use store::{Opened, Pruned, Retention, Store};
