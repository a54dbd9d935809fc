//! A varlink client of our own: synchronous, and able to send what no decent client sends.

use std::fmt;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::path::Path;

use agentd_protocol::{Call, Code, Frames, Reply, message};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::wait::LIMIT;

/// A connection to a varlink socket.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    frames: Frames,
}

/// A call was not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// An error of the service.
    #[error("{name} {}", Value::Object(parameters.clone()))]
    Refused {
        /// Its full name.
        name: String,
        /// What it says.
        parameters: Map<String, Value>,
    },
    /// The reply is not of the type that was asked for.
    #[error("the reply {reply} is not what was expected: {source}")]
    Unexpected {
        /// What came.
        reply: Value,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The service hung up.
    #[error("the service hung up")]
    HungUp,
    /// The socket failed, or nothing came in time.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
}

impl CallError {
    /// The error of the service, by its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Refused { name, .. } => name,
            other => panic!("not an error of the service: {other}"),
        }
    }

    /// The error of the service as one of our codes.
    pub fn code(&self) -> Option<Code> {
        Code::from_error_name(self.name())
    }

    /// What the service says in words.
    pub fn message(&self) -> String {
        match self {
            Self::Refused { parameters, .. } => match parameters.get("message") {
                Some(Value::String(message)) => message.clone(),
                _ => panic!("an error without a message: {self}"),
            },
            other => panic!("not an error of the service: {other}"),
        }
    }
}

impl Client {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.set_write_timeout(Some(LIMIT))?;
        Ok(Self { socket, frames: Frames::new(Frames::CONTROL_LIMIT) })
    }

    /// Calls a method and waits for its reply.
    pub fn call<R: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: &impl Serialize,
    ) -> Result<R, CallError> {
        self.send(&call_of(method, parameters))?;
        decode(self.reply()?)
    }

    /// Calls a method that answers with a stream.
    pub fn call_more<R: DeserializeOwned>(
        mut self,
        method: &str,
        parameters: &impl Serialize,
    ) -> Result<Stream<R>, CallError> {
        self.send(&Call { more: true, ..call_of(method, parameters) })?;
        Ok(Stream { client: self, replies: PhantomData })
    }

    /// Sends a call as it is.
    pub fn send(&mut self, call: &Call) -> Result<(), CallError> {
        let bytes = message::encode(call).expect("a call can be written as JSON");
        Ok(self.send_bytes(&bytes)?)
    }

    /// Sends bytes that need not be a message.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The next reply, whatever it is.
    pub fn reply(&mut self) -> Result<Reply, CallError> {
        let mut buffer = [0; 64 * 1024];
        loop {
            if let Some(frame) = self.frames.next_frame() {
                return serde_json::from_slice(&frame).map_err(|source| CallError::Unexpected {
                    reply: Value::String(String::from_utf8_lossy(&frame).into_owned()),
                    source,
                });
            }
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(CallError::HungUp),
                Ok(read) => {
                    self.frames.push(&buffer[..read]).expect("agentd keeps to the limit");
                }
                // The service closed with something of ours unread: unix(7) has no more to say.
                Err(err) if err.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(CallError::HungUp);
                }
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// The socket itself.
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }
}

/// The replies to one call. Dropping it hangs up.
pub struct Stream<R> {
    client: Client,
    replies: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for Stream<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("client", &self.client).finish()
    }
}

impl<R> Stream<R> {
    /// The connection, to do what one does not do during a stream.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl<R: DeserializeOwned> Iterator for Stream<R> {
    type Item = Result<R, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.client.reply().and_then(decode))
    }
}

fn call_of(method: &str, parameters: &impl Serialize) -> Call {
    let parameters = message::parameters(method, parameters).expect("parameters are an object");
    Call { method: method.to_owned(), parameters, oneway: false, more: false, upgrade: false }
}

fn decode<R: DeserializeOwned>(reply: Reply) -> Result<R, CallError> {
    let Reply { parameters, error, .. } = reply;
    if let Some(name) = error {
        return Err(CallError::Refused { name, parameters });
    }
    let reply = Value::Object(parameters);
    serde_json::from_value(reply.clone()).map_err(|source| CallError::Unexpected { reply, source })
}
