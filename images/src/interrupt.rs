//! What Ctrl-C and SIGTERM do: end the programs that were started, and let the code that waits for
//! them return its error, so that every temporary file is removed on the usual way out.
//!
//! What must hold: no child outlives this process by a signal (each child is in its own process
//! group and is registered here while it runs), and no clean-up happens on the signal's own path.
//! The signals are taken by a thread that waits for them, so no code runs in a signal handler.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();
static LISTENING: Once = Once::new();

/// The status a shell gives to a program that ended by Ctrl-C.
pub const INTERRUPTED_STATUS: u8 = 130;

/// Starts taking SIGINT, SIGTERM and SIGHUP. Call it first in `main`, before any thread: threads
/// inherit the mask. (Children do not: std clears it when it spawns.)
pub fn listen() {
    LISTENING.call_once(|| {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        if signals.thread_block().is_err() {
            return; // The signals keep their default effect, which is to end us.
        }
        thread::spawn(move || {
            while signals.wait().is_ok() {
                // The first asks, any further one insists.
                let again = INTERRUPTED.swap(true, Ordering::SeqCst);
                CHANGED.notify_all();
                end_children(if again { Signal::SIGKILL } else { Signal::SIGTERM });
            }
        });
    });
}

/// Whether somebody has asked this process to end.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Waits a little before something is looked at again that cannot be waited for. Ends early, and says
/// so, when somebody asks this process to end.
pub(crate) fn pause(limit: Duration) -> bool {
    let waited = CHANGED.wait_timeout_while(groups(), limit, |_| !is_interrupted());
    drop(waited);
    is_interrupted()
}

/// Keeps a process group known for as long as its leader runs.
#[derive(Debug)]
pub(crate) struct Child(Pid);

impl Child {
    /// Registers the group that `leader` leads.
    pub(crate) fn register(leader: Pid) -> Self {
        groups().push(leader);
        // The signal may have come between the spawn and the line above.
        if is_interrupted() {
            let _gone_already = killpg(leader, Signal::SIGTERM);
        }
        Self(leader)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        groups().retain(|pid| *pid != self.0);
    }
}

fn end_children(signal: Signal) {
    for group in groups().iter() {
        let _gone_already = killpg(*group, signal);
    }
}

fn groups() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}
