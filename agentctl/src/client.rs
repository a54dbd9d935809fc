//! One connection to agentd's control socket: a call and its answer, or a stream of events.
//!
//! Every wait has an end, connecting included, so that an agentd that hangs or a socket that is
//! not agentd's cannot hold agentctl. What is not varlink, is too long or breaks off is an error
//! that names the method. What the errors mean for a person is in [`crate::client_error`].

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agentd_protocol::control::{EVENTS, ErrorDetail, EventQuery, EventReply};
use agentd_protocol::{Call, Code, Frames, Reply, message};
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client_error::{Answer, ClientError};
use crate::{clock, text};

/// Where agentd is reached, and how long an answer may take.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Its control socket.
    pub(crate) socket: PathBuf,
    /// The root directory it was started with; none if only the socket was named.
    pub(crate) root: Option<PathBuf>,
    /// Longest wait for an answer.
    pub(crate) timeout: Duration,
    /// What is done with text before anyone sees it.
    pub(crate) text: Text,
}

/// What is done with text from agentd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// Made safe to show.
    Clean,
    /// Left alone, to be printed as JSON.
    AsSent,
}

/// An open connection. One call at a time.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    frames: Frames,
    timeout: Duration,
    text: Text,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let stream = open(endpoint).map_err(|errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR => ClientError::Absent(endpoint.clone()),
            Errno::ECONNREFUSED => ClientError::Refused(endpoint.clone()),
            Errno::EACCES | Errno::EPERM => ClientError::NoRight(endpoint.clone()),
            Errno::EAGAIN | Errno::ETIMEDOUT => {
                ClientError::TimedOut { method: "connect".to_owned(), after: endpoint.timeout }
            }
            other => ClientError::Connect {
                socket: endpoint.socket.clone(),
                source: io::Error::from(other),
            },
        })?;
        Ok(Self {
            stream,
            frames: Frames::new(Frames::CONTROL_LIMIT),
            timeout: endpoint.timeout,
            text: endpoint.text,
        })
    }

    /// Calls a method and waits for its one answer.
    pub(crate) fn call<A: Serialize, R: DeserializeOwned>(
        &mut self,
        interface: &str,
        method: &str,
        arguments: &A,
    ) -> Result<R, ClientError> {
        let method = format!("{interface}.{method}");
        self.send(&method, arguments, false)?;
        let deadline = clock::instant() + self.timeout;
        let reply = self.receive(&method, Some(deadline))?;
        self.decode(&method, reply)
    }

    /// Turns the connection into a stream of events.
    pub(crate) fn follow(mut self, query: &EventQuery) -> Result<Events, ClientError> {
        let method = format!("{EVENTS}.Follow");
        self.send(&method, query, true)?;
        Ok(Events { client: self, method, is_over: false })
    }

    fn send<A: Serialize>(
        &mut self,
        method: &str,
        arguments: &A,
        more: bool,
    ) -> Result<(), ClientError> {
        let failed = |source| ClientError::Send { method: method.to_owned(), source };
        let call = Call {
            method: method.to_owned(),
            parameters: message::parameters(method, arguments)
                .map_err(|err| failed(io::Error::other(err)))?,
            oneway: false,
            more,
            upgrade: false,
        };
        let bytes = message::encode(&call).map_err(|err| failed(err.into()))?;
        self.stream.set_write_timeout(Some(self.timeout)).map_err(failed)?;
        self.stream.write_all(&bytes).map_err(|err| match err.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::TimedOut { method: method.to_owned(), after: self.timeout }
            }
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                ClientError::Closed { method: method.to_owned() }
            }
            _ => failed(err),
        })
    }

    /// The next message. Without a deadline it waits for ever.
    fn receive(&mut self, method: &str, deadline: Option<Instant>) -> Result<Reply, ClientError> {
        let failed = |source| ClientError::Receive { method: method.to_owned(), source };
        let timed_out = || ClientError::TimedOut { method: method.to_owned(), after: self.timeout };
        let garbage = |why: String| ClientError::Garbage { method: method.to_owned(), why };
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(frame) = self.frames.next_frame() {
                return serde_json::from_slice(&frame).map_err(|err| garbage(err.to_string()));
            }
            let left = deadline.map(|end| end.saturating_duration_since(clock::instant()));
            if left == Some(Duration::ZERO) {
                return Err(timed_out());
            }
            self.stream.set_read_timeout(left).map_err(failed)?;
            match self.stream.read(&mut buffer) {
                Ok(0) if self.frames.is_mid_frame() => {
                    return Err(garbage("it broke off in the middle".to_owned()));
                }
                Ok(0) => return Err(ClientError::Closed { method: method.to_owned() }),
                Ok(n) => {
                    self.frames.push(&buffer[..n]).map_err(|err| garbage(err.to_string()))?;
                }
                Err(err) => match err.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        return Err(timed_out());
                    }
                    io::ErrorKind::ConnectionReset => {
                        return Err(ClientError::Closed { method: method.to_owned() });
                    }
                    _ => return Err(failed(err)),
                },
            }
        }
    }

    fn decode<R: DeserializeOwned>(&self, method: &str, reply: Reply) -> Result<R, ClientError> {
        let parameters = Value::Object(reply.parameters);
        if let Some(error) = reply.error {
            return Err(refusal(method, &error, parameters));
        }
        let parameters = match self.text {
            Text::Clean => text::clean(parameters),
            Text::AsSent => parameters,
        };
        serde_json::from_value(parameters)
            .map_err(|err| ClientError::Garbage { method: method.to_owned(), why: err.to_string() })
    }
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    client: Client,
    method: String,
    is_over: bool,
}

impl Events {
    /// The next event. With a limit it is none if none comes in that time; without, it waits.
    /// A stream that ends is [`ClientError::Closed`].
    pub(crate) fn next_event(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<Option<EventReply>, ClientError> {
        if self.is_over {
            return Err(ClientError::Closed { method: self.method.clone() });
        }
        let deadline = limit.map(|limit| clock::instant() + limit);
        let reply = match self.client.receive(&self.method, deadline) {
            Err(ClientError::TimedOut { .. }) => return Ok(None),
            other => other?,
        };
        self.is_over = !reply.continues;
        if self.is_over && reply.error.is_none() && reply.parameters.is_empty() {
            return Err(ClientError::Closed { method: self.method.clone() });
        }
        self.client.decode(&self.method, reply).map(Some)
    }
}

/// Connects with a time limit, which std has not: where the queue of a listener is full, connect()
/// waits, for as long as `SO_SNDTIMEO` says (unix(7), socket(7)).
fn open(endpoint: &Endpoint) -> Result<UnixStream, Errno> {
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let millis = i64::try_from(endpoint.timeout.as_millis()).unwrap_or(i64::MAX / 1000);
    socket::setsockopt(&fd, sockopt::SendTimeout, &TimeVal::milliseconds(millis.max(1)))?;
    socket::connect(fd.as_raw_fd(), &UnixAddr::new(&endpoint.socket)?)?;
    Ok(UnixStream::from(fd))
}

/// What an error reply means.
fn refusal(method: &str, error: &str, parameters: Value) -> ClientError {
    if let Some(code) = Code::from_error_name(error) {
        let message = serde_json::from_value::<ErrorDetail>(parameters)
            .map_or_else(|_| format!("{error}, without a reason"), |detail| detail.message);
        return ClientError::Answer(Answer { code, message: text::lines(&message) });
    }
    let code = match error.strip_prefix("org.varlink.service.") {
        Some("PermissionDenied") => Code::Forbidden,
        Some("InvalidParameter") => Code::Invalid,
        _ => Code::Internal,
    };
    let detail = match parameters {
        Value::Object(fields) if fields.is_empty() => String::new(),
        other => format!(" {other}"),
    };
    ClientError::Foreign {
        method: method.to_owned(),
        code,
        error: text::line(&format!("{error}{detail}")),
    }
}
