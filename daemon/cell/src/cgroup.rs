//! Control groups, version 2 (the kernel's `admin-guide/cgroup-v2`): finding the delegated one, and
//! the leaf of each agent below it.
//!
//! ```text
//! agentd.service/            delegated to agentd; no process of its own, as the kernel wants it
//! ├─ supervisor/             agentd (DelegateSubgroup=supervisor)
//! └─ agents/
//!    ├─ network/             one agent: a leaf
//!    └─ ...
//! ```
//! Every error names the file and what was to be written. Nothing here waits: that a killed group
//! becomes empty is for the caller to see.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::{CgroupBase, CgroupPlan, Setting};

/// The group in which systemd puts agentd itself (`DelegateSubgroup=`).
const SUPERVISOR: &str = "supervisor";

/// Something about a control group failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file could not be written.
    #[error("cannot write {value:?} to {}", file.display())]
    Write {
        /// Which file.
        file: PathBuf,
        /// What.
        value: String,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A group could not be made.
    #[error("cannot make control group {}", dir.display())]
    Create {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A group could not be removed.
    #[error("cannot remove control group {}", dir.display())]
    Remove {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The group of an agent to be started still holds processes.
    #[error("control group {} still holds processes", dir.display())]
    Populated {
        /// Which.
        dir: PathBuf,
    },
}

/// The control group of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    dir: PathBuf,
}

impl Leaf {
    /// Makes the group, with its limits. An empty one left behind is made anew, so that its counters
    /// begin at zero; one with processes in it is refused ([`CgroupError::Populated`]).
    pub fn create(plan: &CgroupPlan) -> Result<Self, CgroupError> {
        let leaf = Self { dir: plan.leaf.clone() };
        let inner = plan.base.join("agents");
        enable(&plan.base, &plan.controllers)?;
        make(&inner)?;
        enable(&inner, &plan.controllers)?;
        if leaf.is_populated()? {
            return Err(CgroupError::Populated { dir: leaf.dir });
        }
        leaf.remove()?;
        make(&leaf.dir)?;
        leaf.set(&plan.settings)?;
        Ok(leaf)
    }

    /// The group that an earlier start made at `dir`; it is not touched.
    pub fn existing(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Kills every process in it (`cgroup.kill`, which no fork outruns). They are gone once
    /// [`Leaf::is_populated`] says so. A group that is gone has none to kill.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match write(&self.dir.join("cgroup.kill"), "1") {
            Err(CgroupError::Write { source, .. }) if is_gone(&source) => Ok(()),
            done => done,
        }
    }

    /// Whether it holds a living process. A group that is gone holds none.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        let text = self.read("cgroup.events")?;
        Ok(text.is_some_and(|text| value_of(&text, "populated") == Some(1)))
    }

    /// Removes it; it must be empty. One that is gone already is no error.
    pub fn remove(&self) -> Result<(), CgroupError> {
        match fs::remove_dir(&self.dir) {
            Err(source) if !is_gone(&source) => {
                Err(CgroupError::Remove { dir: self.dir.clone(), source })
            }
            _ => Ok(()),
        }
    }

    fn set(&self, settings: &[Setting]) -> Result<(), CgroupError> {
        settings.iter().try_for_each(|s| write(&self.dir.join(&s.file), &s.value))
    }

    fn read(&self, name: &str) -> Result<Option<String>, CgroupError> {
        let file = self.dir.join(name);
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Some(text)),
            Err(source) if is_gone(&source) => Ok(None),
            Err(source) => Err(CgroupError::Read { file, source }),
        }
    }
}

/// The group below which agentd may make its own: the parent of agentd's own group where that is
/// named `supervisor` and the parent may be written to. `None` elsewhere: a group that systemd has
/// not given away is systemd's alone to change (systemd's `CGROUP_DELEGATION`).
pub fn find_base() -> Result<Option<CgroupBase>, CgroupError> {
    let own = read_file(Path::new("/proc/self/cgroup"))?;
    let mounts = read_file(Path::new("/proc/self/mountinfo"))?;
    let Some(dir) = base_dir(&own, &mounts) else { return Ok(None) };
    if access(&dir.join("cgroup.procs"), AccessFlags::W_OK).is_err() {
        return Ok(None);
    }
    let listed = read_file(&dir.join("cgroup.controllers"))?;
    let controllers = listed.split_whitespace().map(str::to_owned).collect();
    Ok(Some(CgroupBase { dir, controllers }))
}

/// The directory of the delegated group, from `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn base_dir(own: &str, mountinfo: &str) -> Option<PathBuf> {
    // cgroups(7), "/proc files": version 2 is the line with hierarchy 0 and no controllers.
    let group = Path::new(own.lines().find_map(|line| line.strip_prefix("0::"))?);
    if group.file_name()? != SUPERVISOR {
        return None;
    }
    let group = group.parent()?;
    mountinfo.lines().find_map(|line| {
        // proc_pid_mountinfo(5): fields 4 and 5 are root and mount point, the type follows " - ".
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        Some(Path::new(&point).join(group.strip_prefix(root).ok()?))
    })
}

/// Undoes the `\040` for space, `\011`, `\012` and `\134` of proc_pid_mountinfo(5).
fn unescape(field: &str) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(field.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn enable(dir: &Path, controllers: &[String]) -> Result<(), CgroupError> {
    let file = dir.join("cgroup.subtree_control");
    let enabled = read_file(&file)?;
    controllers
        .iter()
        .filter(|name| !enabled.split_whitespace().any(|e| e == name.as_str()))
        .try_for_each(|name| write(&file, &format!("+{name}")))
}

fn make(dir: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(dir) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(CgroupError::Create { dir: dir.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// One write(2), which is what the kernel takes for one command.
fn write(file: &Path, value: &str) -> Result<(), CgroupError> {
    let write = || OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes());
    write().map_err(|source| CgroupError::Write {
        file: file.to_owned(),
        value: value.to_owned(),
        source,
    })
}

fn read_file(file: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(file).map_err(|source| CgroupError::Read { file: file.to_owned(), source })
}

/// A group that was removed answers ENOENT at its path and ENODEV on a file opened before.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENODEV)
}

/// The number after `key` in a file of `key number` lines.
fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "24 30 0:22 / /proc rw - proc proc rw\n\
        35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_base_is_the_parent_of_the_supervisors_group() {
        let own = "0::/system.slice/agentd.service/supervisor\n";
        let dir = Path::new("/sys/fs/cgroup/system.slice/agentd.service");
        assert_eq!(base_dir(own, MOUNTS).as_deref(), Some(dir));
    }

    #[test]
    fn version_1_beside_version_2_does_not_confuse_it() {
        let own = "9:memory:/a/supervisor\n1:name=systemd:/b/supervisor\n0::/c/supervisor\n";
        let mounts = "31 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            41 30 0:38 /c /mnt/with\\040space rw - cgroup2 cgroup2 rw\n";
        assert_eq!(base_dir(own, mounts).as_deref(), Some(Path::new("/mnt/with space")));
    }

    #[test]
    fn what_was_not_delegated_is_left_alone() {
        for own in
            ["0::/", "0::/user.slice/session-2.scope", "0::/x/supervisor2", "9:memory:/a", ""]
        {
            assert_eq!(base_dir(own, MOUNTS), None, "{own:?}");
        }
        // Mounted elsewhere than where this process is.
        let other = "35 24 0:30 /other /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(base_dir("0::/x/supervisor", other), None);
    }

    #[test]
    fn only_what_is_not_enabled_yet_is_enabled() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cgroup.subtree_control");
        let names = ["cpu".to_owned(), "memory".to_owned()];
        fs::write(&file, "cpu memory\n").unwrap();
        enable(dir.path(), &names).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "cpu memory\n");
        fs::write(&file, "cpu").unwrap();
        enable(dir.path(), &names).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "+memory");
    }

    #[test]
    fn each_setting_goes_to_its_file_and_an_error_names_both() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.max"), "").unwrap();
        let leaf = Leaf::existing(dir.path().to_owned());
        let set = |file: &str, value: &str| Setting { file: file.into(), value: value.into() };
        leaf.set(&[set("memory.max", "1048576")]).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("memory.max")).unwrap(), "1048576");

        let error = leaf.set(&[set("pids.max", "32")]).unwrap_err();
        let file = dir.path().join("pids.max");
        assert_eq!(error.to_string(), format!("cannot write \"32\" to {}", file.display()));
    }

    #[test]
    fn events_are_read_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let leaf = Leaf::existing(dir.path().to_owned());
        for (text, populated) in
            [("populated 0\nfrozen 0\n", false), ("frozen 1\npopulated 1\n", true)]
        {
            fs::write(dir.path().join("cgroup.events"), text).unwrap();
            assert_eq!(leaf.is_populated().unwrap(), populated);
        }
    }

    #[test]
    fn a_group_that_is_gone_is_empty_killed_and_removed() {
        let leaf = Leaf::existing(PathBuf::from("/nonexistent/group"));
        assert!(!leaf.is_populated().unwrap());
        leaf.kill().unwrap();
        leaf.remove().unwrap();
    }
}
