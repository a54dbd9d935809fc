//! What a plan must know of the machine, gathered at the edge so that planning stays pure.
//!
//! [`HostFacts::gather`] reads the constant part once (and again on reload); [`HostFacts::look_at`]
//! looks at what one spec names, before each plan, because users and paths come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use agentd_model::AgentSpec;
use caps::CapSet;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

use crate::cgroup::{self, CgroupError};

/// Uid and primary gid of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Its uid.
    pub uid: u32,
    /// Its primary gid.
    pub gid: u32,
}

/// The control group below which agentd may make groups of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupBase {
    /// Its directory; agents go below `agents/` in it.
    pub dir: PathBuf,
    /// The controllers that its `cgroup.controllers` lists.
    pub controllers: BTreeSet<String>,
}

/// What a plan must know of the machine. Plain data: a test writes its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// agentd's own effective uid.
    pub euid: u32,
    /// agentd's own effective capabilities, as `CAP_NET_RAW`.
    pub capabilities: BTreeSet<String>,
    /// agentd's own hard limit of open files.
    pub files_hard: u64,
    /// The users that were asked about and exist.
    pub users: BTreeMap<String, Ids>,
    /// The groups that were asked about and exist, with their gid.
    pub groups: BTreeMap<String, u32>,
    /// The paths that were asked about and exist, symbolic links followed.
    pub paths: BTreeSet<PathBuf>,
    /// The symbolic links of a merged `/usr` in the root directory and where they point:
    /// `bin` -> `usr/bin`.
    pub root_links: BTreeMap<String, PathBuf>,
    /// Where agents' control groups go; absent without a delegated cgroup v2.
    pub cgroup: Option<CgroupBase>,
    /// Whether journald's socket is there.
    pub journal: bool,
}

/// The machine could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// agentd's own capabilities could not be read.
    #[error("cannot read agentd's own capabilities")]
    Capabilities(#[source] caps::errors::CapsError),
    /// agentd's own resource limits could not be read.
    #[error("cannot read agentd's own limit of open files")]
    Limits(#[source] nix::errno::Errno),
    /// agentd's own control group could not be looked at.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

impl HostFacts {
    /// journald's socket for messages with fields.
    pub const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
    /// The links that a merged `/usr` has (file-hierarchy(7)).
    const ROOT_LINKS: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

    /// Looks at the machine, but for what specs name.
    pub fn gather() -> Result<Self, FactsError> {
        let capabilities = caps::read(None, CapSet::Effective).map_err(FactsError::Capabilities)?;
        let (_, files_hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(FactsError::Limits)?;
        let root_links = Self::ROOT_LINKS
            .iter()
            .filter_map(|name| {
                let target = fs::read_link(Path::new("/").join(name)).ok()?;
                Some(((*name).to_owned(), target))
            })
            .collect();
        Ok(Self {
            euid: geteuid().as_raw(),
            capabilities: capabilities.iter().map(ToString::to_string).collect(),
            files_hard,
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            paths: BTreeSet::new(),
            root_links,
            cgroup: cgroup::find_base()?,
            journal: Path::new(Self::JOURNAL_SOCKET).exists(),
        })
    }

    /// Looks at the user, groups and paths that `spec` names, afresh each time.
    pub fn look_at(&mut self, spec: &AgentSpec) -> Result<(), FactsError> {
        let cell = &spec.cell;
        let passwd = read(Path::new("/etc/passwd"))?;
        match user_in(&passwd, &cell.user) {
            Some(ids) => self.users.insert(cell.user.clone(), ids),
            None => self.users.remove(&cell.user),
        };
        if !cell.groups.is_empty() {
            let text = read(Path::new("/etc/group"))?;
            for name in &cell.groups {
                match group_in(&text, name) {
                    Some(gid) => self.groups.insert(name.clone(), gid),
                    None => self.groups.remove(name),
                };
            }
        }
        for path in cell.read.iter().chain(&cell.write) {
            if path.exists() {
                self.paths.insert(path.clone());
            } else {
                self.paths.remove(path);
            }
        }
        self.journal = Path::new(Self::JOURNAL_SOCKET).exists();
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, FactsError> {
    // Names are ASCII; a comment field in some other encoding must not hide a user.
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(source) => Err(FactsError::Read { path: path.to_owned(), source }),
    }
}

/// The user `name` in the text of a passwd(5) file.
///
/// Read here and not through getpwnam(3), which may load network name services into agentd.
fn user_in(passwd: &str, name: &str) -> Option<Ids> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Ids { uid, gid })
    })
}

/// The gid of `name` in the text of a group(5) file.
fn group_in(group: &str, name: &str) -> Option<u32> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        broken\n\
        agentos-net:x:also-broken:1:::\n\
        agentos-network:x:971:972::/:/usr/sbin/nologin\n";

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        assert_eq!(user_in(PASSWD, "agentos-network"), Some(Ids { uid: 971, gid: 972 }));
        for absent in ["agentos", "agentos-net", "broken", "", "x"] {
            assert_eq!(user_in(PASSWD, absent), None, "{absent}");
        }
    }

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let text = "disk:x:6:\nsystemd-journal:x:999:a,b\n";
        assert_eq!(group_in(text, "systemd-journal"), Some(999));
        assert_eq!(group_in(text, "a,b"), None);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let facts = HostFacts::gather().unwrap();
        assert_eq!(facts.euid == 0, nix::unistd::geteuid().is_root());
        assert!(facts.files_hard > 0);
    }
}
