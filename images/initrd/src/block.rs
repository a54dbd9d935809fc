//! Which partitions are ours, found by the name in the partition table.
//!
//! Disks turn up when their driver is done with them, so this waits for the kernel's announcement
//! (netlink(7), NETLINK_KOBJECT_UEVENT) and looks again, rather than looking again and again.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::clock::Clock;
use crate::error::BootError;

/// The names that `images/image/mkosi.repart` gives the partitions.
const ROOT_LABEL: &str = "agentos-root";
const DATA_LABEL: &str = "agentos-data";

/// A disk that is not there after this long under emulation is not coming.
const PATIENCE: Duration = Duration::from_secs(30);

/// The multicast group on which the kernel itself speaks (udev speaks on 2).
const KERNEL_GROUP: u32 = 1;

/// A partition as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The kernel's name, `nvme0n1p3`.
    pub(crate) name: String,
    /// The name in the partition table.
    label: String,
}

impl Partition {
    /// Its node in /dev.
    pub(crate) fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }
}

/// What a boot needs.
#[derive(Debug)]
pub(crate) struct Partitions {
    /// Read only, later checked against a hash.
    pub(crate) root: Partition,
    /// The one that is written to.
    pub(crate) data: Partition,
}

/// Waits until both partitions are there.
pub(crate) fn wait_for_partitions(clock: &Clock) -> Result<Partitions, BootError> {
    // Listen first, look second: what appears in between is then announced, not missed.
    let uevents = listen().map_err(|source| BootError::Uevents { source })?;
    loop {
        let seen = partitions(Path::new("/sys/class/block"))?;
        let missing = match (one(&seen, ROOT_LABEL)?, one(&seen, DATA_LABEL)?) {
            (Some(root), Some(data)) => return Ok(Partitions { root, data }),
            (None, _) => ROOT_LABEL,
            (Some(_), None) => DATA_LABEL,
        };
        let left = PATIENCE.saturating_sub(clock.elapsed());
        if left.is_zero() {
            return Err(BootError::NoPartition {
                label: missing,
                waited: PATIENCE.as_secs(),
                found: describe(&seen),
            });
        }
        wait(&uevents, left).map_err(|source| BootError::Uevents { source })?;
    }
}

/// The partition with that label, none, or an error where a choice would be a guess.
fn one(seen: &[Partition], label: &'static str) -> Result<Option<Partition>, BootError> {
    let ours: Vec<_> = seen.iter().filter(|p| p.label == label).cloned().collect();
    match ours.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        _ => Err(BootError::Ambiguous { label, found: describe(&ours) }),
    }
}

fn describe(partitions: &[Partition]) -> String {
    if partitions.is_empty() {
        return "no partition at all".to_owned();
    }
    let names: Vec<_> = partitions.iter().map(|p| format!("{} ({})", p.name, p.label)).collect();
    names.join(", ")
}

/// All partitions that have a name in their table, in the order of the kernel's names.
fn partitions(class: &Path) -> Result<Vec<Partition>, BootError> {
    let failed = |verb| move |source| BootError::File { verb, path: class.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(class).map_err(failed("list"))? {
        let entry = entry.map_err(failed("list"))?;
        // A device can go between the listing and the reading.
        let Ok(uevent) = fs::read_to_string(entry.path().join("uevent")) else {
            continue;
        };
        if let Some(label) = uevent.lines().find_map(|l| l.strip_prefix("PARTNAME=")) {
            found.push(Partition {
                name: entry.file_name().to_string_lossy().into_owned(),
                label: label.to_owned(),
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn listen() -> Result<OwnedFd, Errno> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkKObjectUEvent,
    )?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
    Ok(fd)
}

/// Returns when something was announced or the time is up; the caller looks for itself.
fn wait(uevents: &OwnedFd, limit: Duration) -> Result<(), Errno> {
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(uevents.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(err) => return Err(err),
    }
    let mut buffer = [0_u8; 4096];
    loop {
        match recv(uevents.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            // ENOBUFS: announcements were dropped, which is one more reason to look.
            Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
            Err(Errno::EAGAIN) => return Ok(()),
            Err(err) => return Err(err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(name: &str, label: &str) -> Partition {
        Partition { name: name.to_owned(), label: label.to_owned() }
    }

    #[test]
    fn a_label_that_two_partitions_carry_is_refused() {
        let seen = [partition("nvme0n1p2", ROOT_LABEL), partition("sda2", ROOT_LABEL)];
        let err = one(&seen, ROOT_LABEL).unwrap_err();
        assert_eq!(
            err.to_string(),
            "more than one partition is labelled agentos-root: \
             nvme0n1p2 (agentos-root), sda2 (agentos-root)"
        );
    }

    #[test]
    fn a_label_is_compared_whole() {
        let seen = [partition("sda1", "agentos-root-old")];
        assert_eq!(one(&seen, ROOT_LABEL).unwrap(), None);
    }
}
