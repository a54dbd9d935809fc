//! A machine booted from the image: its own disk over the image's, a runner for commands, a log of
//! its console. Dropping it kills it and removes its disk.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::cache::{CacheError, io_error};
use crate::clock::Deadline;
use crate::exec::{ExecError, Program};
use crate::guest::{self, GuestError, Output, Runner};
use crate::image::Image;
use crate::kvm::{self, Kvm, KvmError};
use crate::process::Process;
use crate::progress::Progress;
use crate::qemu::{self, Accel, Machine, Start};

/// How long a boot may take before it counts as hung: ten times what emulation needs.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
/// And the way down.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(120);

/// What kind of machine to boot.
#[derive(Debug, Clone)]
pub struct VmOptions {
    /// Through OVMF and the image's own way of booting, rather than a kernel that QEMU loads.
    pub firmware: bool,
    /// Let the guest reach the host's network.
    pub network: bool,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// The size of the disk in MiB; the data partition grows into what is more than the image.
    pub disk_mib: u32,
    /// Whether to use KVM.
    pub kvm: Kvm,
    /// A disk to use and to leave, instead of one of this machine's own.
    pub(crate) kept_disk: Option<PathBuf>,
}

impl Default for VmOptions {
    fn default() -> Self {
        Self {
            firmware: false,
            network: false,
            memory_mib: 1024,
            cpus: 2,
            disk_mib: 2048,
            kvm: Kvm::Auto,
            kept_disk: None,
        }
    }
}

/// A machine could not be booted or did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// QEMU or one of its tools.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Trying KVM.
    #[error("cannot find out whether KVM works")]
    Kvm(#[from] KvmError),
    /// Files.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// QEMU runs but cannot be reached.
    #[error("cannot reach QEMU at {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The runner; with what the console said last.
    #[error("{what}{console}")]
    Guest {
        /// What went wrong.
        what: GuestError,
        /// The end of the console and of QEMU's own words, indented.
        console: String,
    },
    /// QEMU ended as it should not have.
    #[error("QEMU ended with {status}{console}")]
    Qemu {
        /// How.
        status: String,
        /// The end of the console and of QEMU's own words, indented.
        console: String,
    },
    /// The machine was told to power off, and did not.
    #[error("the machine did not power off within {} s{console}", SHUTDOWN_LIMIT.as_secs())]
    StillUp {
        /// The end of the console and of QEMU's own words, indented.
        console: String,
    },
}

/// A machine that runs.
#[derive(Debug)]
pub struct Vm {
    // Before the folder: QEMU ends first, then its files go.
    process: Process,
    runner: Runner,
    folder: TempDir,
    boot_id: String,
    how: String,
    _image: Image,
}

impl Vm {
    /// Boots a machine and waits until it takes commands, which is when `multi-user.target` is
    /// reached. Whether agentd and its agents are ready is for the caller to ask.
    pub fn boot(image: &Image, options: &VmOptions) -> Result<Self, VmError> {
        let (mut vm, how) = Self::start(image, options)?;
        vm.how = how;
        vm.await_hello()?;
        Ok(vm)
    }

    /// The same, saying on the way how the processor is run.
    pub(crate) fn boot_loudly(
        image: &Image,
        options: &VmOptions,
        progress: Progress,
    ) -> Result<Self, VmError> {
        let (mut vm, how) = Self::start(image, options)?;
        progress.say(&how);
        vm.how = how;
        vm.await_hello()?;
        Ok(vm)
    }

    fn start(image: &Image, options: &VmOptions) -> Result<(Self, String), VmError> {
        let (accel, how) = kvm::choose(image, options.kvm)?;
        let folder = tempfile::Builder::new()
            .prefix("agentos-vm-")
            .tempdir()
            .map_err(io_error("create a folder in", &std::env::temp_dir()))?;
        let disk = prepare_disk(image, options, folder.path())?;
        let program = program(image, options, accel, &disk, folder.path())?;
        let mut process = Process::start(&program, folder.path())?;
        let runner = connect(&mut process, &qemu::runner_socket(folder.path()), folder.path())?;
        let runner = Runner::new(runner).map_err(|source| VmError::Connect {
            path: qemu::runner_socket(folder.path()),
            source,
        })?;
        let vm = Self {
            process,
            runner,
            folder,
            boot_id: String::new(),
            how: String::new(),
            _image: image.clone(),
        };
        Ok((vm, how))
    }

    fn await_hello(&mut self) -> Result<(), VmError> {
        let Self { runner, process, folder, .. } = self;
        let log = qemu::console_log(folder.path());
        let mut alive = || process.is_running() && !has_panicked(&log);
        let hello = runner.hello(BOOT_LIMIT, &mut alive);
        self.boot_id = hello.map_err(|what| self.explain(what))?;
        Ok(())
    }

    /// Runs a bash script in the machine, as root, and waits for its end.
    ///
    /// What the script leaves running in the background stays; its output is not waited for.
    ///
    /// # Errors
    /// When the machine does not answer, or the script takes longer than `limit`; not when the
    /// script's status is not 0.
    pub fn run(&mut self, script: &str, limit: Duration) -> Result<Output, VmError> {
        let Self { runner, process, .. } = self;
        let output = runner.run(script, limit, &mut || process.is_running());
        output.map_err(|what| self.explain(what))
    }

    /// Restarts the machine in good order and waits until it takes commands again.
    pub fn reboot(&mut self) -> Result<(), VmError> {
        self.order(guest::REBOOT)?;
        let before = self.boot_id.clone();
        self.await_hello()?;
        if self.boot_id == before {
            return Err(self.explain(GuestError::Protocol {
                doing: "rebooting".to_owned(),
                line: format!("hello {before} (the boot before)"),
            }));
        }
        Ok(())
    }

    /// Powers the machine off in good order and waits for QEMU's end.
    pub fn shutdown(mut self) -> Result<(), VmError> {
        self.order(guest::POWER_OFF)?;
        self.await_end()
    }

    /// Tells it something after which it may not answer any more.
    fn order(&mut self, script: &str) -> Result<(), VmError> {
        let ordered = self.runner.order(script, Duration::from_secs(60));
        ordered.map(drop).map_err(|what| self.explain(what))
    }

    fn await_end(&mut self) -> Result<(), VmError> {
        match self.process.wait(SHUTDOWN_LIMIT) {
            Some(Some(status)) if status.success() => Ok(()),
            Some(status) => Err(VmError::Qemu {
                status: status.map_or_else(|| "no status".to_owned(), |s| s.to_string()),
                console: self.last_words(),
            }),
            None => Err(VmError::StillUp { console: self.last_words() }),
        }
    }

    /// Ends the machine as a power cut would.
    pub fn cut_power(mut self) {
        self.process.kill();
    }

    /// The kernel's id of the boot that is running.
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// How much processor time QEMU has used so far: what a boot costs, whatever else this machine
    /// is doing meanwhile.
    pub fn processor_time(&self) -> Option<Duration> {
        self.process.processor_time()
    }

    /// How the processor is run, and why, in words.
    pub fn how(&self) -> &str {
        &self.how
    }

    /// Everything that the console said so far.
    pub fn console(&self) -> String {
        let log = fs::read(qemu::console_log(self.folder.path())).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The console itself, to talk to.
    pub(crate) fn open_console(&mut self) -> Result<UnixStream, VmError> {
        let path = qemu::console_socket(self.folder.path());
        connect(&mut self.process, &path, self.folder.path())
    }

    /// QEMU, to be watched while the console is used.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn explain(&self, what: GuestError) -> VmError {
        VmError::Guest { what, console: self.last_words() }
    }

    fn last_words(&self) -> String {
        last_words(&self.console(), &self.process.said())
    }
}

/// The kernel's last words: it will not answer any more, however long one waits.
fn has_panicked(log: &Path) -> bool {
    fs::read(log).is_ok_and(|said| {
        said.windows(PANIC.len()).rev().take(64 << 10).any(|words| words == PANIC)
    })
}

const PANIC: &[u8] = b"Kernel panic - not syncing";

fn last_words(console: &str, qemu: &str) -> String {
    let end = |title: &str, text: &str| {
        let lines = guest::last_lines(text);
        if lines.is_empty() { lines } else { format!("\n  {title}:{lines}") }
    };
    end("the console said last", console) + &end("QEMU said", qemu)
}

/// A disk over the image's, which is only read.
fn prepare_disk(image: &Image, options: &VmOptions, folder: &Path) -> Result<PathBuf, VmError> {
    let disk = options.kept_disk.clone().unwrap_or_else(|| folder.join("disk.qcow2"));
    if disk.exists() {
        return Ok(disk);
    }
    let size = fs::metadata(image.disk()).map_err(io_error("read", &image.disk()))?.len();
    let size = size.max(u64::from(options.disk_mib) << 20);
    image
        .tools()
        .program("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(image.disk())
        .arg(&disk)
        .arg(size.to_string())
        .capture()?;
    Ok(disk)
}

fn program(
    image: &Image,
    options: &VmOptions,
    accel: Accel,
    disk: &Path,
    folder: &Path,
) -> Result<Program, VmError> {
    let tools = image.tools();
    let start = if options.firmware {
        let variables = folder.join("variables.fd");
        let empty = tools.file("usr/share/OVMF/OVMF_VARS_4M.fd");
        fs::copy(&empty, &variables).map_err(io_error("copy", &empty))?;
        Start::Firmware { code: tools.file("usr/share/OVMF/OVMF_CODE_4M.fd"), variables }
    } else {
        Start::Direct {
            kernel: image.kernel(),
            initrd: Some(image.initrd()),
            command_line: image.command_line()?,
        }
    };
    let args = qemu::arguments(&Machine {
        accel,
        cpus: options.cpus,
        memory_mib: options.memory_mib,
        start,
        disk,
        disk_format: "qcow2",
        network: options.network,
        folder,
        tools: tools.root(),
        credentials: guest::credentials(),
    });
    Ok(tools.program("qemu-system-x86_64").args(args))
}

/// Connects to a socket that QEMU makes while it starts.
fn connect(process: &mut Process, path: &Path, folder: &Path) -> Result<UnixStream, VmError> {
    let deadline = Deadline::after(Duration::from_secs(30));
    loop {
        let source = match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(source) => source,
        };
        if let Some(status) = process.wait(Duration::from_millis(20)) {
            let console = fs::read_to_string(qemu::console_log(folder)).unwrap_or_default();
            return Err(VmError::Qemu {
                status: status.map_or_else(|| "no status".to_owned(), |s| s.to_string()),
                console: last_words(&console, &process.said()),
            });
        }
        if deadline.is_over() {
            return Err(VmError::Connect { path: path.to_owned(), source });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_end_of_the_console_and_what_qemu_said() {
        let console: String = (0..100).map(|n| format!("line {n}\r\n")).collect();
        let text = last_words(&console, "no such device\n");
        assert!(text.contains("\n    line 99\n"), "{text}");
        assert!(!text.contains("line 69"), "{text}");
        assert!(text.ends_with("QEMU said:\n    no such device"), "{text}");
    }
}
