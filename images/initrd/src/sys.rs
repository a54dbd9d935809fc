//! The two ioctls that nix has no function for. The only unsafe code of the initrd.
#![allow(
    unsafe_code,
    reason = "ioctl(2) with a pointer has no safe form; each call states why it is sound"
)]

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;

nix::ioctl_write_ptr! {
    /// EXT4_IOC_RESIZE_FS: kernel, fs/ext4/ext4.h. Grows a mounted file system to so many blocks.
    ext4_resize, b'f', 16, u64
}
nix::ioctl_write_ptr_bad! {
    /// BLKPG: kernel, include/uapi/linux/blkpg.h. Declared as if it had no argument.
    blkpg, nix::request_code_none!(0x12, 105), BlkpgArg
}

/// Kernel, include/uapi/linux/blkpg.h.
const BLKPG_RESIZE_PARTITION: libc::c_int = 3;

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct BlkpgArg {
    op: libc::c_int,
    flags: libc::c_int,
    datalen: libc::c_int,
    data: *mut BlkpgPartition,
}

/// `struct blkpg_partition`.
#[repr(C)]
#[derive(Debug)]
struct BlkpgPartition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    pno: libc::c_int,
    devname: [libc::c_char; 64],
    volname: [libc::c_char; 64],
}

/// Grows the ext4 file system that `inside` lies on to `blocks` of its blocks.
pub(crate) fn resize_ext4(inside: &File, blocks: u64) -> Result<(), Errno> {
    // SAFETY: the call reads one u64 through the pointer and keeps none; `blocks` lives on this
    // frame until it returns, and the descriptor is borrowed from an open File.
    unsafe { ext4_resize(inside.as_raw_fd(), &raw const blocks) }.map(drop)
}

/// Tells the kernel that partition `number` of the open `disk` has a new length in bytes.
pub(crate) fn resize_partition(
    disk: &File,
    number: usize,
    start: u64,
    length: u64,
) -> Result<(), Errno> {
    let too_big = |_| Errno::EOVERFLOW;
    let mut partition = BlkpgPartition {
        start: i64::try_from(start).map_err(too_big)?,
        length: i64::try_from(length).map_err(too_big)?,
        pno: i32::try_from(number).map_err(too_big)?,
        devname: [0; 64],
        volname: [0; 64],
    };
    let arg = BlkpgArg {
        op: BLKPG_RESIZE_PARTITION,
        flags: 0,
        datalen: i32::try_from(size_of::<BlkpgPartition>()).map_err(too_big)?,
        data: &raw mut partition,
    };
    // SAFETY: `arg` and the `partition` that it points to are laid out as the kernel's own
    // structures (repr(C), fields in the header's order), live until the call returns, and are
    // only read by it (block/ioctl.c, blkpg_do_ioctl).
    unsafe { blkpg(disk.as_raw_fd(), &raw const arg) }.map(drop)
}
