//! connect-as UID GID GROUPS SOCKET: becomes that user, connects to the socket, and hands the
//! connection over on its standard input, which is a socket, too.
//!
//! The kernel notes on connecting who it is that connects (unix(7), `SO_PEERCRED` and
//! `SO_PEERGROUPS`), so a connection made here stays that user's in a test that runs as root. A test
//! cannot become someone else itself: its threads are one user. GROUPS is a list with commas and may
//! be empty.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{IoSlice, stdin};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [uid, gid, groups, socket] = arguments.as_slice() else {
        return Err("usage: connect-as UID GID GROUPS SOCKET".into());
    };
    let (uid, gid) = (Uid::from_raw(uid.parse()?), Gid::from_raw(gid.parse()?));
    let groups = groups.split(',').filter(|group| !group.is_empty());
    let groups: Vec<Gid> =
        groups.map(|group| group.parse().map(Gid::from_raw)).collect::<Result<_, _>>()?;
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    let connection = UnixStream::connect(socket)?;

    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [connection.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err("no room for one descriptor".into());
    }
    sendmsg(stdin(), &[IoSlice::new(b"!")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}
