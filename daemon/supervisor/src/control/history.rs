//! What the store keeps, read on blocking threads, at most [`AT_ONCE`] at a time and never longer
//! than [`LIMIT`], so that a hung disk costs an answer and nothing else.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentd_model::AgentName;
use agentd_protocol::control::{
    EventQuery, EventView, FindingView, MetricInfo, MetricPoint, MetricSeries,
};
use agentd_store::{Reader, StoreError};
use tokio::sync::Semaphore;

use super::{ControlError, parse, within};
use crate::owner::finding_view;
use crate::record::{self, Events};

/// Readers at once.
const AT_ONCE: usize = 4;
/// Longest read.
const LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for a reader.
const QUEUE: Duration = Duration::from_secs(2);
/// Most events in one answer.
const MOST: u32 = 1000;

/// A handle on the store's readers.
#[derive(Clone, Debug)]
pub struct History {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    idle: Mutex<Vec<Reader>>,
    slots: Arc<Semaphore>,
}

impl History {
    /// Reads the store in `dir`, which need not be there yet.
    pub fn new(dir: PathBuf) -> Self {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        Self { inner: Arc::new(Inner { dir, idle: Mutex::new(Vec::new()), slots }) }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let slots = Arc::clone(&self.inner.slots);
        let slot = match tokio::time::timeout(QUEUE, slots.acquire_owned()).await {
            Ok(Ok(slot)) => slot,
            Ok(Err(_)) | Err(_) => return Err(ControlError::Busy),
        };
        let inner = Arc::clone(&self.inner);
        within(LIMIT, "reading the store", move || {
            // Held by the thread, not by the caller: a hung read keeps its slot.
            let _slot = slot;
            let idle = inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = match idle {
                Some(reader) => reader,
                None => Reader::open(&inner.dir)?,
            };
            let answer = work(&reader);
            let mut idle = inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
            match &answer {
                Ok(_) => idle.push(reader),
                // Its file may have been set aside, and then the others' is, too.
                Err(_) => idle.clear(),
            }
            answer
        })
        .await?
        .map_err(ControlError::Store)
    }

    pub(super) async fn resolved(
        &self,
        agent: Option<AgentName>,
    ) -> Result<Vec<FindingView>, ControlError> {
        let rows = self.read(move |reader| reader.findings(agent.as_ref(), true)).await?;
        let resolved = rows.into_iter().filter(|row| row.resolved_ms.is_some());
        Ok(resolved.map(|row| finding_view(row, false)).collect())
    }

    pub(super) async fn metrics(&self) -> Result<Vec<MetricInfo>, ControlError> {
        let names = self.read(Reader::metric_names).await?;
        let info = names.into_iter().map(|metric| MetricInfo {
            name: metric.name,
            unit: metric.unit,
            last: metric.last,
            last_ms: metric.last_ms,
        });
        Ok(info.collect())
    }

    pub(super) async fn series(
        &self,
        name: String,
        since_ms: i64,
    ) -> Result<MetricSeries, ControlError> {
        let asked = name.clone();
        let series = self.read(move |reader| reader.series(&asked, since_ms)).await?;
        let Some(series) = series else { return Err(ControlError::UnknownMetric(name)) };
        let points = series.points.into_iter().map(|point| MetricPoint {
            minute_ms: point.minute_ms,
            count: point.count,
            min: point.min,
            mean: point.sum / f64::from(point.count.max(1)),
            max: point.max,
        });
        Ok(MetricSeries { name, unit: series.unit, points: points.collect() })
    }

    /// The oldest [`MOST`] events above `last` that `query` asks for, oldest first.
    pub(super) async fn events_onward(
        &self,
        query: &EventQuery,
        last: u64,
    ) -> Result<Vec<EventView>, ControlError> {
        let agent = query.agent.as_deref().map(parse).transpose()?;
        let since = query.since_ms;
        let rows = self
            .read(move |reader| reader.events_onward(last, since, agent.as_ref(), MOST))
            .await?;
        Ok(rows.into_iter().map(record::view).collect())
    }

    async fn events(&self, query: &EventQuery, limit: u32) -> Result<Vec<EventView>, ControlError> {
        let agent = query.agent.as_deref().map(parse).transpose()?;
        let (after, since) = (query.after_seq.unwrap_or(0), query.since_ms);
        let rows =
            self.read(move |reader| reader.events(after, since, agent.as_ref(), limit)).await?;
        Ok(rows.into_iter().map(record::view).collect())
    }
}

/// The newest events that `query` asks for, oldest first: from memory where that reaches back far
/// enough or the store fails, else from the store with what it does not have yet behind it.
pub(super) async fn events(
    memory: &Events,
    history: &History,
    query: &EventQuery,
) -> Result<Vec<EventView>, ControlError> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=MOST).contains(&limit) {
        return Err(ControlError::Argument {
            what: "limit",
            found: limit.to_string(),
            allowed: "1 to 1000",
        });
    }
    query.agent.as_deref().map(parse).transpose()?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let recent = memory.recent(query);
    let reaches_back = query
        .after_seq
        .is_some_and(|after| memory.oldest().is_some_and(|oldest| oldest <= after + 1));
    if reaches_back || recent.len() >= most {
        return Ok(recent);
    }
    let Ok(mut events) = history.events(query, limit).await else { return Ok(recent) };
    let last = events.last().map_or(0, |event| event.seq);
    events.extend(recent.into_iter().filter(|event| event.seq > last));
    if events.len() > most {
        events.drain(..events.len() - most);
    }
    Ok(events)
}
