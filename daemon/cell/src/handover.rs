//! What agentd and the launcher say to each other, over the launcher's standard input.
//!
//! That is one end of a `SOCK_SEQPACKET` pair. agentd puts one packet into it before the launcher
//! exists: the plan as JSON, with the channel's two descriptors attached (`SCM_RIGHTS`, unix(7)).
//! The launcher takes it, and if an op fails sends back one packet, a [`LaunchFailure`]; execve(2)
//! closes its end. So no descriptor is ever inheritable in agentd, where another thread might be
//! starting a program, and agentd never waits for the launcher.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::Plan;

/// Longest packet. The socket buffer of a stock kernel holds 208 KiB; a plan is about 3 KiB.
const MAX_PACKET: usize = 128 * 1024;
/// Longest failure that agentd reads; longer texts are cut by the launcher.
const MAX_FAILURE: usize = 4096;

/// An op failed: the agent was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{op}: {error}")]
#[serde(deny_unknown_fields)]
pub struct LaunchFailure {
    /// The op, as `agentctl explain` shows it.
    pub op: String,
    /// What the kernel said.
    pub error: String,
}

/// What became of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// Every op was done and the agent's program runs, or something killed the launcher on the way;
    /// the pidfd tells the two apart.
    Done,
    /// An op failed; the process is ending.
    Failed(LaunchFailure),
}

/// agentd: puts `plan` and the descriptors of the channel into the pair. Does not wait.
pub(crate) fn send_plan(
    socket: impl AsFd,
    plan: &Plan,
    channel: Option<[BorrowedFd<'_>; 2]>,
) -> io::Result<()> {
    if plan.wants_channel() != channel.is_some() {
        let why = "the plan and the caller differ about the channel";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let text = serde_json::to_vec(plan)?;
    if text.len() > MAX_PACKET {
        let why = format!("the plan is {} bytes long, {MAX_PACKET} at most", text.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let descriptors = channel.unwrap_or([socket.as_fd(); 2]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if channel.is_some() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    sendmsg(&socket, &[IoSlice::new(&text)], &mut control, SendFlags::DONTWAIT)?;
    Ok(())
}

/// The launcher: takes the plan and the descriptors of the channel.
pub fn receive_plan(socket: impl AsFd) -> io::Result<(Plan, Vec<OwnedFd>)> {
    let mut text = vec![0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = recvmsg(socket, &mut parts, &mut control, flags)?;
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the packet was cut"));
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let text = text.get(..message.bytes).unwrap_or_default();
    Ok((serde_json::from_slice(text)?, descriptors))
}

/// The launcher: says which op failed and why.
pub fn send_failure(socket: impl AsFd, op: &str, error: &str) -> io::Result<()> {
    // Cut by characters: escaped as JSON one takes 12 bytes at most, and so both fit.
    let cut = |text: &str| text.chars().take(MAX_FAILURE / 2 / 12 - 8).collect();
    let text = serde_json::to_vec(&LaunchFailure { op: cut(op), error: cut(error) })?;
    send(socket, &text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    Ok(())
}

/// agentd: what became of the launch. `WouldBlock` if that is not known yet.
pub fn read_status(status: impl AsFd) -> io::Result<Started> {
    let mut text = vec![0; MAX_FAILURE];
    let (length, _) = match recv(status, text.as_mut_slice(), RecvFlags::DONTWAIT) {
        // The launcher was killed before it took the plan.
        Err(rustix::io::Errno::CONNRESET) => return Ok(Started::Done),
        received => received?,
    };
    if length == 0 {
        return Ok(Started::Done);
    }
    let text = text.get(..length).unwrap_or_default();
    Ok(Started::Failed(serde_json::from_slice(text)?))
}
