//! A stream of events: all of the past that a caller asked for, piece by piece, then what happens.
//!
//! ```text
//!   store, a page at a time  ->  memory, once it reaches back far enough  ->  live
//! ```
//!
//! Numbers rise by one, so what is missing between two events is seen from their numbers alone,
//! wherever it was lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use agentd_protocol::control::{EventQuery, EventReply, EventView};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{ControlError, History, parse};
use crate::record::{Events, matches};

/// How often the store is asked again for events that memory has let go and the store does not have
/// yet: two seconds in all, then they count as lost.
const WAITS: u32 = 20;
const WAIT: Duration = Duration::from_millis(100);

/// Events as they come. Holds no more than one page of the past.
#[derive(Debug)]
pub struct Follow {
    query: EventQuery,
    memory: Events,
    history: History,
    page: VecDeque<EventView>,
    /// `None` while the past is not over.
    live: Option<Receiver<Arc<EventView>>>,
    /// Everything up to here was told, did not fit or is lost. `None` before the first.
    last: Option<u64>,
    /// Events lost since one was told.
    dropped: u64,
    waits: u32,
}

impl Follow {
    pub(super) fn begin(
        memory: &Events,
        history: &History,
        query: EventQuery,
    ) -> Result<Self, ControlError> {
        query.agent.as_deref().map(parse).transpose()?;
        let wants_past = query.after_seq.is_some() || query.since_ms.is_some();
        Ok(Self {
            page: VecDeque::new(),
            live: (!wants_past).then(|| memory.follow()),
            last: query.after_seq,
            memory: memory.clone(),
            history: history.clone(),
            query,
            dropped: 0,
            waits: 0,
        })
    }

    /// The next event; `None` when agentd ends. Cancel safe.
    pub async fn next(&mut self) -> Option<EventReply> {
        loop {
            if let Some(event) = self.page.pop_front() {
                let dropped = std::mem::take(&mut self.dropped);
                return Some(EventReply { event, dropped });
            }
            let Some(live) = &mut self.live else {
                self.turn_page().await;
                continue;
            };
            match live.recv().await {
                Ok(event) if self.last.is_none_or(|last| event.seq > last) => {
                    let expected = self.last.map_or(event.seq, |last| last + 1);
                    self.dropped += event.seq - expected;
                    self.last = Some(event.seq);
                    if matches(&self.query, &event) {
                        self.page.push_back(EventView::clone(&event));
                    }
                }
                // Told from memory already; or the reader was too slow, which the next number shows.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// More of the past, or the end of it. When cancelled it begins again from `last`.
    async fn turn_page(&mut self) {
        let last = self.last.unwrap_or(0);
        let is_whole = self.query.agent.is_none() && self.query.since_ms.is_none();
        let reaches_back = self.memory.oldest().is_some_and(|oldest| oldest <= last + 1);
        if !(is_whole && reaches_back) {
            match self.history.events_onward(&self.query, last).await {
                Ok(page) if !page.is_empty() => {
                    self.last = page.last().map(|event| event.seq);
                    self.page = page.into();
                    return;
                }
                // Only of a whole stream the numbers tell that something is on its way.
                Ok(_) if is_whole && self.waits < WAITS => {
                    self.waits += 1;
                    return tokio::time::sleep(WAIT).await;
                }
                Ok(_) => {}
                Err(err) => tracing::debug!(%err, "past events are told from memory"),
            }
        }
        // Before memory is read, so that nothing falls between the two.
        self.live = Some(self.memory.follow());
        let (page, newest) = self.memory.onward(&self.query, last);
        if let (true, Some(first)) =
            (is_whole && self.last.is_some_and(|last| last > 0), page.first())
        {
            self.dropped += first.seq.saturating_sub(last + 1);
        }
        self.page = page.into();
        self.last = Some(newest);
    }
}
