//! The system calls that neither nix nor rustix has: the only unsafe code of this crate.
#![allow(unsafe_code, reason = "raw system calls, each with its argument")]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::libc;

/// What [`mount_setattr`] sets.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountAttr {
    /// `MOUNT_ATTR_RDONLY`.
    pub read_only: bool,
    /// `MOUNT_ATTR_NOSUID`.
    pub no_suid: bool,
    /// `MOUNT_ATTR_NODEV`.
    pub no_dev: bool,
    /// On every mount below as well (`AT_RECURSIVE`), all or none.
    pub recursive: bool,
}

/// mount_setattr(2): sets attributes of the mount whose root `mount` is; clears none.
pub fn mount_setattr(mount: impl AsFd, attr: MountAttr) -> io::Result<()> {
    let flag = |on: bool, bit: u64| if on { bit } else { 0 };
    let set = libc::mount_attr {
        attr_set: flag(attr.read_only, libc::MOUNT_ATTR_RDONLY)
            | flag(attr.no_suid, libc::MOUNT_ATTR_NOSUID)
            | flag(attr.no_dev, libc::MOUNT_ATTR_NODEV),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if attr.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated literal; `set` is a whole `struct mount_attr` whose size
    // is passed with it; the kernel reads both before it returns, keeps neither and writes neither.
    // The descriptor is borrowed, and so open, for the length of the call.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const set,
            size_of_val(&set),
        )
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `PR_CAPBSET_DROP` by number: a kernel may know capabilities that no crate has a name for, and
/// those must go too. `false` if the kernel knows none with this number.
pub fn drop_bounding(capability: u8) -> io::Result<bool> {
    // SAFETY: prctl(2), PR_CAPBSET_DROP, takes a number and no pointer; the unused arguments are 0.
    let rc =
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
    if rc == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EINVAL) { Ok(false) } else { Err(error) }
}

/// Unblocks every signal and puts each at its default. execve(2) resets handlers by itself, but
/// neither the mask nor an ignored signal: the Rust runtime ignores SIGPIPE, and whoever started
/// agentd may have ignored others.
pub fn reset_signals() -> io::Result<()> {
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    for signal in 1..=KERNEL_SIGNALS {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            reset_signal(signal)?;
        }
    }
    Ok(())
}

/// `_NSIG` of the kernel (signal(7)), and the bytes of a set of that many.
const KERNEL_SIGNALS: c_int = 64;
const SIGNAL_SET_BYTES: usize = 8;

/// rt_sigaction(2) itself, because the C library keeps signals 32 and 33 to itself (nptl(7)) and
/// refuses them; nohup(1) and its like do leave those ignored.
fn reset_signal(signal: c_int) -> io::Result<()> {
    // `struct sigaction` of the kernel: handler, flags, restorer and mask, no longer than this on
    // any 64-bit machine. All zero is SIG_DFL, no flags, an empty mask.
    let default = [0_u64; 4];
    // SAFETY: the kernel reads one `struct sigaction` from `default`, which is as long and aligned
    // as one and outlives the call; it writes nothing, for the old action's pointer is null. SIG_DFL
    // is no function, so no handler can be entered, and the C library has no thread whose use of
    // 32 and 33 could be disturbed: the launcher has one thread, and cancels and syncs none.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            default.as_ptr(),
            std::ptr::null::<u64>(),
            SIGNAL_SET_BYTES,
        )
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// dup2(2) onto a number that execve(2) leaves open. What was open there is closed.
///
/// `number` must not belong to an `OwnedFd` or a `File` of this process: the launcher keeps all of
/// its own at [`FIRST_OWN`] and above and asks only for numbers below that.
pub fn duplicate_to(fd: impl AsFd, number: RawFd) -> io::Result<()> {
    if number >= FIRST_OWN || fd.as_fd().as_raw_fd() < FIRST_OWN {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: dup2 takes numbers only. The source is borrowed, so open. That the target is no one's
    // is checked above: owned descriptors lie at FIRST_OWN and higher, the target below.
    let rc = unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) };
    if rc == number { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Descriptors that the launcher owns lie here and above; below are the agent's.
pub const FIRST_OWN: RawFd = 10;

/// close_range(2): closes `first..FIRST_OWN` at once, where nothing of the launcher's own lies, and
/// everything from [`FIRST_OWN`] on at the next execve(2) (`CLOSE_RANGE_CLOEXEC`).
pub fn close_from(first: u32) -> io::Result<()> {
    let own = FIRST_OWN.unsigned_abs();
    if first >= own {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    close_range(first, own - 1, 0)?;
    close_range(own, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: close_range takes numbers only. Without CLOSE_RANGE_CLOEXEC it is called above for
    // numbers below FIRST_OWN alone, where no `OwnedFd` lies that would close another's number later.
    let rc = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
