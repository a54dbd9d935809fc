//! D-Bus: the same verbs as on the control socket, as `org.agentos.Agentd1`, with properties,
//! signals and polkit.
//!
//! ```text
//! /org/agentos/Agentd1                     Manager, ObjectManager
//! /org/agentos/Agentd1/agents/db_one       Agent ("db-one": a path has no '-')
//! ```
//!
//! Who may do what is Control's to say, and the bus says who asks. Three things stand in front:
//! - Anyone may send calls to our interfaces, so that a refusal can name the right that is missing
//!   and polkit can be asked. The module `door` refuses properties to those who may not read.
//! - Signals go to everyone who listens; that only root and the group of readers may listen is the
//!   bus's to hold, by `org.agentos.Agentd1.conf`.
//! - Calls are counted per caller, and agentd's own questions travel on a connection of their own,
//!   so that a flood of calls costs those who send it.
//!
//! The bus may come late, go and come back: agentd is not touched by it, says so in its status,
//! and tries again. Everything that was on the bus is put there anew.

mod agent;
mod desk;
mod door;
mod error;
mod manager;
mod mirror;
mod objects;
mod row;

use std::sync::Arc;
use std::time::Duration;

use agentd_protocol::control::Disposition;
use tokio::sync::watch;
use zbus::connection::Builder;
use zbus::fdo::RequestNameFlags;
use zbus::{Connection, OwnedObjectPath};

use crate::control::Control;
use desk::Desk;
use door::Door;
use error::BusError;
use manager::Manager;
use mirror::Mirror;
use objects::Objects;

/// Our name.
const NAME: &str = "org.agentos.Agentd1";
/// The object of agentd itself.
const ROOT: &str = "/org/agentos/Agentd1";
/// The interface of an agent.
const AGENT: &str = "org.agentos.Agentd1.Agent";

/// A bus that was started but does not answer holds up nothing but this attempt.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// A bus that restarts is back within a second,
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// and one that stays away is looked for this often.
const LAST_DELAY: Duration = Duration::from_secs(10);

/// Which bus.
#[derive(Clone, Debug)]
pub enum Address {
    /// The system bus.
    System,
    /// The one at this address.
    At(String),
}

/// agentd is not on the bus. An error of `zbus` prints its own causes, so it is not a source here.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("cannot connect to the bus: {0}")]
    Connect(zbus::Error),
    #[error("cannot put the agents on the bus: {0}")]
    Objects(zbus::Error),
    #[error("cannot ask for the name {NAME}: {0}")]
    Name(zbus::Error),
    #[error("the name {NAME} belongs to {owner}; is another agentd on this bus?")]
    Taken { owner: String },
    #[error("the bus did not answer within {} s", OPEN_WITHIN.as_secs())]
    Late,
}

/// Serves on the bus, for as long as it is polled.
pub async fn serve(address: Address, control: Control) {
    let mut delay = FIRST_DELAY;
    let mut is_told = false;
    loop {
        let opened = tokio::time::timeout(OPEN_WITHIN, Session::open(&address, &control)).await;
        match opened.unwrap_or(Err(OpenError::Late)) {
            Ok(session) => {
                control.note_bus(None);
                tracing::info!(name = NAME, "agentd is on the bus");
                (delay, is_told) = (FIRST_DELAY, false);
                session.run().await;
                control.note_bus(Some("the bus went away; trying again".into()));
                tracing::warn!("bus was lost");
            }
            Err(err) => {
                let why = err.to_string();
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(err = why, "bus cannot be used; trying again");
                }
                control.note_bus(Some(format!("{why}; trying again")));
            }
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LAST_DELAY);
    }
}

/// agentd on a bus.
struct Session {
    connection: Connection,
    asker: Connection,
    mirror: Mirror,
}

impl Session {
    async fn open(address: &Address, control: &Control) -> Result<Self, OpenError> {
        let asker = builder(address).build().await.map_err(OpenError::Connect)?;
        let (show, shown) = watch::channel(Arc::default());
        let desk = Desk::new(control.clone(), asker.clone(), shown);
        let manager = Door::new(desk.clone(), Manager::new(desk.clone()));
        let objects = Door::new(desk.clone(), Objects::new(desk.clone()));
        let connection = builder(address)
            .serve_at(ROOT, manager)
            .serve_at(ROOT, objects)
            .build()
            .await
            .map_err(OpenError::Connect)?;
        let mut mirror = Mirror::new(connection.clone(), desk, show);
        mirror.catch_up().await.map_err(OpenError::Objects)?;
        // Last, so that whoever sees the name finds everything behind it. `zbus` by itself would
        // let another agentd take the name away.
        let asked = connection.request_name_with_flags(NAME, RequestNameFlags::DO_NOT_QUEUE).await;
        match asked {
            Ok(_) => Ok(Self { connection, asker, mirror }),
            Err(zbus::Error::NameTaken) => {
                Err(OpenError::Taken { owner: owner(&asker).await.unwrap_or_else(|| "?".into()) })
            }
            Err(err) => Err(OpenError::Name(err)),
        }
    }

    /// Until the bus goes away, or agentd ends.
    async fn run(self) {
        let Self { connection, asker, mirror } = self;
        tokio::select! {
            () = connection.closed() => {}
            () = asker.closed() => {}
            ended = mirror.run() => {
                if let Err(err) = ended {
                    tracing::debug!(%err, "bus could not be told of a change");
                }
            }
        }
        // Calls under way hold the connection; they must not find half of agentd on the bus.
        for connection in [connection, asker] {
            if let Err(err) = connection.close().await {
                tracing::debug!(%err, "connection to the bus was not closed");
            }
        }
    }
}

fn builder(address: &Address) -> Builder<'static> {
    match address {
        Address::System => Builder::system(),
        Address::At(address) => Builder::address(address.as_str()),
    }
}

/// Who has our name, for the message.
async fn owner(bus: &Connection) -> Option<String> {
    let bus = zbus::fdo::DBusProxy::new(bus).await.ok()?;
    let name = bus.get_name_owner(NAME.try_into().ok()?).await.ok()?;
    let known = bus.get_connection_credentials(name.as_ref().into()).await.ok()?;
    let (pid, uid) = (known.process_id()?, known.unix_user_id()?);
    Some(format!("process {pid} of uid {uid}"))
}

/// The object of an agent. An agent's name has no `_`, so no two agents share one.
fn path_of(name: &str) -> OwnedObjectPath {
    let path = format!("{ROOT}/agents/{}", name.replace('-', "_"));
    OwnedObjectPath::try_from(path).expect("an agent's name is letters, digits and '-'")
}

/// The word for what became of a request, the same as on the control socket.
fn disposition(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Accepted => "accepted",
        Disposition::AlreadySo => "already_so",
    }
}
