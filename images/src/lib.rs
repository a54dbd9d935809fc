//! The agentos image: building it with mkosi and booting it in QEMU.
//!
//! `cargo boot` is the front end for people; tests use [`Image`] and [`Vm`]:
//!
//! ```no_run
//! use std::time::Duration;
//! use images::{BuildOptions, Image, Progress, Vm, VmOptions, await_agents};
//!
//! let image = Image::build(&BuildOptions::default(), Progress::quiet())?;
//! let mut vm = Vm::boot(&image, &VmOptions::default())?;
//! await_agents(&mut vm)?;
//! let output = vm.run("agentctl list --json", Duration::from_secs(30))?;
//! assert_eq!(output.status, 0);
//! vm.shutdown()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What must hold: nothing is left behind by an interrupted or failed build or boot but downloads
//! and logs; nothing of the host's but its cache folder is written to; no machine outlives us.
#![forbid(unsafe_code)]

mod bench;
mod boot;
mod cache;
mod cli;
mod clock;
mod console;
mod cpio;
mod exec;
mod guest;
mod host;
mod image;
mod interrupt;
mod kvm;
mod mirror;
mod mkosi;
mod process;
mod programs;
mod progress;
mod qemu;
mod stage;
mod stock;
mod timing;
mod tools;
mod vm;

pub use bench::{BenchError, boot as bench_boot};
pub use boot::{BootError, boot};
pub use cache::{Cache, CacheError};
pub use cli::{BenchCommand, BootArgs, BuildArgs, Cli, Command};
pub use exec::ExecError;
pub use guest::{GuestError, Output};
pub use host::{HostError, provide};
pub use image::{BuildError, BuildOptions, Image, compressed_size};
pub use interrupt::{INTERRUPTED_STATUS, is_interrupted, listen};
pub use kvm::{Kvm, KvmError};
pub use mirror::{Mirror, NoMirror};
pub use mkosi::{MkosiError, MkosiRunError, Pin};
pub use progress::Progress;
pub use qemu::Accel;
pub use stage::StageError;
pub use timing::{BootTimes, ReadyError, await_agents};
pub use tools::ToolsError;
pub use vm::{Vm, VmError, VmOptions};

/// Pins the mkosi that the mirror has now, and says which it is.
pub fn renew_pin(mirror: Option<&str>, progress: Progress) -> Result<(), BuildError> {
    let mirror = Mirror::find(mirror, std::path::Path::new("/etc/apt"))?;
    let cache = Cache::open()?;
    let pin = Pin::renew(&image::repository(), &cache, &mirror)?;
    progress.say(&format!("pinned {pin}"));
    Ok(())
}
