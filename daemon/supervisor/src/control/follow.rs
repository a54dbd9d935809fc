//! A stream of events: the backlog a caller asked for, then what happens.

use std::collections::VecDeque;
use std::sync::Arc;

use agentd_protocol::control::{EventQuery, EventReply, EventView};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{ControlError, History, history};
use crate::record::{Events, matches};

/// Events as they come. Holds no more than the backlog it began with.
#[derive(Debug)]
pub struct Follow {
    query: EventQuery,
    backlog: VecDeque<EventView>,
    live: Receiver<Arc<EventView>>,
    /// Nothing up to here is told again.
    last: u64,
    dropped: u64,
}

impl Follow {
    pub(super) async fn begin(
        memory: &Events,
        history: &History,
        query: EventQuery,
    ) -> Result<Self, ControlError> {
        // Before the backlog is read, so that nothing falls between the two.
        let live = memory.follow();
        let wants_past = query.after_seq.is_some() || query.since_ms.is_some();
        let backlog = if wants_past {
            let query = EventQuery { limit: query.limit.or(Some(1000)), ..query.clone() };
            history::events(memory, history, &query).await?
        } else {
            Vec::new()
        };
        let last = backlog.last().map_or(query.after_seq.unwrap_or(0), |event| event.seq);
        Ok(Self { query, backlog: backlog.into(), live, last, dropped: 0 })
    }

    /// The next event; `None` when agentd ends. Cancel safe.
    pub async fn next(&mut self) -> Option<EventReply> {
        if let Some(event) = self.backlog.pop_front() {
            return Some(EventReply { event, dropped: 0 });
        }
        loop {
            match self.live.recv().await {
                Ok(event) if event.seq > self.last && matches(&self.query, &event) => {
                    self.last = event.seq;
                    let dropped = std::mem::take(&mut self.dropped);
                    return Some(EventReply { event: EventView::clone(&event), dropped });
                }
                Ok(_) => {}
                Err(RecvError::Lagged(count)) => self.dropped += count,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
