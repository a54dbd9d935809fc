//! The process group of an agent, where there is no control group to hold its processes together: the
//! launcher made a session, and whoever does not leave that shares a group.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// How often a killed group is looked at until nobody lives in it.
const POLL: Duration = Duration::from_millis(2);
/// After so many looks, a second, it counts as empty.
const POLLS: u32 = 500;

/// Kills every process of the group that `leader` leads. The group's number is not given out again
/// while the leader is not reaped (credentials(7)).
pub(super) fn kill(leader: i32) {
    if let Some(group) = Pid::from_raw(leader)
        && let Err(err) = kill_process_group(group, Signal::KILL)
        && err != Errno::SRCH
    {
        tracing::warn!(pid = leader, %err, "process group was not killed");
    }
}

/// Waits until nobody lives any more in a group that was killed: a signal is sent at once, and the
/// process that gets it takes a moment to die. Called when the leader is reaped, which as a zombie
/// would count as a member.
pub(super) async fn gone(leader: i32) {
    let Some(group) = Pid::from_raw(leader) else { return };
    for _ in 0..POLLS {
        let is_empty = test_kill_process_group(group) == Err(Errno::SRCH);
        // Most groups are empty by now. Where one is not, zombies are told apart: they stay until
        // whoever inherited them reaps them, and in a container that may be never.
        if is_empty || !lives(leader) {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
    tracing::warn!(pid = leader, "process group does not get empty");
}

/// Whether a process of this group is more than a zombie. One that cannot be looked at is gone.
fn lives(group: i32) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    let stats = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        entry.file_name().to_str()?.parse::<i32>().ok()?;
        // Bytes: a process may call itself anything, and must not hide by that.
        std::fs::read(entry.path().join("stat")).ok()
    });
    stats
        .filter_map(|stat| state_and_group(&String::from_utf8_lossy(&stat)))
        .any(|(state, of)| of == group && state != 'Z')
}

/// proc(5), /proc/PID/stat: state and process group stand behind the name, which may hold anything,
/// brackets and blanks included.
fn state_and_group(stat: &str) -> Option<(char, i32)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let group = fields.nth(1)?.parse().ok()?;
    Some((state, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        assert_eq!(state_and_group("7 (sh) S 1 5 5 0"), Some(('S', 5)));
        assert_eq!(state_and_group("7 (a) Z 9) R 1 42 5 0"), Some(('R', 42)));
        for broken in ["", "7", "7 (sh)", "7 (sh) S", "7 (sh) S 1 x"] {
            assert_eq!(state_and_group(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_group_with_a_process_lives_and_one_without_does_not() {
        let own = rustix::process::getpgrp().as_raw_nonzero().get();
        assert!(lives(own));
        // Above PID_MAX_LIMIT (proc(5)): no process has it.
        assert!(!lives(1 << 23));
    }
}
