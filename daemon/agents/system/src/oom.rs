//! Processes that the kernel killed because memory ran out, since boot (`oom_kill` in `/proc/vmstat`).
//!
//! The count only ever rises, so it is the rise that is the finding: a kill since the last look
//! raises it, and it is cleared after `clear_after` looks without another one: ten minutes with the
//! defaults. How far the count was seen is kept for the boot, so that a restart of the agent neither
//! tells old kills again nor misses one that hit the agent itself.

use agentd_kit::{Check, CheckError, Context, Defaults, Readings, Severity, clock};
use serde::{Deserialize, Serialize};

use crate::state;

/// The quiet time is `every` times `clear_after`.
const DEFAULTS: Defaults =
    Defaults::every(clock::seconds(10)).timeout(clock::seconds(2)).clear_after(60);

const FILE: &str = "oom";

/// Kills for lack of memory.
pub(crate) fn check() -> Check {
    Check::new("oom", "processes killed for lack of memory", DEFAULTS, look)
}

/// How far the count was seen in which boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    boot: String,
    kills: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("/proc/vmstat has no oom_kill: this kernel does not count its kills")]
struct NoCount;

async fn look(ctx: &Context, last: &mut Option<Seen>) -> Result<Readings, CheckError> {
    let host = ctx.host();
    let kills = kills(&host.read_text("/proc/vmstat")?).ok_or(NoCount)?;
    let before = match last.take() {
        Some(seen) => seen,
        None => {
            let boot = state::boot_id(host)?;
            // Nothing kept, or nothing that can be read: then every kill of this boot is new.
            let kept = state::load::<Seen>(host, FILE).ok().flatten();
            kept.filter(|seen| seen.boot == boot).unwrap_or(Seen { boot, kills: 0 })
        }
    };
    let new = kills.saturating_sub(before.kills);
    let mut readings = Readings::new();
    if new > 0 {
        let what = if new == 1 { "process was" } else { "processes were" };
        let summary = format!("{new} {what} killed for lack of memory");
        readings
            .raise("oom-kill", Severity::Warning, summary)
            .evidence("new", new)
            .evidence("since_boot", kills);
        // Not kept is told twice at worst; the machine has other worries now than this file.
        state::save(host, FILE, &Seen { kills, ..before.clone() }).ok();
    }
    *last = Some(Seen { kills, ..before });
    Ok(readings)
}

fn kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use agentd_kit::{Host, InForce};
    use proptest::prelude::*;

    use super::*;
    use crate::STATE;

    struct Machine {
        dir: tempfile::TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let machine = Self { dir: tempfile::tempdir().unwrap() };
            machine.write("/proc/sys/kernel/random/boot_id", "aaaa\n");
            std::fs::create_dir_all(machine.host().path(STATE)).unwrap();
            machine
        }

        fn host(&self) -> Host {
            Host::under(self.dir.path())
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.host().path(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        /// What a look sees when the kernel has counted so many: the new ones.
        async fn look(&self, kills: u64, last: &mut Option<Seen>) -> Option<String> {
            self.write("/proc/vmstat", &format!("nr_free_pages 1\noom_kill {kills}\nx 2\n"));
            let ctx = Context::new(self.host(), InForce::from(&DEFAULTS), clock::now());
            let readings = look(&ctx, last).await.unwrap();
            readings.readings().first().map(|r| r.evidence_of("new").unwrap().to_owned())
        }
    }

    #[tokio::test]
    async fn a_rise_is_told_once() {
        let machine = Machine::new();
        let mut last = None;
        assert_eq!(machine.look(0, &mut last).await, None);
        assert_eq!(machine.look(2, &mut last).await.as_deref(), Some("2"));
        assert_eq!(machine.look(2, &mut last).await, None);
        assert_eq!(machine.look(3, &mut last).await.as_deref(), Some("1"));
    }

    #[tokio::test]
    async fn a_restart_of_the_agent_forgets_and_repeats_nothing() {
        let machine = Machine::new();
        assert_eq!(
            machine.look(2, &mut None).await.as_deref(),
            Some("2"),
            "killed before it began"
        );
        assert_eq!(machine.look(2, &mut None).await, None, "already told");
        assert_eq!(machine.look(3, &mut None).await.as_deref(), Some("1"), "while it was away");
    }

    #[tokio::test]
    async fn another_boot_counts_from_nothing() {
        let machine = Machine::new();
        machine.look(5, &mut None).await;
        machine.write("/proc/sys/kernel/random/boot_id", "bbbb\n");
        assert_eq!(machine.look(1, &mut None).await.as_deref(), Some("1"));
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_hides_no_kill() {
        let machine = Machine::new();
        std::fs::remove_dir(machine.host().path(STATE)).unwrap();
        let mut last = None;
        assert_eq!(machine.look(1, &mut last).await.as_deref(), Some("1"));
        assert_eq!(machine.look(1, &mut last).await, None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(oom_kill|[a-z0-9_ \n-]){0,40}") {
            kills(&text);
        }
    }
}
