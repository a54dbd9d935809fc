//! Whole frames over a socket: the tokio side of `agentd_protocol::frame`.

use std::io;
use std::time::Duration;

use agentd_protocol::{FrameError, Frames};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Reads frames from one direction of a socket.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    source: R,
    frames: Frames,
    buffer: Box<[u8]>,
}

/// Nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The peer broke the framing.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream ended in the middle of a message.
    #[error("stream ended in the middle of a message")]
    Cut,
    /// The socket failed.
    #[error("cannot read the socket")]
    Io(#[source] io::Error),
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `source` frames of at most `limit` bytes, `chunk` bytes at a time.
    pub(crate) fn new(source: R, limit: usize, chunk: usize) -> Self {
        Self { source, frames: Frames::new(limit), buffer: vec![0; chunk].into_boxed_slice() }
    }

    /// The next frame; `None` at a clean end. Cancel safe: bytes read so far are kept.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        loop {
            if let Some(frame) = self.frames.next_frame() {
                return Ok(Some(frame));
            }
            let read = self.source.read(&mut self.buffer).await.map_err(ReadError::Io)?;
            if read == 0 {
                return if self.frames.is_mid_frame() { Err(ReadError::Cut) } else { Ok(None) };
            }
            self.frames.push(&self.buffer[..read])?;
        }
    }
}

/// Writes `bytes`, or fails with `TimedOut` when the peer does not take them within `limit`. After
/// a time-out part of them may be written: the stream is of no more use.
pub(crate) async fn write_within(
    sink: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    limit: Duration,
) -> io::Result<()> {
    match tokio::time::timeout(limit, sink.write_all(bytes)).await {
        Ok(done) => done,
        Err(_elapsed) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the peer did not read for {} s", limit.as_secs()),
        )),
    }
}
