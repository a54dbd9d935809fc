//! Keeps the bus in step with the owner's snapshots: objects appear and vanish with their agents,
//! changes of properties and events are told.
//!
//! An event is told once the snapshot shows what it tells, so that whoever hears of a change and
//! then asks is never shown the state before it. Changes of properties are gathered for
//! [`GATHER`]: the last value counts. A mirror that cannot send waits; events that it misses
//! meanwhile show as a gap in their numbers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use agentd_model::AgentName;
use agentd_protocol::control::{AgentView, EventView};
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

/// For how long changes are gathered before they are told.
const GATHER: Duration = Duration::from_millis(50);
/// The owner shows an event within microseconds of recording it, and not at all when it ends.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

type Properties = HashMap<String, OwnedVariant>;

/// What the bus has been told.
pub(super) struct Mirror {
    connection: Connection,
    desk: Desk,
    /// Never missed: taken before the first look at the snapshots.
    events: broadcast::Receiver<Arc<EventView>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    told: Arc<Snapshot>,
    objects: BTreeMap<AgentName, Arc<AgentView>>,
}

impl Mirror {
    /// Puts an object on the bus for each agent that there is.
    pub(super) async fn new(connection: Connection, desk: Desk) -> zbus::Result<Self> {
        let events = desk.control.live().follow();
        let mut snapshots = desk.control.snapshots();
        let told = Arc::clone(&snapshots.borrow_and_update());
        let objects = BTreeMap::new();
        let mut mirror = Self { connection, desk, events, snapshots, told, objects };
        mirror.align(&Arc::clone(&mirror.told)).await?;
        Ok(mirror)
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
                    // Objects come and go at once, so that they can be called.
                    let snapshot = Arc::clone(&self.snapshots.borrow());
                    self.align(&snapshot).await?;
                },
                () = &mut gathered, if is_gathering => {
                    is_gathering = false;
                    let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
                    self.align(&snapshot).await?;
                    self.tell_changes(snapshot).await?;
                }
            }
        }
    }

    async fn tell(&mut self, event: &EventView) -> zbus::Result<()> {
        let mut shown = self.snapshots.clone();
        // Neither a late nor a last event is kept back.
        drop(
            tokio::time::timeout(SHOWN_WITHIN, shown.wait_for(|shown| shown.seq >= event.seq))
                .await,
        );
        let EventView { seq, time_ms, kind, agent, message, fields } = event;
        let agent = agent.as_deref().unwrap_or_default();
        let emitter = SignalEmitter::new(&self.connection, ROOT)?;
        Manager::event(&emitter, *seq, *time_ms, kind, agent, message, fields).await
    }

    /// One object for each agent, none for others.
    async fn align(&mut self, snapshot: &Snapshot) -> zbus::Result<()> {
        let server = self.connection.object_server();
        let gone: Vec<AgentName> = self
            .objects
            .keys()
            .filter(|name| !snapshot.agents.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            server.remove::<Door<Agent>, _>(path_of(name.as_str())).await?;
            self.objects.remove(&name);
        }
        for (name, view) in &snapshot.agents {
            if !self.objects.contains_key(name) {
                let agent = Agent::new(self.desk.clone(), Arc::clone(view));
                let door = Door::new(self.desk.clone(), agent);
                server.at(path_of(name.as_str()), door).await?;
                self.objects.insert(name.clone(), Arc::clone(view));
            }
        }
        Ok(())
    }

    async fn tell_changes(&mut self, snapshot: Arc<Snapshot>) -> zbus::Result<()> {
        for (name, view) in &snapshot.agents {
            let Some(before) = self.objects.insert(name.clone(), Arc::clone(view)) else {
                continue;
            };
            if !Arc::ptr_eq(&before, view) {
                let before = Agent::as_of(self.desk.clone(), before);
                let now = Agent::as_of(self.desk.clone(), Arc::clone(view));
                self.tell_difference(&path_of(name.as_str()), &before, &now).await?;
            }
        }
        let before = std::mem::replace(&mut self.told, Arc::clone(&snapshot));
        let before = Manager::as_of(self.desk.clone(), before);
        let now = Manager::as_of(self.desk.clone(), snapshot);
        self.tell_difference(&ObjectPath::try_from(ROOT)?, &before, &now).await
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
