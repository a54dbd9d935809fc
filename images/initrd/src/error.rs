//! Why the appliance cannot start: one variant per step, naming what it was done to.

use std::path::PathBuf;

use nix::errno::Errno;

/// A step of the boot that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    /// A mount, or the move of one.
    #[error("cannot mount {what} on {target}")]
    Mount { what: String, target: PathBuf, source: Errno },
    /// A file or directory that had to be read or written.
    #[error("cannot {verb} {path}")]
    File { verb: &'static str, path: PathBuf, source: std::io::Error },
    /// Listening for the kernel's announcements of new devices.
    #[error("cannot listen for new devices")]
    Uevents { source: Errno },
    /// No partition with that name turned up in time.
    #[error("no partition is labelled {label} after {waited}s; found: {found}")]
    NoPartition { label: &'static str, waited: u64, found: String },
    /// Two disks claim to be ours; taking either could be the wrong one.
    #[error("more than one partition is labelled {label}: {found}")]
    Ambiguous { label: &'static str, found: String },
    /// Making the appliance's root the root of the file system, or starting PID 1 in it.
    #[error("cannot {verb} {target}")]
    HandOver { verb: &'static str, target: String, source: Errno },
}

/// Why the data partition was not enlarged. Never fatal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrowError {
    /// A file of the kernel's, or the disk.
    #[error("cannot {verb} {path}: {source}")]
    File { verb: &'static str, path: PathBuf, source: std::io::Error },
    /// A number in sysfs is not one.
    #[error("{path} does not hold a number: {found:?}")]
    Number { path: PathBuf, found: String },
    /// The partition table is not one that we may rewrite.
    #[error("cannot use the partition table of {disk}: {source}")]
    Table { disk: String, source: crate::gpt::GptError },
    /// The kernel did not take the new size.
    #[error("cannot {verb} {target}: {source}")]
    Ioctl { verb: &'static str, target: String, source: Errno },
}
