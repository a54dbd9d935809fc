//! `images bench boot`: how long the appliance takes to have all agents ready, against a stock Debian
//! 13 to its login prompt; same kernel, same QEMU, same machine, same disk bus.
//!
//! The method is the same for both: the host's clock, from the start of QEMU to a word on the serial
//! console. Getty prints the prompt; in the appliance a unit of one line, brought as a credential,
//! prints a word once `agentctl` says that all agents are ready and have measured, with the moment
//! from which all were ready by agentd's account; the time between the two is taken off. Nothing is taken off: QEMU and its
//! firmware are in every figure (about a second on an idle host), which makes the ratio larger, never
//! smaller. Taking off a share measured in a boot of its own was tried: on a busy host it came out as
//! 7.6 s for one kind and 2 s for another, and decided the result.
//!
//! Every run boots a layer over a disk that has been booted before, and the kinds take turns, so that
//! whatever else the host is doing hits all alike. QEMU's processor time is shown beside the times
//! because it depends less on what else the host is doing.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::cache::{CacheError, io_error, sha256_of};
use crate::clock::{Deadline, Moment};
use crate::exec::ExecError;
use crate::guest;
use crate::image::{BuildError, BuildOptions, Image};
use crate::interrupt;
use crate::kvm::{self, Kvm, KvmError};
use crate::process::Process;
use crate::progress::Progress;
use crate::qemu::{self, Accel, Machine, Start};
use crate::stock::Stock;
use crate::timing::{self, BootTimes, READY_COMMAND, ReadyError};
use crate::vm::{Vm, VmError, VmOptions};

/// A boot that has not got there by then never will.
const LIMIT: Duration = Duration::from_secs(300);

/// What the appliance prints when every agent was ready and has measured, at the end of a line that
/// says when the first was so.
const READY_WORD: &str = "agentos-bench: measured";

/// The benchmark could not be done.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No image.
    #[error("cannot build an image to boot")]
    Build(#[from] BuildError),
    /// Files.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// QEMU or one of its tools.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Trying KVM.
    #[error("cannot find out whether KVM works")]
    Kvm(#[from] KvmError),
    /// The appliance itself.
    #[error(transparent)]
    Ready(#[from] ReadyError),
    /// The appliance's machine.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The comparison would not be one.
    #[error("the two images have different kernels; `images bench boot --fresh` builds both anew")]
    Kernels,
    /// A boot hung or broke off.
    #[error("{kind} did not say {word:?} within {} s; its console ended with\n{console}", LIMIT.as_secs())]
    Silent {
        /// Which image.
        kind: &'static str,
        /// What was waited for.
        word: &'static str,
        /// The end of what it said instead.
        console: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// One kind of machine that is booted again and again.
struct Kind {
    name: &'static str,
    start: Start,
    word: &'static str,
    credentials: Vec<(&'static str, String)>,
    /// Booted before; every run gets a layer over it.
    disk: PathBuf,
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// To the login prompt, or to all agents ready.
    wall: Duration,
    /// To the word.
    word: Duration,
    processor: Duration,
}

/// Boots everything `runs` times and gives a Markdown report.
pub fn boot(options: &BuildOptions, kvm: Kvm, runs: u32) -> Result<String, BenchError> {
    let progress = Progress::on_stderr();
    let image = Image::build(options, progress)?;
    let stock = Stock::get(&image, options, progress)?;
    if sha256_of(&image.kernel())? != sha256_of(&stock.kernel())? {
        return Err(BenchError::Kernels);
    }
    let (accel, how) = kvm::choose(&image, kvm)?;
    progress.say(&how);
    let folder = tempfile::tempdir().map_err(io_error("create", &std::env::temp_dir()))?;

    let times = warm_up_ours(&image, kvm, &folder)?;
    let kinds = kinds(&image, &stock, folder.path())?;
    for kind in &kinds {
        // Before the runs that count: a stock image's first boot does more than the others.
        if kind.disk != ours(folder.path()) {
            overlay(&image, &stock.disk(), "raw", &kind.disk)?;
            one_run(&image, accel, kind, Disk::Itself)?;
        }
    }
    let mut samples: Vec<Vec<Sample>> = kinds.iter().map(|_| Vec::new()).collect();
    for run in 1..=runs {
        for (at, kind) in kinds.iter().enumerate() {
            let sample = one_run(&image, accel, kind, Disk::Layer)?;
            progress.say(&format!("run {run}, {}: {:.2} s", kind.name, sample.wall.as_secs_f64()));
            samples[at].push(sample);
        }
    }
    Ok(report(&kinds, &samples, &times, &how))
}

fn ours(folder: &Path) -> PathBuf {
    folder.join("ours.qcow2")
}

/// The appliance's first boot, which also tells its times apart.
fn warm_up_ours(image: &Image, kvm: Kvm, folder: &TempDir) -> Result<BootTimes, BenchError> {
    let options = VmOptions { kvm, kept_disk: Some(ours(folder.path())), ..VmOptions::default() };
    let mut vm = Vm::boot(image, &options)?;
    timing::await_agents(&mut vm)?;
    vm.shutdown()?;
    // The second boot is the one to take apart: the first grows the disk and makes keys.
    let mut vm = Vm::boot(image, &options)?;
    let times = timing::await_agents(&mut vm)?;
    vm.shutdown()?;
    Ok(times)
}

fn kinds(image: &Image, stock: &Stock, folder: &Path) -> Result<Vec<Kind>, BenchError> {
    let unit = format!(
        "[Unit]\nAfter=agentd.service\n[Service]\nType=oneshot\nStandardOutput=file:/dev/ttyS0\n\
         ExecStart=/bin/sh -c '{READY_COMMAND} >/run/bench && read up idle </proc/uptime && \
         echo up=$$up $$(agentctl doctor --json) {READY_WORD}'\n"
    );
    let want = "[Unit]\nWants=agentos-bench.service\n".to_owned();
    let stock_line = "root=/dev/nvme0n1p1 rw console=ttyS0 quiet loglevel=3 systemd.show_status=no";
    let debian = |name, initrd, disk: &str| Kind {
        name,
        start: Start::Direct {
            kernel: stock.kernel(),
            initrd,
            command_line: stock_line.to_owned(),
        },
        word: "stock login:",
        credentials: Vec::new(),
        disk: folder.join(disk),
    };
    Ok(vec![
        debian("stock Debian 13", Some(stock.initrd()), "stock.qcow2"),
        debian("stock Debian 13 without an initrd", None, "stock-bare.qcow2"),
        Kind {
            name: "agentos",
            start: Start::Direct {
                kernel: image.kernel(),
                initrd: Some(image.initrd()),
                command_line: image.command_line()?,
            },
            word: READY_WORD,
            credentials: vec![
                ("systemd.extra-unit.agentos-bench.service", unit),
                ("systemd.unit-dropin.multi-user.target", want),
            ],
            disk: ours(folder),
        },
    ])
}

/// Whether a run writes to the kind's disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Itself,
    Layer,
}

/// Boots a kind until its word, and then cuts its power; on its own disk, waits until it has powered
/// itself off.
fn one_run(image: &Image, accel: Accel, kind: &Kind, disk: Disk) -> Result<Sample, BenchError> {
    let folder = tempfile::tempdir().map_err(io_error("create", &std::env::temp_dir()))?;
    let path = match disk {
        Disk::Itself => kind.disk.clone(),
        Disk::Layer => {
            let layer = folder.path().join("layer.qcow2");
            overlay(image, &kind.disk, "qcow2", &layer)?;
            layer
        }
    };
    let mut credentials: Vec<_> =
        kind.credentials.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if disk == Disk::Itself {
        credentials.extend(SETTLE);
    }
    let began = Moment::now();
    let mut process = start(image, accel, kind, &path, folder.path(), credentials)?;
    let said = await_word(&mut process, folder.path(), kind.name, kind.word)?;
    let word = began.elapsed();
    let wall = word.saturating_sub(since_ready(&said).unwrap_or_default());
    let processor = process.processor_time().unwrap_or_default();
    if disk == Disk::Itself {
        process.wait(LIMIT);
    }
    Ok(Sample { wall, word, processor })
}

/// How long before it printed its word the appliance had all agents ready, by its own clock: the
/// word comes only after every check has measured, which is more than a login prompt says.
fn since_ready(said: &str) -> Option<Duration> {
    let line = said.lines().find(|line| line.contains(READY_WORD))?;
    let number = |name: &str| {
        let rest = line.split_once(name)?.1;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        rest[..end].parse::<f64>().ok()
    };
    let ready = number("\"all_ready_boot_ms\":")? / 1000.0;
    Duration::try_from_secs_f64(number("up=")? - ready).ok()
}

/// Powers a machine off in good order soon after its boot is complete.
const SETTLE: [(&str, &str); 2] = [
    ("systemd.extra-unit.agentos-settle.timer", "[Timer]\nOnActiveSec=20s\nUnit=poweroff.target\n"),
    ("systemd.unit-dropin.multi-user.target", "[Unit]\nWants=agentos-settle.timer\n"),
];

fn start(
    image: &Image,
    accel: Accel,
    kind: &Kind,
    disk: &Path,
    folder: &Path,
    credentials: Vec<(&str, &str)>,
) -> Result<Process, BenchError> {
    let tools = image.tools();
    let args = qemu::arguments(&Machine {
        accel,
        cpus: 2,
        memory_mib: 1024,
        start: kind.start.clone(),
        disk,
        disk_format: "qcow2",
        network: false,
        folder,
        tools: tools.root(),
        credentials,
    });
    let qemu = tools.program("qemu-system-x86_64").args(args);
    Ok(Process::start(&qemu, folder)?)
}

/// Waits for a word on the console; gives all that was said.
fn await_word(
    process: &mut Process,
    folder: &Path,
    kind: &'static str,
    word: &'static str,
) -> Result<String, BenchError> {
    let log = qemu::console_log(folder);
    let deadline = Deadline::after(LIMIT);
    loop {
        let said = fs::read(&log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        if said.contains(word) {
            return Ok(said);
        }
        if interrupt::is_interrupted() {
            return Err(BenchError::Interrupted);
        }
        // The wait is also what keeps this from spinning.
        if process.wait(Duration::from_millis(10)).is_some() || deadline.is_over() {
            let console = guest::last_lines(&said) + &guest::last_lines(&process.said());
            return Err(BenchError::Silent { kind, word, console });
        }
    }
}

fn overlay(image: &Image, under: &Path, format: &str, layer: &Path) -> Result<(), BenchError> {
    image
        .tools()
        .program("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
        .args([under, layer])
        .capture()?;
    Ok(())
}

fn report(kinds: &[Kind], samples: &[Vec<Sample>], times: &BootTimes, how: &str) -> String {
    let mut text = format!(
        "Start of QEMU to login prompt (stock) and to all agents ready (agentos), seconds; {how}.\n\n\
         | image | median | least | most | runs | processor time, median | agentos / this |\n\
         |---|---|---|---|---|---|---|\n"
    );
    let walls = |at: usize| sorted(samples[at].iter().map(|s| s.wall));
    let ours = kinds.len() - 1;
    for (at, kind) in kinds.iter().enumerate() {
        let wall = walls(at);
        let ratio = seconds(median(&walls(ours))) / seconds(median(&wall));
        let processor = sorted(samples[at].iter().map(|s| s.processor));
        // Writing to a String cannot fail.
        let _unfailing = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {} | {:.2} | {ratio:.2} |",
            kind.name,
            seconds(median(&wall)),
            seconds(wall.first().copied().unwrap_or_default()),
            seconds(wall.last().copied().unwrap_or_default()),
            wall.len(),
            seconds(median(&processor)),
        );
    }
    let measured = sorted(samples[ours].iter().map(|s| s.word));
    text + &format!(
        "\nagentos with every check of every agent measured once: median {:.2}.\n\
         agentos, one boot taken apart: {times}\n",
        seconds(median(&measured))
    )
}

fn sorted(values: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut values: Vec<_> = values.collect();
    values.sort();
    values
}

/// The middle one, or the mean of the two in the middle; zero of none.
fn median(sorted: &[Duration]) -> Duration {
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => Duration::ZERO,
        (Some(one), 1) => *one,
        (Some(upper), _) => (sorted[middle - 1] + *upper) / 2,
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_all_were_ready_is_read_from_the_line_of_the_word() {
        let line =
            format!("noise\nup=9.50 {{\"all_ready_boot_ms\":7250,\"seq\":3}} {READY_WORD}\nmore");
        assert_eq!(since_ready(&line), Some(Duration::from_millis(2250)));
        assert_eq!(since_ready("stock login:"), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let s = Duration::from_secs;
        assert_eq!(median(&[]), s(0));
        assert_eq!(median(&[s(1), s(2), s(9)]), s(2));
        assert_eq!(median(&[s(1), s(2), s(4), s(9)]), s(3));
    }
}
