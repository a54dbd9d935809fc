//! One socket of the channel as frames: a reader that never holds more than a frame may have, and a
//! writer behind a bounded queue, so that an agentd that does not read holds up only what it would
//! have read.

use std::io;

use agentd_protocol::{Call, FrameError, Frames, Reply, message};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// Messages that wait to be written. A report has at most 256 KiB, and most have 200 bytes.
const QUEUE: usize = 16;

/// Why a socket of the channel is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The other side is gone.
    #[error("agentd closed the channel")]
    Closed,
    /// It cannot be read.
    #[error("cannot read from agentd")]
    Read(#[source] io::Error),
    /// It cannot be written.
    #[error("cannot write to agentd")]
    Write(#[source] io::Error),
    /// The other side broke the framing.
    #[error("agentd broke the framing of the channel")]
    Frame(#[source] FrameError),
}

/// Whole messages as they come.
#[derive(Debug)]
pub(crate) struct Incoming {
    socket: OwnedReadHalf,
    frames: Frames,
}

impl Incoming {
    pub(crate) fn new(socket: OwnedReadHalf) -> Self {
        Self { socket, frames: Frames::new(Frames::CHANNEL_LIMIT) }
    }

    /// The next whole message, without its NUL. Cancel safe: what was read is kept.
    pub(crate) async fn next(&mut self) -> Result<Vec<u8>, ChannelError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.frames.next_frame() {
                return Ok(frame);
            }
            match self.socket.read(&mut buffer).await {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(count) => self.frames.push(&buffer[..count]).map_err(ChannelError::Frame)?,
                Err(err) if err.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(ChannelError::Closed);
                }
                Err(err) => return Err(ChannelError::Read(err)),
            }
        }
    }
}

/// Where messages to one socket are put.
pub(crate) type Outbox = mpsc::Sender<Vec<u8>>;

/// A queue and the task that empties it into `socket`. The task ends with an error, or when every
/// sender is gone.
pub(crate) fn outgoing(
    mut socket: OwnedWriteHalf,
) -> (Outbox, impl Future<Output = Result<(), ChannelError>>) {
    let (outbox, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
    let task = async move {
        while let Some(bytes) = queue.recv().await {
            socket.write_all(&bytes).await.map_err(|err| match err.kind() {
                io::ErrorKind::BrokenPipe => ChannelError::Closed,
                _ => ChannelError::Write(err),
            })?;
        }
        Ok(())
    };
    (outbox, task)
}

/// A call of a method of agentd, as bytes.
pub(crate) fn call(method: &str, parameters: &impl Serialize, oneway: bool) -> Vec<u8> {
    let parameters = message::parameters(method, parameters)
        .expect("every parameter type of the channel is a struct with text keys");
    encode(&Call {
        method: format!("{}.{method}", agentd_protocol::channel::SUPERVISOR),
        parameters,
        oneway,
        more: false,
        upgrade: false,
    })
}

/// An answer to agentd, as bytes.
pub(crate) fn reply(parameters: &impl Serialize) -> Vec<u8> {
    let parameters = message::parameters("reply", parameters)
        .expect("every reply type of the channel is a struct with text keys");
    encode(&Reply { parameters, ..Reply::default() })
}

/// A refusal to agentd, with one parameter that says what was refused.
pub(crate) fn refusal(error: &str, what: &str, value: &str) -> Vec<u8> {
    let parameters = Map::from_iter([(what.to_owned(), Value::from(value))]);
    encode(&Reply { parameters, error: Some(error.to_owned()), ..Reply::default() })
}

fn encode(message: &impl Serialize) -> Vec<u8> {
    message::encode(message).expect("messages of the channel are plain JSON")
}
