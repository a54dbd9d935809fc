//! The door in front of each interface of ours. Everything that comes from the bus passes it.
//!
//! `zbus` serves `org.freedesktop.DBus.Properties` itself and asks the interface for values one by
//! one. A door around the interface does what no getter could: one look at who asks for all
//! properties together, a refusal that is an error and not an empty answer, and values that all
//! are of one moment. It also counts calls. What may be done is still decided by Control.

use std::collections::HashMap;

use async_trait::async_trait;
use zbus::message::{Header, Message};
use zbus::names::{InterfaceName, MemberName};
use zbus::object_server::{DispatchResult, Interface, SignalEmitter};
use zbus::{BoxDBusError, Connection, ObjectServer, OwnedVariant, Variant, fdo};

use super::desk::Desk;

/// An interface of ours.
pub(super) trait Behind: Interface + Sized {
    /// Properties that tell nothing about this machine: anyone may read them.
    const OPEN: &'static [&'static str] = &[];
    /// Properties that are there to be asked for; their changes are not told.
    const QUIET: &'static [&'static str] = &[];

    /// The same interface with every property as it is now, for good.
    fn pinned(&self) -> Self;
}

/// An interface behind its door.
#[derive(Debug)]
pub(super) struct Door<I> {
    desk: Desk,
    inner: I,
}

impl<I> Door<I> {
    pub(super) fn new(desk: Desk, inner: I) -> Self {
        Self { desk, inner }
    }
}

#[async_trait]
impl<I: Behind> Interface for Door<I> {
    fn name() -> InterfaceName<'static> {
        I::name()
    }

    async fn get(
        &self,
        property: &str,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<Result<OwnedVariant, BoxDBusError>> {
        // Without a header it is we who ask, to tell the value to those who may receive it.
        let _share = match header.map(|header| self.desk.admit(header)).transpose() {
            Ok(share) => share,
            Err(err) => return Some(Err(err.standard().into())),
        };
        if let Some(header) = header
            && !I::OPEN.contains(&property)
            && let Err(err) = self.desk.may_read(header).await
        {
            return Some(Err(err.standard().into()));
        }
        self.inner.get(property, server, connection, header, emitter).await
    }

    async fn get_all(
        &self,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> fdo::Result<HashMap<String, OwnedVariant>> {
        let _share = match header {
            Some(header) => {
                let share = self.desk.admit(header).map_err(super::BusError::standard)?;
                self.desk.may_read(header).await.map_err(super::BusError::standard)?;
                Some(share)
            }
            None => None,
        };
        self.inner.pinned().get_all(server, connection, header, emitter).await
    }

    /// Answers at once. The default would wait until every method of the interface is through, and
    /// hold up all others meanwhile.
    fn set<'call>(
        &'call self,
        property: &'call str,
        _value: &'call Variant<'_>,
        _server: &'call ObjectServer,
        _connection: &'call Connection,
        _header: Option<&'call Header<'_>>,
        _emitter: &'call SignalEmitter<'_>,
    ) -> DispatchResult<'call> {
        DispatchResult::Async(Box::pin(async move {
            let message = format!("property {property} cannot be set: nothing is, but by methods");
            Err(fdo::Error::PropertyReadOnly(message).into())
        }))
    }

    async fn set_mut(
        &mut self,
        _property: &str,
        _value: &Variant<'_>,
        _server: &ObjectServer,
        _connection: &Connection,
        _header: Option<&Header<'_>>,
        _emitter: &SignalEmitter<'_>,
    ) -> Option<Result<(), BoxDBusError>> {
        None
    }

    fn call<'call>(
        &'call self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        let share = match self.desk.admit(&message.header()) {
            Ok(share) => share,
            Err(err) => {
                let refusal = async move { Err::<(), _>(err) };
                return DispatchResult::new_async(connection, message, refusal);
            }
        };
        match self.inner.call(server, connection, message, name) {
            DispatchResult::Async(answer) => DispatchResult::Async(Box::pin(async move {
                let _share = share;
                answer.await
            })),
            // All our methods take `&self`.
            DispatchResult::NotFound | DispatchResult::RequiresMut => DispatchResult::NotFound,
        }
    }

    fn call_mut<'call>(
        &'call mut self,
        _server: &'call ObjectServer,
        _connection: &'call Connection,
        _message: &'call Message,
        _name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        DispatchResult::NotFound
    }

    fn introspect_to_writer(&self, writer: &mut dyn std::fmt::Write, level: usize) {
        self.inner.introspect_to_writer(writer, level);
    }
}
