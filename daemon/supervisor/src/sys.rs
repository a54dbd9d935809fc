//! What agentd needs that has no safe form.
#![allow(unsafe_code, reason = "SO_PEERGROUPS and tokio's AsyncFd have no safe form")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Most groups a process can have: `NGROUPS_MAX` since Linux 2.6.4 (getgroups(2)).
const MOST: usize = 65_536;

/// The supplementary groups of whoever connected `socket`, as they were then: unix(7) and
/// socket(7), `SO_PEERGROUPS` (Linux 4.13).
pub fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut size = libc::socklen_t::try_from(size_of_val(groups.as_slice()))
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: getsockopt(2) writes at most `size` bytes to the buffer and the length to
        // `size`. The buffer is that long (`size_of_val` of it), lives across the call, and any
        // bytes are valid `gid_t`s. The descriptor is open: it is borrowed.
        let rc = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut size,
            )
        };
        let count = usize::try_from(size).unwrap_or(0) / size_of::<libc::gid_t>();
        if rc == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let err = io::Error::last_os_error();
        // socket(7): ERANGE means that the buffer is too small, and `size` says what is needed.
        if err.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > MOST {
            return Err(err);
        }
        groups.resize(count, 0);
    }
}

/// Watches `fd` for being readable. Must be called within the runtime.
pub fn readable(fd: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: `register_with_interest` wants a descriptor that stays open and the same for as long
    // as the `AsyncFd` lives. The `AsyncFd` owns a share of the `Arc`, an `OwnedFd` closes only
    // when dropped, and nothing can take it out of a shared `Arc` or change it there.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_a_peer_are_its_own() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut peer = peer_groups(&one).unwrap();
        let mut own: Vec<u32> =
            nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        peer.sort_unstable();
        own.sort_unstable();
        assert_eq!(peer, own);
    }
}
