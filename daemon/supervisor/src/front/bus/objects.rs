//! `org.freedesktop.DBus.ObjectManager` at the root object: every agent with all its properties in
//! one answer. Our own, because the one in `zbus` answers anyone.

use std::collections::HashMap;

use zbus::message::Header;
use zbus::names::InterfaceName;
use zbus::object_server::{Interface, SignalEmitter};
use zbus::{
    Connection, ObjectPath, ObjectServer, OwnedObjectPath, OwnedVariant, Variant, fdo, interface,
};

use super::agent::Agent;
use super::desk::Desk;
use super::door::Behind;
use super::{BusError, path_of};

/// Property by name, by interface, by object.
type Managed = HashMap<OwnedObjectPath, HashMap<&'static str, HashMap<String, OwnedVariant>>>;

/// The objects below the root object.
#[derive(Clone, Debug)]
pub(super) struct Objects {
    desk: Desk,
}

impl Objects {
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk }
    }
}

impl Behind for Objects {
    fn pinned(&self) -> Self {
        self.clone()
    }
}

#[interface(name = "org.freedesktop.DBus.ObjectManager", introspection_docs = false)]
impl Objects {
    /// All agents of one moment.
    #[zbus(out_args("objects"))]
    async fn get_managed_objects(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<Managed> {
        self.desk.may_read(&header).await.map_err(BusError::standard)?;
        let mut managed = Managed::new();
        for view in self.desk.shown().agents.values() {
            let path = path_of(&view.name);
            let emitter = SignalEmitter::new(connection, path.as_ref())?;
            let agent = Agent::as_of(self.desk.clone(), view.clone());
            let properties = agent.get_all(server, connection, None, &emitter).await?;
            managed.insert(path, [(super::AGENT, properties)].into());
        }
        Ok(managed)
    }

    /// Sent by `zbus` when an object appears.
    #[zbus(signal)]
    async fn interfaces_added(
        emitter: &SignalEmitter<'_>,
        object: ObjectPath<'_>,
        interfaces: HashMap<InterfaceName<'_>, HashMap<&str, Variant<'_>>>,
    ) -> zbus::Result<()>;

    /// Sent by `zbus` when an object vanishes.
    #[zbus(signal)]
    async fn interfaces_removed(
        emitter: &SignalEmitter<'_>,
        object: ObjectPath<'_>,
        interfaces: Vec<InterfaceName<'_>>,
    ) -> zbus::Result<()>;
}
