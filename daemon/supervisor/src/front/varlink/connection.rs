//! One connection: calls in, replies out, in order.

use std::time::Duration;

use agentd_protocol::{Call, Code, Frames, Reply, message};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::dispatch::{Answer, answer, failure};
use crate::caller::Caller;
use crate::control::{Control, Follow};
use crate::wire::{FrameReader, write_within};

/// A peer that does not read for this long is dropped.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Bytes read at once; most calls are far smaller.
const CHUNK: usize = 4 * 1024;

/// Serves `stream` until its peer is done or breaks the protocol.
pub(super) async fn serve(stream: UnixStream, caller: Caller, control: Control) {
    let (reads, writes) = stream.into_split();
    let mut calls = FrameReader::new(reads, Frames::CONTROL_LIMIT, CHUNK);
    let mut out = Out { writes };
    loop {
        let frame = match calls.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(err) => {
                tracing::debug!(caller_uid = caller.uid, %err, "connection was dropped");
                return;
            }
        };
        // varlink.org, "Method Call": what is not a call cannot be answered; the peer is dropped.
        let Ok(call) = serde_json::from_slice::<Call>(&frame) else {
            tracing::debug!(caller_uid = caller.uid, "message is not a call");
            return;
        };
        let (oneway, more) = (call.oneway, call.more);
        let done = match answer(call, &caller, &control).await {
            Answer::Once(_) if oneway => Ok(()),
            Answer::Once(reply) => out.reply(&reply).await,
            Answer::Stream(_) if oneway => Ok(()),
            Answer::Stream(follow) if more => stream_events(*follow, &mut calls, &mut out).await,
            Answer::Stream(_) => out.reply(&expected_more()).await,
        };
        if let Err(err) = done {
            tracing::debug!(caller_uid = caller.uid, %err, "connection was dropped");
            return;
        }
    }
}

/// Tells a peer for which there is no seat why, and hangs up.
pub(super) async fn turn_away(stream: UnixStream) {
    let (reads, writes) = stream.into_split();
    let mut calls = FrameReader::new(reads, Frames::CHANNEL_LIMIT, CHUNK);
    let first = tokio::time::timeout(Duration::from_secs(1), calls.next()).await;
    let Ok(Ok(Some(frame))) = first else { return };
    let Ok(call) = serde_json::from_slice::<Call>(&frame) else { return };
    let interface = call.method.rsplit_once('.').map_or("", |(interface, _)| interface);
    let reply = failure(interface, Code::Exhausted, "too many connections; close some");
    // It may have gone already.
    drop(Out { writes }.reply(&reply).await);
}

fn expected_more() -> Reply {
    Reply { error: Some("org.varlink.service.ExpectedMore".into()), ..Reply::default() }
}

struct Out {
    writes: OwnedWriteHalf,
}

impl Out {
    async fn reply(&mut self, reply: &Reply) -> std::io::Result<()> {
        let bytes = message::encode(reply).map_err(std::io::Error::other)?;
        write_within(&mut self.writes, &bytes, WRITE_LIMIT).await
    }
}

/// Sends events until the peer hangs up or calls again; both end the stream.
async fn stream_events(
    mut follow: Follow,
    calls: &mut FrameReader<OwnedReadHalf>,
    out: &mut Out,
) -> std::io::Result<()> {
    loop {
        let next = tokio::select! {
            next = follow.next() => next,
            // Nothing may be called during a stream; a peer that hangs up is noticed here.
            _ = calls.next() => return Err(std::io::ErrorKind::ConnectionAborted.into()),
        };
        let Some(event) = next else { return out.reply(&Reply::default()).await };
        let parameters = message::parameters("Follow", &event).map_err(std::io::Error::other)?;
        out.reply(&Reply { parameters, continues: true, error: None }).await?;
    }
}
