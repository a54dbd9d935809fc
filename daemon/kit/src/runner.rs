//! Runs one check for as long as the agent lives: when, how long at most, and what is told of it.
//!
//! ```text
//!   start        start+every    start+2*every      start+3*every
//!     |--run--|     |------run------------|· · · · ·|--run--|
//!                            a start that was missed is not made up for
//! ```
//!
//! One runner is one task, so a check never runs twice at once, and nothing that one check does
//! ends another. A run that fails, panics or takes too long is reported as unknown; what hysteresis
//! remembers stays, as nothing was measured.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use agentd_model::Finding;
use agentd_protocol::channel::{MAX_VALUES, Outcome, Report, Sample};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::channel::{Outbox, call};
use crate::check::{Check, Context, Failure, payload_text};
use crate::clock;
use crate::host::Host;
use crate::hysteresis::{Change, Hysteresis};
use crate::limits;
use crate::reading::{Level, Readings};
use crate::settings::InForce;

/// Most lines in the log about one run.
const MAX_LINES: usize = 20;

/// A check and all that is remembered about it.
pub(crate) struct Runner {
    pub(crate) check: Check,
    pub(crate) host: Host,
    pub(crate) settings: watch::Receiver<Arc<InForce>>,
    pub(crate) outbox: Outbox,
    pub(crate) memory: Hysteresis,
    pub(crate) is_unknown: bool,
}

impl Runner {
    /// Runs the check, the first time after `first`, until nobody sends settings any more or takes
    /// what it reports.
    pub(crate) async fn run(mut self, first: Duration) {
        let mut last: Option<Instant> = None;
        let mut next = Instant::now() + first;
        loop {
            let settings = Arc::clone(&self.settings.borrow_and_update());
            if !settings.enabled {
                // Nobody measures, so nothing is remembered; agentd learns that it is off from the
                // list of checks.
                self.memory = Hysteresis::default();
                self.is_unknown = false;
                if self.settings.changed().await.is_err() {
                    return;
                }
                next = Instant::now();
                continue;
            }
            if let Some(last) = last {
                next = next_start(last, settings.every, Instant::now());
            }
            tokio::select! {
                () = sleep_until(next) => {}
                changed = self.settings.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
            last = Some(next);
            if self.run_once(&settings).await.is_err() {
                return;
            }
        }
    }

    /// One run, from looking to telling. Fails when nobody takes what it reports.
    async fn run_once(&mut self, settings: &Arc<InForce>) -> Result<(), Gone> {
        let ctx = Context::new(self.host.clone(), Arc::clone(settings), clock::now());
        let result = self.look(&ctx, settings.timeout).await;
        let took = clock::boot().since(ctx.now().boot);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let check = self.check.name;
        match result {
            Ok(readings) => {
                if std::mem::take(&mut self.is_unknown) {
                    tracing::info!(check, took_ms, "check measures again");
                }
                let (findings, changes) = self.memory.apply(readings.readings, settings);
                log_changes(check, took_ms, &changes);
                self.report(Outcome::Measured, None, findings, took_ms).await?;
                for values in limits::values(readings.samples).chunks(MAX_VALUES) {
                    self.send("Sample", &Sample { values: values.to_vec() }).await?;
                }
                Ok(())
            }
            Err(failure) => {
                let reason = limits::text(&failure.to_string(), limits::MAX_REASON);
                if !std::mem::replace(&mut self.is_unknown, true) {
                    tracing::warn!(check, took_ms, reason, "check is unknown");
                }
                self.report(Outcome::Unknown, Some(reason), Vec::new(), took_ms).await
            }
        }
    }

    /// Runs the check within its time. Whatever happens in there ends here.
    async fn look(&mut self, ctx: &Context, limit: Duration) -> Result<Readings, Failure> {
        let mut run = self.check.body.run(ctx);
        // A panic is this check's failure, not the agent's. Nothing that the run touched is used
        // after it: its state is reset below.
        let caught = std::future::poll_fn(|cx| {
            match std::panic::catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
                Ok(poll) => poll,
                Err(payload) => {
                    let message = payload_text(&*payload);
                    Poll::Ready(Err(Failure::Panicked { message }))
                }
            }
        });
        let result = match timeout(limit, caught).await {
            Ok(result) => result,
            Err(_) => Err(Failure::TimedOut { limit }),
        };
        drop(run);
        if let Err(Failure::TimedOut { .. } | Failure::Panicked { .. }) = result {
            self.check.body.reset();
        }
        let readings = result?;
        match not_a_number(&readings) {
            Some(key) => Err(Failure::NotANumber { key }),
            None => Ok(readings),
        }
    }

    async fn report(
        &self,
        outcome: Outcome,
        reason: Option<String>,
        findings: Vec<Finding>,
        took_ms: u64,
    ) -> Result<(), Gone> {
        let check = self.check.name.to_owned();
        let findings = limits::findings(&check, findings);
        self.send("Report", &Report { check, outcome, reason, findings, took_ms }).await
    }

    async fn send(&self, method: &str, parameters: &impl serde::Serialize) -> Result<(), Gone> {
        self.outbox.send(call(method, parameters, true)).await.map_err(|_| Gone)
    }
}

/// Nobody takes what is reported any more.
struct Gone;

/// The first start from `now` on, on the raster of `every` that `last` began.
fn next_start(last: Instant, every: Duration, now: Instant) -> Instant {
    let next = last + every;
    if next >= now {
        return next;
    }
    let behind = now.duration_since(last).as_nanos();
    let missed = u32::try_from(behind / every.as_nanos().max(1)).unwrap_or(u32::MAX - 1);
    every.checked_mul(missed + 1).map_or(now, |ahead| last + ahead)
}

fn not_a_number(readings: &Readings) -> Option<String> {
    let bad = readings.readings.iter().find(|reading| match reading.level {
        Level::Measured { value, .. } => !value.is_finite(),
        Level::Condition(_) => false,
    });
    bad.map(|reading| reading.key.clone())
}

fn log_changes(check: &str, took_ms: u64, changes: &[Change]) {
    for change in changes.iter().take(MAX_LINES) {
        let key = change.key.as_str();
        let summary = limits::text(&change.summary, Finding::MAX_SUMMARY);
        match (change.from, change.to) {
            (_, None) => tracing::info!(check, key, took_ms, "finding cleared"),
            (None, Some(to)) => {
                tracing::warn!(
                    check,
                    key,
                    severity = to.as_str(),
                    summary,
                    took_ms,
                    "finding raised"
                );
            }
            (Some(_), Some(to)) => {
                let severity = to.as_str();
                tracing::warn!(check, key, severity, summary, took_ms, "finding changed severity");
            }
        }
    }
    if changes.len() > MAX_LINES {
        let count = changes.len() - MAX_LINES;
        tracing::warn!(check, count, "more findings changed than are logged");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn starts_stay_on_their_raster_and_never_pile_up(
            every_ms in 1_u64..100_000, elapsed_ms in 0_u64..10_000_000,
        ) {
            let last = Instant::now();
            let now = last + Duration::from_millis(elapsed_ms);
            let next = next_start(last, Duration::from_millis(every_ms), now);
            let ahead = u64::try_from(next.duration_since(last).as_millis()).unwrap();
            prop_assert_eq!(ahead % every_ms, 0);
            prop_assert!(next >= now && ahead > 0);
            prop_assert!(ahead <= elapsed_ms.max(1).next_multiple_of(every_ms) + every_ms);
        }
    }
}
