//! Which process holds a socket: `/proc/PID/fd` (proc_pid_fd(5)).
//!
//! A help for whoever reads the finding, no more. Without CAP_SYS_PTRACE an agent sees the descriptors
//! of its own user's processes only, so in its cell it usually finds nobody; what it cannot see is left
//! out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use agentd_kit::Host;

/// Most processes looked at, and most descriptors of one.
const MAX_PROCESSES: usize = 4096;
const MAX_DESCRIPTORS: usize = 4096;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    /// What it calls itself (`comm`).
    pub(crate) name: String,
}

/// Who holds the sockets with these inodes, as far as that can be seen.
pub(crate) fn of_sockets(host: &Host, wanted: &BTreeSet<u64>) -> BTreeMap<u64, Holder> {
    let mut holders = BTreeMap::new();
    if wanted.is_empty() {
        return holders;
    }
    let names = host.list("/proc").unwrap_or_default();
    let pids = names.iter().filter_map(|name| name.parse::<u32>().ok());
    for pid in pids.take(MAX_PROCESSES) {
        let Ok(descriptors) = fs::read_dir(host.path(format!("/proc/{pid}/fd"))) else { continue };
        let inodes: Vec<u64> = descriptors
            .take(MAX_DESCRIPTORS)
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter_map(|target| inode(&target.to_string_lossy()))
            .filter(|inode| wanted.contains(inode))
            .collect();
        if inodes.is_empty() {
            continue;
        }
        let name = host.read_text(format!("/proc/{pid}/comm")).unwrap_or_default();
        let holder = Holder { pid, name: name.trim_end().to_owned() };
        holders.extend(inodes.into_iter().map(|inode| (inode, holder.clone())));
    }
    holders
}

/// `socket:[1639]`.
fn inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_have_a_socket_inode() {
        assert_eq!(inode("socket:[1639]"), Some(1639));
        for other in ["pipe:[1639]", "socket:[]", "socket:[x]", "socket:[1", "/dev/null", ""] {
            assert_eq!(inode(other), None, "{other}");
        }
    }
}
