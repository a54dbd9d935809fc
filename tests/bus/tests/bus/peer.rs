//! A caller on the bus, of whatever user.

use std::collections::HashMap;
use std::fmt;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use harness::LIMIT;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use zbus::message::{Flags, Message, Type as Kind};
use zbus::{Connection, DBusError, DynamicType, MatchRule, MessageStream, OwnedVariant, Type};

use crate::bed::{Who, command};

pub(crate) const NAME: &str = "org.agentos.Agentd1";
pub(crate) const ROOT: &str = "/org/agentos/Agentd1";
pub(crate) const MANAGER: &str = "org.agentos.Agentd1.Manager";
pub(crate) const AGENT: &str = "org.agentos.Agentd1.Agent";
pub(crate) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
pub(crate) const OBJECTS: &str = "org.freedesktop.DBus.ObjectManager";

pub(crate) type Properties = HashMap<String, OwnedVariant>;

/// A connection to the bus.
#[derive(Debug)]
pub(crate) struct Peer {
    runtime: Handle,
    connection: Connection,
}

/// An error reply.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) name: String,
    pub(crate) message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl From<zbus::Error> for Refusal {
    fn from(err: zbus::Error) -> Self {
        match err {
            zbus::Error::MethodError(name, message, _) => {
                Self { name: name.to_string(), message: message.unwrap_or_default() }
            }
            zbus::Error::FDO(err) => Self {
                name: err.name().to_string(),
                message: err.description().unwrap_or_default().to_owned(),
            },
            other => panic!("not an answer: {other}"),
        }
    }
}

/// The object of an agent.
pub(crate) fn path_of(agent: &str) -> String {
    format!("{ROOT}/agents/{}", agent.replace('-', "_"))
}

impl Peer {
    pub(crate) fn new(runtime: &Runtime, stream: UnixStream, uid: u32) -> Self {
        let builder = zbus::connection::Builder::unix_stream(stream).user_id(uid);
        let connection = runtime.block_on(builder.build()).expect("the bus takes everyone in");
        Self { runtime: runtime.handle().clone(), connection }
    }

    /// Its name on the bus.
    pub(crate) fn name(&self) -> String {
        self.connection.unique_name().expect("the bus gave one").to_string()
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Runs it to its end, which has to come in time.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        let limited = async { tokio::time::timeout(LIMIT, what).await };
        self.runtime.block_on(limited).expect("an answer in time")
    }

    /// Calls a method and waits for the answer.
    #[track_caller]
    pub(crate) fn call<R: DeserializeOwned + Type>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        arguments: &(impl Serialize + DynamicType),
    ) -> Result<R, Refusal> {
        let answer =
            self.connection.call_method(Some(NAME), path, Some(interface), member, arguments);
        Ok(self.wait(answer)?.body().deserialize().expect("the answer has this type"))
    }

    #[track_caller]
    pub(crate) fn manager<R: DeserializeOwned + Type>(
        &self,
        member: &str,
        arguments: &(impl Serialize + DynamicType),
    ) -> Result<R, Refusal> {
        self.call(ROOT, MANAGER, member, arguments)
    }

    #[track_caller]
    pub(crate) fn agent<R: DeserializeOwned + Type>(
        &self,
        name: &str,
        member: &str,
    ) -> Result<R, Refusal> {
        self.call(&path_of(name), AGENT, member, &())
    }

    pub(crate) fn version(&self) -> Result<(String, u32), Refusal> {
        self.manager("GetVersion", &())
    }

    /// Reads a property.
    #[track_caller]
    pub(crate) fn get<T: TryFrom<OwnedVariant, Error: fmt::Debug>>(
        &self,
        path: &str,
        interface: &str,
        property: &str,
    ) -> Result<T, Refusal> {
        let value: OwnedVariant = self.call(path, PROPERTIES, "Get", &(interface, property))?;
        Ok(value.try_into().expect("the property has this type"))
    }

    #[track_caller]
    pub(crate) fn get_all(&self, path: &str, interface: &str) -> Result<Properties, Refusal> {
        self.call(path, PROPERTIES, "GetAll", &interface)
    }

    /// What the object says it is.
    #[track_caller]
    pub(crate) fn introspect(&self, path: &str) -> String {
        let interface = "org.freedesktop.DBus.Introspectable";
        self.call(path, interface, "Introspect", &()).expect("anyone may ask what there is")
    }

    /// Calls a method with these flags and does not wait.
    pub(crate) fn begin(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        flags: &[Flags],
        arguments: &(impl Serialize + DynamicType),
    ) -> Pending {
        let mut call = Message::method_call(path, member).destination(NAME).interface(interface);
        for flag in flags {
            call = call.with_flags(*flag);
        }
        let call = call.build(arguments).expect("a call can be written");
        let serial = call.primary_header().serial_num();
        let connection = self.connection.clone();
        let mut answers = MessageStream::from(&connection);
        let answer = self.runtime.spawn(async move {
            connection.send(&call).await?;
            while let Some(message) = answers.next().await {
                let message = message?;
                if message.header().reply_serial() == Some(serial) {
                    return match message.message_type() {
                        Kind::Error => Err(message.into()),
                        _ => Ok(message),
                    };
                }
            }
            Err(zbus::Error::InvalidReply)
        });
        Pending { runtime: self.runtime.clone(), answer }
    }

    /// Sends a call that asks for no answer.
    pub(crate) fn shout(
        &self,
        member: &str,
        arguments: &(impl Serialize + DynamicType),
        times: u32,
    ) {
        let flag = Flags::NO_REPLY_EXPECTED;
        let send = async {
            for _ in 0..times {
                let call = Message::method_call(ROOT, member)
                    .destination(NAME)
                    .interface(MANAGER)
                    .with_flags(flag)
                    .build(arguments)?;
                self.connection.send(&call).await?;
            }
            Ok::<_, zbus::Error>(())
        };
        self.wait(send).expect("the bus takes calls");
    }

    /// Listens to every signal of agentd's objects from now on.
    #[track_caller]
    pub(crate) fn listen(&self) -> Ear {
        let rule = MatchRule::builder().msg_type(Kind::Signal).path_namespace(ROOT).build();
        let rule = rule.expect("a rule");
        let signals = self.wait(MessageStream::for_match_rule(
            rule,
            &self.connection,
            NonZeroUsize::new(10_000),
        ));
        Ear { runtime: self.runtime.clone(), signals: signals.expect("anyone may ask for signals") }
    }
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct Pending {
    runtime: Handle,
    answer: JoinHandle<zbus::Result<Message>>,
}

impl Pending {
    /// Whether the answer has come.
    pub(crate) fn is_answered(&self) -> bool {
        self.answer.is_finished()
    }

    #[track_caller]
    pub(crate) fn answer<R: DeserializeOwned + Type>(self) -> Result<R, Refusal> {
        let answer = async { tokio::time::timeout(LIMIT, self.answer).await };
        let answer = self.runtime.block_on(answer).expect("an answer in time");
        let answer = answer.expect("the connection lives")?;
        Ok(answer.body().deserialize().expect("the answer has this type"))
    }
}

/// Hears signals.
#[derive(Debug)]
pub(crate) struct Ear {
    runtime: Handle,
    signals: MessageStream,
}

impl Ear {
    /// The next signal, if one comes within `limit`.
    pub(crate) fn next_within(&mut self, limit: Duration) -> Option<Message> {
        let next = async { tokio::time::timeout(limit, self.signals.next()).await };
        let next = self.runtime.block_on(next).ok()?;
        Some(next.expect("the connection lives").expect("the bus delivers messages"))
    }

    /// Signals until `pick` finds what it looks for in one.
    #[track_caller]
    pub(crate) fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&Message) -> Option<T>) -> T {
        let mut heard = Vec::new();
        loop {
            let Some(signal) = self.next_within(LIMIT) else {
                panic!("no signal with {what}; heard: {heard:#?}")
            };
            if let Some(found) = pick(&signal) {
                return found;
            }
            heard.push(format!("{signal} {:?}", signal.header().path()));
        }
    }
}

/// A connection to `socket` that is made by another user.
pub(crate) fn connect_as(who: Who, socket: &Path) -> UnixStream {
    let (here, there) = UnixStream::pair().expect("a pair of sockets");
    let groups: Vec<String> = who.groups.iter().map(ToString::to_string).collect();
    let mut helper = command(Path::new(env!("CARGO_BIN_EXE_connect-as")))
        .args([who.uid.to_string(), who.uid.to_string(), groups.join(",")])
        .arg(socket)
        .stdin(std::os::fd::OwnedFd::from(there))
        .spawn()
        .expect("connect-as can be started");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&here, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .expect("connect-as answers");
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    assert!(helper.wait().expect("a child can be waited for").success(), "connect-as failed");
    descriptor.expect("connect-as sends the connection").into()
}
