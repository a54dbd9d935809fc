//! The one thread that writes to the store, and the handle everybody else has on it.
//!
//! Nothing waits for it. Rows that cannot be written now are kept up to `PENDING` and tried
//! again; beyond that the oldest are lost, counted and told. Rows are written in groups, one
//! transaction each, so that a burst costs one flush of the disk.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::time::Duration;

use agentd_model::{AgentdConfig, Chain, Mono};
use agentd_store::{ErrorKind, Retention, SampleRow, Store, Write};
use tokio::sync::watch;

use crate::clock;

/// Most rows that wait for a store that fails.
const PENDING: usize = 8192;
/// Most rows in one transaction.
const GROUP: usize = 512;
/// Most orders that wait for a writer that hangs in the kernel.
const QUEUE: usize = 4096;
/// How long after a failure the store is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How often old rows are thrown away.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

enum Order {
    Write(Vec<Write>),
    Samples { minute_ms: i64, rows: Vec<SampleRow> },
}

/// What became of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It cannot be written; supervision goes on without it.
    Failed(String),
    /// It was written, after a failure or after more came at once than could wait for it. So many
    /// rows were lost meanwhile.
    Recovered {
        /// Rows that were dropped.
        lost: u64,
    },
}

/// A handle on the writer. Orders are taken at once.
#[derive(Debug)]
pub struct Archive {
    orders: Option<SyncSender<Order>>,
    refused: Arc<Refused>,
    /// Disconnected when the writer has ended.
    ended: Receiver<Infallible>,
}

/// What found no place in the queue.
#[derive(Debug, Default)]
struct Refused {
    orders: AtomicU64,
    /// The highest number among their events. It was given out, and must not be given again.
    last: AtomicU64,
}

impl Refused {
    fn note(&self, order: &Order) {
        self.orders.fetch_add(1, Ordering::Relaxed);
        let Order::Write(rows) = order else { return };
        for row in rows {
            if let Write::Event(event) = row {
                self.last.fetch_max(event.seq, Ordering::Relaxed);
            }
        }
    }
}

/// What the writer needs to know.
pub struct Setup {
    /// The folder of the database files, for opening them again.
    pub dir: PathBuf,
    /// How long rows are kept; looked at each time rows are thrown away.
    pub config: watch::Receiver<AgentdConfig>,
    /// Where news goes. Called on the writer's thread; must not block. `false`: it could not be
    /// taken just now and is told again.
    pub tell: Box<dyn Fn(News) -> bool + Send>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Archive {
    /// Starts the writer on a store and the number of its last event. Without one it begins by
    /// trying to open it.
    pub fn start(store: Option<(Store, u64)>, setup: Setup) -> std::io::Result<Self> {
        let (orders, inbox) = sync_channel(QUEUE);
        let refused = Arc::new(Refused::default());
        let writer = Writer::new(store, setup, Arc::clone(&refused));
        let (alive, ended) = channel();
        std::thread::Builder::new().name("archive".into()).spawn(move || {
            let _alive = alive;
            writer.run(&inbox);
        })?;
        Ok(Self { orders: Some(orders), refused, ended })
    }

    /// An archive that keeps nothing.
    #[cfg(test)]
    pub fn none() -> Self {
        Self { orders: None, refused: Arc::default(), ended: channel().1 }
    }

    /// Takes rows to be written together. `false`: too much waits already, and they are lost.
    pub fn write(&self, rows: Vec<Write>) -> bool {
        self.send(Order::Write(rows))
    }

    /// Takes readings of the minute that began at `minute_ms`. `false` as in [`Archive::write`].
    pub fn samples(&self, minute_ms: i64, rows: Vec<SampleRow>) -> bool {
        self.send(Order::Samples { minute_ms, rows })
    }

    /// Waits until everything that was taken is written and the files are closed, for at most `limit`.
    pub fn close(mut self, limit: Duration) {
        // The writer ends when it has taken what was sent and nobody can send any more.
        drop(self.orders.take());
        if self.ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("store was not closed in time: the last events may be missing in it");
        }
    }

    fn send(&self, order: Order) -> bool {
        let Some(orders) = &self.orders else { return true };
        match orders.try_send(order) {
            Ok(()) => true,
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => {
                self.refused.note(&order);
                false
            }
        }
    }
}

struct Writer {
    store: Option<Store>,
    setup: Setup,
    pending: VecDeque<Write>,
    lost: u64,
    refused: Arc<Refused>,
    /// Number of the last event that the store has.
    written: u64,
    is_failed: bool,
    /// When the store was last tried to be opened.
    tried: Mono,
    samples_failed: bool,
    /// News that nobody could take yet.
    untold: VecDeque<News>,
}

impl Writer {
    fn new(store: Option<(Store, u64)>, setup: Setup, refused: Arc<Refused>) -> Self {
        let is_failed = store.is_none();
        let (store, written) = store.map_or((None, 0), |(store, last)| (Some(store), last));
        Self {
            store,
            setup,
            pending: VecDeque::new(),
            lost: 0,
            refused,
            written,
            is_failed,
            tried: clock::mono(),
            samples_failed: false,
            untold: VecDeque::new(),
        }
    }

    fn run(mut self, inbox: &Receiver<Order>) {
        let mut pruned = clock::mono();
        loop {
            let is_well = !self.is_failed && self.untold.is_empty();
            let wait = if is_well { PRUNE_EVERY } else { RETRY };
            match inbox.recv_timeout(wait) {
                Ok(order) => self.take(order, inbox),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.end(),
            }
            // Whatever woke this up: a busy agentd gets its store back, too.
            self.reopen();
            self.flush();
            self.tell();
            if clock::mono().since(pruned) >= PRUNE_EVERY {
                pruned = clock::mono();
                self.prune();
            }
        }
    }

    fn end(mut self) {
        self.flush();
        self.account();
        if let Some(store) = self.store.take()
            && let Err(err) = store.close()
        {
            tracing::warn!(err = %Chain(&err), "store did not close cleanly");
        }
    }

    /// The last events that found no place in the queue: no later one shows that they are missing.
    fn account(&mut self) {
        let last = self.refused.last.load(Ordering::Relaxed);
        if last > self.written
            && self.pending.is_empty()
            && let Some(store) = &mut self.store
            && let Err(err) = store.write(&[Write::Lost { last, time_ms: clock::wall_ms() }])
        {
            tracing::error!(err = %Chain(&err), "lost events were not accounted for");
        }
    }

    /// Takes this order and those already waiting behind it, up to a group's worth.
    fn take(&mut self, first: Order, inbox: &Receiver<Order>) {
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Write(rows) => self.keep(rows),
                Order::Samples { minute_ms, rows } => self.sample(minute_ms, &rows),
            }
            next = if self.pending.len() < GROUP { inbox.try_recv().ok() } else { None };
        }
    }

    fn keep(&mut self, rows: Vec<Write>) {
        self.pending.extend(rows);
        while self.pending.len() > PENDING {
            self.pending.pop_front();
            self.lost += 1;
        }
    }

    fn flush(&mut self) {
        while !self.pending.is_empty() {
            let Some(store) = &mut self.store else { return };
            let count = self.pending.len().min(GROUP);
            let (group, written) = numbered(self.pending.iter().take(count), self.written);
            match store.write(&group) {
                Ok(()) => {
                    self.pending.drain(..count);
                    self.written = written;
                    self.lost += self.refused.orders.swap(0, Ordering::Relaxed);
                    if std::mem::take(&mut self.is_failed) || self.lost > 0 {
                        let lost = std::mem::take(&mut self.lost);
                        self.untold.push_back(News::Recovered { lost });
                    }
                }
                Err(err) => {
                    if !std::mem::replace(&mut self.is_failed, true) {
                        self.untold.push_back(News::Failed(Chain(&err).to_string()));
                    }
                    if err.kind() == ErrorKind::Corrupt {
                        // Opening it again sets it aside.
                        self.store = None;
                    }
                    return;
                }
            }
        }
    }

    /// In the order in which it happened. What cannot be told now is told at the next turn: the last
    /// word on the store must not get lost.
    fn tell(&mut self) {
        while let Some(news) = self.untold.front() {
            if !(self.setup.tell)(news.clone()) {
                return;
            }
            self.untold.pop_front();
        }
    }

    fn sample(&mut self, minute_ms: i64, rows: &[SampleRow]) {
        let Some(store) = &mut self.store else { return };
        match store.samples(minute_ms, rows) {
            Ok(()) => self.samples_failed = false,
            Err(err) => {
                if !std::mem::replace(&mut self.samples_failed, true) {
                    tracing::warn!(err = %Chain(&err), "readings are not kept");
                }
            }
        }
    }

    fn reopen(&mut self) {
        let now = clock::mono();
        if self.store.is_some() || now.since(self.tried) < RETRY {
            return;
        }
        self.tried = now;
        if let Ok((store, opened)) = Store::open(&self.setup.dir) {
            for file in &opened.set_aside {
                tracing::warn!(file = %file.display(), "damaged file of the store was set aside");
            }
            self.store = Some(store);
            self.written = opened.last_seq;
        }
    }

    fn prune(&mut self) {
        let retention = retention(&self.setup.config.borrow());
        if let Some(store) = &mut self.store
            && let Err(err) = store.prune(clock::wall_ms(), &retention)
        {
            tracing::warn!(err = %Chain(&err), "old rows were not thrown away");
        }
    }
}

/// Rows as the store takes them: where numbers are missing, a row that says so. Answers the number
/// of the last event, too.
fn numbered<'a>(rows: impl Iterator<Item = &'a Write>, mut last: u64) -> (Vec<Write>, u64) {
    let mut numbered = Vec::new();
    for row in rows {
        if let Write::Event(event) = row {
            if event.seq > last + 1 {
                numbered.push(Write::Lost { last: event.seq - 1, time_ms: clock::wall_ms() });
            }
            last = event.seq;
        }
        numbered.push(row.clone());
    }
    (numbered, last)
}

/// By age as configured; by number so that a burst cannot fill the disk: at some 300 bytes a row
/// all of it stays below 300 MB.
fn retention(config: &AgentdConfig) -> Retention {
    Retention {
        events: config.events_keep,
        events_max: 100_000,
        findings: config.findings_keep,
        findings_max: 10_000,
        metrics: config.metrics_keep,
        // 80 series a minute for seven days.
        metrics_max: 800_000,
    }
}

#[cfg(test)]
mod tests {
    use agentd_store::EventRow;

    use super::*;

    fn event(seq: u64) -> Write {
        Write::Event(EventRow {
            seq,
            time_ms: 0,
            kind: "k".into(),
            agent: None,
            message: String::new(),
            fields: std::collections::BTreeMap::new(),
        })
    }

    #[test]
    fn missing_numbers_are_told_in_their_place() {
        let rows = [event(3), event(4), event(9)];
        let (numbered, last) = numbered(rows.iter(), 2);
        assert_eq!(last, 9);
        assert_eq!(numbered.len(), 4);
        assert!(matches!(numbered[2], Write::Lost { last: 8, .. }));
    }

    #[test]
    fn numbers_that_found_no_place_are_not_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, opened) = Store::open(dir.path()).unwrap();
        let (_keep, config) = watch::channel(AgentdConfig::default());
        let setup = Setup { dir: dir.path().to_owned(), config, tell: Box::new(|_| true) };
        let archive = Archive::start(Some((store, opened.last_seq)), setup).unwrap();
        archive.write(vec![event(1)]);
        archive.refused.note(&Order::Write(vec![event(2), event(3)]));
        archive.close(Duration::from_secs(5));
        assert_eq!(Store::open(dir.path()).unwrap().1.last_seq, 3);
    }

    #[test]
    fn a_store_that_cannot_be_opened_is_tried_again_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("state");
        let (told, news) = channel();
        let (_keep, config) = watch::channel(AgentdConfig::default());
        // Busy at first: news is told until it is heard.
        let busy = std::sync::atomic::AtomicBool::new(true);
        let tell = Box::new(move |what| {
            let is_busy = busy.swap(false, Ordering::Relaxed);
            if !is_busy {
                told.send(what).unwrap();
            }
            !is_busy
        });
        let setup = Setup { dir: home.clone(), config, tell };
        let archive = Archive::start(None, setup).unwrap();
        archive.write(vec![event(100)]);
        // What was in the way is gone.
        std::fs::create_dir(&home).unwrap();
        let told = news.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(told, News::Recovered { lost: 0 });
        archive.close(Duration::from_secs(5));
        let (store, opened) = Store::open(&home).unwrap();
        assert_eq!(opened.last_seq, 100);
        drop(store);
    }
}
