//! How long a boot took, as the machine itself measured it on its monotonic clock, which starts with
//! its kernel.

use std::time::Duration;

use crate::clock::seconds;
use crate::vm::{Vm, VmError};

/// Asks whether every enabled agent runs and has been measured, and waits for it.
pub(crate) const READY_COMMAND: &str = "agentctl list --wait=120s";

/// Longer than the command waits by itself.
const READY_LIMIT: Duration = Duration::from_secs(150);

/// The times of one boot, each from the start of the kernel. A time that the machine did not give is
/// `None`, never zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootTimes {
    /// Our initrd began.
    pub initrd: Option<Duration>,
    /// It handed over to systemd.
    pub handover: Option<Duration>,
    /// systemd began.
    pub userspace: Option<Duration>,
    /// agentd said that it is ready.
    pub agentd: Option<Duration>,
    /// systemd reached `multi-user.target`.
    pub multi_user: Option<Duration>,
    /// Every agent was ready, by agentd's account.
    pub agents: Option<Duration>,
}

/// What prints all of it as `name=value`.
const ASK: &str = "\
cat /run/agentos-initrd
systemctl show --property=UserspaceTimestampMonotonic
systemctl show --property=ActiveEnterTimestampMonotonic agentd.service | sed s/^/agentd/
systemctl show --property=ActiveEnterTimestampMonotonic multi-user.target | sed s/^/multi_user/
agentctl doctor --json | grep -o '\"all_ready_boot_ms\":[0-9]*' | sed 's/.*:/agents_ms=/'
";

/// The machine's agents did not get ready.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// It could not be asked.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// It was asked and said no.
    #[error("the agents did not get ready: `{READY_COMMAND}` ended with {status}\n{said}")]
    Not {
        /// Its status.
        status: i32,
        /// What it said.
        said: String,
    },
}

/// Waits until every enabled agent runs and has been measured, and tells how long all of it took.
pub fn await_agents(vm: &mut Vm) -> Result<BootTimes, ReadyError> {
    let ready = vm.run(READY_COMMAND, READY_LIMIT)?;
    if ready.status != 0 {
        let stdout = String::from_utf8_lossy(&ready.stdout);
        let stderr = String::from_utf8_lossy(&ready.stderr);
        return Err(ReadyError::Not { status: ready.status, said: format!("{stdout}{stderr}") });
    }
    let told = vm.run(ASK, Duration::from_secs(60))?;
    Ok(parse(&String::from_utf8_lossy(&told.stdout)))
}

fn parse(text: &str) -> BootTimes {
    let number = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find_map(|(n, value)| (n == name).then(|| value.trim().parse().ok()).flatten())
            // systemd's word for "not yet".
            .filter(|number| *number != 0)
    };
    let micros = |name: &str| number(name).map(Duration::from_micros);
    BootTimes {
        initrd: micros("started_us"),
        handover: micros("ended_us"),
        userspace: micros("UserspaceTimestampMonotonic"),
        agentd: micros("agentdActiveEnterTimestampMonotonic"),
        multi_user: micros("multi_userActiveEnterTimestampMonotonic"),
        agents: number("agents_ms").map(Duration::from_millis),
    }
}

impl std::fmt::Display for BootTimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let between = |from: Option<Duration>, to: Option<Duration>| {
            from.zip(to).map_or_else(|| "unknown".to_owned(), |(a, b)| seconds(b.saturating_sub(a)))
        };
        let zero = Some(Duration::ZERO);
        write!(
            f,
            "kernel {}, initrd {}, systemd to agentd {}, to multi-user {}; agents ready {} after the kernel began",
            between(zero, self.initrd),
            between(self.initrd, self.handover),
            between(self.userspace, self.agentd),
            between(self.userspace, self.multi_user),
            between(zero, self.agents),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_did_not_say_is_unknown() {
        let times = parse(
            "started_us=2000000\nended_us=2100000\nUserspaceTimestampMonotonic=2200000\n\
             agentdActiveEnterTimestampMonotonic=0\nagents_ms=7500\n",
        );
        assert_eq!(times.initrd, Some(Duration::from_secs(2)));
        assert_eq!(times.agentd, None);
        assert_eq!(
            times.to_string(),
            "kernel 2.0 s, initrd 0.1 s, systemd to agentd unknown, to multi-user unknown; \
             agents ready 7.5 s after the kernel began"
        );
    }
}
