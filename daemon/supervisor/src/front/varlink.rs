//! The control socket: varlink (varlink.org) on `/run/agentos/control.sock`.
//!
//! One task per connection. Whoever connects costs bounded memory: connections are capped in all
//! and per user, messages by size, calls are answered one after the other, and a peer that does not
//! read is dropped.

mod connection;
mod dispatch;
mod service;

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use agentd_model::AgentdConfig;
use nix::unistd::Gid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::caller::Caller;
use crate::control::Control;

/// How many are told at a time that there is no seat for them.
const DOOR: usize = 16;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}", path.display())]
pub struct ListenError {
    verb: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Makes the socket: for its owner and members of `group` to connect to, nobody else. One left by
/// an agentd that is gone is replaced.
pub fn listen(path: &Path, group: Option<u32>) -> Result<UnixListener, ListenError> {
    let fail = |verb| move |source| ListenError { verb, path: path.to_owned(), source };
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(fail("replace")(err)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(fail("listen on"))?;
    if let Some(gid) = group {
        nix::unistd::chown(path, None, Some(Gid::from_raw(gid)))
            .map_err(|err| fail("change the group of")(err.into()))?;
    }
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(fail("change the mode of"))?;
    Ok(listener)
}

/// Serves whoever connects, for as long as it is polled.
pub async fn serve(
    listener: UnixListener,
    control: Control,
    config: watch::Receiver<AgentdConfig>,
) {
    let seats = Seats::new(config);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(stream, &control, &seats),
            Err(err) => {
                // Out of descriptors, most likely: those who hold them let go in time.
                tracing::warn!(%err, "connection was not accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(stream: UnixStream, control: &Control, seats: &Seats) {
    let caller = match caller_of(&stream) {
        Ok(caller) => caller,
        Err(err) => {
            tracing::warn!(%err, "caller is not known to the kernel");
            return;
        }
    };
    let Some(seat) = seats.take(caller.uid) else {
        tracing::debug!(caller_uid = caller.uid, "too many connections");
        // Being told why costs a descriptor for a while: only so many are, the others hear nothing.
        if let Ok(place) = Arc::clone(&seats.door).try_acquire_owned() {
            tokio::spawn(async move {
                connection::turn_away(stream).await;
                drop(place);
            });
        }
        return;
    };
    let control = control.clone();
    tokio::spawn(async move {
        connection::serve(stream, caller, control).await;
        drop(seat);
    });
}

/// Who is at the other end: unix(7), `SO_PEERCRED` and `SO_PEERGROUPS`, as it was on connecting.
fn caller_of(stream: &UnixStream) -> io::Result<Caller> {
    let peer = stream.peer_cred()?;
    let mut gids = crate::sys::peer_groups(stream)?;
    gids.push(peer.gid());
    Ok(Caller { uid: peer.uid(), gids, front: "varlink", bus: None })
}

/// How many may be connected.
#[derive(Clone, Debug)]
struct Seats {
    config: watch::Receiver<AgentdConfig>,
    taken: Arc<Mutex<HashMap<u32, u32>>>,
    /// For those who are told that there is no seat.
    door: Arc<Semaphore>,
}

/// Held by a connection; given back when dropped.
#[derive(Debug)]
struct Seat {
    uid: u32,
    taken: Arc<Mutex<HashMap<u32, u32>>>,
}

impl Seats {
    fn new(config: watch::Receiver<AgentdConfig>) -> Self {
        Self { config, taken: Arc::default(), door: Arc::new(Semaphore::new(DOOR)) }
    }

    /// root may always come in: whoever repairs the machine must not be locked out by others.
    fn take(&self, uid: u32) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: u32 = taken.values().sum();
        let own = taken.get(&uid).copied().unwrap_or(0);
        let AgentdConfig { connections_max, connections_per_uid, .. } = *self.config.borrow();
        let is_full = all >= connections_max || own >= connections_per_uid;
        if is_full && (uid != 0 || own >= connections_max) {
            return None;
        }
        *taken.entry(uid).or_insert(0) += 1;
        Some(Seat { uid, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_capped_per_user_and_in_all_and_given_back() {
        let limits =
            AgentdConfig { connections_max: 3, connections_per_uid: 2, ..AgentdConfig::default() };
        let (_keep, config) = watch::channel(limits);
        let seats = Seats::new(config);
        let first = seats.take(1).unwrap();
        let _second = seats.take(1).unwrap();
        assert!(seats.take(1).is_none());
        let _third = seats.take(2).unwrap();
        assert!(seats.take(3).is_none());
        let root = seats.take(0).unwrap();
        drop(first);
        assert!(seats.take(3).is_none(), "root counts, too");
        drop(root);
        assert!(seats.take(3).is_some());
    }
}
