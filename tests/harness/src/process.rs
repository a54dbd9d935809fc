//! Processes as `/proc` shows them (proc(5)).

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Whether there is such a process, and it has not ended: a zombie waits only to be reaped.
pub fn is_alive(pid: i32) -> bool {
    !matches!(state_of(pid), None | Some('Z' | 'X'))
}

/// The state of a process as one letter: `R`, `S`, `T` for stopped, `Z`.
pub fn state_of(pid: i32) -> Option<char> {
    field(pid, "State:")?.chars().next()
}

/// Resident memory of a process in KiB, and the most it ever had.
pub fn memory_kib(pid: i32) -> (u64, u64) {
    let kib = |name| {
        let value = field(pid, name).unwrap_or_else(|| panic!("process {pid} has no {name}"));
        value.trim_end_matches(" kB").parse().expect("a number of kB")
    };
    (kib("VmRSS:"), kib("VmHWM:"))
}

/// How many files a process has open.
pub fn descriptors_of(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or_default()
}

fn field(pid: i32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().to_owned())
}

/// Processes whose output goes to a file below `dir`: every agent of an agentd that runs there and
/// whatever they leave behind, in whichever session and whoever's child it is by now.
pub(crate) fn writing_below(dir: &Path) -> Vec<i32> {
    let pids = fs::read_dir("/proc")
        .expect("/proc is there")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != own()).filter(|pid| writes_below(*pid, dir)).collect()
}

fn writes_below(pid: i32, dir: &Path) -> bool {
    let output: Option<PathBuf> = fs::read_link(format!("/proc/{pid}/fd/1")).ok();
    output.is_some_and(|file| file.starts_with(dir))
}

/// Kills every process that [`writing_below`] names, until there is none. Given the folder that holds
/// agentd's own log, too, it also gets one that agentd had forked and not yet given its output.
pub(crate) fn kill_below(dir: &Path) {
    // Once is not enough for one that forks meanwhile; a hundred times is a fork bomb.
    for _ in 0..100 {
        let left = writing_below(dir);
        if left.is_empty() {
            return;
        }
        for pid in left {
            // Gone already, which is what was wanted.
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
        std::thread::yield_now();
    }
}

fn own() -> i32 {
    i32::try_from(std::process::id()).expect("a pid fits")
}

/// What a process is, for a message: its pid, state and command line.
pub(crate) fn describe(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    format!("{pid} {} {line}", state_of(pid).unwrap_or('?'))
}
