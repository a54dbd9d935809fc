//! The two sockets that the launcher left open for this process.
//!
//! A number is not yet a descriptor that safe code may own. So each is duplicated through a pidfd
//! of this very process (pidfd_getfd(2), which a process may always do to itself), close-on-exec,
//! and the number then closed: no helper program inherits the channel.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use agentd_protocol::channel::{TO_AGENT, TO_AGENTD};
use nix::sys::socket::{SockType, UnixAddr, getsockname, getsockopt, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Both ends of the channel that are this agent's.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Where it calls agentd.
    pub(crate) to_agentd: UnixStream,
    /// Where agentd calls it.
    pub(crate) from_agentd: UnixStream,
}

/// This process has no channel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoChannel {
    /// The kernel lacks the calls, or a filter forbids them.
    #[error("cannot take over the channel (pidfd_open, pidfd_getfd)")]
    Take(#[source] io::Error),
    /// Not what the launcher leaves there.
    #[error("descriptor {number} is not a channel to agentd")]
    Missing { number: RawFd },
}

/// Takes the channel over. Call it once, before anything else opens a descriptor.
pub(crate) fn channel() -> Result<Channel, NoChannel> {
    let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(|e| NoChannel::Take(e.into()))?;
    let [to_agentd, from_agentd] = [TO_AGENTD, TO_AGENT].map(|number| {
        let fd = match pidfd_getfd(&own, number, PidfdGetfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::BADF) => return Err(NoChannel::Missing { number }),
            Err(err) => return Err(NoChannel::Take(err.into())),
        };
        if is_unix_stream(&fd) {
            Ok(UnixStream::from(fd))
        } else {
            Err(NoChannel::Missing { number })
        }
    });
    let channel = Channel { to_agentd: to_agentd?, from_agentd: from_agentd? };
    for number in [TO_AGENTD, TO_AGENT] {
        nix::unistd::close(number).map_err(|err| NoChannel::Take(err.into()))?;
    }
    Ok(channel)
}

fn is_unix_stream(fd: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    getsockopt(fd, sockopt::SockType) == Ok(SockType::Stream)
        && getsockname::<UnixAddr>(fd.as_raw_fd()).is_ok()
}
