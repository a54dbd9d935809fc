//! Where callers on the bus come to: who they are, as the bus says, and whether there is room for
//! one more call of theirs.

use std::sync::Arc;
use std::time::Duration;

use agentd_protocol::Code;
use tokio::sync::watch;
use zbus::Connection;
use zbus::fdo::ConnectionCredentials;
use zbus::message::{Flags, Header};
use zbus::names::OwnedUniqueName;
use zbus_polkit::policykit1::Subject;

use super::error::BusError;
use crate::caller::{BusIdentity, Caller};
use crate::control::Control;
use crate::owner::Snapshot;
use crate::tally::{Share, Tally};

/// The bus answers in microseconds; one that does not within this time hangs.
const BUS_LIMIT: Duration = Duration::from_secs(5);
/// Calls of one connection that are being answered. More than a program has under way by itself;
/// one that does not wait for answers at all is told.
const OF_ONE: usize = 32;
/// Calls that are being answered in all.
const IN_ALL: usize = 256;

/// What every interface of ours is made with. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) control: Control,
    /// A second connection, for what we ask of the bus and of polkit: their answers do not queue
    /// behind the calls of others.
    asker: Connection,
    shown: watch::Receiver<Arc<Snapshot>>,
    calls: Tally<OwnedUniqueName>,
}

impl Desk {
    pub(super) fn new(
        control: Control,
        asker: Connection,
        shown: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        Self { control, asker, shown, calls: Tally::new(OF_ONE, IN_ALL) }
    }

    /// Room for one more call of this caller; given back when dropped.
    pub(super) fn admit(&self, header: &Header<'_>) -> Result<Share<OwnedUniqueName>, BusError> {
        let sender = sender(header)?;
        self.calls.take(sender).ok_or_else(|| {
            let message = "too many calls are being answered; wait for some of your replies";
            BusError::new(Code::Exhausted, message)
        })
    }

    /// Who calls: from the bus, by the name that the bus itself put on the message.
    pub(super) async fn caller(&self, header: &Header<'_>) -> Result<Caller, BusError> {
        let known = self.credentials(&sender(header)?).await?;
        let uid = known.unix_user_id().ok_or_else(|| {
            BusError::new(Code::Unavailable, "the bus does not know which user calls")
        })?;
        let flags = header.primary().flags();
        let subject = Subject::new_for_message_header(header).map_err(|err| {
            BusError::new(Code::Internal, format!("caller has no subject: {err}"))
        })?;
        Ok(Caller {
            uid,
            // Groups that the bus does not know give no right.
            gids: known.into_unix_group_ids().unwrap_or_default(),
            front: "dbus",
            bus: Some(BusIdentity {
                connection: self.asker.clone(),
                subject: subject.into(),
                is_interactive: flags.contains(Flags::ALLOW_INTERACTIVE_AUTH),
            }),
        })
    }

    /// What properties show: what the bus has been told.
    pub(super) fn shown(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shown.borrow())
    }

    /// Whether the caller may see what properties show.
    pub(super) async fn may_read(&self, header: &Header<'_>) -> Result<(), BusError> {
        let caller = self.caller(header).await?;
        Ok(self.control.may_read(&caller, "reading properties")?)
    }

    async fn credentials(&self, of: &OwnedUniqueName) -> Result<ConnectionCredentials, BusError> {
        const BUS: &str = "org.freedesktop.DBus";
        const PATH: &str = "/org/freedesktop/DBus";
        let call =
            self.asker.call_method(Some(BUS), PATH, Some(BUS), "GetConnectionCredentials", of);
        let reply = match tokio::time::timeout(BUS_LIMIT, call).await {
            Ok(reply) => reply.and_then(|reply| reply.body().deserialize()),
            Err(_elapsed) => {
                let message = "the bus takes too long to say who calls";
                return Err(BusError::new(Code::Timeout, message));
            }
        };
        reply.map_err(|err| {
            BusError::new(Code::Unavailable, format!("the bus does not say who calls: {err}"))
        })
    }
}

fn sender(header: &Header<'_>) -> Result<OwnedUniqueName, BusError> {
    let sender = header.sender().map(|name| OwnedUniqueName::from(name.to_owned()));
    sender.ok_or_else(|| BusError::new(Code::Internal, "the bus delivered a call without a sender"))
}
