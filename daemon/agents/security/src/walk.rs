//! Walks the real file systems of the machine and picks out programs that run with their owner's
//! rights: regular files with the set-user-ID bit, or the set-group-ID bit together with that for
//! running (inode(7)).
//!
//! Every directory is opened relative to its parent's descriptor and without following a link, so that
//! nobody who renames things meanwhile can lead the walk elsewhere. It is bounded in depth, in entries
//! and by its caller's word; where a bound is hit it fails, because a walk that was not finished has
//! shown nothing.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, Stat};

/// Deepest nesting; each level holds one descriptor.
const MAX_DEPTH: usize = 96;
/// Most directory entries in one walk.
const MAX_ENTRIES: u64 = 4_000_000;
/// Most files picked out.
const MAX_FOUND: usize = 4096;
/// Entries between two questions whether to go on.
const STRIDE: u64 = 256;

/// File systems that keep files and honour the bits (statfs(2), linux/magic.h). What lies in memory is
/// gone with the next boot and mounted `nosuid` on this appliance; what lies on another machine is that
/// one's.
const REAL: [u64; 13] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0xf2f5_2010, // F2FS
    0xca45_1a4e, // bcachefs
    0x2fc1_2fc1, // ZFS
    0x3153_464a, // JFS
    0x5265_4973, // reiserfs
    0x3434,      // NILFS2
    0x2405_1905, // UBIFS
    0x7371_7368, // squashfs
    0xe0f5_e1e2, // EROFS
    0x794c_7630, // overlayfs
];

/// A file that runs with other rights than its caller's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Privileged {
    /// Absolute on the machine; bytes that are not UTF-8 became U+FFFD.
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What a whole walk saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) found: Vec<Privileged>,
    /// Entries looked at.
    pub(crate) entries: u64,
    /// Directories that may not be entered with this process's rights.
    pub(crate) closed: u64,
}

/// The walk was not finished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    /// The root itself could not be opened.
    #[error("cannot open {}", path.display())]
    Root {
        /// What was to be opened.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The disk or its file system failed.
    #[error("cannot read below {path}")]
    Read {
        /// Where.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// More entries than are looked at.
    #[error("there are more than {MAX_ENTRIES} files")]
    TooMany,
    /// Nested deeper than is followed.
    #[error("{path} is nested more than {MAX_DEPTH} deep")]
    TooDeep {
        /// The directory that was not entered.
        path: String,
    },
    /// More files picked out than are kept.
    #[error("more than {MAX_FOUND} files run with other rights than their caller's")]
    TooManyFound,
    /// The caller said stop.
    #[error("not finished in time: {entries} files seen, the last below {path}")]
    Stopped {
        /// How many.
        entries: u64,
        /// Where.
        path: String,
    },
}

/// Walks everything below `root`, which stands for `/`. Asks `go_on` every few hundred entries.
/// Blocks in the file system.
pub(crate) fn walk(root: &Path, go_on: &dyn Fn() -> bool) -> Result<Walked, WalkError> {
    let fail = |source: rustix::io::Errno| WalkError::Root {
        path: root.to_owned(),
        source: source.into(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, root, flags, Mode::empty()).map_err(fail)?;
    let device = rustix::fs::fstat(&fd).map_err(fail)?.st_dev;
    Walk::new(Dir::new(fd).map_err(fail)?, device, is_real, go_on).run()
}

/// Whether what is mounted on a name in a directory is to be entered.
type Enters = fn(BorrowedFd<'_>, &CStr) -> bool;

struct Walk<'a> {
    go_on: &'a dyn Fn() -> bool,
    enters: Enters,
    /// The directory being read and those above it.
    levels: Vec<Level>,
    walked: Walked,
}

struct Level {
    dir: Dir,
    device: u64,
    name: String,
}

impl<'a> Walk<'a> {
    fn new(root: Dir, device: u64, enters: Enters, go_on: &'a dyn Fn() -> bool) -> Self {
        let levels = vec![Level { dir: root, device, name: String::new() }];
        Self { go_on, enters, levels, walked: Walked::default() }
    }

    fn run(mut self) -> Result<Walked, WalkError> {
        while let Some(level) = self.levels.last_mut() {
            match level.dir.read() {
                None => drop(self.levels.pop()),
                Some(Ok(entry)) => self.entry(&entry)?,
                Some(Err(err)) => {
                    return Err(WalkError::Read { path: self.path(""), source: err.into() });
                }
            }
        }
        self.walked.found.sort();
        Ok(self.walked)
    }

    fn entry(&mut self, entry: &DirEntry) -> Result<(), WalkError> {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            return Ok(());
        }
        self.walked.entries += 1;
        if self.walked.entries > MAX_ENTRIES {
            return Err(WalkError::TooMany);
        }
        if self.walked.entries.is_multiple_of(STRIDE) && !(self.go_on)() {
            return Err(WalkError::Stopped { entries: self.walked.entries, path: self.path("") });
        }
        match entry.file_type() {
            // A file system may leave the type out (readdir(3), DT_UNKNOWN).
            FileType::RegularFile | FileType::Directory | FileType::Unknown => {}
            _link_device_pipe_or_socket => return Ok(()),
        }
        let Some(level) = self.levels.last() else { return Ok(()) };
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = match rustix::fs::statat(level.dir.fd()?, name, flags) {
            Ok(stat) => stat,
            Err(err) => return self.passed_over(name, err),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(name, &stat),
            FileType::Directory => self.directory(name, &stat),
            _link_device_pipe_or_socket => Ok(()),
        }
    }

    fn file(&mut self, name: &CStr, stat: &Stat) -> Result<(), WalkError> {
        let mode = Mode::from_raw_mode(stat.st_mode);
        // The set-group-ID bit without that for running is a mark for locking (inode(7)).
        let runs_as_owner = mode.contains(Mode::SUID);
        let runs_as_group = mode.contains(Mode::SGID | Mode::XGRP);
        if !runs_as_owner && !runs_as_group {
            return Ok(());
        }
        if self.walked.found.len() == MAX_FOUND {
            return Err(WalkError::TooManyFound);
        }
        let path = self.path(&name.to_string_lossy());
        let mode = stat.st_mode & 0o7777;
        self.walked.found.push(Privileged { path, mode, uid: stat.st_uid, gid: stat.st_gid });
        Ok(())
    }

    fn directory(&mut self, name: &CStr, stat: &Stat) -> Result<(), WalkError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let parent = level.dir.fd()?;
        if stat.st_dev != level.device && !(self.enters)(parent, name) {
            return Ok(());
        }
        let shown = name.to_string_lossy();
        if self.levels.len() == MAX_DEPTH {
            return Err(WalkError::TooDeep { path: self.path(&shown) });
        }
        match enter(parent, name) {
            Ok(dir) => {
                let name = shown.into_owned();
                self.levels.push(Level { dir, device: stat.st_dev, name });
                Ok(())
            }
            Err(err) => self.passed_over(name, err),
        }
    }

    /// What to make of an entry that could not be looked at.
    fn passed_over(&mut self, name: &CStr, err: rustix::io::Errno) -> Result<(), WalkError> {
        use rustix::io::Errno;
        match err {
            Errno::ACCESS | Errno::PERM => {
                self.walked.closed += 1;
                Ok(())
            }
            // Gone, or something else meanwhile.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Ok(()),
            err => Err(WalkError::Read {
                path: self.path(&name.to_string_lossy()),
                source: err.into(),
            }),
        }
    }

    /// The path of `name` in the directory being read.
    fn path(&self, name: &str) -> String {
        let mut path: String =
            self.levels.iter().skip(1).flat_map(|level| ["/", level.name.as_str()]).collect();
        if path.is_empty() || !name.is_empty() {
            path.push('/');
        }
        path + name
    }
}

impl From<rustix::io::Errno> for WalkError {
    fn from(err: rustix::io::Errno) -> Self {
        Self::Read { path: "/".to_owned(), source: err.into() }
    }
}

/// Opens a directory that was one a moment ago, and nothing that stands in its place now.
fn enter(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).and_then(Dir::new)
}

/// Whether what is mounted there is one of [`REAL`]. Looks without entering, so that nothing is mounted
/// by being looked at (open(2), `O_PATH`).
fn is_real(parent: BorrowedFd<'_>, name: &CStr) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let magic = rustix::fs::openat(parent, name, flags, Mode::empty())
        .and_then(|fd: OwnedFd| rustix::fs::fstatfs(&fd))
        .map(|stat| u64::try_from(stat.f_type).unwrap_or_default());
    magic.is_ok_and(|magic| REAL.contains(&magic))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn put(root: &Path, path: &str, mode: u32) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn walked(root: &Path) -> Walked {
        walk(root, &|| true).unwrap()
    }

    fn paths(walked: &Walked) -> Vec<&str> {
        walked.found.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn programs_with_other_rights_are_picked_out() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "usr/bin/su", 0o4755);
        put(dir.path(), "usr/bin/plain", 0o755);
        put(dir.path(), "usr/sbin/check", 0o2755);
        put(dir.path(), "var/locked", 0o2644);
        put(dir.path(), "not-for-running", 0o4000);
        let walked = walked(dir.path());
        assert_eq!(paths(&walked), ["/not-for-running", "/usr/bin/su", "/usr/sbin/check"]);
        assert_eq!(walked.found[1].mode, 0o4755);
        assert_eq!(walked.entries, 9, "four directories and five files");
    }

    #[test]
    fn links_are_not_followed_and_loops_do_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        put(elsewhere.path(), "su", 0o4755);
        symlink(elsewhere.path(), dir.path().join("out")).unwrap();
        symlink(elsewhere.path().join("su"), dir.path().join("su")).unwrap();
        symlink(".", dir.path().join("loop")).unwrap();
        assert_eq!(paths(&walked(dir.path())), [""; 0]);
    }

    #[test]
    fn a_walk_that_is_stopped_or_too_deep_fails() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..STRIDE {
            put(dir.path(), &format!("many/{n}"), 0o644);
        }
        let err = walk(dir.path(), &|| false).unwrap_err();
        assert!(matches!(err, WalkError::Stopped { entries: STRIDE, .. }), "{err}");

        let deep = tempfile::tempdir().unwrap();
        let just: PathBuf = std::iter::repeat_n("d", MAX_DEPTH - 1).collect();
        fs::create_dir_all(deep.path().join(&just)).unwrap();
        assert_eq!(walked(deep.path()).entries, MAX_DEPTH as u64 - 1);
        fs::create_dir(deep.path().join(just).join("d")).unwrap();
        let err = walk(deep.path(), &|| true).unwrap_err();
        assert!(matches!(err, WalkError::TooDeep { .. }), "{err}");
    }

    #[test]
    fn a_name_of_any_bytes_is_shown() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(std::ffi::OsStr::from_bytes(b"a\xff\n"));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
        assert_eq!(paths(&walked(dir.path())), ["/a\u{fffd}\n"]);
    }

    #[test]
    fn a_link_in_the_place_of_a_directory_is_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("there")).unwrap();
        symlink("there", dir.path().join("link")).unwrap();
        let parent = fs::File::open(dir.path()).unwrap();
        assert!(enter(parent.as_fd(), c"there").is_ok());
        assert!(enter(parent.as_fd(), c"link").is_err());
    }

    #[test]
    fn another_file_system_is_entered_only_where_it_is_a_real_one() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "mnt/su", 0o4755);
        // No device has this number, so every directory looks like another file system.
        let walked = |enters| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(CWD, dir.path(), flags, Mode::empty()).unwrap();
            Walk::new(Dir::new(fd).unwrap(), u64::MAX, enters, &|| true).run().unwrap()
        };
        assert_eq!(paths(&walked(|_, _| false)), [""; 0]);
        assert_eq!(paths(&walked(|_, _| true)), ["/mnt/su"]);
    }

    #[test]
    fn file_systems_in_memory_are_not_entered() {
        let parent = fs::File::open("/").unwrap();
        let is_real = |name: &CStr| is_real(parent.as_fd(), name);
        assert!(!is_real(c"proc") && !is_real(c"sys") && !is_real(c"no-such-directory"));
    }

    #[test]
    fn a_root_that_is_not_there_is_an_error() {
        let err = walk(Path::new("/no/such/root"), &|| true).unwrap_err();
        assert!(matches!(err, WalkError::Root { .. }), "{err}");
    }
}
