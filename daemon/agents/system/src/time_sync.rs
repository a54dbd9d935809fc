//! Whether the clock is kept right, by the file that systemd-timesyncd touches after each
//! synchronisation (systemd-timesyncd.service(8), "Files").
//!
//! The time without one is measured: since boot where there was none yet, and otherwise since the
//! next one was due, as timesyncd asks at most every 2048 s. The threshold is the grace time: with
//! the default of 30 minutes a machine that has just booted, or has no network for a while, has no
//! finding. adjtimex(2) says less: the kernel calls a clock unsynchronised once it may be wrong by
//! more than 16 s, which is nine hours after the last synchronisation.

use std::time::{Duration, SystemTime};

use agentd_kit::clock::Now;
use agentd_kit::{Check, CheckError, Context, Defaults, Readings, clock};

/// The warning is the grace time in minutes.
const DEFAULTS: Defaults =
    Defaults::every(clock::seconds(60)).timeout(clock::seconds(2)).warning(30.0, 0.0);

/// The whole folder above it is in the cell, as timesyncd makes its own folder only when it starts.
const FILE: &str = "/run/systemd/timesync/synchronized";

/// timesyncd's longest poll interval unless it is configured otherwise (timesyncd.conf(5)).
const LONGEST_POLL: Duration = Duration::from_secs(2048);

/// Clock synchronisation.
pub(crate) fn check() -> Check {
    Check::new("clock", "clock synchronisation", DEFAULTS, look)
}

/// The file is there and cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot look at {FILE}")]
struct LookError(#[source] std::io::Error);

async fn look(ctx: &Context, _: &mut ()) -> Result<Readings, CheckError> {
    let synchronised = match ctx.host().path(FILE).metadata().and_then(|file| file.modified()) {
        Ok(at) => Some(at),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => None,
        Err(err) => return Err(LookError(err).into()),
    };
    let without = without(synchronised, ctx.now());
    let minutes = without.as_secs_f64() / 60.0;
    let mut readings = Readings::new();
    let summary = match synchronised {
        Some(_) => format!("the clock's next synchronisation is {minutes:.0} min overdue"),
        None => format!("the clock was never synchronised, {minutes:.0} min after boot"),
    };
    let reading = readings.measure("clock-unsynchronised", minutes, "min", summary);
    if let Some(at) = synchronised {
        reading.evidence("last_synchronised_unix", unix_seconds(at));
    }
    Ok(readings)
}

/// How long the clock has been without the synchronisation it should have had.
fn without(synchronised: Option<SystemTime>, now: Now) -> Duration {
    match synchronised {
        None => now.boot.0,
        Some(at) => {
            let now = Duration::from_millis(u64::try_from(now.wall_ms).unwrap_or(0));
            now.saturating_sub(Duration::from_secs(unix_seconds(at))).saturating_sub(LONGEST_POLL)
        }
    }
}

fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use agentd_kit::{Host, InForce};
    use agentd_model::Mono;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now(wall: u64, up: Duration) -> Now {
        Now { boot: Mono(up), wall_ms: i64::try_from(wall * 1000).unwrap() }
    }

    #[test]
    fn without_any_it_counts_from_boot_and_with_one_from_when_the_next_is_due() {
        let at = |secs| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
        assert_eq!(without(None, now(5, HOUR)), HOUR);
        assert_eq!(without(at(1000), now(1000, HOUR)), Duration::ZERO);
        assert_eq!(without(at(1000), now(1000 + 2048, HOUR)), Duration::ZERO);
        assert_eq!(without(at(1000), now(1000 + 2048 + 90, HOUR)), Duration::from_secs(90));
        assert_eq!(without(at(5000), now(1000, HOUR)), Duration::ZERO, "a clock that was set back");
    }

    #[tokio::test]
    async fn the_file_decides_and_its_absence_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::under(dir.path());
        let ctx = |at| Context::new(host.clone(), InForce::from(&DEFAULTS), at);
        let readings = look(&ctx(now(0, HOUR)), &mut ()).await.unwrap();
        assert_eq!(readings.readings()[0].value(), Some(60.0));
        assert!(readings.readings()[0].summary().contains("never"));

        let file = host.path(FILE);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        let readings = look(&ctx(clock::now()), &mut ()).await.unwrap();
        assert_eq!(readings.readings()[0].value(), Some(0.0));
        assert!(readings.readings()[0].evidence_of("last_synchronised_unix").is_some());
    }
}
