//! The file system of a cell, built inside out: the new root becomes the root first, and the host's
//! is then in reach through one descriptor only, from which paths are shown one by one. So a symbolic
//! link of the host is followed as the host means it, and nothing of the host lies under a mount of
//! ours while it is still needed.
//!
//! Mounts are made detached, get their flags, and are attached last (mount_setattr(2)): no path is
//! ever writable, not even for a moment, that is to be read-only.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use agentd_cell::sys::{MountAttr, mount_setattr};
use agentd_cell::{BindFlags, Op};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{fchdir, pivot_root};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// Room for mount points: a folder takes none, a file neither.
const ROOT_BYTES: u64 = 64 << 10;

/// The host's root, while it is in reach.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    host: Option<OwnedFd>,
}

impl Mounts {
    pub(crate) fn unshare(&self) -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
        Ok(())
    }

    pub(crate) fn empty_root(&mut self) -> io::Result<()> {
        let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        self.pivot(&tmpfs("0755", ROOT_BYTES, attr)?)
    }

    pub(crate) fn host_root(&mut self) -> io::Result<()> {
        let root = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        self.pivot(&copy(&root, BindFlags { writable: false, devices: false })?)
    }

    /// Makes `root` the root directory. The host's then lies over it, but path lookups start below
    /// it: pivot_root(2), "pivot_root(".", ".")".
    fn pivot(&mut self, root: &OwnedFd) -> io::Result<()> {
        self.host = Some(open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
        attach(root, Path::new("/"))?;
        fchdir(root)?;
        pivot_root(".", ".")?;
        Ok(())
    }

    pub(crate) fn bind(&self, path: &Path, flags: BindFlags) -> io::Result<()> {
        let source = self.on_host(path)?;
        let is_directory = FileType::from_raw_mode(fstat(&source)?.st_mode) == FileType::Directory;
        if is_directory {
            fs::create_dir_all(path)?;
        } else {
            touch(path)?;
        }
        attach(&copy(&source, flags)?, path)
    }

    pub(crate) fn private_tmp(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        fs::create_dir_all(path)?;
        attach(&tmpfs("1777", bytes, attr)?, path)
    }

    /// The nodes are the host's own, bound: mknod(2) would take one capability more.
    pub(crate) fn private_dev(&self) -> io::Result<()> {
        let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let dev = Path::new("/dev");
        fs::create_dir_all(dev)?;
        attach(&tmpfs("0755", ROOT_BYTES, attr)?, dev)?;
        let flags = BindFlags { writable: true, devices: true };
        Op::DEVICES.iter().try_for_each(|name| self.bind(&dev.join(name), flags))
    }

    pub(crate) fn seal(&self, path: &Path) -> io::Result<()> {
        let mount = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        mount_setattr(mount, MountAttr { read_only: true, ..MountAttr::default() })
    }

    pub(crate) fn detach_host(&mut self) -> io::Result<()> {
        self.host = None;
        // "." and not "/": the lookup of a mount to take off goes up to the top of what lies on it.
        umount2(".", MntFlags::MNT_DETACH)?;
        Ok(())
    }

    fn on_host(&self, path: &Path) -> io::Result<OwnedFd> {
        let Some(host) = &self.host else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the host is out of reach"));
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok(openat2(host, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?)
    }
}

/// A detached copy of `source` with all that is mounted below it.
fn copy(source: &OwnedFd, flags: BindFlags) -> io::Result<OwnedFd> {
    let how = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(source, "", how)?;
    let attr = MountAttr {
        read_only: !flags.writable,
        no_suid: true,
        no_dev: !flags.devices,
        recursive: true,
    };
    mount_setattr(&tree, attr)?;
    Ok(tree)
}

/// A detached tmpfs.
fn tmpfs(mode: &str, bytes: u64, attr: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "mode", mode)?;
    fsconfig_set_string(&context, "size", bytes.to_string())?;
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr)?)
}

fn attach(mount: impl AsFd, path: &Path) -> io::Result<()> {
    let how = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    Ok(move_mount(mount, "", CWD, path, how)?)
}

/// A mount point for a file. One that is there already, in a folder that is shown, is used.
fn touch(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let made: io::Result<File> = OpenOptions::new().write(true).create_new(true).open(path);
    made.map(drop)
}
