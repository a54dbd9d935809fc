//! Where callers on the bus come to: who they are, as the bus says, and whether there is room for
//! one more call of theirs.

use std::sync::Arc;
use std::time::Duration;

use agentd_model::AgentName;
use agentd_protocol::Code;
use agentd_protocol::control::AgentView;
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
    calls: Tally<OwnedUniqueName>,
}

impl Desk {
    pub(super) fn new(control: Control, asker: Connection) -> Self {
        Self { control, asker, calls: Tally::new(OF_ONE, IN_ALL) }
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
        let sender = sender(header)?;
        let (uid, gids) = match self.ask("GetConnectionCredentials", &sender).await {
            Ok(reply) => {
                let known: ConnectionCredentials = reply.body().deserialize().map_err(unknown)?;
                (known.unix_user_id(), known.into_unix_group_ids())
            }
            // A bus from before 2013 (D-Bus specification, revision 0.20) knows only the user.
            Err(Asked::Failed(zbus::Error::FDO(err)))
                if matches!(*err, zbus::fdo::Error::UnknownMethod(_)) =>
            {
                (None, None)
            }
            Err(err) => return Err(err.into()),
        };
        let uid = match uid {
            Some(uid) => uid,
            None => {
                let reply = self.ask("GetConnectionUnixUser", &sender).await?;
                reply.body().deserialize().map_err(unknown)?
            }
        };
        let flags = header.primary().flags();
        let subject = Subject::new_for_message_header(header).map_err(|err| {
            BusError::new(Code::Internal, format!("caller has no subject: {err}"))
        })?;
        Ok(Caller {
            uid,
            // Groups that the bus does not know give no right.
            gids: gids.unwrap_or_default(),
            front: "dbus",
            bus: Some(BusIdentity {
                connection: self.asker.clone(),
                subject: subject.into(),
                is_interactive: flags.contains(Flags::ALLOW_INTERACTIVE_AUTH),
            }),
        })
    }

    /// What the owner shows now.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.control.now()
    }

    /// One agent, as the owner shows it now.
    pub(super) fn agent(&self, name: &str) -> Option<Arc<AgentView>> {
        let name: AgentName = name.parse().ok()?;
        self.control.now().agents.get(&name).cloned()
    }

    /// Whether the caller may see what properties show.
    pub(super) async fn may_read(&self, header: &Header<'_>) -> Result<(), BusError> {
        let caller = self.caller(header).await?;
        Ok(self.control.may_read(&caller, "reading properties")?)
    }

    async fn ask(&self, what: &str, name: &OwnedUniqueName) -> Result<zbus::Message, Asked> {
        const BUS: &str = "org.freedesktop.DBus";
        let call =
            self.asker.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), what, name);
        match tokio::time::timeout(BUS_LIMIT, call).await {
            Ok(answer) => answer.map_err(Asked::Failed),
            Err(_elapsed) => Err(Asked::Late),
        }
    }
}

/// The bus did not say who calls.
enum Asked {
    Failed(zbus::Error),
    Late,
}

impl From<Asked> for BusError {
    fn from(why: Asked) -> Self {
        match why {
            Asked::Failed(err) => unknown(err),
            Asked::Late => Self::new(Code::Timeout, "the bus takes too long to say who calls"),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unknown(err: zbus::Error) -> BusError {
    BusError::new(Code::Unavailable, format!("the bus does not say who calls: {err}"))
}

fn sender(header: &Header<'_>) -> Result<OwnedUniqueName, BusError> {
    let sender = header.sender().map(|name| OwnedUniqueName::from(name.to_owned()));
    sender.ok_or_else(|| BusError::new(Code::Internal, "the bus delivered a call without a sender"))
}
