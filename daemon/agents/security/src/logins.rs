//! Check `logins`: how many tries to become somebody failed in the last five minutes.
//!
//! Read from the journal's security facilities; which lines count is told in `login.rs`. The number is
//! held against the thresholds and falls again as the tries leave the window.

use std::collections::BTreeMap;
use std::time::Duration;

use agentd_kit::clock::Now;
use agentd_kit::journal::{Look, Reader};
use agentd_kit::{CheckError, Context, Defaults, Readings, Recent, clock};

use crate::login::{Failure, failure};

pub(crate) const DEFAULTS: Defaults =
    Defaults::every(clock::seconds(30)).timeout(clock::seconds(20)).thresholds(5.0, 50.0, 1.0);

/// The window in which tries are counted.
const WINDOW: Duration = clock::minutes(5);
/// Time for one call of journalctl.
const PATIENCE: Duration = clock::seconds(10);
/// Names shown of each kind.
const MAX_SHOWN: usize = 5;

/// The failures of the last while, and how far the journal was read.
#[derive(Debug, Default)]
pub(crate) struct State {
    journal: Reader,
    recent: Recent<Failure>,
}

pub(crate) async fn run(ctx: &Context, state: &mut State) -> Result<Readings, CheckError> {
    // auth and authpriv: where PAM, sshd, su, sudo and login log (syslog(3)).
    let look = state.journal.read(&["--facility=auth,authpriv"], WINDOW, PATIENCE).await?;
    Ok(decide(&look, ctx.now(), &mut state.recent))
}

fn decide(look: &Look, now: Now, recent: &mut Recent<Failure>) -> Readings {
    if look.is_fresh {
        recent.clear();
    }
    for entry in &look.entries {
        if let Some(failure) = failure(entry) {
            // What came since the last look is new, whatever a clock that was just set says.
            let at = if look.is_fresh { entry.at(now) } else { now.boot };
            recent.push(at, failure);
        }
    }
    recent.forget(now.boot, WINDOW);
    let count = recent.iter().fold(0_u32, |sum, failure| sum.saturating_add(failure.count));
    let minutes = WINDOW.as_secs() / 60;
    let mut readings = Readings::new();
    let reading = readings.measure(
        "logins:failed",
        f64::from(count),
        "failures",
        format!("failed logins in the last {minutes} minutes: {count}"),
    );
    reading.evidence("failures", count).evidence("window_minutes", minutes);
    for (kind, of) in [
        ("users", (|failure| &failure.user) as fn(&Failure) -> &String),
        ("from", |failure| &failure.from),
        ("services", |failure| &failure.service),
    ] {
        if count > 0 {
            reading.evidence(kind, most_frequent(recent, of));
        }
    }
    readings
}

/// `root 12, bob 3`.
fn most_frequent(recent: &Recent<Failure>, of: fn(&Failure) -> &String) -> String {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for failure in recent.iter() {
        let count = counts.entry(of(failure)).or_default();
        *count = count.saturating_add(failure.count);
    }
    let mut ranked: Vec<(&str, u32)> = counts.into_iter().collect();
    ranked.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let shown: Vec<String> =
        ranked.iter().take(MAX_SHOWN).map(|(name, count)| format!("{name} {count}")).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use agentd_kit::journal::Entry;
    use agentd_model::Mono;

    use super::*;

    fn now(seconds: u64) -> Now {
        Now { boot: Mono(clock::seconds(seconds)), wall_ms: i64::try_from(seconds).unwrap() * 1000 }
    }

    fn failed(user: &str, at_seconds: i64) -> Entry {
        Entry {
            message: format!("Failed password for {user} from 10.0.0.1 port 22 ssh2"),
            identifier: "sshd".to_owned(),
            uid: Some(0),
            wall_ms: at_seconds * 1000,
            ..Entry::default()
        }
    }

    fn look(entries: &[Entry]) -> Look {
        Look { entries: entries.to_vec(), is_fresh: false }
    }

    fn count(readings: &Readings) -> f64 {
        readings.readings()[0].value().unwrap()
    }

    #[test]
    fn failures_are_counted_while_they_are_recent() {
        let mut recent = Recent::default();
        let tries = [failed("root", 990), failed("bob", 998)];
        let fresh = Look { entries: tries.to_vec(), is_fresh: true };
        decide(&fresh, now(1000), &mut recent);
        let readings = decide(&look(&[failed("root", 1001)]), now(1002), &mut recent);
        let reading = &readings.readings()[0];
        assert_eq!((reading.key(), reading.value()), ("logins:failed", Some(3.0)));
        assert_eq!(reading.evidence_of("users"), Some("root 2, bob 1"));
        assert_eq!(reading.evidence_of("from"), Some("10.0.0.1 3"));
        assert_eq!(count(&decide(&look(&[]), now(1295), &mut recent)), 2.0);
        assert_eq!(count(&decide(&look(&[]), now(1303), &mut recent)), 0.0);
    }

    #[test]
    fn a_quiet_log_is_a_reading_of_zero() {
        let readings = decide(&look(&[]), now(1000), &mut Recent::default());
        assert_eq!(count(&readings), 0.0);
        assert_eq!(readings.readings()[0].evidence_of("users"), None);
    }

    #[test]
    fn entries_that_are_read_again_count_once() {
        let mut recent = Recent::default();
        decide(&look(&[failed("root", 999)]), now(1000), &mut recent);
        let fresh = Look { entries: vec![failed("root", 999)], is_fresh: true };
        assert_eq!(count(&decide(&fresh, now(1030), &mut recent)), 1.0);
    }

    #[test]
    fn a_clock_that_was_set_hides_no_failure() {
        for logged in [1, 900_000_000] {
            let mut recent = Recent::default();
            assert_eq!(count(&decide(&look(&[failed("a", logged)]), now(1000), &mut recent)), 1.0);
        }
    }
}
