//! Whether KVM works here, found by using it.
//!
//! /dev/kvm may exist, open, answer and create a machine, and the guest still never prints a byte
//! (seen in nested virtualisation). So a kernel is booted, and only its first words count. The
//! verdict is kept until this machine boots again or runs another kernel.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use crate::cache::{CacheError, Key, io_error};
use crate::clock::Deadline;
use crate::exec::ExecError;
use crate::image::Image;
use crate::process::Process;
use crate::qemu::{self, Accel, Machine, Start};

/// A kernel that runs says something within a tenth of this.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first words of every kernel.
const FIRST_WORDS: &str = "Linux version";

/// What the caller wants of KVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Kvm {
    /// Use it if it works.
    #[default]
    Auto,
    /// Do without.
    Off,
}

/// KVM could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// QEMU did not start.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Files.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// How to run machines here, and why, as a sentence for people.
pub(crate) fn choose(image: &Image, wish: Kvm) -> Result<(Accel, String), KvmError> {
    let emulation = |why: &str| (Accel::Emulation, format!("emulating the processor ({why})"));
    if wish == Kvm::Off {
        return Ok(emulation("as asked"));
    }
    let device = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    if let Err(err) = device {
        return Ok(emulation(&format!("/dev/kvm: {err}")));
    }
    if works(image)? {
        Ok((Accel::Kvm, "using KVM (a kernel was seen to boot with it)".to_owned()))
    } else {
        Ok(emulation("a kernel does not boot with KVM here"))
    }
}

/// The verdict on this boot of this machine, from the cache or by trying.
fn works(image: &Image) -> Result<bool, KvmError> {
    let fact = |path: &str| fs::read(path).unwrap_or_default();
    let name = Key::default()
        .add("boot", &fact("/proc/sys/kernel/random/boot_id"))
        .add("kernel", &fact("/proc/sys/kernel/osrelease"))
        .name();
    let verdicts = image.cache().folder("kvm")?;
    let verdict = verdicts.join(&name);
    match fs::read_to_string(&verdict).as_deref() {
        Ok("yes") => return Ok(true),
        Ok("no") => return Ok(false),
        Ok(_) | Err(_) => {}
    }
    let works = boots(image)?;
    // Verdicts on earlier boots are of no more use.
    for old in fs::read_dir(&verdicts).map_err(io_error("list", &verdicts))?.flatten() {
        let _gone_already = fs::remove_file(old.path());
    }
    // Beside it first, so that nobody reads half a word.
    let beside = verdicts.join(format!("{name}.{}", std::process::id()));
    fs::write(&beside, if works { "yes" } else { "no" }).map_err(io_error("write", &beside))?;
    fs::rename(&beside, &verdict).map_err(io_error("put in place", &verdict))?;
    Ok(works)
}

/// Boots the kernel without a disk that it could find anything on, and listens.
fn boots(image: &Image) -> Result<bool, KvmError> {
    let folder = tempfile::tempdir().map_err(io_error("create", &std::env::temp_dir()))?;
    let tools = image.tools();
    let args = qemu::arguments(&Machine {
        accel: Accel::Kvm,
        cpus: 2,
        memory_mib: 512,
        start: Start::Direct {
            kernel: image.kernel(),
            initrd: None,
            command_line: "console=ttyS0 panic=0".to_owned(),
        },
        disk: Path::new("/dev/null"),
        disk_format: "raw",
        network: false,
        folder: folder.path(),
        tools: tools.root(),
        credentials: Vec::new(),
    });
    let qemu = tools.program("qemu-system-x86_64").args(args);
    let mut process = Process::start(&qemu, folder.path())?;
    let log = qemu::console_log(folder.path());
    let deadline = Deadline::after(PATIENCE);
    while !deadline.is_over() {
        let said = fs::read(&log).unwrap_or_default();
        if String::from_utf8_lossy(&said).contains(FIRST_WORDS) {
            return Ok(true);
        }
        if process.wait(Duration::from_millis(50)).is_some() {
            return Ok(false);
        }
    }
    Ok(false)
}
