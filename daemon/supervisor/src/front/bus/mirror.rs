//! Keeps the bus in step with the owner's snapshots: objects appear and vanish with their agents,
//! changes of properties and events are told.
//!
//! What properties show is what has been told of them, and moves on only here: a client that reads
//! once and then listens is never left with a value that is no more. An event is told after the
//! changes that belong to it. Changes without an event are gathered for [`GATHER`]: the last value
//! counts. A mirror that cannot send waits; events that it misses meanwhile show as a gap in their
//! numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agentd_protocol::control::EventView;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use zbus::object_server::{Interface, SignalEmitter};
use zbus::{Connection, ObjectPath, OwnedVariant, Variant, fdo};

use super::agent::Agent;
use super::desk::Desk;
use super::door::{Behind, Door};
use super::manager::Manager;
use super::{ROOT, path_of};
use crate::owner::Snapshot;

/// For how long changes are gathered that come without an event: times, reasons, counts.
const GATHER: Duration = Duration::from_millis(50);
/// The owner shows an event within microseconds of recording it, and not at all when it ends.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

type Properties = HashMap<String, OwnedVariant>;

/// Moves what the bus is told.
pub(super) struct Mirror {
    connection: Connection,
    desk: Desk,
    events: broadcast::Receiver<Arc<EventView>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// What has been told. [`Desk::shown`] reads it.
    shown: watch::Sender<Arc<Snapshot>>,
}

impl Mirror {
    /// A mirror that has told nothing: `shown` holds no agent yet.
    pub(super) fn new(
        connection: Connection,
        desk: Desk,
        shown: watch::Sender<Arc<Snapshot>>,
    ) -> Self {
        // Before the first look at a snapshot, so that no event falls between.
        let events = desk.control.live().follow();
        let snapshots = desk.control.snapshots();
        Self { connection, desk, events, snapshots, shown }
    }

    /// Tells what has changed until now: everything, the first time.
    pub(super) async fn catch_up(&mut self) -> zbus::Result<()> {
        let now = Arc::clone(&self.snapshots.borrow_and_update());
        let before = self.shown.send_replace(Arc::clone(&now));
        if Arc::ptr_eq(&before, &now) {
            return Ok(());
        }
        let server = self.connection.object_server();
        for name in before.agents.keys().filter(|name| !now.agents.contains_key(*name)) {
            server.remove::<Door<Agent>, _>(path_of(name.as_str())).await?;
        }
        for (name, view) in &now.agents {
            match before.agents.get(name) {
                Some(known) if Arc::ptr_eq(known, view) => {}
                Some(known) => {
                    let known = Agent::as_of(self.desk.clone(), Arc::clone(known));
                    let agent = Agent::as_of(self.desk.clone(), Arc::clone(view));
                    self.tell_difference(&path_of(name.as_str()), &known, &agent).await?;
                }
                None => {
                    let agent = Agent::new(self.desk.clone(), Arc::clone(view));
                    let door = Door::new(self.desk.clone(), agent);
                    server.at(path_of(name.as_str()), door).await?;
                }
            }
        }
        let before = Manager::as_of(self.desk.clone(), before);
        let now = Manager::as_of(self.desk.clone(), now);
        self.tell_difference(&ObjectPath::try_from(ROOT)?, &before, &now).await
    }

    /// Tells what changes, until agentd ends or the bus does.
    pub(super) async fn run(mut self) -> zbus::Result<()> {
        let gathered = tokio::time::sleep(GATHER);
        tokio::pin!(gathered);
        let mut is_gathering = false;
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) => self.tell(&event).await?,
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "bus was too slow for some events");
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
                changed = self.snapshots.changed(), if !is_gathering => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    gathered.set(tokio::time::sleep(GATHER));
                    is_gathering = true;
                },
                () = &mut gathered, if is_gathering => {
                    is_gathering = false;
                    self.catch_up().await?;
                }
            }
        }
    }

    async fn tell(&mut self, event: &EventView) -> zbus::Result<()> {
        let shows = |snapshot: &Arc<Snapshot>| snapshot.seq >= event.seq;
        let mut snapshots = self.snapshots.clone();
        // Neither a late event nor the last is kept back.
        drop(tokio::time::timeout(SHOWN_WITHIN, snapshots.wait_for(shows)).await);
        self.catch_up().await?;
        let EventView { seq, time_ms, kind, agent, message, fields } = event;
        let agent = agent.as_deref().unwrap_or_default();
        let emitter = SignalEmitter::new(&self.connection, ROOT)?;
        Manager::event(&emitter, *seq, *time_ms, kind, agent, message, fields).await
    }

    async fn tell_difference<I: Behind>(
        &self,
        path: &ObjectPath<'_>,
        before: &I,
        now: &I,
    ) -> zbus::Result<()> {
        let emitter = SignalEmitter::new(&self.connection, path)?;
        let before = self.properties(before, &emitter).await?;
        let now = self.properties(now, &emitter).await?;
        let changed = now
            .iter()
            .filter(|(name, value)| before.get(*name) != Some(*value))
            .filter(|(name, _)| !I::QUIET.contains(&name.as_str()))
            .map(|(name, value)| Ok((name.as_str(), Variant::try_from(value)?)))
            .collect::<zbus::Result<HashMap<_, _>>>()?;
        if changed.is_empty() {
            return Ok(());
        }
        fdo::Properties::properties_changed(&emitter, I::name(), changed, [].as_slice().into())
            .await
    }

    async fn properties(
        &self,
        interface: &impl Interface,
        emitter: &SignalEmitter<'_>,
    ) -> zbus::Result<Properties> {
        let server = self.connection.object_server();
        Ok(interface.get_all(server, &self.connection, None, emitter).await?)
    }
}
