//! Mounting the appliance's root and handing over to its PID 1.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot, execv};

use crate::block::Partitions;
use crate::clock::Clock;
use crate::error::BootError;

/// The program that becomes PID 1 of the appliance.
const INIT: &str = "/usr/lib/systemd/systemd";

/// When the initrd began and ended, for whoever breaks a boot down.
const TIMING: &str = "/run/agentos-initrd";

const NOTHING_SPECIAL: MsFlags =
    MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// /proc, /sys, /dev and /run, with the options that systemd would give them (it leaves alone what
/// it finds mounted: systemd, src/shared/mount-setup.c).
pub(crate) fn mount_kernel_file_systems() -> Result<(), BootError> {
    for (fstype, target, flags, data) in [
        ("proc", "/proc", NOTHING_SPECIAL, ""),
        ("sysfs", "/sys", NOTHING_SPECIAL, ""),
        ("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755"),
        (
            "tmpfs",
            "/run",
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            "mode=0755,size=20%,nr_inodes=800k",
        ),
    ] {
        create_dir(Path::new(target))?;
        mount_one(fstype, Path::new(target), Some(fstype), flags, data)?;
    }
    Ok(())
}

/// The root read-only and the data partition on its /var.
///
/// Checking the root against a hash goes here, before the first mount.
pub(crate) fn mount_disks(partitions: &Partitions, sysroot: &Path) -> Result<(), BootError> {
    create_dir(sysroot)?;
    let root = partitions.root.device();
    let read_only = MsFlags::MS_RDONLY | MsFlags::MS_NOATIME;
    // `noload`: replaying a journal would write to the root.
    mount_one(&root.to_string_lossy(), sysroot, Some("ext4"), read_only, "noload")?;
    let data = partitions.data.device();
    let writable = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    mount_one(&data.to_string_lossy(), &sysroot.join("var"), Some("ext4"), writable, "")
}

/// Tells journald that /var is there already, so that it writes to it from its first line instead
/// of to /run until a unit tells it (systemd, src/journal/journald-manager.c, `flushed`).
pub(crate) fn announce_var() -> Result<(), BootError> {
    let flag = Path::new("/run/systemd/journal/flushed");
    let failed = |source| BootError::File { verb: "write", path: flag.to_owned(), source };
    flag.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    fs::write(flag, b"").map_err(failed)
}

/// Leaves the times of this program in /run, which the appliance inherits.
pub(crate) fn record_timing(clock: &Clock) -> Result<(), BootError> {
    let text = format!(
        "started_us={}\nended_us={}\n",
        clock.started().as_micros(),
        clock.now().as_micros()
    );
    fs::write(TIMING, text).map_err(|source| BootError::File {
        verb: "write",
        path: TIMING.into(),
        source,
    })
}

/// Makes `sysroot` the root and becomes its PID 1. Returns only if that failed.
pub(crate) fn hand_over(sysroot: &Path) -> Result<Infallible, BootError> {
    for name in ["proc", "sys", "dev", "run"] {
        let from = Path::new("/").join(name);
        mount_one(&from.to_string_lossy(), &sysroot.join(name), None, MsFlags::MS_MOVE, "")?;
    }
    // The memory of this program's file is freed once it is no longer run.
    fs::remove_file("/init").map_err(|source| BootError::File {
        verb: "remove",
        path: "/init".into(),
        source,
    })?;
    let failed = |verb, target: &str| {
        let target = target.to_owned();
        move |source| BootError::HandOver { verb, target, source }
    };
    let new_root = sysroot.to_string_lossy();
    chdir(sysroot).map_err(failed("enter", &new_root))?;
    mount_one(".", Path::new("/"), None, MsFlags::MS_MOVE, "")?;
    chroot(".").map_err(failed("change root to", &new_root))?;
    chdir("/").map_err(failed("enter", "/"))?;
    let init = CString::new(INIT).expect("a literal without a NUL");
    execv(&init, std::slice::from_ref(&init)).map_err(failed("run", INIT))
}

/// One mount; `data` is the file system's own options.
fn mount_one(
    what: &str,
    target: &Path,
    fstype: Option<&str>,
    flags: MsFlags,
    data: &str,
) -> Result<(), BootError> {
    let data = (!data.is_empty()).then_some(data);
    mount(Some(what), target, fstype, flags, data).map_err(|source| BootError::Mount {
        what: what.to_owned(),
        target: target.to_owned(),
        source,
    })
}

fn create_dir(path: &Path) -> Result<(), BootError> {
    fs::create_dir_all(path).map_err(|source| BootError::File {
        verb: "create",
        path: path.to_owned(),
        source,
    })
}
