//! Whether the machine went down in order the last time: without a power cut, a crash of the kernel
//! or a reset.
//!
//! The agent leaves a mark with the name of this boot in its folder, and writes into it that the end
//! was clean when SIGTERM tells it to end; at a shutdown in order it is told. A mark of another boot
//! without that word means that the machine went down under the agent. What this cannot see: a
//! machine that goes down while the agent is stopped on purpose (taken for clean), and one that is
//! shut down in order while the agent has failed and does not run (taken for unclean).
//!
//! A restart of the agent alone changes nothing: the mark then has the name of this very boot. It
//! also keeps what was found about the boot before, so that the finding outlives such a restart.

use agentd_kit::{Check, CheckError, Context, Defaults, Host, Readings, Severity, clock};
use serde::{Deserialize, Serialize};

use crate::state::{self, StateError};

/// Each run renews the time in the mark; that is what bounds when the machine went down.
const DEFAULTS: Defaults = Defaults::every(clock::minutes(5)).timeout(clock::seconds(4));

const FILE: &str = "shutdown";

/// Up this long, the machine has shown that it is well; the finding is resolved.
const TOLD_FOR: std::time::Duration = clock::minutes(24 * 60);

/// The last shutdown.
pub(crate) fn check() -> Check {
    Check::blocking("shutdown", "unclean end of the last boot", DEFAULTS, look)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    boot: String,
    is_clean: bool,
    /// When the agent last ran in that boot, in milliseconds since the Unix epoch.
    alive_ms: i64,
    /// The boot before it, if that ended unclean.
    before: Option<Unclean>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unclean {
    boot: String,
    alive_ms: i64,
}

/// Blocking: a disk that hangs holds up the write.
fn look(ctx: &Context, _: &mut ()) -> Result<Readings, CheckError> {
    let (host, now) = (ctx.host(), ctx.now());
    let boot = state::boot_id(host)?;
    let (found, lost) = match state::load::<Mark>(host, FILE) {
        Ok(found) => (found, None),
        // The next shutdown is judged all the same.
        Err(err @ StateError::Format { .. }) => (None, Some(err)),
        Err(err) => return Err(err.into()),
    };
    let mark = renewed(found, boot, now.wall_ms);
    state::save(host, FILE, &mark)?;
    if let Some(lost) = lost {
        return Err(lost.into());
    }
    let mut readings = Readings::new();
    if let Some(before) = mark.before.filter(|_| now.boot.0 < TOLD_FOR) {
        let summary = "the machine went down without being shut down before this boot";
        readings
            .raise("unclean-shutdown", Severity::Warning, summary)
            .evidence("boot_before", before.boot)
            .evidence("last_known_alive_unix", before.alive_ms / 1000);
    }
    Ok(readings)
}

/// The mark for this boot, from the one that was found.
fn renewed(found: Option<Mark>, boot: String, alive_ms: i64) -> Mark {
    let before = match found {
        Some(mark) if mark.boot == boot => mark.before,
        Some(mark) if !mark.is_clean => Some(Unclean { boot: mark.boot, alive_ms: mark.alive_ms }),
        Some(_) | None => None,
    };
    Mark { boot, is_clean: false, alive_ms, before }
}

/// The agent was told to end: so far the end is in order.
pub(crate) fn stopped(host: &Host) {
    // Without a mark of this boot there is nothing to complete, and a write that fails now shows as
    // an unclean end at the next boot; there is no one left to tell.
    let (Ok(boot), Ok(Some(mark))) = (state::boot_id(host), state::load::<Mark>(host, FILE)) else {
        return;
    };
    if mark.boot == boot {
        state::save(host, FILE, &Mark { is_clean: true, ..mark }).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentd_kit::InForce;
    use agentd_kit::clock::Now;
    use agentd_model::Mono;

    use super::*;
    use crate::STATE;

    /// A machine that boots, runs and goes down.
    struct Machine {
        dir: tempfile::TempDir,
        boots: u32,
    }

    impl Machine {
        fn new() -> Self {
            let machine = Self { dir: tempfile::tempdir().unwrap(), boots: 0 };
            std::fs::create_dir_all(machine.host().path(STATE)).unwrap();
            std::fs::create_dir_all(machine.host().path("/proc/sys/kernel/random")).unwrap();
            machine
        }

        fn host(&self) -> Host {
            Host::under(self.dir.path())
        }

        fn boot(&mut self) -> &mut Self {
            self.boots += 1;
            let id = self.host().path("/proc/sys/kernel/random/boot_id");
            std::fs::write(id, format!("boot-{}\n", self.boots)).unwrap();
            self
        }

        fn stop_agent(&mut self) -> &mut Self {
            stopped(&self.host());
            self
        }

        /// A run of the check, so many hours after boot: which boot was unclean.
        fn look(&self, hours: u64) -> Result<Option<String>, String> {
            let now = Now { boot: Mono(Duration::from_secs(hours * 3600)), wall_ms: 77_000 };
            let ctx = Context::new(self.host(), InForce::from(&DEFAULTS), now);
            let readings = look(&ctx, &mut ()).map_err(|err| err.to_string())?;
            let found = readings.readings().first();
            Ok(found.map(|reading| {
                assert_eq!(reading.evidence_of("last_known_alive_unix"), Some("77"));
                reading.evidence_of("boot_before").unwrap().to_owned()
            }))
        }

        fn finds(&self) -> Option<String> {
            self.look(1).unwrap()
        }
    }

    #[test]
    fn a_first_boot_and_one_after_a_stop_in_order_find_nothing() {
        let mut machine = Machine::new();
        assert_eq!(machine.boot().finds(), None);
        assert_eq!(machine.stop_agent().boot().finds(), None);
    }

    #[test]
    fn a_power_cut_is_found_and_told_for_the_whole_boot_but_not_the_next() {
        let mut machine = Machine::new();
        machine.boot().finds();
        assert_eq!(machine.boot().finds().as_deref(), Some("boot-1"));
        assert_eq!(machine.finds().as_deref(), Some("boot-1"), "in a later run");
        assert_eq!(machine.stop_agent().finds().as_deref(), Some("boot-1"), "after a restart");
        assert_eq!(machine.look(23).unwrap().as_deref(), Some("boot-1"));
        assert_eq!(machine.look(24).unwrap(), None, "resolved after a day");
        assert_eq!(machine.stop_agent().boot().finds(), None);
    }

    #[test]
    fn a_crash_of_the_agent_alone_is_no_crash_of_the_machine() {
        let mut machine = Machine::new();
        machine.boot().finds();
        assert_eq!(machine.finds(), None);
        assert_eq!(machine.stop_agent().boot().finds(), None);
    }

    #[test]
    fn an_agent_that_was_started_again_after_a_stop_is_no_longer_stopped() {
        let mut machine = Machine::new();
        machine.boot().finds();
        machine.stop_agent().finds();
        assert_eq!(machine.boot().finds().as_deref(), Some("boot-1"));
    }

    #[test]
    fn a_mark_that_cannot_be_read_is_unknown_once_and_begun_anew() {
        let mut machine = Machine::new();
        machine.boot().finds();
        std::fs::write(machine.host().path(STATE).join("shutdown.json"), "{\"boo").unwrap();
        let err = machine.boot().look(1).unwrap_err();
        assert!(err.contains("begun anew"), "{err}");
        assert_eq!(machine.finds(), None);
        assert_eq!(machine.boot().finds().as_deref(), Some("boot-2"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_unknown() {
        let mut machine = Machine::new();
        std::fs::remove_dir(machine.host().path(STATE)).unwrap();
        let err = machine.boot().look(1).unwrap_err();
        assert!(err.contains("shutdown.json"), "{err}");
        machine.stop_agent();
    }
}
